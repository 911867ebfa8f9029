//! How often something may happen, a publish of a connection above all: the generic cell rate algorithm, eight bytes of state and no refill task. Pure, so
//! that it can live in the record; a crate's limiter would bring its own clock and its own map.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Now;

/// When the next publish would be exactly on schedule, in microseconds of the clock. Costs are counted in tenths.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rate {
    on_schedule: u64,
}

/// So many per second, so many at once.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Limit {
    interval: u64,
    tolerance: u64,
}

impl Limit {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval = 1_000_000 / u64::from(per_second.max(1));
        Self { interval, tolerance: interval * u64::from(burst.max(1) - 1) }
    }
}

impl Rate {
    /// Tenths of one.
    pub(crate) const WHOLE: u32 = 10;

    /// Takes `tenths` of one; else how long until there is one.
    pub(crate) fn take(&mut self, limit: Limit, tenths: u32, now: Now) -> Result<(), Duration> {
        let scheduled = self.on_schedule.max(now.micros);
        match scheduled.checked_sub(now.micros + limit.tolerance) {
            Some(early) if early > 0 => Err(Duration::from_micros(early)),
            _ => {
                self.on_schedule = scheduled + limit.interval * u64::from(tenths) / 10;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Now {
        Now { micros, unix_ms: 0 }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let limit = Limit::new(50, 100);
        let mut rate = Rate::default();
        let passed = (0..200).filter(|_| rate.take(limit, 10, at(1_000)).is_ok()).count();
        assert_eq!(passed, 100);
        assert_eq!(rate.take(limit, 10, at(1_000)), Err(Duration::from_millis(20)));
        assert!(rate.take(limit, 10, at(21_000)).is_ok());
        assert!(rate.take(limit, 10, at(21_000)).is_err());
        let later = (0..200).filter(|_| rate.take(limit, 10, at(10_000_000)).is_ok()).count();
        assert_eq!(later, 100, "a pause refills the whole burst and no more");
    }

    #[test]
    fn limits_beyond_the_clock_let_everything_pass() {
        let limit = Limit::new(2_000_000, 1);
        let mut rate = Rate::default();
        assert!((0..1000).all(|_| rate.take(limit, 10, at(5)).is_ok()));
    }
}
