//! Judges a run of `chaos`: what must not be at all (disconnects, losses, a ledger that does not add up) fails the run;
//! times, memory and rates are held against their goals and only told, since they are the machine's too.

use std::time::Duration;

use crate::{
    chaos::Plan,
    chaos_kills::{Kills, PLACES},
    chaos_witness::Account,
    histogram::Histogram,
    node::Node,
    process::Memory,
    report::{Report, Unit, short},
    scrape::Seen,
};

/// Bystanders' p99 with kills may be so many times the one without.
const P99_RATIO: f64 = 1.10;

/// Crash to ready, p99.
const RESTART: Duration = Duration::from_micros(100);

/// Memory after everything may be so many times the one after the first calm phase.
const MEMORY_RATIO: f64 = 1.05;

/// Time and processor time of all phases of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phases {
    pub(crate) wall: Duration,
    pub(crate) server: Duration,
    /// Of all client processes.
    pub(crate) clients: Duration,
    /// Of the process that measures and kills.
    pub(crate) own: Duration,
}

/// All that is known of a run.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) arrived: usize,
    pub(crate) account: Account,
    pub(crate) kills: Kills,
    pub(crate) calm: Phases,
    pub(crate) hot: Phases,
    /// At the end of each phase, and after everything.
    pub(crate) memory: Vec<Memory>,
    pub(crate) nodes: (Node, Node),
    pub(crate) crashes: u64,
    pub(crate) gave_up: u64,
    pub(crate) restarts: Seen,
}

/// Fills the table.
pub(crate) fn judge(plan: &Plan, evidence: &Evidence, report: &mut Report) {
    let note = format!("{} client processes, {} channels, half of each may be hit", plan.processes, plan.channels);
    report.figure("connections", plan.connections as f64, Unit::Count, note);
    let Evidence { account, kills, .. } = evidence;
    let note = format!("{} a second; {} deliveries", plan.rate, account.received);
    report.figure("publications", account.published as f64, Unit::Count, note);
    describe_kills(plan, kills, report);
    bystanders(plan, evidence, report);
    ledger(plan, evidence, report);
    latencies(plan, account, report);
    if plan.shards.is_none() {
        let seen = &evidence.restarts;
        report.figure(
            "crash to ready, mean",
            seen.mean().as_secs_f64() * 1e6,
            Unit::Micros,
            "dormouse_restart_seconds",
        );
        let note = format!(
            "p50 {}, {} of {} above the goal",
            short(seen.quantile(0.5)),
            seen.above(RESTART.as_secs_f64()),
            seen.count
        );
        let p99 = seen.quantile(0.99).as_secs_f64() * 1e6;
        report.goal("crash to ready, p99", p99, Unit::Micros, RESTART.as_secs_f64() * 1e6, note);
    }
    remember(&evidence.memory, report);
    for (name, phases) in [("calm", &evidence.calm), ("kills", &evidence.hot)] {
        let cores = |used: Duration| used.as_secs_f64() / phases.wall.as_secs_f64().max(f64::EPSILON);
        let note = format!("clients {:.2}, measuring and killing {:.2}", cores(phases.clients), cores(phases.own));
        report.figure(&format!("server CPU, {name}"), cores(phases.server), Unit::Cores, note);
    }
}

fn remember(memory: &[Memory], report: &mut Report) {
    let (Some(before), Some(after)) = (memory.first(), memory.last()) else {
        return report.text("memory after / before", "–", "unknown: a server at --url needs its --pid");
    };
    let mib = |bytes: f64| format!("{:.1}", bytes / 1024.0 / 1024.0);
    let phases: Vec<String> = memory.iter().map(|memory| mib(memory.pss)).collect();
    let note = format!("PSS in MiB, calm and kills in turn, then at rest: {}", phases.join(", "));
    report.goal("memory after / before", after.pss / before.pss.max(1.0), Unit::Ratio, MEMORY_RATIO, note);
    let note =
        format!("{} MiB before the first kill, {} MiB at rest", mib(before.private_dirty), mib(after.private_dirty));
    let ratio = after.private_dirty / before.private_dirty.max(1.0);
    report.figure("its own pages after / before", ratio, Unit::Ratio, note);
}

