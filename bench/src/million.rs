//! `million`: so many WebSockets at once on this machine, both ends, each identified and subscribed, held with heartbeats, and
//! at the end one message to each. Where the memory and the processor time go, by part.
//!
//! A process has only so many descriptors, so it is a fleet of pairs: a server, and a client process for it. When memory runs
//! short it stops connecting by itself, holds what there is and says how many that were. Judged in `million_judge`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    caretaker::Caretaker,
    clock,
    fleet::{Account, Fleet},
    kernel::Kernel,
    million_crowd::{HEARING, Order, Standing},
    million_judge, million_results,
    parts::{Moment, Sample},
    sysctl,
};

/// Descriptors of a process that are not connections: a server keeps some for its other callers.
const RESERVED: u64 = 500;

/// Most connections of a pair, whatever its descriptors: from one address to one server there are ports for about twice that.
const MOST: u64 = 20_000;

/// Nobody is connected for this long before the first does, to see what processes cost by themselves.
const EMPTY: Duration = Duration::from_secs(5);

/// A client process that has not answered by then will not.
const PATIENCE: Duration = Duration::from_secs(60);

/// Few threads and no disk: a hundred servers share this machine. The rest is as it comes.
const SETS: [&str; 4] =
    ["shards.count=1", "store.engine=\"memory\"", "supervision.crash_files=0", "limits.max_connections=1000000"];

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
    dialling: usize,
    /// Handshakes under way at once in each of them
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// MiB that stay free: with less, nobody connects any more
    #[arg(long, default_value_t = 1024)]
    keep_free: u64,
    /// Smaller and shorter, to see that everything works; changes neither the results nor the README
    #[arg(long)]
    pub(crate) quick: bool,
    /// Dormouse
    #[arg(long, default_value = "target/release/dormouse")]
    bin: PathBuf,
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

/// What a run has shown.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Kernel settings that were changed.
    pub(crate) settings: Vec<String>,
    /// Before anything was started, with all processes and no connection, with all connections at the end of the hold.
    pub(crate) start: Moment,
    pub(crate) empty: Moment,
    pub(crate) held: Moment,
    pub(crate) course: Vec<Sample>,
    pub(crate) connecting: Duration,
    /// Available when memory was too short to connect more.
    pub(crate) short: Option<f64>,
    pub(crate) idle: Load,
    pub(crate) busy: Load,
    pub(crate) account: Account,
    /// From the first publication to the answer to the last, and to the last message heard.
    pub(crate) publishing: Duration,
    pub(crate) hearing: Duration,
    pub(crate) spreading: Load,
    pub(crate) standing: Standing,
}

/// Processor time of a span.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) wall: Duration,
    pub(crate) servers: Duration,
    pub(crate) clients: Duration,
    pub(crate) heartbeats: u64,
}

/// Runs it and says whether every promise held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let plan = options.plan()?;
    // Declared first, so that it acts last.
    let mut caretaker = Caretaker::start()?;
    let evidence = {
        let mut run = Run::begin(options, &plan, &mut caretaker)?;
        let outcome = run.all();
        let words = run.fleet.last_words();
        let evidence = std::mem::take(&mut run.evidence);
        outcome.with_context(|| words.unwrap_or_else(|| "no server has complained".to_owned()))?;
        eprintln!("ending …");
        evidence
    };
    let report = million_judge::judge(&plan, &evidence);
    let kept = million_results::keep(options, &plan, &evidence, &report);
    // The table first: it took minutes.
    let held = report.finish(None)?;
    kept.map(|()| held)
}

/// A run under way.
struct Run<'a> {
    options: &'a Options,
    plan: &'a Plan,
    fleet: Fleet,
    begun: std::time::Instant,
    evidence: Evidence,
}

impl<'a> Run<'a> {
    fn begin(options: &'a Options, plan: &'a Plan, caretaker: &mut Caretaker) -> Result<Self> {
        let start = Moment::now(&[], &[])?;
        let settings = sysctl::raise(plan.connections, plan.shares[0], caretaker)?;
        eprintln!("{} servers and as many client processes …", plan.shares.len());
        let fleet = Fleet::start(&options.bin, &plan.sets, &plan.shares, options.concurrency, caretaker)?;
        Ok(Self {
            options,
            plan,
            fleet,
            begun: clock::now(),
            evidence: Evidence { start, settings, ..Evidence::default() },
        })
    }

