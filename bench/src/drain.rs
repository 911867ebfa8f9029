//! `drain`: SIGTERM for a server with thousands of clients, beside a second one that they move to. Every client must hear
//! every message, from one of them or the other; the first server must end in time, and nobody may come to the second faster
//! than the pace that the first was told.
//!
//! A backend publishes each message to both, as operators of two nodes do (`backend`); the clients are `travellers`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    backend::{Backend, Published},
    clock,
    dice::Dice,
    flow::median,
    report::{Report, Unit},
    server::Server,
    target::TargetOptions,
    travellers::Travellers,
};

/// Messages before the SIGTERM, and after the last client has moved.
const CALM: Duration = Duration::from_secs(1);
/// Who has not heard everything by then never will.
const TAIL: Duration = Duration::from_secs(15);
/// Beyond the deadline a server may take so long to be gone from the process table.
const GRACE: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

/// Options of `drain`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Clients [default: 10000, quick 1000]
    #[arg(long)]
    connections: Option<usize>,
    /// Channels they are spread over
    #[arg(long, default_value_t = 20)]
    channels: usize,
    /// Messages a second, over all channels
    #[arg(long, default_value_t = 40.0)]
    rate: f64,
    /// `listen.drain_pace`: clients a second [default: 2000, quick 1000]
    #[arg(long)]
    pace: Option<u32>,
    /// `listen.drain`: the deadline [default: 10s, quick 3s]
    #[arg(long, value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
    /// Of a hundred clients, so many do not know `reconnect` and stay until they are closed
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100))]
    deaf: u64,
    #[command(flatten)]
    target: TargetOptions,
}

/// The same with nothing left open.
struct Plan {
    connections: usize,
    pace: u32,
    deadline: Duration,
}

/// What the clients and the thread that asks cannot know.
struct Evidence {
    published: Published,
    /// Status of `/health/ready` before the SIGTERM, and when the first client had been asked to leave.
    ready: (u16, Option<u16>),
    code: Option<i32>,
    took: Duration,
    terminated: Instant,
}

/// Runs it and says whether every promise held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let plan = Plan {
        connections: options.target.size(options.connections, 10_000, 1_000).max(1),
        pace: options.target.size(options.pace, 2_000, 1_000),
        deadline: options.target.size(options.deadline, Duration::from_secs(10), Duration::from_secs(3)),
    };
    let sets = [format!("listen.drain={}ms", plan.deadline.as_millis()), format!("listen.drain_pace={}", plan.pace)];
    let mut target = options.target.open(&sets)?;
    let Some(first) = target.server.take() else { bail!("drain ends its server, so it starts its own: no --url") };
    let second = Server::serve(&options.target.bin, "127.0.0.1:0", &options.target.all_sets(&sets))?;
    let channels = (0..options.channels.max(1)).map(|number| format!("chat:drain-{number}")).collect();
    let mut travellers = Travellers::gather(
        options.target.swarm(first.address)?,
        &target.host(),
        channels,
        (plan.connections, options.deaf as usize),
        Dice::new(options.target.seed),
    )?;
    let evidence = measure(options, &plan, (first, &second), &mut travellers)
        .map_err(|error| error.context(format!("the second server's last log lines:\n{}", second.last_words())))?;
    let mut report = Report::new("drain: SIGTERM for a server, and its clients' way to another");
    judge(options, &plan, &evidence, &travellers, &mut report);
    target.replace(second);
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

fn measure(
    options: &Options,
    plan: &Plan,
    (mut first, second): (Server, &Server),
    travellers: &mut Travellers,
) -> Result<Evidence> {
    let servers = vec![first.address, second.address];
    let backend = Backend::start(servers, travellers.channels().to_vec(), options.rate);
    linger(travellers, CALM)?;
    let mut ready = (readiness(&first)?, None);
    travellers.head_for(second.address);
    first.ask_to_end()?;
    let terminated = clock::now();
    let mut ended = None;
    while ended.is_none() || travellers.there() < plan.connections {
        travellers.turn(Duration::from_millis(5))?;
        if ready.1.is_none() && travellers.journal.asked.count() > 0 {
            ready.1 = Some(readiness(&first)?);
        }
        if ended.is_none() {
            ended = first.has_ended()?.map(|status| (status, terminated.elapsed()));
        }
        if terminated.elapsed() > plan.deadline + TAIL {
            bail!(
                "after {:?} {} of {} clients had moved, and the first server had {}",
                terminated.elapsed(),
                travellers.there(),
                plan.connections,
                if ended.is_some() { "ended" } else { "not ended" }
            );
        }
    }
    linger(travellers, CALM)?;
    let published = backend.finish()?;
    let last = clock::now();
    while travellers.missing(&published.messages) > 0 && last.elapsed() < TAIL {
        travellers.turn(Duration::from_millis(50))?;
    }
    let (status, took) = ended.context("the first server did not end")?;
    Ok(Evidence { published, ready, code: status.code(), took, terminated })
}

