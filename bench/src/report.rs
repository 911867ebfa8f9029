//! One table for each run: the figures, then what they were measured with. Also collects the invariants that failed,
//! which decide the exit code. `--json FILE` appends the same as one JSON object on a line, for plots.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::histogram::Histogram;

/// What a number counts; decides how it is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Count,
    Bytes,
    PerSecond,
    Micros,
    Seconds,
    Cores,
    Percent,
    Ratio,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Report {
    title: &'static str,
    rows: Vec<[String; 3]>,
    json: Map<String, Value>,
    failed: Vec<String>,
}

impl Report {
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new(), json: Map::new(), failed: Vec::new() }
    }

    /// A number with what should be known about it.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: Unit, note: impl Into<String>) {
        self.json.insert(name.to_owned(), json!(value));
        self.rows.push([name.to_owned(), show(value, unit), note.into()]);
    }

    /// A word instead of a number.
    pub(crate) fn text(&mut self, name: &str, value: impl Into<String>, note: impl Into<String>) {
        let value = value.into();
        self.json.insert(name.to_owned(), json!(value));
        self.rows.push([name.to_owned(), value, note.into()]);
    }

    /// What the figures above it were measured with, as long as it needs to be.
    pub(crate) fn context(&mut self, name: &str, words: impl Into<String>) {
        let words = words.into();
        self.json.insert(name.to_owned(), json!(words));
        self.rows.push([name.to_owned(), String::new(), words]);
    }

    /// The middle and the tail of a distribution of times.
    pub(crate) fn spread(&mut self, name: &str, times: &Histogram, note: impl Into<String>) {
        let of = |q| times.quantile(q);
        let [p50, p90, p99] = [of(0.5), of(0.9), of(0.99)];
        let longest = times.longest();
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        self.json.insert(
            name.to_owned(),
            json!({"count": times.count(), "p50_us": micros(p50), "p90_us": micros(p90), "p99_us": micros(p99), "max_us": micros(longest)}),
        );
        let shown = format!("p50 {}  p99 {}", short(p50), short(p99));
        let note = note.into();
        let comma = if note.is_empty() { "" } else { ", " };
        self.rows.push([
            name.to_owned(),
            shown,
            format!("p90 {}, longest {}{comma}{note}", short(p90), short(longest)),
        ]);
    }

    /// A number that must be as expected, else the run has failed.
    pub(crate) fn must_be(&mut self, name: &str, value: u64, expected: u64, note: impl Into<String>) {
        let held = value == expected;
        self.json.insert(name.to_owned(), json!({"value": value, "expected": expected, "held": held}));
        let note = note.into();
        let verdict = if held {
            format!("ok{}{note}", if note.is_empty() { "" } else { ", " })
        } else {
            format!("FAILED: expected {} {note}", grouped(expected as f64))
        };
        if !held {
            self.failed.push(format!("{name}: {value}, expected {expected}"));
        }
        self.rows.push([name.to_owned(), grouped(value as f64), verdict]);
    }

    /// A number that should be at most `most`. Missing it is told and fails nothing: times are also the machine's.
    pub(crate) fn goal(&mut self, name: &str, value: f64, unit: Unit, most: f64, note: impl Into<String>) {
        self.judge(name, (value, unit), value <= most, ("≤", most), note.into());
    }

    /// As [`Report::goal`], for what should be at least `least`.
    pub(crate) fn at_least(&mut self, name: &str, value: f64, unit: Unit, least: f64, note: impl Into<String>) {
        self.judge(name, (value, unit), value >= least, ("≥", least), note.into());
    }

    fn judge(&mut self, name: &str, (value, unit): (f64, Unit), held: bool, goal: (&str, f64), note: String) {
        let (sign, goal) = goal;
        self.json.insert(name.to_owned(), json!({"value": value, "goal": goal, "held": held}));
        let verdict = if held { "goal met" } else { "GOAL MISSED" };
        let comma = if note.is_empty() { "" } else { ", " };
        self.rows.push([
            name.to_owned(),
            show(value, unit),
            format!("{verdict} ({sign} {}){comma}{note}", show(goal, unit)),
        ]);
    }

    /// Whether every invariant held.
    pub(crate) fn held(&self) -> bool {
        self.failed.is_empty()
    }

    /// All figures by name.
    pub(crate) fn figures(&self) -> &Map<String, Value> {
        &self.json
    }

    /// The figures as a table for the README, without those that stand in another one there.
    pub(crate) fn markdown(&self, without: &[&str]) -> String {
        let mut table = "| figure | measured | |\n|---|--:|---|\n".to_owned();
        for [name, value, note] in self.rows.iter().filter(|row| !without.contains(&&*row[0])) {
            let _ = writeln!(table, "| {name} | {value} | {} |", note.replace('|', "/"));
        }
        table
    }

    /// Prints the table, with the command and the machine, and appends the JSON line if one is wanted.
    pub(crate) fn finish(mut self, json: Option<&Path>) -> Result<bool> {
        self.context("command", command());
        self.context("machine", machine());
        println!("{}", self.table());
        for failed in &self.failed {
            println!("FAILED  {failed}");
        }
        if let Some(path) = json {
            self.keep(path)?;
        }
        Ok(self.held())
    }

    /// Appends the figures to a file, as a JSON object on a line.
    pub(crate) fn keep(&mut self, path: &Path) -> Result<()> {
        self.json.insert("measurement".to_owned(), json!(self.title));
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "{}", Value::Object(self.json.clone()))?;
        Ok(())
    }

    pub(crate) fn table(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (names, values) = (width(0), width(1));
        let mut table = format!("\n{}\n", self.title);
        for [name, value, note] in &self.rows {
            let line = format!("  {name:<names$}  {value:>values$}  {note}");
            let _ = writeln!(table, "{}", line.trim_end());
        }
        table
    }
}

