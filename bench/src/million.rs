//! `million`: so many WebSockets at once on this machine, both ends, each identified and subscribed, held with heartbeats, and
//! at the end one message to each. Where the memory and the processor time go, by part.
//!
//! A process has only so many descriptors, so it is a fleet of pairs: a server, and a client process for it. When memory runs
//! short it stops connecting by itself, holds what there is and says how many that were. Its course is in `million_run`, its
//! promises in `million_judge`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{caretaker::Caretaker, million_judge, million_results, million_run::Run};

/// Descriptors of a process that are not connections: a server keeps some for its other callers.
const RESERVED: u64 = 500;

/// Most connections of a pair, whatever its descriptors: from one address to one server there are ports for about twice that.
const MOST: u64 = 20_000;

/// Few threads and no disk: a hundred servers share this machine, and a turn may wait long for a core without being stuck.
/// The rest is as it comes.
const SETS: [&str; 5] = [
    "shards.count=1",
    "store.engine=memory",
    "supervision.crash_files=0",
    "limits.max_connections=1000000",
    "limits.turn_stall=30s",
];

/// Options of `million`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Connections [default: 1000000, quick 40000]
    #[arg(long)]
    connections: Option<usize>,
    /// How long they are held [default: 5, quick a third]
    #[arg(long)]
    minutes: Option<f64>,
    /// Pairs of a server and a client process [default: as few as descriptors allow, quick 4]
    #[arg(long)]
    pairs: Option<usize>,
    /// Pairs that connect at the same time
    #[arg(long, default_value_t = 4)]
    pub(crate) dialling: usize,
    /// Handshakes under way at once in each of them
    #[arg(long, default_value_t = 64)]
    pub(crate) concurrency: usize,
    /// MiB that stay free: with less, nobody connects any more
    #[arg(long, default_value_t = 1024)]
    keep_free: u64,
    /// Smaller and shorter, to see that everything works; changes neither the results nor the README
    #[arg(long)]
    pub(crate) quick: bool,
    /// Dormouse
    #[arg(long, default_value = "target/release/dormouse")]
    pub(crate) bin: PathBuf,
    /// Configuration for the servers
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Where JSON and plot go [default: bench/results, quick target/bench]
    #[arg(long)]
    pub(crate) results: Option<PathBuf>,
    /// Gets the tables, between its markers
    #[arg(long, default_value = "README.md")]
    pub(crate) readme: PathBuf,
}

/// The same with nothing left open.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    pub(crate) hold: Duration,
    /// Connections of each pair.
    pub(crate) shares: Vec<usize>,
    /// Most that one pair could have.
    pub(crate) each: usize,
    pub(crate) keep_free: f64,
    pub(crate) sets: Vec<String>,
}

impl Options {
    fn plan(&self) -> Result<Plan> {
        let connections = self.connections.unwrap_or(if self.quick { 40_000 } else { 1_000_000 });
        let hold = self.minutes.unwrap_or(if self.quick { 1.0 / 3.0 } else { 5.0 });
        let hold = Duration::try_from_secs_f64(hold * 60.0).context("--minutes is no time")?;
        let each = rlimit::Resource::NOFILE.get_soft()?.saturating_sub(RESERVED).min(MOST) as usize;
        let fewest = connections.div_ceil(each.max(1));
        let pairs = self.pairs.unwrap_or(if self.quick { fewest.max(4) } else { fewest });
        if connections == 0 || self.dialling == 0 || self.concurrency == 0 {
            bail!("--connections, --dialling and --concurrency must be above zero");
        }
        if pairs < fewest || pairs > connections {
            bail!("{connections} connections need {fewest} pairs or more: a process here may have {each}");
        }
        let sets = SETS.iter().map(|set| (*set).to_owned()).chain(self.sets.iter().cloned()).collect();
        let shares = (0..pairs).map(|pair| connections / pairs + usize::from(pair < connections % pairs)).collect();
        Ok(Plan { connections, hold, shares, each, keep_free: self.keep_free as f64 * 1024.0 * 1024.0, sets })
    }
}

/// Runs it and says whether every promise held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let plan = options.plan()?;
    // Declared first, so that it acts last.
    let mut caretaker = Caretaker::start()?;
    let evidence = Run::begin(options, &plan, &mut caretaker)?.complete()?;
    let report = million_judge::judge(&plan, &evidence);
    let kept = million_results::keep(options, &plan, &evidence, &report);
    // The table first: it took minutes.
    let held = report.finish(None)?;
    kept.map(|()| held)
}
