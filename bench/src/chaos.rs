//! `chaos`: thousands of kills a second in one half of a crowd, or of every shard, while the other half must not notice:
//! no disconnect, nothing lost, doubled or out of order, an exact ledger, memory back at its level, and the same latency.
//!
//! Calm and kills take turns, several times, so that a machine whose mood changes is not taken for the server's. The crowd
//! lives in several client processes (`chaos_crowd`), the kills come from a thread of this one (`chaos_kills`).

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    chaos_crowd::{Order, TAIL, Task},
    chaos_judge::{self, Evidence, Phases},
    chaos_kills::{self, Aim, Killer},
    chaos_witness::Account,
    clock,
    dice::Dice,
    node::{self, Node},
    process::Cpu,
    report::Report,
    scrape::Scrape,
    target::{Target, TargetOptions},
    team::Team,
};

/// A process that has not connected its share by then never will.
const ARRIVAL: Duration = Duration::from_secs(120);

/// Kills before the first phase: what the first crashes read in once, such as tables for unwinding, is there.
const WARM_UP: Duration = Duration::from_secs(2);

/// After the last phase, before memory is compared: what a burst left is given back within a few ticks.
const REST: Duration = Duration::from_secs(5);

/// The restart budget stays as it is configured. A short history fills before memory is first looked at.
const SETS: [&str; 2] = ["chaos.enabled=true", "channels.defaults.history_events=10"];

/// Options of `chaos`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Subscribers, half of which may be hit [default: 10000, quick 1000]
    #[arg(long)]
    connections: Option<usize>,
    /// Channels they are spread over [default: 100, quick 20]
    #[arg(long)]
    channels: Option<usize>,
    /// Client processes, each with its own channels and publisher [default: 4, quick 2]
    #[arg(long)]
    processes: Option<usize>,
    /// Publications a second, over all channels [default: 500, quick 100]
    #[arg(long)]
    rate: Option<f64>,
    /// Kills a second [default: 1000, quick 100]
    #[arg(long)]
    kills: Option<f64>,
    /// Kill every shard this often instead of connections
    #[arg(long, value_name = "EVERY", value_parser = humantime::parse_duration, num_args = 0..=1, default_missing_value = "1s", conflicts_with = "kills")]
    shards: Option<Duration>,
    /// Seconds under kills, all rounds together; as many are calm [default: 60, with --shards 30, quick 6]
    #[arg(long)]
    seconds: Option<u64>,
    /// How often calm and kills take turns [default: 12, quick 2]
    #[arg(long)]
    rounds: Option<usize>,
    #[command(flatten)]
    pub(crate) target: TargetOptions,
}

/// The same with nothing left open.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    pub(crate) channels: usize,
    pub(crate) processes: usize,
    pub(crate) rate: f64,
    pub(crate) kills: f64,
    pub(crate) shards: Option<Duration>,
    pub(crate) phase: Duration,
    pub(crate) rounds: usize,
}

impl Options {
    fn plan(&self) -> Result<Plan> {
        let size = &self.target;
        let processes = size.size(self.processes, 4, 2);
        let rounds = size.size(self.rounds, 12, 2);
        let under_kills = size.size(self.seconds, if self.shards.is_some() { 30 } else { 60 }, 6);
        let plan = Plan {
            connections: size.size(self.connections, 10_000, 1_000),
            channels: size.size(self.channels, 100, 20),
            processes,
            rate: size.size(self.rate, 500.0, 100.0),
            kills: size.size(self.kills, 1_000.0, 100.0),
            shards: self.shards,
            phase: Duration::from_secs(under_kills).checked_div(rounds as u32).unwrap_or_default(),
            rounds,
        };
        if processes == 0 || !plan.channels.is_multiple_of(processes) || !plan.connections.is_multiple_of(processes) {
            bail!("--connections and --channels must be multiples of --processes ({processes})");
        }
        if plan.channels == 0 || !plan.connections.is_multiple_of(2 * plan.channels) {
            bail!("--connections must be a multiple of twice --channels: half of each channel may be hit");
        }
        if plan.phase.is_zero() || !(plan.rate > 0.0 && plan.kills > 0.0) || plan.shards == Some(Duration::ZERO) {
            bail!("--seconds, --rounds, --rate, --kills and --shards must be above zero");
        }
        Ok(plan)
    }
}