pub(crate) fn show(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Count => grouped(value),
        Unit::Bytes => format!("{} B", grouped(value)),
        Unit::PerSecond => format!("{}/s", grouped(value)),
        Unit::Micros if value < 100.0 => format!("{value:.2} µs"),
        Unit::Micros => short(Duration::from_secs_f64(value.max(0.0) / 1e6)),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Percent => format!("{value:.1} %"),
        Unit::Ratio => format!("{value:.3} ×"),
        Unit::Cores if value.abs() < 0.1 => format!("{value:.5} cores"),
        Unit::Cores => format!("{value:.2} cores"),
    }
}

/// A time with three digits that matter.
pub(crate) fn short(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        0.0..1_000.0 => format!("{micros:.0} µs"),
        1_000.0..1_000_000.0 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// Rounded, with commas between thousands.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value.round() < 0.0 { format!("-{out}") } else { out }
}

/// Memory of a machine.
pub(crate) fn gibibytes(bytes: f64) -> String {
    let mebibytes = bytes / 1024.0 / 1024.0;
    if mebibytes.abs() < 1024.0 {
        format!("{} MiB", grouped(mebibytes))
    } else {
        format!("{:.2} GiB", mebibytes / 1024.0)
    }
}

fn command() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!("dormouse-bench {}", words.join(" "))
}

pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let gib = crate::process::kilobytes(&read("/proc/meminfo"), "MemTotal").unwrap_or_default() / 1024.0 / 1024.0;
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores, {gib:.0} GiB, Linux {}; server and load generator share it", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_for_people() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(-1_234.0), "-1,234");
        assert_eq!(grouped(-0.2), "0");
        assert_eq!(show(0.36, Unit::Micros), "0.36 µs");
        assert_eq!(short(Duration::from_micros(2_500)), "2.50 ms");
        assert_eq!(short(Duration::from_secs(3)), "3.00 s");
        assert_eq!((gibibytes(1.5e6), gibibytes(3.0 * 1024f64.powi(3))), ("1 MiB".to_owned(), "3.00 GiB".to_owned()));
    }

    #[test]
    fn a_missed_goal_is_told_and_fails_nothing() {
        let mut report = Report::new("test");
        report.goal("met", 1.1, Unit::Ratio, 1.1, "");
        report.goal("missed", 101.0, Unit::Micros, 100.0, "");
        let table = report.table();
        assert!(report.held() && table.contains("goal met (≤ 1.100 ×)") && table.contains("GOAL MISSED (≤ 100 µs)"));
    }

    #[test]
    fn an_invariant_that_fails_fails_the_report() {
        let mut report = Report::new("test");
        report.must_be("missed", 0, 0, "");
        assert!(report.held());
        report.must_be("doubled", 1, 0, "");
        assert!(!report.held() && report.table().contains("FAILED: expected 0"));
    }
}
