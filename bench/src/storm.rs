//! `storm`: how many clients a second a server takes in: TCP connect, handshake, identify and subscribe, up to `ready`.

use anyhow::Result;
use clap::Args;

use crate::{
    crowd::{Arrival, gather},
    load::Span,
    message,
    report::{Report, Unit},
    target::{Target, TargetOptions},
};

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
    let host = target.host();
    let mut swarm = options.target.swarm(target.address)?;
    let before = target.memory().ok();
    let begun = Span::begin(target)?;
    let crowd = gather(&mut swarm, count, options.concurrency, Arrival::Ready, |index| {
        Some(message::gateway(&host, &format!("u{index}"), Some("bench")))
    })?;
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
    Ok(())
}
