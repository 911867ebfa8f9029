//! `actors`: what an actor costs without a socket – asleep, woken, spawned, crashed – beside a tokio task and an actix actor.
//! The actors live in a program of their own (`bench/actors`), a process for each model; this starts it and tells what it
//! has found.

use std::{ops::Range, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::{
    figures::median,
    report::{Report, Unit},
};

/// Goals: bytes of a dormant actor, microseconds to wake one, run its turn and let it sleep, spawned and restarted a second.
const BYTES: f64 = 256.0;
const WAKE_MICROS: f64 = 1.0;
const SPAWNED: f64 = 1_000_000.0;
const RESTARTED: f64 = 200_000.0;

/// The program with the actors, beside the server.
const PROGRAM: &str = "dormouse-actors";

/// Whose actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Model {
    Dormouse,
    Tokio,
    Actix,
}

/// Options of `actors`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How many [default: 5000000, of other models 1000000, quick 200000]
    #[arg(long)]
    actors: Option<usize>,
    /// Everything is measured so many times
    #[arg(long, default_value_t = 5)]
    waves: usize,
    /// Only these
    #[arg(long, value_delimiter = ',')]
    model: Vec<Model>,
    /// Small, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Dormouse; the program with the actors lies beside it
    #[arg(long, default_value = "target/release/dormouse")]
    bin: PathBuf,
    /// Append the figures to this file, as a JSON object on a line for each model and wave
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs it. A goal that is missed is told and is no failure.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let models = if options.model.is_empty() { Model::value_variants() } else { &options.model };
    for model in models {
        let name = model.to_possible_value().map(|name| name.get_name().to_owned()).unwrap_or_default();
        let usual = match (options.quick, model) {
            (true, _) => 200_000,
            (false, Model::Dormouse) => 5_000_000,
            (false, _) => 1_000_000,
        };
        let found = measure(options, &name, options.actors.unwrap_or(usual))?;
        let table = |waves: Range<usize>| {
            let mut report = Report::new("actors: spawn, sleep, wake, crash, without sockets");
            report.text("model", &name, "one process, one thread; its processor time");
            tell(&mut report, &found, *model, waves)?;
            Ok::<_, anyhow::Error>(report)
        };
        let all = table(0..options.waves)?;
        all.finish(None)?;
        if let Some(path) = &options.json {
            (0..options.waves).try_for_each(|wave| table(wave..wave + 1)?.keep(path))?;
        }
    }
    Ok(true)
}

/// Runs the program for one model.
fn measure(options: &Options, model: &str, actors: usize) -> Result<Value> {
    let program = options.bin.with_file_name(PROGRAM);
    let mut command = Command::new(&program);
    command.args([model, "--actors", &actors.to_string(), "--waves", &options.waves.to_string()]);
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(output.status.success(), "{PROGRAM}: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).with_context(|| format!("{PROGRAM} has printed something else"))
}

/// What some waves have shown.
fn tell(report: &mut Report, found: &Value, model: Model, waves: Range<usize>) -> Result<()> {
    let series = |name: &str| Series::of(found, name, waves.clone());
    let actors = found.get("actors").and_then(Value::as_f64).context("no actors")?;
    report.figure("actors", actors, Unit::Count, "all of them asleep");
    let bytes = series("bytes")?;
    if model != Model::Dormouse {
        report.figure("bytes each", bytes.median, Unit::Bytes, "PSS growth, with its address");
        let (message, spawned) = (series("delivery")?, series("spawned")?);
        report.figure("a message", message.median, Unit::Micros, message.spread(Unit::Micros));
        report.figure("spawned", spawned.median, Unit::PerSecond, spawned.spread(Unit::PerSecond));
        return Ok(());
    }
    report.goal("bytes each", bytes.median, Unit::Bytes, BYTES, format!("PSS growth: {}", pieces(found)));
    let bare = series("bare bytes")?;
    report.figure("bytes each, without a session", bare.median, Unit::Bytes, "a record and its slot");
    for (name, key) in [("a message", "delivery"), ("a heartbeat and its answer", "heartbeat")] {
        let series = series(key)?;
        report.goal(name, series.median, Unit::Micros, WAKE_MICROS, series.spread(Unit::Micros));
    }
    for (name, key, least) in [
        ("spawned", "spawned", SPAWNED),
        ("spawned with a session", "spawned with a session", SPAWNED),
        ("restarted", "restarted", RESTARTED),
        ("restarted, each with its evidence", "restarted with evidence", RESTARTED),
    ] {
        let series = series(key)?;
        report.at_least(name, series.median, Unit::PerSecond, least, series.spread(Unit::PerSecond));
    }
    Ok(())
}

/// What always exists of an actor, by size.
fn pieces(found: &Value) -> String {
    let bytes = |name: &str| found.get("pieces").and_then(|pieces| pieces.get(name)).and_then(Value::as_u64);
    let told = ["slot", "record, in the slot", "socket, in the slot"];
    let told = told.into_iter().filter_map(|name| Some(format!("{name} {}", bytes(name)?)));
    told.collect::<Vec<_>>().join("; ") + "; the rest is its session on the heap and its seat"
}

/// A figure that was measured in several waves.
struct Series {
    median: f64,
    low: f64,
    high: f64,
}

impl Series {
    fn of(found: &Value, name: &str, waves: Range<usize>) -> Result<Self> {
        let of = || found.get(name)?.as_array()?.get(waves)?.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>();
        let series = || median(&of()?).map(|(median, low, high)| Self { median, low, high });
        series().with_context(|| format!("{PROGRAM} has not measured {name}"))
    }

    fn spread(&self, unit: Unit) -> String {
        format!("{} – {}", crate::report::show(self.low, unit), crate::report::show(self.high, unit))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_program_has_found_is_held_against_the_goals() {
        let series = |median: f64| json!([median, median * 2.0, median / 2.0]);
        let found = json!({
            "actors": 10, "bytes": series(300.0), "bare bytes": series(70.0), "pieces": {"slot": 64},
            "delivery": series(0.5), "heartbeat": series(2.0), "spawned": series(2e6),
            "spawned with a session": series(5e5), "restarted": series(3e5), "restarted with evidence": series(1e5),
        });
        let mut report = Report::new("test");
        tell(&mut report, &found, Model::Dormouse, 0..3).unwrap();
        let table = report.table();
        assert_eq!(table.matches("goal met").count(), 3, "{table}");
        assert_eq!(table.matches("GOAL MISSED").count(), 4, "{table}");
        let mut second = Report::new("test");
        tell(&mut second, &found, Model::Dormouse, 1..2).unwrap();
        assert!(second.table().contains("600 B"), "{}", second.table());
        assert!(tell(&mut report, &json!({"actors": 1, "bytes": [1]}), Model::Tokio, 0..1).is_err());
    }
}
