//! Latencies in a fixed number of counters: 64 to each doubling, so a quantile is right to within 1.6 per cent, and a
//! recording costs an increment however many millions there are.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counters to each doubling.
const STEPS: u64 = 64;

/// See the file's head.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Histogram {
    counters: Vec<u64>,
    count: u64,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counters: vec![0; (STEPS * 59) as usize], count: 0, longest: 0 }
    }

    pub(crate) fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counters[place(nanos)] += 1;
        self.count += 1;
        self.longest = self.longest.max(nanos);
    }

    /// Adds what another one has recorded.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counters.iter_mut().zip(&other.counters).for_each(|(sum, counter)| *sum += counter);
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest)
    }

    /// The value that the share `q` (0 to 1) of all recordings does not pass; nothing when there are none.
    pub(crate) fn quantile(&self, q: f64) -> Duration {
        let wanted = ((self.count as f64 * q).ceil() as u64).max(1);
        let mut passed = 0;
        for (place, counter) in self.counters.iter().enumerate() {
            passed += counter;
            if passed >= wanted {
                return Duration::from_nanos(top(place as u64).min(self.longest));
            }
        }
        Duration::ZERO
    }
}

fn place(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = u64::from(nanos.ilog2()) - u64::from(STEPS.ilog2());
    (STEPS * (shift + 1) + (nanos >> shift) - STEPS) as usize
}

/// The largest value that falls into a place.
fn top(place: u64) -> u64 {
    if place < STEPS {
        return place;
    }
    let shift = place / STEPS - 1;
    let top = ((u128::from(place % STEPS) + u128::from(STEPS) + 1) << shift) - 1;
    u64::try_from(top).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_place_within_two_per_cent() {
        for nanos in [0, 1, 63, 64, 65, 127, 128, 999, 1_000_000, 123_456_789, u64::MAX / 2, u64::MAX] {
            let top = top(place(nanos) as u64);
            assert!(top >= nanos, "{nanos} in a place that ends at {top}");
            assert!((top - nanos) as f64 <= nanos as f64 * 0.016 + 1.0, "{nanos} in a place that ends at {top}");
        }
    }

    #[test]
    fn quantiles_of_a_ramp_are_where_they_should_be() {
        let mut ramp = Histogram::new();
        (1..=1000).for_each(|micros| ramp.record(Duration::from_micros(micros)));
        let near = |q: f64, micros: f64| (ramp.quantile(q).as_secs_f64() * 1e6 / micros - 1.0).abs() < 0.02;
        assert!(near(0.5, 500.0) && near(0.99, 990.0) && near(1.0, 1000.0));
        assert_eq!((ramp.count(), ramp.longest()), (1000, Duration::from_millis(1)));
    }

    #[test]
    fn two_halves_added_and_sent_elsewhere_are_the_whole() {
        let (mut low, mut high) = (Histogram::new(), Histogram::new());
        (1..=500).for_each(|micros| low.record(Duration::from_micros(micros)));
        (501..=1000).for_each(|micros| high.record(Duration::from_micros(micros)));
        low.add(&high);
        let there: Histogram = serde_json::from_str(&serde_json::to_string(&low).unwrap()).unwrap();
        assert_eq!((there.count(), there.longest()), (1000, Duration::from_millis(1)));
        assert!(there.quantile(0.5) > Duration::from_micros(490) && there.quantile(0.5) < Duration::from_micros(510));
    }

    #[test]
    fn nothing_recorded_is_no_latency() {
        assert_eq!(Histogram::new().quantile(0.99), Duration::ZERO);
    }
}
