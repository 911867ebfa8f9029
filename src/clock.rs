//! The only place that reads clocks. A shard reads it once per round and hands the value to turns, so that a turn is a
//! pure function of its inputs and a test or a simulation can choose the time.
//!
//! Called by shards, channel homes (through their shard) and the HTTP side. Never sleeps.

#[cfg(feature = "simulation")]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
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
pub struct Clock(Source);

#[derive(Clone, Copy, Debug)]
enum Source {
    /// Since then.
    Real(Instant),
    /// Microseconds that only [`Clock::advance`] adds to. Leaked, so that a clock stays `Copy`: eight bytes a simulation.
    #[cfg(feature = "simulation")]
    Virtual(&'static AtomicU64),
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self(Source::Real(Instant::now()))
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let micros = self.micros();
        let unix_ms = match self.0 {
            Source::Real(_) => unix_ms(),
            #[cfg(feature = "simulation")]
            Source::Virtual(_) => VIRTUAL_START_MS + micros / 1_000,
        };
        Now { micros, unix_ms }
    }

    /// Microseconds since the start; cheaper than [`Clock::now`] where wall time does not matter.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.elapsed().as_micros() as u64
    }

    /// Microseconds from a start of its own, a few milliseconds behind but for a fraction of the price: for noticing what takes
    /// far too long.
    #[must_use]
    pub fn coarse_micros(&self) -> u64 {
        match self.0 {
            Source::Real(_) => {
                let at = clock_gettime(ClockId::MonotonicCoarse);
                at.tv_sec as u64 * 1_000_000 + at.tv_nsec as u64 / 1_000
            }
            #[cfg(feature = "simulation")]
            Source::Virtual(_) => self.micros(),
        }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match self.0 {
            Source::Real(start) => start.elapsed(),
            #[cfg(feature = "simulation")]
            Source::Virtual(micros) => Duration::from_micros(micros.load(Ordering::Relaxed)),
        }
    }
}

/// Wall time when a virtual clock starts.
#[cfg(feature = "simulation")]
const VIRTUAL_START_MS: u64 = 1_700_000_000_000;

#[cfg(feature = "simulation")]
thread_local! {
    /// The virtual clock of this thread's simulation: what would block the thread passes on it.
    static OF_THREAD: std::cell::Cell<Option<Clock>> = const { std::cell::Cell::new(None) };
}

#[cfg(feature = "simulation")]
impl Clock {
    /// A clock at zero that stands still until somebody advances it, from now on also for what [blocks](block) this thread.
    #[must_use]
    pub fn simulated() -> Self {
        let clock = Self(Source::Virtual(Box::leak(Box::default())));
        OF_THREAD.set(Some(clock));
        clock
    }

    /// Lets virtual time pass. Real time passes by itself.
    pub fn advance(&self, time: Duration) {
        if let Source::Virtual(micros) = self.0 {
            micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
        }
    }
}

/// Blocks this thread, which is what a stall is; in a simulation its time passes at once.
#[expect(clippy::disallowed_methods, reason = "the one place that blocks on purpose")]
pub fn block(time: Duration) {
    #[cfg(feature = "simulation")]
    if let Some(clock) = OF_THREAD.get() {
        return clock.advance(time);
    }
    std::thread::sleep(time);
}

/// Processor time that this process has taken, all its threads together.
#[must_use]
pub fn processor_time() -> Duration {
    let taken = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(taken.tv_sec as u64, taken.tv_nsec as u32)
}

/// Wall time in milliseconds since 1970-01-01 UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