/// Runs it and says whether every promise held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let plan = options.plan()?;
    let target = options.target.open(&SETS.map(str::to_owned))?;
    let evidence = measure(options, &plan, &target).map_err(|error| target.explain(error))?;
    let mut report = Report::new(match plan.shards {
        Some(_) => "chaos: every shard killed again and again, and what its connections notice",
        None => "chaos: kills in one half of a crowd, and what the other half notices",
    });
    chaos_judge::judge(&plan, &evidence, &mut report);
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

fn measure(options: &Options, plan: &Plan, target: &Target) -> Result<Evidence> {
    let mut dice = Dice::new(options.target.seed);
    let mut team = Team::start("chaos-crowd", plan.processes)?;
    team.tell(|process| Task {
        address: target.address,
        sources: options.target.sources,
        seed: options.target.seed.wrapping_add(process as u64 * 7919),
        process,
        subscribers: plan.connections / plan.processes,
        channels: plan.channels / plan.processes,
        rate: plan.rate / plan.processes as f64,
    })?;
    let arrived: usize = team.hear::<usize>(ARRIVAL)?.iter().sum();
    let before = node::ask(target.address)?;
    let aim = match plan.shards {
        Some(every) => Aim::Shards(before.shards.len(), 1.0 / every.as_secs_f64()),
        None => {
            let victims = chaos_kills::victims(target.address, &mut dice)?;
            if victims.is_empty() {
                bail!("the server's list of connections has none of the users that may be hit");
            }
            Aim::Victims(victims, plan.kills)
        }
    };
    let first = Scrape::take(target.address)?;
    team.tell(|_| Order::Phase(0))?;
    let killer = Killer::start(target.address, aim.clone(), 0, Dice::new(dice.roll()));
    clock::rest(WARM_UP);
    let (mut calm, mut hot) = (Phases::default(), Phases::default());
    let (mut kills, mut turn) = killer.stop()?;
    let mut memory = Vec::new();
    for round in 0..plan.rounds {
        team.tell(|_| Order::Phase(1 + 2 * round))?;
        last(plan.phase, target, &team, &mut calm)?;
        memory.extend(target.memory().ok());
        team.tell(|_| Order::Phase(2 + 2 * round))?;
        let killer = Killer::start(target.address, aim.clone(), turn, Dice::new(dice.roll()));
        last(plan.phase, target, &team, &mut hot)?;
        memory.extend(target.memory().ok());
        let (done, next) = killer.stop()?;
        kills.add(&done);
        turn = next;
    }
    team.tell(|_| Order::Finish)?;
    let mut account = Account::default();
    team.hear::<Account>(TAIL * 2)?.iter().for_each(|part| account.add(part));
    let after = quiet(target)?;
    clock::rest(REST);
    memory.extend(target.memory().ok());
    let now = Scrape::take(target.address)?;
    let grown = |name: &str| (now.sum(name) - first.sum(name)).max(0.0) as u64;
    Ok(Evidence {
        arrived,
        account,
        kills,
        calm,
        hot,
        memory,
        nodes: (before, after),
        crashes: grown("dormouse_crashes_total"),
        gave_up: grown("dormouse_gave_up_total"),
        restarts: now.seen("dormouse_restart_seconds", &first),
    })
}

/// Lets a phase pass and adds the processor time of everybody in it.
fn last(phase: Duration, target: &Target, team: &Team, phases: &mut Phases) -> Result<()> {
    let (server, clients, own) = (target.cpu()?, team.cpu()?, Cpu::own()?);
    let start = clock::now();
    clock::rest(phase);
    phases.wall += start.elapsed();
    if let Some((now, then)) = target.cpu()?.zip(server) {
        phases.server += now.since(&then);
    }
    phases.clients += team.cpu()?.iter().zip(&clients).map(|(now, then)| now.since(then)).sum::<Duration>();
    phases.own += Cpu::own()?.since(&own);
    Ok(())
}

/// Asks until nothing is pending and nothing was offered between two answers.
fn quiet(target: &Target) -> Result<Node> {
    let deadline = clock::now() + TAIL;
    let mut last = node::ask(target.address)?;
    loop {
        clock::rest(Duration::from_millis(250));
        let node = node::ask(target.address)?;
        let settled = node.ledger.pending == 0 && node.ledger.offered == last.ledger.offered;
        if settled || clock::now() > deadline {
            return Ok(node);
        }
        last = node;
    }
}