    fn all(&mut self) -> Result<()> {
        clock::rest(Duration::from_secs(2));
        self.evidence.idle = self.span(|_| {
            clock::rest(EMPTY);
            Ok(())
        })?;
        self.evidence.empty = Moment::now(&self.fleet.server_pids, &self.fleet.client_pids)?;
        self.connect()?;
        self.evidence.busy = self.span(Self::hold)?;
        self.evidence.held = Moment::now(&self.fleet.server_pids, &self.fleet.client_pids)?;
        self.evidence.account = self.fleet.account()?;
        eprintln!("a message to each …");
        self.evidence.spreading = self.span(Self::spread)?;
        self.fleet.team().tell(|_| Order::Finish)?;
        self.evidence.standing = self.standing(PATIENCE)?;
        let dormant = self.evidence.account.dormant;
        self.evidence.account = Account { dormant, ..self.fleet.account()? };
        self.sample()
    }

    /// Lets the pairs connect, some at a time, until all have or memory is short.
    fn connect(&mut self) -> Result<()> {
        let begun = clock::now();
        let (mut next, mut under_way, mut looked) = (0, Vec::new(), begun);
        loop {
            while under_way.len() < self.options.dialling && next < self.plan.shares.len() {
                self.fleet.team().tell_one(next, &Order::Dial)?;
                under_way.push(next);
                next += 1;
            }
            if under_way.is_empty() {
                break;
            }
            clock::rest(Duration::from_millis(20));
            let mut still = Vec::new();
            for number in under_way {
                match self.fleet.team().answer_of::<Standing>(number)? {
                    None => still.push(number),
                    Some(standing) => {
                        if let Some(complaint) = standing.complaint {
                            bail!("client process {number}: {complaint}");
                        }
                    }
                }
            }
            under_way = still;
            let available = Kernel::glance()?.available;
            if available < self.plan.keep_free && self.evidence.short.is_none() {
                eprintln!("memory is short: nobody connects any more");
                self.evidence.short = Some(available);
                // The others have none, but answer like everybody.
                under_way.extend(next..self.plan.shares.len());
                next = self.plan.shares.len();
                under_way.iter().try_for_each(|number| self.fleet.team().tell_one(*number, &Order::Enough))?;
            }
            if looked.elapsed() > Duration::from_secs(1) {
                looked = clock::now();
                self.sample()?;
            }
        }
        self.evidence.connecting = begun.elapsed();
        Ok(())
    }

    /// Lets time pass. Somebody else may need the memory meanwhile.
    fn hold(&mut self) -> Result<()> {
        let (end, mut told) = (clock::now() + self.plan.hold, clock::now());
        loop {
            self.sample()?;
            let available = self.evidence.course.last().map_or(f64::INFINITY, |sample| sample.available);
            if available < self.plan.keep_free / 2.0 {
                bail!("only {:.0} MiB are left: somebody else needs memory too", available / 1024.0 / 1024.0);
            }
            let left = end.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(());
            }
            if told.elapsed() > Duration::from_secs(30) {
                told = clock::now();
                eprintln!("{:.0} s to go, {:.1} GiB available", left.as_secs_f64(), available / 1024f64.powi(3));
            }
            clock::rest(left.min(Duration::from_secs(2)));
        }
    }

    /// Publishes everywhere and waits until everybody has heard.
    fn spread(&mut self) -> Result<()> {
        self.fleet.team().tell(|_| Order::Listen)?;
        let begun = clock::now();
        self.fleet.publish()?;
        self.evidence.publishing = begun.elapsed();
        self.standing(HEARING + PATIENCE)?;
        self.evidence.hearing = begun.elapsed();
        Ok(())
    }

    /// Processor time of what happens in `work`, and the heartbeats said meanwhile.
    fn span(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<Load> {
        let connected = self.evidence.connecting > Duration::ZERO;
        let said = |run: &mut Self| -> Result<u64> {
            if !connected {
                return Ok(0);
            }
            run.fleet.team().tell(|_| Order::Tell)?;
            Ok(run.standing(PATIENCE)?.heartbeats)
        };
        let before = said(self)?;
        let (effort, begun) = (self.fleet.effort()?, clock::now());
        work(self)?;
        let wall = begun.elapsed();
        let (servers, clients) = self.fleet.effort()?.since(&effort);
        Ok(Load { wall, servers, clients, heartbeats: said(self)? - before })
    }

    fn standing(&mut self, patience: Duration) -> Result<Standing> {
        let mut all = Standing::default();
        self.fleet.team().hear::<Standing>(patience)?.iter().for_each(|standing| all.add(standing));
        Ok(all)
    }

    fn sample(&mut self) -> Result<()> {
        let moment = Moment::glance(&self.fleet.server_pids, &self.fleet.client_pids)?;
        let seconds = self.begun.elapsed().as_secs_f64();
        self.evidence.course.push(moment.sample(&self.evidence.start, seconds));
        Ok(())
    }
}
