//! The course of a run of `million`: processes, then connections, then time, then a message to each, and what was measured
//! between. Waits for the clients' answers, watches the memory, decides nothing about promises.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{
    caretaker::Caretaker,
    clock,
    fleet::{Account, Fleet},
    kernel::Kernel,
    million::{Options, Plan},
    million_crowd::{HEARING, Order, Standing},
    parts::{Moment, Sample},
    sysctl,
};

/// Nobody is connected for this long before the first does, to see what processes cost by themselves.
const EMPTY: Duration = Duration::from_secs(5);

/// A client process that has not answered by then will not.
const PATIENCE: Duration = Duration::from_secs(120);

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
    pub(crate) reached: u64,
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

/// A run under way.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    options: &'a Options,
    plan: &'a Plan,
    fleet: Fleet,
    begun: Instant,
    evidence: Evidence,
}

impl<'a> Run<'a> {
    /// Starts all processes.
    pub(crate) fn begin(options: &'a Options, plan: &'a Plan, caretaker: &mut Caretaker) -> Result<Self> {
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

    /// Goes through all of it and ends the processes.
    pub(crate) fn complete(mut self) -> Result<Evidence> {
        let outcome = self.all();
        let words = || self.fleet.last_words().unwrap_or_else(|| "no server has complained".to_owned());
        outcome.with_context(words)?;
        eprintln!("ending …");
        Ok(self.evidence)
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
        self.evidence.account = self.fleet.until_dormant(self.evidence.reached, PATIENCE)?;
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
                        self.evidence.reached += standing.arrived;
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