fn describe_kills(plan: &Plan, kills: &Kills, report: &mut Report) {
    let rate = kills.all() as f64 / kills.took.as_secs_f64().max(f64::EPSILON);
    let asked = match plan.shards {
        Some(every) => format!("every shard once in {}", humantime::format_duration(every)),
        None => format!("{} a second asked for", plan.kills),
    };
    let note = format!("{asked}; {rate:.1} a second for {:.0} s", kills.took.as_secs_f64());
    report.figure("kills", kills.all() as f64, Unit::Count, note);
    if plan.shards.is_none() {
        let by_place: Vec<String> =
            PLACES.iter().zip(kills.hits).map(|(place, hits)| format!("{hits} in a {place}")).collect();
        report.context("places", by_place.join(", "));
    }
    report.figure("slowest answer to a kill", kills.slowest.as_secs_f64() * 1e6, Unit::Micros, "");
    report.must_be("kills refused", kills.refused, 0, &*kills.complaint);
    report.must_be("kills that hit nobody", kills.misses, 0, "");
}

fn bystanders(plan: &Plan, evidence: &Evidence, report: &mut Report) {
    let account = &evidence.account;
    report.must_be("bystanders disconnected", account.closed_bystanders, 0, &*account.complaint);
    report.must_be("others disconnected", account.closed_others, 0, "those that were hit, and the publishers");
    report.must_be("connections open at the end", account.open, evidence.arrived as u64, "");
    report.must_be("bystanders restarted", account.restarted_bystanders, 0, "");
    if plan.shards.is_none() {
        let [turns, _, wakes] = evidence.kills.hits;
        report.must_be("victims restarted", account.restarted_victims, turns + wakes, "kills in turns and wakes");
        report.must_be("crashes, as the node counts", evidence.crashes, evidence.kills.all(), "");
    }
    report.must_be("given up", evidence.gave_up, 0, "");
    report.must_be("events lost", account.missed, 0, "on all connections, also those that were hit");
    report.must_be("events doubled", account.doubled, 0, "");
    report.must_be("events out of order", account.disordered, 0, "");
    report.must_be("gaps", account.gaps, 0, "");
    report.must_be("error frames", account.errors, 0, "");
}

fn ledger(plan: &Plan, evidence: &Evidence, report: &mut Report) {
    let (before, after) = &evidence.nodes;
    let ledger = after.ledger.since(&before.ledger);
    let accounted = ledger.delivered + ledger.dropped() + ledger.pending;
    report.must_be("ledger: offered", ledger.offered, accounted, "= delivered + dropped + pending");
    report.must_be("ledger: delivered", ledger.delivered, evidence.account.received, "= events received here");
    report.must_be("ledger: dropped", ledger.dropped(), 0, "");
    report.must_be("ledger: pending", ledger.pending, 0, "when quiet");
    let expected = evidence.account.published * (plan.connections / plan.channels) as u64;
    report.must_be("events received", evidence.account.received, expected, "publications × subscribers of a channel");
}

fn latencies(plan: &Plan, account: &Account, report: &mut Report) {
    let phase = |of: &[Histogram], number: usize| of.get(number).cloned().unwrap_or_else(Histogram::new);
    let all = |of: &[Histogram], first: usize| {
        (0..plan.rounds).fold(Histogram::new(), |mut sum, round| {
            sum.add(&phase(of, first + 2 * round));
            sum
        })
    };
    let (calm, hot) = (all(&account.bystanders, 1), all(&account.bystanders, 2));
    report.spread("bystanders, calm", &calm, "publish to delivery");
    report.spread("bystanders, with kills", &hot, "publish to delivery");
    report.spread("the hit, with kills", &all(&account.victims, 2), "publish to delivery");
    let ratio = |one: &Histogram, other: &Histogram, q| {
        one.quantile(q).as_secs_f64() / other.quantile(q).as_secs_f64().max(f64::EPSILON)
    };
    let each =
        |round| ratio(&phase(&account.bystanders, 2 + 2 * round), &phase(&account.bystanders, 1 + 2 * round), 0.99);
    let mut rounds: Vec<f64> = (0..plan.rounds).map(each).collect();
    let shown: Vec<String> = rounds.iter().map(|ratio| format!("{ratio:.2}")).collect();
    rounds.sort_by(f64::total_cmp);
    let median = f64::midpoint(rounds[(rounds.len() - 1) / 2], rounds[rounds.len() / 2]);
    report.figure("bystanders' p50, kills / calm", ratio(&hot, &calm, 0.5), Unit::Ratio, "all rounds together");
    report.goal(
        "bystanders' p99, kills / calm",
        ratio(&hot, &calm, 0.99),
        Unit::Ratio,
        P99_RATIO,
        "all rounds together",
    );
    report.goal("the same, median of the rounds", median, Unit::Ratio, P99_RATIO, shown.join(" "));
}
