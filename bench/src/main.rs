//! Load generator and measurements for Dormouse and its peers. Each command starts a server for itself (or takes one with
//! `--url`), does one thing to it, and prints one table; a command that checks promises exits with 1 when one is broken.
//! `compare` runs the others again and again, each in a process of its own, and puts servers side by side.
//!
//! From roof to ground: `compare` → `contest` → `goals`, `table`, `plot` → `results` → `figures`, `contestant`; the measurements
//! (`density` with `idle` and `burst`, `soak` with `witness` and `tally`, `fanout` with `rounds`, `echo`, `storm`,
//! `chaos` with its own four, `attacks` with `siege`, `attacks_judge`, `attacker`, `assault`, `answers`, `arsenal` and `attack`, `comeback` with
//! `application`, `drain` with `travellers`, `backend` and `flow`, `actors`, `members` with `member_crowd`, `durable`, `million` with its own five and `fleet`, `parts`, `sysctl`, `caretaker`) → `crowd`, `census`,
//! `load`, `team` → `target`, `swarm`, `report`, the floors `floor` and `raw_accept` → `peer`, `dialect` → `server`, `client`,
//! `message`, `node`, `scrape` → `frame`, `process`, `kernel`, `histogram`, `dice`, `clock`.

mod actors;
mod answers;
mod application;
mod arsenal;
mod assault;
mod attack;
mod attacker;
mod attacks;
mod attacks_judge;
mod backend;
mod burst;
mod caretaker;
mod census;
mod chaos;
mod chaos_crowd;
mod chaos_judge;
mod chaos_kills;
mod chaos_witness;
mod client;
mod clock;
mod comeback;
mod compare;
mod contest;
mod contestant;
mod crowd;
mod density;
mod dialect;
mod dice;
mod drain;
mod durable;
mod echo;
mod fanout;
mod figures;
mod fleet;
mod floor;
mod flow;
mod frame;
mod goals;
mod histogram;
mod idle;
mod kernel;
mod load;
mod long_channel;
mod member_crowd;
mod members;
mod message;
mod million;
mod million_crowd;
mod million_judge;
mod million_plot;
mod million_results;
mod million_run;
mod node;
mod parts;
mod peer;
mod plot;
mod process;
mod raw_accept;
mod report;
mod results;
mod rounds;
mod scrape;
mod server;
mod siege;
mod soak;
mod storm;
mod swarm;
mod sysctl;
mod table;
mod tally;
mod target;
mod team;
mod travellers;
mod witness;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Load generator and measurements for Dormouse
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Subcommand)]
enum Measurement {
    /// Memory and processor time of idle connections
    Density(density::Options),
    /// Acknowledged publishing beside a raw loop, and a channel of a million events
    Durable(durable::Options),
    /// Every event once and in order, whoever was away or cut
    Members(members::Options),
    /// Crashes in a crowd, and what the others notice of them
    Soak(soak::Options),
    /// SIGKILL, restart, and the clients' way back
    Comeback(comeback::Options),
    /// SIGTERM under thousands, who move to a second server: nothing lost, nobody faster than the pace
    Drain(drain::Options),
    /// One publisher, many subscribers, beside a raw send() loop
    Fanout(fanout::Options),
    /// Messages straight back from /v1/echo
    Echo(echo::Options),
    /// Connect, handshake, identify, subscribe, as fast as it goes
    Storm(storm::Options),
    /// Actors without sockets: bytes, wakes, spawns, crashes; beside a tokio task and an actix actor
    Actors(actors::Options),
    /// Dormouse and its peers side by side: one measurement, or `all`
    Compare(compare::Options),
    /// The floor under `storm` and `density`: accepts, answers the handshake, holds the socket
    #[command(hide = true)]
    RawAccept,
    /// Kills in one half of a crowd, or of every shard, and what the others notice of them
    Chaos(chaos::Options),
    /// One client process of `chaos`
    #[command(hide = true)]
    ChaosCrowd,
    /// Floods, drips and rubbish: what attackers are answered, and what others notice of them
    Attacks(attacks::Options),
    /// The attackers' process of `attacks`
    #[command(hide = true)]
    Attacker,
    /// So many WebSockets at once, both ends on this machine
    Million(million::Options),
    /// One client process of `million`
    #[command(hide = true)]
    MillionCrowd,
    /// Undoes what a run has begun, when its input ends
    #[command(hide = true)]
    Caretaker,
    /// The sending process of the floor under `fanout`
    #[command(hide = true)]
    RawSend(floor::SenderOptions),
}

fn main() -> ExitCode {
    match run(&CommandLine::parse().measurement) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(measurement: &Measurement) -> Result<bool> {
    // Clients are descriptors; the server raises its own limit.
    rlimit::increase_nofile_limit(u64::MAX)?;
    match measurement {
        Measurement::Density(options) => density::run(options),
        Measurement::Durable(options) => durable::run(options),
        Measurement::Members(options) => members::run(options),
        Measurement::Soak(options) => soak::run(options),
        Measurement::Comeback(options) => comeback::run(options),
        Measurement::Drain(options) => drain::run(options),
        Measurement::Fanout(options) => fanout::run(options),
        Measurement::Echo(options) => echo::run(options),
        Measurement::Storm(options) => storm::run(options),
        Measurement::Actors(options) => actors::run(options),
        Measurement::Compare(options) => compare::run(options),
        Measurement::RawAccept => raw_accept::serve(),
        Measurement::Chaos(options) => chaos::run(options),
        Measurement::ChaosCrowd => chaos_crowd::serve(),
        Measurement::Attacks(options) => attacks::run(options),
        Measurement::Attacker => attacker::serve(),
        Measurement::Million(options) => million::run(options),
        Measurement::MillionCrowd => million_crowd::serve(),
        Measurement::Caretaker => caretaker::serve(),
        Measurement::RawSend(options) => floor::send_raw(options),
    }
}
