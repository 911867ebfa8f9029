//! `fanout`: one publisher, many subscribers, a fixed number of publications on their way; deliveries a second, the
//! server's processor time for each, and the raw `send()` floor measured in the same run.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::{
    clock,
    crowd::{Arrival, gather},
    dialect::Dialect,
    floor,
    load::{Load, Span},
    report::{Report, Unit},
    rounds::{self, Pace, Rounds},
    target::{Target, TargetOptions},
};

/// What subscribers are given to be seated in a server that does not say so.
const UNTOLD: Duration = Duration::from_secs(1);

/// Options of `fanout`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Subscribers of the channel [default: 2000, quick 500]
    #[arg(long)]
    subscribers: Option<usize>,
    /// Publications on their way at once
    #[arg(long, default_value_t = 1)]
    window: u64,
    /// Publications a second, whatever is on its way; takes the place of --window
    #[arg(long)]
    rate: Option<f64>,
    /// Length of the run, after a warm-up of an eighth [default: 10, quick 2]
    #[arg(long)]
    seconds: Option<u64>,
    /// Bytes added to the data of each publication
    #[arg(long, default_value_t = 0)]
    padding: usize,
    /// Leave out the raw send() floor
    #[arg(long)]
    no_floor: bool,
    /// Only the raw send() floor, in frames as long as an event
    #[arg(long, conflicts_with = "no_floor")]
    floor_only: bool,
    #[command(flatten)]
    target: TargetOptions,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let subscribers = options.target.size(options.subscribers, 2_000, 500).max(1);
    let span = Duration::from_secs(options.target.size(options.seconds, 10, 2));
    let pace = match options.rate {
        Some(rate) if rate > 0.0 => Pace::PerSecond(rate),
        _ => Pace::Window(options.window.max(1)),
    };
    let mut report = Report::new("fanout: one publisher, many subscribers");
    report.figure("subscribers", subscribers as f64, Unit::Count, "");
    match pace {
        Pace::Window(window) => {
            report.figure("window", window as f64, Unit::Count, "publications on their way at once");
        }
        Pace::PerSecond(rate) => report.figure("rate", rate, Unit::PerSecond, "publications, as planned"),
    }
    if options.floor_only {
        let event = Dialect::Plain.publication("bench", 1, options.padding);
        let (raw, load) = floor::measure(&options.target, event.as_bytes(), subscribers, pace, span)?;
        describe(&mut report, &raw, &load);
        return report.finish(options.target.json.as_deref());
    }
    let target = options.target.open(&[])?;
    let (rounds, load) = measure(options, &target, subscribers, pace, span).map_err(|error| target.explain(error))?;
    describe(&mut report, &rounds, &load);
    target.describe(&mut report);
    // The server sits idle with its clients gone while the floor is measured.
    drop(target);
    if !options.no_floor {
        let (raw, raw_load) = floor::measure(&options.target, &rounds.sample, subscribers, pace, span)?;
        describe_floor(&mut report, &rounds, &load, &raw, &raw_load);
    }
    report.finish(options.target.json.as_deref())
}

fn describe(report: &mut Report, rounds: &Rounds, load: &Load) {
    report.figure("publications", rounds.publications as f64, Unit::Count, "");
    let rate = rounds.deliveries as f64 / rounds.took.as_secs_f64();
    let note = format!("{:.0} s, {:.1} bytes of payload each", rounds.took.as_secs_f64(), rounds.payload());
    report.figure("deliveries", rate, Unit::PerSecond, note);
    report.spread("publish to delivery", &rounds.latency, "read in the load generator's one loop");
    load.describe(report, "delivery", rounds.deliveries);
}

fn measure(
    options: &Options,
    target: &Target,
    subscribers: usize,
    pace: Pace,
    span: Duration,
) -> Result<(Rounds, Load)> {
    let (host, dialect) = (target.host(), target.dialect);
    let mut swarm = options.target.clients(target)?;
    let crowd = gather(&mut swarm, subscribers, 256, dialect.subscribed(), |index| {
        Some(dialect.subscriber(&host, &format!("u{index}"), "bench"))
    })?;
    let publisher = gather(&mut swarm, 1, 1, dialect.publishing(), |_| Some(dialect.publisher(&host)))?;
    let publisher = publisher.keys.start;
    if dialect.subscribed() == Arrival::Opened {
        // Nobody tells when such a subscriber is seated: one whose channel lives in another process is not yet.
        swarm.linger(clock::now() + UNTOLD, |_, _| {})?;
    }
    if let Some(beat) = dialect.beat() {
        swarm.repeat(beat, crowd.heartbeat);
    }
    let publish = |swarm: &mut crate::swarm::Swarm, n| {
        // Ours has no id: a reply to each would be measured as well.
        swarm.say(publisher, dialect.publication("bench", n, options.padding).as_bytes());
    };
    rounds::drive(&mut swarm, &crowd.keys, pace, span / 8, publish)?;
    let begun = Span::begin(target)?;
    let rounds = rounds::drive(&mut swarm, &crowd.keys, pace, span, publish)?;
    Ok((rounds, begun.end(target)?))
}

fn describe_floor(report: &mut Report, rounds: &Rounds, load: &Load, raw: &Rounds, raw_load: &Load) {
    let rate = raw.deliveries as f64 / raw.took.as_secs_f64();
    let note = format!("{} bytes of payload each, same window and client", raw.sample.len());
    report.figure("raw send() loop", rate, Unit::PerSecond, note);
    report.spread("raw publish to delivery", &raw.latency, "");
    let each = |load: &Load, rounds: &Rounds| {
        load.server.map(|used| used.as_secs_f64() * 1e6 / rounds.deliveries.max(1) as f64)
    };
    if let Some(floor) = each(raw_load, raw) {
        report.figure("raw CPU per send", floor, Unit::Micros, "the floor without batching");
        if let Some(ours) = each(load, rounds) {
            report.text("server to raw", format!("{:.2} ×", ours / floor), "CPU per delivery / CPU per send");
        }
    }
}
