//! `members`: nobody misses anything. Half of a channel's members are away while it is published to, members lose their
//! sockets again and again, and all of them at once; each must get every event once and in order.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{
    clock,
    dice::Dice,
    member_crowd::Members,
    report::{Report, Unit},
    target::TargetOptions,
};

/// What happens to the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Half are away while everything is published, and come back at once
    Away,
    /// Each is cut again and again
    Cuts,
    /// All are cut at once
    Avalanche,
}

/// Options of `members`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What happens
    #[arg(long, value_enum, default_value = "away")]
    scenario: Scenario,
    /// Members [default: 10000, avalanche 18000, quick 500]
    #[arg(long)]
    connections: Option<usize>,
    /// Events published while half are away, or all cut off [default: 1000, avalanche 100, quick 100]
    #[arg(long)]
    messages: Option<u64>,
    /// How long members are cut [default: 2m, quick 10s]
    #[arg(long = "for", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Each is cut about once in this time
    #[arg(long, default_value = "15s", value_parser = humantime::parse_duration)]
    every: Duration,
    /// Events a second while members are cut
    #[arg(long, default_value_t = 2)]
    rate: u32,
    #[command(flatten)]
    target: TargetOptions,
}

/// Publications on their way at once.
const WINDOW: u64 = 64;

/// Runs it and says whether everybody got everything.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let sets = ["channels.chat.history_events=100000", "channels.chat.catch_up_limit=100000"].map(str::to_owned);
    let target = options.target.open(&sets)?;
    let full = if options.scenario == Scenario::Avalanche { 18_000 } else { 10_000 };
    let count = options.target.size(options.connections, full, 500);
    let swarm = options.target.swarm(target.address)?;
    let began = clock::now();
    let mut members = Members::gather(swarm, target.host(), count, Dice::new(options.target.seed))
        .map_err(|error| target.explain(error))?;
    let mut report = Report::new("members: every event once and in order, whoever was away");
    let note = format!("connected and joined in {:.1} s", began.elapsed().as_secs_f64());
    report.figure("members", count as f64, Unit::Count, note);
    let played = match options.scenario {
        Scenario::Away => away(options, &mut members, &mut report),
        Scenario::Cuts => cuts(options, &mut members, &mut report),
        Scenario::Avalanche => avalanche(options, &mut members, &mut report),
    };
    played.map_err(|error| target.explain(error))?;
    report.must_be(
        "events delivered",
        members.book.delivered,
        members.book.head * count as u64,
        "to each member each event",
    );
    report.must_be("events missing", members.book.missing, 0, "");
    report.must_be("events twice", members.book.doubled, 0, "after the cursor each came with");
    report.must_be("gaps", members.book.gaps, 0, "");
    report.spread("recovery", &members.book.recovery, "from the cut, or the return, to everything; with backoff");
    if let Ok(memory) = target.memory() {
        report.figure("server memory", memory.rss, Unit::Bytes, "at the end");
    }
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

fn publish_all(members: &mut Members, messages: u64) -> Result<()> {
    for _ in 0..messages {
        members.publish();
        while members.unanswered() >= WINDOW {
            members.turn(Duration::from_millis(5))?;
        }
    }
    members.until("publish", |all| all.unanswered() == 0).map(drop)
}

fn away(options: &Options, members: &mut Members, report: &mut Report) -> Result<()> {
    let messages = options.target.size(options.messages, 1_000, 100);
    let away = members.count() / 2;
    (0..away).for_each(|key| members.cut(key, true));
    let began = clock::now();
    publish_all(members, messages)?;
    let there = members.count() - away;
    members.until("hear", |all| all.complete() == there)?;
    let rate = (messages * there as u64) as f64 / began.elapsed().as_secs_f64();
    report.figure("events", messages as f64, Unit::Count, format!("{rate:.0} deliveries/s to those who were there"));
    members.come_back();
    let all = members.count();
    let took = members.until("come back", |members| members.complete() == all)?;
    let note = format!("{away} members, {} events", away as u64 * messages);
    report.figure("all back with everything", took.as_secs_f64(), Unit::Seconds, note);
    Ok(())
}

fn cuts(options: &Options, members: &mut Members, report: &mut Report) -> Result<()> {
    let time = options.target.size(options.time, Duration::from_secs(120), Duration::from_secs(10));
    let (count, began) = (members.count() as u64, clock::now());
    let (mut cut, mut published) = (0, 0);
    while began.elapsed() < time {
        let passed = began.elapsed().as_secs_f64();
        while (cut as f64) < passed * count as f64 / options.every.as_secs_f64() {
            let key = (members.dice.roll() % count) as usize;
            members.cut(key, false);
            cut += 1;
        }
        while f64::from(published) < passed * f64::from(options.rate) {
            members.publish();
            published += 1;
        }
        members.turn(Duration::from_millis(5))?;
    }
    let all = members.count();
    members.until("answer", |members| members.unanswered() == 0)?;
    members.until("catch up", |members| members.complete() == all)?;
    report.figure("cuts", cut as f64, Unit::Count, format!("in {}", humantime::format_duration(time)));
    report.figure("events", f64::from(published), Unit::Count, format!("{} a second", options.rate));
    let p99 = members.book.recovery.quantile(0.99).as_secs_f64();
    report.goal("recovery p99", p99, Unit::Seconds, 1.0, "");
    Ok(())
}

fn avalanche(options: &Options, members: &mut Members, report: &mut Report) -> Result<()> {
    let messages = options.target.size(options.messages, 100, 20);
    let (all, began) = (members.count(), clock::now());
    (0..all).for_each(|key| members.cut(key, false));
    publish_all(members, messages)?;
    members.until("come back", |members| members.complete() == all)?;
    let took = began.elapsed().as_secs_f64();
    report.figure("events meanwhile", messages as f64, Unit::Count, "");
    report.goal("all back with everything", took, Unit::Seconds, 10.0, "from the cut");
    Ok(())
}
