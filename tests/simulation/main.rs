//! The deterministic simulation: whole nodes with virtual time, simulated sockets and every kind of trouble, each run
//! decided by one number. Nothing in a run asks the machine for anything, so a number that breaks a promise breaks it again.
//!
//! `SEED=n` runs one, `TRACE=1` shows all of it; `SEEDS=n` runs the first n. Without them a fixed set runs, and then new
//! ones for `FRESH` seconds (20). A release build is twenty times faster: `SEEDS=10000 cargo test --release --test simulation`.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod client;
mod crashes;
mod frames;
mod plan;
mod scenario;
mod subscription;
mod truth;

use std::{sync::LazyLock, time::Duration};

use dormouse::{clock::Clock, shard::faults::Defect};
use scenario::{Tally, run};

/// Run whatever else is asked for.
const FIXED: u64 = 100;
/// A defect is found within so many seeds, or the simulation is blind to it.
const ENOUGH: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Shows what happens when somebody asked for it.
pub(crate) fn tell(text: impl FnOnce() -> String) {
    static WANTED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("TRACE").is_some());
    if *WANTED {
        println!("{}", text());
    }
}

#[derive(Default)]
struct Series {
    seeds: u64,
    total: Tally,
    failures: Vec<String>,
}

impl Series {
    fn run(&mut self, seed: u64) {
        self.seeds += 1;
        match run(seed, None, None) {
            Ok(tally) => self.total.add(&tally),
            Err(failure) => self.failures.push(failure),
        }
    }

    fn judge(self) {
        let Self { seeds, total, failures } = self;
        println!("{seeds} seeds: {total:?}");
        for failure in failures.iter().take(3) {
            println!("{failure}");
        }
        let first_lines = failures.iter().map(|failure| failure.lines().next().unwrap_or_default());
        let list: Vec<&str> = first_lines.take(50).collect();
        assert!(list.is_empty(), "{} of {seeds} seeds break a promise:\n{}", failures.len(), list.join("\n"));
        assert!(total.events > 0 && total.replies > 0 && total.crashes > 0, "nothing happened: {total:?}");
    }
}

#[test]
fn every_promise_holds_whatever_the_seed() {
    dormouse::supervision::install();
    if let Some(seed) = number("SEED") {
        let tally = run(seed, None, None).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{tally:?}");
        return;
    }
    let mut series = Series::default();
    for seed in 0..number("SEEDS").unwrap_or(FIXED) {
        series.run(seed);
    }
    if number("SEEDS").is_none() {
        let (clock, fresh) = (Clock::start(), Duration::from_secs(number("FRESH").unwrap_or(20)));
        while clock.elapsed() < fresh {
            series.run(getrandom::u64().expect("randomness"));
        }
    }
    series.judge();
}

#[test]
fn a_seed_always_gives_the_same_run() {
    dormouse::supervision::install();
    for seed in 0..10 {
        let runs = [run(seed, None, None), run(seed, None, None)].map(|run| run.expect("keeps its promises"));
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}

#[test]
fn a_crowd_keeps_its_promises_too() {
    dormouse::supervision::install();
    let clients = number("CLIENTS").unwrap_or(400) as usize;
    let tally = run(number("SEED").unwrap_or(1), Some(clients), None).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{clients} clients: {tally:?}");
    assert!(tally.sockets >= clients as u64);
}

#[test]
fn each_defect_put_in_on_purpose_is_found() {
    dormouse::supervision::install();
    let mut missed = Vec::new();
    for defect in Defect::ALL {
        // A retry is rare by itself: most crashes are over frames, which are never tried again.
        let every = if defect == Defect::DroppedRetry { 1 } else { 10 };
        let found = (0..ENOUGH).find_map(|seed| Some((seed + 1, run(seed, None, Some((defect, every))).err()?)));
        match found {
            Some((seeds, failure)) => {
                println!("{defect:?}: found with {seeds} seeds: {}", failure.lines().next().unwrap_or_default());
            }
            None => missed.push(defect),
        }
    }
    assert!(missed.is_empty(), "{ENOUGH} seeds do not find {missed:?}");
}
