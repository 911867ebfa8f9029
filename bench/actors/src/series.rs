//! The same thing measured several times: each wave says how many there were and how long they took.

use std::time::Duration;

use serde_json::Value;

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

    /// Microseconds for one, wave by wave.
    pub(crate) fn micros(&self) -> Value {
        self.each.iter().map(|each| each * 1e6).collect()
    }

    /// How many in a second, wave by wave.
    pub(crate) fn per_second(&self) -> Value {
        self.each.iter().map(|each| 1.0 / each).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wave_tells_what_one_took() {
        let mut series = Series::default();
        for millis in [4, 1, 2] {
            series.add(1_000, Duration::from_millis(millis));
        }
        assert_eq!(series.micros(), json!([4.0, 1.0, 2.0]));
        assert_eq!(series.per_second(), json!([250_000.0, 1_000_000.0, 500_000.0]));
    }
}
