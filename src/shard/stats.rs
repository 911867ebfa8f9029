//! A shard's own counters: no atomics on the hot path, poured into the node's metrics every tick.

use std::collections::HashMap;

use prometheus::{
    Histogram, IntCounter,
    local::{LocalHistogram, LocalIntCounter},
};

use crate::{
    shard::{
        behaviour::{Behaviour, Cause},
        jobs::JobCounts,
        ledger::{Drop, Ledger},
    },
    telemetry::Metrics,
};

/// See the module's text.
pub(super) struct Stats {
    metrics: Metrics,
    turns: Vec<LocalIntCounter>,
    closes: HashMap<u16, u64>,
    crashes: HashMap<String, u64>,
    lag: Histogram,
    poured: Ledger,
    jobs: JobCounts,
    pub(super) turn_seconds: LocalHistogram,
    pub(super) wait_seconds: LocalHistogram,
    pub(super) restart_seconds: LocalHistogram,
    pub(super) delivery_seconds: LocalHistogram,
    pub(super) record_bytes: LocalHistogram,
    pub(super) restarts: LocalIntCounter,
    pub(super) gave_up: LocalIntCounter,
    pub(super) wakes: LocalIntCounter,
    pub(super) slow_turns: LocalIntCounter,
}

impl Stats {
    pub(super) fn new<B: Behaviour>(shard: u16, metrics: &Metrics) -> Self {
        let local = |counter: &IntCounter| counter.local();
        Self {
            turns: B::LABELS.iter().map(|label| metrics.turns.with_label_values(&[label]).local()).collect(),
            closes: HashMap::new(),
            crashes: HashMap::new(),
            lag: metrics.shard_lag_seconds.with_label_values(&[shard.to_string()]),
            poured: Ledger::default(),
            jobs: JobCounts::default(),
            turn_seconds: metrics.turn_seconds.local(),
            wait_seconds: metrics.mailbox_wait_seconds.local(),
            restart_seconds: metrics.restart_seconds.local(),
            delivery_seconds: metrics.delivery_seconds.local(),
            record_bytes: metrics.record_bytes.local(),
            restarts: local(&metrics.restarts),
            gave_up: local(&metrics.gave_up),
            wakes: local(&metrics.wakes),
            slow_turns: local(&metrics.slow_turns),
            metrics: metrics.clone(),
        }
    }

    pub(super) fn turn(&self, label: usize, seconds: f64) {
        if let Some(counter) = self.turns.get(label) {
            counter.inc();
        }
        self.turn_seconds.observe(seconds);
    }

    /// Counts a crash; `true` the first time at this place since the last tick, when it should be logged.
    pub(super) fn crash(&mut self, place: &str) -> bool {
        match self.crashes.get_mut(place) {
            Some(count) => {
                *count += 1;
                false
            }
            None => {
                self.crashes.insert(place.to_owned(), 1);
                true
            }
        }
    }

    pub(super) fn close(&mut self, cause: Cause) {
        *self.closes.entry(cause.code()).or_default() += 1;
    }

    pub(super) fn lag(&self, seconds: f64) {
        self.lag.observe(seconds);
    }

    /// Adds everything counted since the last call to the node's metrics.
    pub(super) fn pour(&mut self, ledger: &Ledger, jobs: JobCounts) {
        for counter in &self.turns {
            counter.flush();
        }
        let Self { turn_seconds, wait_seconds, restart_seconds, delivery_seconds, record_bytes, .. } = self;
        for histogram in [turn_seconds, wait_seconds, restart_seconds, delivery_seconds, record_bytes] {
            histogram.flush();
        }
        for counter in [&self.restarts, &self.gave_up, &self.wakes, &self.slow_turns] {
            counter.flush();
        }
        for (code, count) in self.closes.drain() {
            // Clients choose codes: those that no table names share one label, so that nobody can flood the page.
            let known = code < 3000 || crate::protocol::close::Close::from_code(code).is_some();
            let label = if known { code.to_string() } else { "other".to_owned() };
            self.metrics.closes.with_label_values(&[label]).inc_by(count);
        }
        for (place, count) in self.crashes.drain() {
            self.metrics.crashes.with_label_values(&[place]).inc_by(count);
        }
        self.metrics.events_offered.inc_by(ledger.offered - self.poured.offered);
        self.metrics.events_delivered.inc_by(ledger.delivered - self.poured.delivered);
        for reason in Drop::ALL {
            let dropped = ledger.dropped(reason) - self.poured.dropped(reason);
            self.metrics.events_dropped.with_label_values(&[reason.name()]).inc_by(dropped);
        }
        self.poured = *ledger;
        self.metrics.jobs_in_flight.add(jobs.in_flight as i64 - self.jobs.in_flight as i64);
        self.metrics.jobs_overdue.add(jobs.overdue as i64 - self.jobs.overdue as i64);
        self.jobs = jobs;
    }
}
