//! `storm`: how many clients a second a server takes in: TCP connect, handshake, identify and subscribe, up to `ready`;
//! and how long it takes until all are back that have lost their sockets at the same moment.

use std::{ops::Range, time::Duration};

use anyhow::Result;
use clap::Args;

use crate::{
    client::Happening,
    clock,
    crowd::{Arrival, gather},
    histogram::Histogram,
    load::Span,
    message::{Op, op},
    report::{Report, Unit},
    swarm::{Key, Swarm},
    target::{Target, TargetOptions},
};

/// Who is not back after this long stays away.
const DEADLINE: Duration = Duration::from_secs(20);

/// Options of `storm`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Clients [default: 18000, quick 2000]
    #[arg(long)]
    connections: Option<usize>,
    /// Handshakes under way at once
    #[arg(long, default_value_t = 256)]
    concurrency: usize,
    #[command(flatten)]
    target: TargetOptions,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let target = options.target.open(&[])?;
    let mut report = Report::new("storm: connect, handshake, identify, subscribe");
    measure(options, &target, &mut report).map_err(|error| target.explain(error))?;
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

fn measure(options: &Options, target: &Target, report: &mut Report) -> Result<()> {
    let count = options.target.size(options.connections, 18_000, 2_000).max(1);
    let (host, dialect) = (target.host(), target.dialect);
    let request = |index: usize| dialect.subscriber(&host, &format!("u{index}"), "bench");
    let mut swarm = options.target.clients(target)?;
    let before = target.memory().ok();
    let begun = Span::begin(target)?;
    let crowd = gather(&mut swarm, count, options.concurrency, dialect.subscribed(), |index| Some(request(index)))?;
    let load = begun.end(target)?;
    report.figure("clients", count as f64, Unit::Count, format!("{} under way at once", options.concurrency));
    let rate = count as f64 / crowd.took.as_secs_f64();
    report.figure(
        "taken in",
        rate,
        Unit::PerSecond,
        format!("{:.2} s from connect to ready", crowd.took.as_secs_f64()),
    );
    report.spread("connect to ready", &crowd.each, "");
    load.describe(report, "client", count as u64);
    if let (Some(before), Ok(after)) = (before, target.memory()) {
        let growth = (after.pss - before.pss) / count as f64;
        report.figure("user space per client", growth, Unit::Bytes, "PSS growth at the end of the storm, not settled");
    }
    let begun = Span::begin(target)?;
    let back = reconnect(&mut swarm, &crowd.keys, dialect.subscribed(), request)?;
    let load = begun.end(target)?;
    let share = back.each.count() as f64 / count as f64 * 100.0;
    let note = format!("% of {count} whose sockets were cut at once; {} dials failed", back.failed);
    report.figure("back", share, Unit::Count, note);
    report.figure("all back", back.took.as_secs_f64(), Unit::Seconds, "or the time given to them");
    report.spread("cut to back", &back.each, "");
    report.figure("server CPU while they come back", load.server_cores().unwrap_or_default(), Unit::Cores, "");
    report.figure("load generator CPU while they come back", load.own_cores(), Unit::Cores, "");
    Ok(())
}

/// Clients that came back after their sockets were cut.
struct Back {
    each: Histogram,
    took: Duration,
    failed: u64,
}

/// Cuts all sockets and dials all of them again at once; a failed dial is tried again at once.
fn reconnect(
    swarm: &mut Swarm,
    keys: &Range<Key>,
    arrival: Arrival,
    request: impl Fn(usize) -> String,
) -> Result<Back> {
    let start = clock::now();
    let mut back = Back { each: Histogram::new(), took: DEADLINE, failed: 0 };
    let mut due: Vec<Key> = keys.clone().collect();
    while back.each.count() < keys.len() as u64 && start.elapsed() < DEADLINE {
        for key in std::mem::take(&mut due) {
            if swarm.redial(key, Some(&request(key - keys.start))).is_err() {
                back.failed += 1;
                due.push(key);
            }
        }
        swarm.turn(Duration::from_millis(10), |key, happening| {
            let there = match happening {
                Happening::Opened => arrival == Arrival::Opened,
                Happening::Message(message) => arrival == Arrival::Ready && op(message) == Op::Ready,
                Happening::Closed(_) => {
                    back.failed += 1;
                    due.push(key);
                    false
                }
                Happening::Pong => false,
            };
            if there {
                back.each.record(start.elapsed());
            }
        })?;
    }
    back.took = start.elapsed();
    Ok(back)
}
