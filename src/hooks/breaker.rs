//! A circuit breaker: after so many failures in a row nobody calls for a while, then one call finds out.
//!
//! ```text
//! Closed ── failures in a row ──▶ Open ── pause over, one call goes ──▶ Trying
//!    ▲                             ▲                                      │  │
//!    │                             └──────────────── it failed ───────────┘  │
//!    └───────────────────────────────────────────────── it succeeded ────────┘
//! ```

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// See the module's text. Times are those of [`crate::clock::Clock::elapsed`].
#[derive(Debug)]
pub(super) struct Breaker {
    most: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Duration,
    },
    /// One call is under way; one that never comes back is given up at that time.
    Trying {
        until: Duration,
    },
}

impl Breaker {
    /// Opens after `most` failures in a row, for `pause`.
    pub(super) fn new(most: u32, pause: Duration) -> Self {
        Self { most: most.max(1), pause, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a call may go now.
    pub(super) fn admits(&self, now: Duration) -> bool {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => true,
            State::Open { until } | State::Trying { until } if now < until => false,
            State::Open { .. } | State::Trying { .. } => {
                *state = State::Trying { until: now + self.pause };
                true
            }
        }
    }

    /// A call was answered.
    pub(super) fn succeeded(&self) {
        *self.state() = State::Closed { failures: 0 };
    }

    /// A call was not answered. `true`: nobody calls from now on.
    pub(super) fn failed(&self, now: Duration) -> bool {
        let mut state = self.state();
        match *state {
            State::Closed { failures } if failures + 1 < self.most => {
                *state = State::Closed { failures: failures + 1 };
                false
            }
            State::Closed { .. } | State::Trying { .. } => {
                *state = State::Open { until: now + self.pause };
                true
            }
            // A call that began before it opened.
            State::Open { .. } => false,
        }
    }

    /// Nobody calls.
    pub(super) fn is_open(&self) -> bool {
        !matches!(*self.state(), State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_call_finds_out() {
        let breaker = Breaker::new(3, at(10));
        assert!(!breaker.failed(at(0)) && !breaker.failed(at(0)));
        breaker.succeeded();
        assert!(!breaker.failed(at(1)) && !breaker.failed(at(1)), "a success begins the row anew");
        assert!(breaker.admits(at(1)) && breaker.failed(at(1)));
        assert!(!breaker.failed(at(2)), "a late failure prolongs nothing");
        assert!(!breaker.admits(at(10)) && breaker.is_open());
        assert!(breaker.admits(at(11)), "the pause is over");
        assert!(!breaker.admits(at(11)), "one is enough");
        assert!(breaker.failed(at(12)) && !breaker.admits(at(21)));
        assert!(breaker.admits(at(22)));
        breaker.succeeded();
        assert!(breaker.admits(at(22)) && breaker.admits(at(22)) && !breaker.is_open());
    }

    #[test]
    fn a_trial_that_never_comes_back_is_given_up() {
        let breaker = Breaker::new(1, at(10));
        assert!(breaker.failed(at(0)) && breaker.admits(at(10)));
        assert!(!breaker.admits(at(19)) && breaker.admits(at(20)));
    }
}
