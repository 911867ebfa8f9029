//! What plots show of one interval: rates and percentiles since the sample before. Small, for ten minutes of them are kept
//! and sent to everybody who opens the page.

use serde::Serialize;

use crate::http::live::spread::Spread;

/// Times are seconds, rates are per second. What did not happen within the interval has no percentile.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Point {
    /// The interval's end, unix milliseconds.
    pub(super) at: u64,
    /// Its length.
    pub(super) span_ms: u64,
    pub(super) awake: usize,
    pub(super) dormant: usize,
    pub(super) parked: usize,
    pub(super) outbox_bytes: usize,
    /// Rates. Counted per event.
    pub(super) published: f32,
    /// Counted per event and connection.
    pub(super) delivered: f32,
    pub(super) dropped: f32,
    /// Handshakes.
    pub(super) accepted: f32,
    pub(super) refused: f32,
    pub(super) closed: f32,
    pub(super) turns: f32,
    pub(super) crashed: f32,
    pub(super) turn: Quantiles,
    /// From queued to the beginning of its turn.
    pub(super) wait: Quantiles,
    /// From an event's offset until the kernel takes it, of some.
    pub(super) delivery: Quantiles,
    /// From a crash until the actor is ready.
    pub(super) restart: Quantiles,
    /// From a durable publish to its commit on disk.
    pub(super) commit: Quantiles,
    /// How late ticks were, p99 by shard.
    pub(super) lag: Vec<Option<f32>>,
    pub(super) stalled: usize,
    /// Cores in use.
    pub(super) cpu: f32,
    pub(super) resident_bytes: Option<u64>,
}

/// Percentiles of an interval, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) count: u64,
    pub(super) p50: Option<f32>,
    pub(super) p90: Option<f32>,
    pub(super) p99: Option<f32>,
    /// Upper bound of the longest one's bucket.
    pub(super) max: Option<f32>,
}

impl From<&Spread> for Quantiles {
    fn from(spread: &Spread) -> Self {
        let at = |part| spread.quantile(part).map(brief);
        Self { count: spread.count(), p50: at(0.5), p90: at(0.9), p99: at(0.99), max: spread.most().map(brief) }
    }
}

/// Three digits: more would pretend, and make messages long.
pub(super) fn brief(value: f64) -> f32 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powf(2.0 - value.abs().log10().floor());
    ((value * scale).round() / scale) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_kept_whatever_the_size() {
        for (value, kept) in
            [(0.0, "0.0"), (1234.5, "1230.0"), (0.000_001_234_5, "0.00000123"), (99.96, "100.0"), (-2.345, "-2.35")]
        {
            assert_eq!(serde_json::to_string(&brief(value)).expect("a number"), kept);
        }
        assert_eq!(brief(f64::NAN), 0.0);
    }
}
