//! Where a run of `million` is kept: figures and course in the day's JSON, the course as a plot beside it, the tables in the
//! README.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    clock,
    million::{Options, Plan},
    million_plot,
    million_run::Evidence,
    parts::PARTS,
    report::{Report, gibibytes, machine},
    results::Results,
    table,
};

/// Keeps all of it; the README only of a run in full.
pub(crate) fn keep(options: &Options, plan: &Plan, evidence: &Evidence, report: &Report) -> Result<()> {
    let directory = PathBuf::from(if options.quick { "target/bench" } else { "bench/results" });
    let directory = options.results.clone().unwrap_or(directory);
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let date = clock::today();
    let path = directory.join(format!("{date}.json"));
    let mut results = Results::load(&path)?;
    results.machine = machine();
    results.million = Some(json!({
        "figures": report.figures(),
        "parts": PARTS,
        "course": evidence.course,
    }));
    results.store(&path)?;
    let plot = directory.join(format!("{date}-million.svg"));
    million_plot::draw(&evidence.course, evidence.reached, &plot)?;
    if !options.quick {
        table::put(&options.readme, "million", &tables(plan, evidence, report, &date, &plot.display().to_string()))?;
    }
    println!("{}, {}", path.display(), plot.display());
    Ok(())
}

/// Memory by part, then everything else.
fn tables(plan: &Plan, evidence: &Evidence, report: &Report, date: &str, plot: &str) -> String {
    let reached = evidence.reached;
    let pairs = plan.shares.len();
    let mut text = format!(
        "**{} WebSockets, both ends on this machine**: identified, subscribed, held for {} with heartbeats, then a message to \
         each\n\n| memory | {pairs} servers and {pairs} client processes, nobody connected | all connected | of each connection \
         |\n|---|--:|--:|--:|\n",
        crate::report::grouped(reached as f64),
        humantime::format_duration(plan.hold),
    );
    let (fixed, all) = (evidence.empty.grown(&evidence.start), evidence.held.grown(&evidence.start));
    let mut row = |name: &str, fixed: f64, all: f64| {
        let each = (all - fixed) / reached.max(1) as f64;
        let _ = writeln!(text, "| {name} | {} | {} | {each:.0} B |", gibibytes(fixed), gibibytes(all));
    };
    for (part, name) in PARTS.into_iter().enumerate() {
        row(name, fixed[part], all[part]);
    }
    row("all of these", fixed.iter().sum(), all.iter().sum());
    let start = &evidence.start;
    row("the machine (MemAvailable)", start.taken_until(&evidence.empty), start.taken_until(&evidence.held));
    let _ = write!(text, "\n{}", report.markdown(&PARTS));
    let _ = writeln!(
        text,
        "\nMeasured {date} on {}. Growth since before the first process; the generator that orders the others about counts as a \
         client. The course of it is drawn in `{plot}`. `bench/run million`",
        machine()
    );
    text
}
