//! The node's counters at one moment. Two of them make an interval.

use std::collections::BTreeMap;

use prometheus::{IntCounterVec, IntGaugeVec, core::Collector as _};

use crate::http::{
    gateway::Gateway,
    live::{sample::Totals, spread::Spread},
};

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) totals: Totals,
    /// Sockets that ended, by code.
    pub(super) closes: BTreeMap<String, u64>,
    pub(super) turn: Spread,
    pub(super) wait: Spread,
    pub(super) delivery: Spread,
    pub(super) restart: Spread,
    pub(super) commit: Spread,
    /// By shard.
    pub(super) lag: Vec<Spread>,
    /// Hooks whose breaker is open.
    pub(super) broken_hooks: Vec<String>,
}

impl Tally {
    /// Reads only what is needed: all that is registered, descriptors included, may take long.
    pub(super) fn of(gateway: &Gateway) -> Self {
        let metrics = &gateway.metrics;
        let (handshakes, closes) = (by_label(&metrics.handshakes), by_label(&metrics.closes));
        let accepted = handshakes.get("accepted").copied().unwrap_or_default();
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        let lag = |shard: usize| Spread::of(&metrics.shard_lag_seconds.with_label_values(&[shard.to_string()]));
        Self {
            totals: Totals {
                published: metrics.events_published.get(),
                offered: metrics.events_offered.get(),
                delivered: metrics.events_delivered.get(),
                dropped: sum(&by_label(&metrics.events_dropped)),
                accepted,
                refused: sum(&handshakes) - accepted,
                closed: sum(&closes),
                turns: metrics.turn_seconds.get_sample_count(),
                slow_turns: metrics.slow_turns.get(),
                stalls: gateway.watchdog.stalls(),
                crashed: gateway.crashes.list().iter().map(|line| line.count).sum(),
                restarts: metrics.restarts.get(),
                gave_up: metrics.gave_up.get(),
                ephemeral_dropped: metrics.ephemeral_dropped.get(),
                handshakes,
            },
            closes,
            turn: Spread::of(&metrics.turn_seconds),
            wait: Spread::of(&metrics.mailbox_wait_seconds),
            delivery: Spread::of(&metrics.delivery_seconds),
            restart: Spread::of(&metrics.restart_seconds),
            commit: Spread::of(&metrics.store_commit_seconds),
            lag: (0..gateway.shards.count()).map(lag).collect(),
            broken_hooks: open(&metrics.hook_breaker),
        }
    }
}

/// Every value of the one label, with its count.
fn by_label(counters: &IntCounterVec) -> BTreeMap<String, u64> {
    let families = counters.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    metrics
        .filter_map(|metric| {
            let label = metric.get_label().first()?;
            Some((label.value().to_owned(), metric.get_counter().get_value() as u64))
        })
        .collect()
}

/// Labels whose gauge is not zero.
fn open(gauges: &IntGaugeVec) -> Vec<String> {
    let families = gauges.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    let open = metrics.filter(|metric| metric.get_gauge().get_value() > 0.0);
    open.filter_map(|metric| Some(metric.get_label().first()?.value().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn counts_are_found_by_their_label() {
        let metrics = Metrics::new().expect("metrics");
        assert_eq!(by_label(&metrics.closes), BTreeMap::new());
        metrics.closes.with_label_values(&["1000"]).inc_by(3);
        metrics.closes.with_label_values(&["4503"]).inc();
        assert_eq!(by_label(&metrics.closes), [("1000".to_owned(), 3), ("4503".to_owned(), 1)].into());
        metrics.hook_breaker.with_label_values(&["connect"]).set(1);
        metrics.hook_breaker.with_label_values(&["publish"]).set(0);
        assert_eq!(open(&metrics.hook_breaker), ["connect"]);
    }
}