fn linger(travellers: &mut Travellers, time: Duration) -> Result<()> {
    let until = clock::now() + time;
    while clock::now() < until {
        travellers.turn(Duration::from_millis(20))?;
    }
    Ok(())
}

fn readiness(server: &Server) -> Result<u16> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .max_idle_connections(0)
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("http://{}/health/ready", server.address);
    Ok(agent.get(&url).call().with_context(|| format!("GET {url}"))?.status().as_u16())
}

fn judge(options: &Options, plan: &Plan, evidence: &Evidence, travellers: &Travellers, report: &mut Report) {
    let (journal, published) = (&travellers.journal, &evidence.published);
    let note = format!("in {} channels; {} of a hundred do not know `reconnect`", options.channels, options.deaf);
    report.figure("clients", plan.connections as f64, Unit::Count, note);
    let all: u64 = published.messages.iter().sum();
    report.figure("messages", all as f64, Unit::Count, format!("{} a second, each to both servers", options.rate));
    let (owed, missing) = (travellers.owed(&published.messages), travellers.missing(&published.messages));
    let (doubled, late) = travellers.doubled_and_late();
    report.must_be(
        "deliveries",
        owed - missing,
        owed,
        "to each client each message of its channel, from either server",
    );
    report.must_be(
        "missing",
        missing,
        0,
        format!("{doubled} heard again, {late} after a later one; dropped by number"),
    );
    report.must_be("gaps", journal.gaps, 0, "");
    let refused = published.refused.last().copied().unwrap_or_default();
    report.must_be("messages the second server did not take", refused, 0, &*published.complaint);
    let moved: Vec<String> = journal.endings.iter().map(|(how, count)| format!("{count} × {how}")).collect();
    report.must_be("clients moved", travellers.there() as u64, plan.connections as u64, moved.join("; "));
    report.must_be("attempts at the second server that failed", journal.failures, 0, &*journal.complaint);
    let asked = journal.asked.count() as u64;
    report.must_be("ready before", evidence.ready.0.into(), 200, "/health/ready of the first server");
    let note = "when the first `reconnect` had come";
    report.must_be("ready then", evidence.ready.1.unwrap_or_default().into(), 503, note);
    let note = format!(
        "within {:.2} s, with after_ms up to {}",
        journal.asked.took().as_secs_f64(),
        journal.longest_after.as_millis()
    );
    report.figure("asked to leave", asked as f64, Unit::Count, note);
    report.must_be("exit code", evidence.code.map_or(u64::MAX, |code| code as u64), 0, "");
    let note = format!("of the first server; its deadline is {}", humantime::format_duration(plan.deadline));
    report.figure("SIGTERM to the end", evidence.took.as_secs_f64(), Unit::Seconds, note);
    report.must_be("ended in time", u64::from(evidence.took <= plan.deadline + GRACE), 1, "");
    if let Some(settled) = journal.settled {
        let took = settled.saturating_duration_since(evidence.terminated).as_secs_f64();
        report.figure("all there", took, Unit::Seconds, "after SIGTERM, subscribed at the second server");
    }
    report.spread("away", &journal.away, "from leaving one to being subscribed at the other");
    pace(options, plan, travellers, report);
    let note = format!("jitter of the clients; {} s each before SIGTERM and after the last", CALM.as_secs());
    report.text("seed", options.target.seed.to_string(), note);
}

fn pace(options: &Options, plan: &Plan, travellers: &Travellers, report: &mut Report) {
    let dialled = &travellers.journal.dialled;
    let seconds = dialled.by(SECOND);
    let shown: Vec<String> = seconds.iter().map(usize::to_string).collect();
    let most = dialled.most_within(SECOND);
    let goal = f64::from(plan.pace);
    let note = format!("wherever it begins; by the second: {}", shown.join(" "));
    report.goal("most to come within a second", most as f64, Unit::Count, goal, note);
    report.goal("median second", median(&seconds) as f64, Unit::Count, goal, "");
    let most_of_tenth = dialled.most_within(TENTH) as f64;
    report.figure(
        "most within a tenth of one",
        most_of_tenth,
        Unit::Count,
        format!("median {}", median(&dialled.by(TENTH))),
    );
    if !options.target.quick {
        let beyond = most.saturating_sub(plan.pace as usize);
        report.must_be("beyond the pace", beyond as u64, 0, "clients, in the fullest second");
    }
}
