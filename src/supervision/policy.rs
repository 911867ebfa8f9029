//! How often a crashed actor may be started again, and how long it waits before each time. Plain values: they read no
//! clock and remember nothing; [`super::Budget`] does the remembering.
//!
//! Made from the configuration for connections, fixed here for system actors.

use std::time::Duration;

/// Restarts allowed in a sliding window, OTP's intensity and period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Restarts that may lie within [`Policy::within`] of each other; the next crash gives up. At 0 the first one does.
    pub max_restarts: u32,
    /// The window's length. Counted in milliseconds, both ends included; more than 24 days count as 24 days.
    pub within: Duration,
    /// The wait before a restart.
    pub backoff: Backoff,
}

impl Policy {
    /// The longest window that times of 32 bits can tell apart from their wrap.
    const LONGEST_MS: u32 = i32::MAX as u32;

    /// Restarts at once, `max_restarts` times within `within`.
    #[must_use]
    pub const fn new(max_restarts: u32, within: Duration) -> Self {
        Self { max_restarts, within, backoff: Backoff::NONE }
    }

    /// For system actors. The waits of ten restarts in a row add up to less than the window, so that an actor which
    /// crashes every time does give up instead of crashing for ever at the backoff's pace.
    #[must_use]
    pub const fn system() -> Self {
        let backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_secs(1) };
        Self { max_restarts: 10, within: Duration::from_secs(10), backoff }
    }

    /// The window in the unit budgets count in.
    pub(super) fn window_ms(&self) -> u32 {
        u32::try_from(self.within.as_millis()).unwrap_or(u32::MAX).min(Self::LONGEST_MS)
    }
}

/// How long to wait before a restart. The first one is immediate: most crashes are one bad message. Those after it wait
/// [`Backoff::first`], then twice as long each time, up to [`Backoff::most`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the second restart in a window.
    pub first: Duration,
    /// Never longer than this.
    pub most: Duration,
}

impl Backoff {
    /// No waiting.
    pub const NONE: Self = Self { first: Duration::ZERO, most: Duration::ZERO };

    /// The wait before the restart that is the `nth` (from 1) in its window.
    #[must_use]
    pub fn delay(&self, nth: usize) -> Duration {
        let Some(doublings) = nth.checked_sub(2) else { return Duration::ZERO };
        let factor = u32::try_from(doublings).ok().and_then(|doublings| 1_u32.checked_shl(doublings));
        self.first.saturating_mul(factor.unwrap_or(u32::MAX)).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_the_wait_doubles_up_to_its_bound() {
        let backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(70) };
        let delays: Vec<_> = [0, 1, 2, 3, 4, 5, 34, 35, usize::MAX].map(|nth| backoff.delay(nth).as_millis()).into();
        assert_eq!(delays, [0, 0, 10, 20, 40, 70, 70, 70, 70]);
        assert_eq!(Backoff::NONE.delay(9), Duration::ZERO);
    }

    #[test]
    fn a_system_actor_that_always_crashes_spends_its_budget_in_spite_of_the_backoff() {
        let policy = Policy::system();
        let waits: Duration = (1..=policy.max_restarts as usize).map(|nth| policy.backoff.delay(nth)).sum();
        assert!(waits < policy.within, "{waits:?} of waiting outlasts the window of {:?}", policy.within);
    }

    #[test]
    fn a_window_too_long_for_the_clocks_width_is_cut() {
        assert_eq!(Policy::new(1, Duration::MAX).window_ms(), i32::MAX as u32);
        assert_eq!(Policy::new(1, Duration::from_millis(7)).window_ms(), 7);
    }
}
