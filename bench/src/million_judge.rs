//! What `million` has shown, as a table, and what it promises: everybody is connected, nobody is lost, every heartbeat is
//! answered, and everybody hears the one message once. Memory and times are told.

use std::time::Duration;

use crate::{
    million::Plan,
    million_run::{Evidence, Load},
    parts::PARTS,
    report::{Report, Unit, gibibytes},
};

/// What is asked next.
const TWICE: f64 = 2_000_000.0;

/// The table.
pub(crate) fn judge(plan: &Plan, evidence: &Evidence) -> Report {
    let mut report = Report::new("million: WebSockets on one machine, both ends, by part");
    promises(plan, evidence, &mut report);
    memory(plan, evidence, &mut report);
    times(plan, evidence, &mut report);
    let servers = format!("serve --listen 127.0.0.1:0 --set {}", plan.sets.join(" --set "));
    report.context("servers", servers);
    let settings = match evidence.settings.as_slice() {
        [] => "enough as they were".to_owned(),
        changed => format!("{}; put back at the end", changed.join(", ")),
    };
    report.context("kernel settings", settings);
    report
}

fn promises(plan: &Plan, evidence: &Evidence, report: &mut Report) {
    let standing = &evidence.standing;
    let reached = evidence.reached;
    let note = match evidence.short {
        Some(left) => format!("no more: only {} of memory were left", gibibytes(left)),
        None => String::new(),
    };
    report.must_be("connections", reached, plan.connections as u64, note);
    let held = format!("after {} with a heartbeat each in 45 s", humantime::format_duration(plan.hold));
    report.must_be("still open at the end", standing.open, reached, held);
    report.must_be("disconnects", standing.closed, 0, "");
    report.must_be("gaps and errors", standing.refused, 0, standing.complaint.clone().unwrap_or_default());
    report.must_be("dormant", evidence.account.dormant, reached, "as the servers say at the end of the hold");
    report.must_be("heartbeats answered", standing.answered, standing.heartbeats, "since the first connection");
    report.must_be("messages heard", standing.heard, reached, "one to each");
    report.must_be("heard twice, or another's", standing.doubled + standing.foreign, 0, "");
    let account = &evidence.account;
    report.must_be("ledger: delivered", account.delivered, account.offered, "of so many offered, as the servers say");
    report.must_be("ledger: dropped or pending", account.dropped + account.pending, 0, "");
}

fn memory(plan: &Plan, evidence: &Evidence, report: &mut Report) {
    let connections = evidence.reached.max(1) as f64;
    let pairs = plan.shares.len() as f64;
    let (start, empty, held) = (&evidence.start, &evidence.empty, &evidence.held);
    let fixed = empty.grown(start);
    let slope = held.grown(empty);
    for (part, name) in PARTS.into_iter().enumerate() {
        let note = format!(
            "of each connection; {} with all, {} without any",
            gibibytes(fixed[part] + slope[part]),
            gibibytes(fixed[part])
        );
        report.figure(name, slope[part] / connections, Unit::Bytes, note);
    }
    let sum: f64 = slope.iter().sum();
    let note = format!("{} with all", gibibytes(sum + fixed.iter().sum::<f64>()));
    report.figure("all parts", sum / connections, Unit::Bytes, note);
    let taken = empty.taken_until(held);
    let note = format!("MemAvailable {} → {}", gibibytes(empty.kernel.available), gibibytes(held.kernel.available));
    report.figure("the machine", taken / connections, Unit::Bytes, note);
    let kinds = held.kernel.grown(&empty.kernel, 2.0 * connections);
    if !kinds.is_empty() {
        report.context("kernel objects of a socket", format!("{kinds}; kinds of one size share a name"));
    }
    for (part, name) in [(0, "a server by itself"), (1, "a client process by itself")] {
        report.figure(name, fixed[part] / pairs, Unit::Bytes, format!("{pairs} of them; what they share counts once"));
    }
    let more = (TWICE / plan.each as f64).ceil();
    let processes = fixed.iter().sum::<f64>() / pairs * more;
    let need = sum / connections * TWICE + processes;
    let free = start.kernel.available;
    let fits = if need + plan.keep_free < free { "fits" } else { "does not fit" };
    let note = format!(
        "by the slopes of all parts, {} of it {more} pairs by themselves; {} were available of {}: {fits}",
        gibibytes(processes),
        gibibytes(free),
        gibibytes(start.kernel.total)
    );
    report.text("2,000,000 would take", gibibytes(need), note);
}

fn times(plan: &Plan, evidence: &Evidence, report: &mut Report) {
    let reached = evidence.reached;
    let connecting = evidence.connecting.as_secs_f64();
    let rate = reached as f64 / connecting.max(1e-3);
    report.figure("connected, identified, subscribed", rate, Unit::PerSecond, format!("in {connecting:.1} s"));
    let (idle, busy) = (&evidence.idle, &evidence.busy);
    let said = format!("over {:.0} s", busy.wall.as_secs_f64());
    report.figure("heartbeats in the hold", busy.heartbeats as f64, Unit::Count, said);
    let pairs = plan.shares.len();
    let cores = |used: Duration, load: &Load| used.as_secs_f64() / load.wall.as_secs_f64().max(1e-3);
    let note = |nobody: Duration| format!("{:.2} with nobody connected, {pairs} processes", cores(nobody, idle));
    report.figure("server CPU, held", cores(busy.servers, busy), Unit::Cores, note(idle.servers));
    report.figure("client CPU, held", cores(busy.clients, busy), Unit::Cores, note(idle.clients));
    let each = |used: Duration, count: u64| used.as_secs_f64() * 1e6 / count.max(1) as f64;
    let above = busy.servers.as_secs_f64() - cores(idle.servers, idle) * busy.wall.as_secs_f64();
    let above = Duration::from_secs_f64(above.max(0.0));
    report.figure("server CPU per heartbeat", each(above, busy.heartbeats), Unit::Micros, "above that");
    let hearing = evidence.hearing.as_secs_f64();
    let note = format!(
        "from the first publication; {:.2} s until all {pairs} servers had taken theirs",
        evidence.publishing.as_secs_f64()
    );
    report.figure("last message heard after", hearing, Unit::Seconds, note);
    let spreading = &evidence.spreading;
    // What heartbeats take went on meanwhile.
    let beats = |used: Duration| cores(used, busy) * spreading.wall.as_secs_f64();
    let above = |used: Duration, beats: f64| Duration::from_secs_f64((used.as_secs_f64() - beats).max(0.0));
    let servers = above(spreading.servers, beats(busy.servers));
    let clients = each(above(spreading.clients, beats(busy.clients)), reached);
    let note = format!("clients {clients:.2} µs; both without the heartbeats of that time");
    report.figure("server CPU per message", each(servers, reached), Unit::Micros, note);
}
