//! The same thing measured several times: each wave says how many there were and how long they took, the middle one counts,
//! and the fastest and the slowest tell how far it can be believed.

use std::time::Duration;

use serde_json::{Value, json};

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// Seconds for one.
    each: Vec<f64>,
}

impl Series {
    pub(crate) fn add(&mut self, count: usize, took: Duration) {
        self.each.push(took.as_secs_f64() / count.max(1) as f64);
    }

    /// Microseconds for one.
    pub(crate) fn micros(&self) -> Value {
        self.show(|each| each * 1e6)
    }

    /// How many in a second.
    pub(crate) fn per_second(&self) -> Value {
        self.show(|each| 1.0 / each)
    }

    fn show(&self, number: impl Fn(f64) -> f64) -> Value {
        let mut sorted: Vec<f64> = self.each.iter().map(|each| number(*each)).collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.get(sorted.len() / 2);
        json!({"median": middle, "low": sorted.first(), "high": sorted.last()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_wave_counts_and_the_others_are_told() {
        let mut series = Series::default();
        for millis in [4, 1, 2] {
            series.add(1_000, Duration::from_millis(millis));
        }
        assert_eq!(series.micros(), json!({"median": 2.0, "low": 1.0, "high": 4.0}));
        assert_eq!(series.per_second(), json!({"median": 500_000.0, "low": 250_000.0, "high": 1_000_000.0}));
    }
}
