//! The only place that reads clocks. A shard reads it once per round and hands the value to turns, so that a turn is a
//! pure function of its inputs and a test or a simulation can choose the time.
//!
//! Called by shards, channel homes (through their shard) and the HTTP side. Never sleeps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment as the server sees it: monotonic for intervals, wall time for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Microseconds since the clock was made; never goes back.
    pub micros: u64,
    /// Milliseconds since 1970-01-01 UTC, for `at` fields and token expiry.
    pub unix_ms: u64,
}

impl Now {
    /// Milliseconds since the clock was made, in the width that records and slots store (wraps after 49 days; compare
    /// with [`Now::ms_since`]).
    #[must_use]
    pub fn ms(self) -> u32 {
        (self.micros / 1_000) as u32
    }

    /// Milliseconds from `earlier` (a value of [`Now::ms`]) until now, right across a wrap.
    #[must_use]
    pub fn ms_since(self, earlier: u32) -> u32 {
        self.ms().wrapping_sub(earlier)
    }
}

/// A monotonic clock with a fixed start, shared by all shards of a node so that their times compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { micros: self.micros(), unix_ms: unix_ms() }
    }

    /// Microseconds since the start; cheaper than [`Clock::now`] where wall time does not matter.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.elapsed().as_micros() as u64
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Wall time in milliseconds since 1970-01-01 UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
