//! The program that is measured: makes its actors, measures them from inside, prints one JSON object. Run by
//! `dormouse-bench actors`, a process for each model, so that nobody's memory is another's.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use dormouse_actors::{Plan, addresses, gateway, tasks};

/// As the server's: what an actor weighs is also the allocator's doing.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Actors alone, without sockets
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct CommandLine {
    model: Model,
    /// How many
    #[arg(long)]
    actors: usize,
    /// Everything is measured so many times
    #[arg(long, default_value_t = 5)]
    waves: usize,
}

/// Whose actors.
#[derive(Clone, Copy, ValueEnum)]
enum Model {
    Dormouse,
    Tokio,
    Actix,
}

fn main() -> Result<()> {
    let CommandLine { model, actors, waves } = CommandLine::parse();
    let plan = Plan { actors, waves: waves.max(1) };
    let figures = match model {
        Model::Dormouse => gateway(plan),
        Model::Tokio => tasks(plan),
        Model::Actix => addresses(plan),
    };
    println!("{}", figures?);
    Ok(())
}
