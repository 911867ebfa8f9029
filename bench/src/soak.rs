//! `soak`: one channel, some members crash their actors again and again, and nobody may notice: no disconnect, nothing
//! missed, doubled or out of order for anyone, every crash answered once, and an exact ledger at the end.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    clock,
    crowd::{Arrival, gather},
    load::{Load, Span},
    message,
    node::{self, Node},
    report::{Report, Unit},
    swarm::{Beat, Key, Swarm},
    tally::Tally,
    target::{Target, TargetOptions},
    witness::{Publication, Witness},
};

/// How long the last events and replies may take after the last publication.
const TAIL: Duration = Duration::from_secs(15);

/// Options of `soak`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Connections in the channel [default: 1000, quick 200]
    #[arg(long)]
    connections: Option<usize>,
    /// How many of them crash their actors [default: 200, quick 40]
    #[arg(long)]
    crashing: Option<usize>,
    /// How often each of those does
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    crash_every: Duration,
    /// Publications a second
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Length of the run [default: 30, quick 5]
    #[arg(long)]
    seconds: Option<u64>,
    #[command(flatten)]
    target: TargetOptions,
}

/// Budgets out of the way, since here the crashes are the point; a history, since the channel is to have one.
fn sets() -> Vec<String> {
    ["chaos.enabled=true", "supervision.max_restarts=1000", "channels.defaults.history_events=1000"]
        .map(str::to_owned)
        .to_vec()
}

/// Runs it and says whether every invariant held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let target = options.target.open(&sets())?;
    let mut report = Report::new("soak: crashes in a crowd, and what the others notice of them");
    measure(options, &target, &mut report).map_err(|error| target.explain(error))?;
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

fn measure(options: &Options, target: &Target, report: &mut Report) -> Result<()> {
    let count = options.target.size(options.connections, 1_000, 200);
    let crashing = options.target.size(options.crashing, 200, 40);
    let span = Duration::from_secs(options.target.size(options.seconds, 30, 5));
    if crashing > count || count == 0 || options.rate <= 0.0 {
        bail!("--crashing must be within --connections, --connections and --rate above zero");
    }
    let host = target.host();
    let mut swarm = options.target.swarm(target.address)?;
    let crowd = gather(&mut swarm, count, 256, Arrival::Ready, |index| {
        Some(message::gateway(&host, &format!("u{index}"), Some("bench")))
    })?;
    let publisher = gather(&mut swarm, 1, 1, Arrival::Ready, |_| Some(message::gateway(&host, "publisher", None)))?;
    swarm.repeat(Beat::Text(message::HEARTBEAT), crowd.heartbeat);
    let before = node::ask(target.address)?;
    let mut witness = Witness::new(count, crashing, publisher.keys.start);
    let begun = Span::begin(target)?;
    drive(&mut witness, &mut swarm, options, span)?;
    let load = begun.end(target)?;
    let after = quiet(target, &mut swarm, &mut witness)?;
    describe(&witness, report, options, span, &load, (&before, &after));
    report.must_be("connections open at the end", swarm.open() as u64, count as u64 + 1, "with the publisher");
    Ok(())
}

/// Asks until nothing is pending and nothing was offered between two answers.
fn quiet(target: &Target, swarm: &mut Swarm, witness: &mut Witness) -> Result<Node> {
    let deadline = clock::now() + TAIL;
    let mut last = node::ask(target.address)?;
    loop {
        swarm.linger(clock::now() + Duration::from_millis(250), |key, happening| witness.hear(key, &happening))?;
        let node = node::ask(target.address)?;
        let settled = node.ledger.pending == 0 && node.ledger.offered == last.ledger.offered;
        if settled || clock::now() > deadline {
            return Ok(node);
        }
        last = node;
    }
}

/// Publishes and crashes on schedule, then waits for the rest to arrive.
fn drive(witness: &mut Witness, swarm: &mut Swarm, options: &Options, span: Duration) -> Result<()> {
    let crashing: Vec<Key> = (0..witness.crashes.len()).filter(|key| witness.crashes[*key]).collect();
    let publish_step = Duration::from_secs_f64(1.0 / options.rate);
    let crash_step = options.crash_every.checked_div(crashing.len() as u32);
    let start = clock::now();
    loop {
        let elapsed = start.elapsed();
        if elapsed >= span {
            break;
        }
        while publish_step.mul_f64(witness.publications.len() as f64) <= elapsed {
            let number = witness.publications.len() as u64 + 1;
            witness.publications.push(Publication { sent: clock::now(), offset: 0, replies: 0 });
            swarm.say(witness.publisher, message::publish("bench", Some(number), number, 0).as_bytes());
        }
        let mut wait = publish_step.mul_f64(witness.publications.len() as f64).saturating_sub(elapsed);
        if let Some(step) = crash_step {
            while step.mul_f64(witness.answers.len() as f64) <= elapsed {
                let id = witness.answers.len() as u64;
                swarm.say(crashing[witness.answers.len() % crashing.len()], message::chaos(id).as_bytes());
                witness.answers.push(0);
            }
            wait = wait.min(step.mul_f64(witness.answers.len() as f64).saturating_sub(elapsed));
        }
        swarm.turn(wait.min(span - elapsed), |key, happening| witness.hear(key, &happening))?;
    }
    let deadline = clock::now() + TAIL;
    while !witness.complete() && clock::now() < deadline {
        swarm.turn(Duration::from_millis(50), |key, happening| witness.hear(key, &happening))?;
    }
    Ok(())
}

/// The figures, and the verdict on each promise.
fn describe(
    witness: &Witness,
    report: &mut Report,
    options: &Options,
    span: Duration,
    load: &Load,
    nodes: (&Node, &Node),
) {
    let published = witness.publications.len() as u64;
    let over_all = |of: fn(&Tally) -> u64| witness.tallies.iter().map(of).sum::<u64>();
    let crashing = witness.crashes.iter().filter(|crashes| **crashes).count();
    let count = witness.tallies.len();
    report.figure("connections", count as f64, Unit::Count, format!("{crashing} of them crash their actors"));
    let note = format!("{} a second for {:.0} s", options.rate, span.as_secs_f64());
    report.figure("publications", published as f64, Unit::Count, note);
    let chaos = witness.answers.len() as u64;
    let note = format!("each crashing connection once in {}", humantime::format_duration(options.crash_every));
    report.figure("crashes asked for", chaos as f64, Unit::Count, note);
    report.must_be("bystanders disconnected", witness.closed_bystanders, 0, &*witness.complaint);
    report.must_be("others disconnected", witness.closed_others, 0, "the crashing ones and the publisher");
    let missed = witness.tallies.iter().map(|tally| tally.missed(published)).sum();
    report.must_be("events missed", missed, 0, "on all connections");
    report.must_be("events doubled", over_all(|tally| tally.doubled), 0, "");
    report.must_be("events out of order", over_all(|tally| tally.disordered), 0, "");
    report.must_be("offsets disagreed on", witness.disagreements, 0, "between subscribers and the publisher's reply");
    report.must_be("gaps", witness.gaps, 0, "");
    report.must_be("error frames", witness.errors, 0, "");
    let unanswered = witness.publications.iter().filter(|publication| publication.replies != 1).count() as u64;
    report.must_be("publications not answered once", unanswered + witness.refused_publications, 0, "");
    let unanswered = witness.answers.iter().filter(|replies| **replies == 0).count() as u64;
    report.must_be("crashes unanswered", unanswered, 0, "");
    let twice = witness.answers.iter().filter(|replies| **replies > 1).count() as u64;
    report.must_be("crashes answered twice", twice, 0, "");
    report.must_be("crashes answered otherwise", witness.wrong_answers, 0, "than reply.error.code = crashed");
    report.must_be("restarted frames", witness.restarted, chaos, "one for each crash");
    report.must_be("generations that did not rise", witness.generations_not_rising, 0, "");
    let (before, after) = nodes;
    report.must_be("restarts, as the node counts", after.restarts.saturating_sub(before.restarts), chaos, "");
    let ledger = after.ledger.since(&before.ledger);
    let accounted = ledger.delivered + ledger.dropped() + ledger.pending;
    report.must_be("ledger: offered", ledger.offered, accounted, "= delivered + dropped + pending");
    report.must_be("ledger: delivered", ledger.delivered, over_all(Tally::received), "= events received here");
    report.must_be("ledger: dropped", ledger.dropped(), 0, "");
    report.must_be("ledger: pending", ledger.pending, 0, "when quiet");
    report.spread("publish to delivery, bystanders", &witness.bystanders, "");
    report.spread("publish to delivery, crashing", &witness.crashers, "");
    report.spread("publish to reply", &witness.published, "");
    load.describe(report, "delivery", over_all(Tally::received));
}
