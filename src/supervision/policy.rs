//! How often a crashed actor may be started again, and how long it waits before each time. Plain values: they read no
//! clock and remember nothing; [`super::Budget`] does the remembering.
//!
//! Made from the configuration for connections, fixed here for system actors.

use std::{fmt, time::Duration};

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

    /// For shards, which hold sockets: one that is killed once a second must go on for ever, and a wait is a wait of all
    /// its clients. So twenty in ten seconds, and never more than 50 ms between two lives.
    #[must_use]
    pub const fn shard() -> Self {
        let backoff = Backoff { first: Duration::from_millis(1), most: Duration::from_millis(50) };
        Self { max_restarts: 20, within: Duration::from_secs(10), backoff }
    }

    /// None at all: who is asked for a restart passes the question on.
    #[must_use]
    pub const fn never() -> Self {
        Self::new(0, Duration::from_secs(10))
    }

    /// The window in the unit budgets count in.
    pub(super) fn window_ms(&self) -> u32 {
        u32::try_from(self.within.as_millis()).unwrap_or(u32::MAX).min(Self::LONGEST_MS)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Backoff { first, most } = self.backoff;
        write!(f, "{} restarts in {:?}", self.max_restarts, self.within)?;
        match most {
            Duration::ZERO => f.write_str(" at once"),
            most => write!(f, " after 0 s, then {first:?} doubled up to {most:?}"),
        }
    }
}

/// How long to wait before a restart. The first one is immediate: most crashes are one bad message. Those after it wait
/// [`Backoff::first`], then twice as long each time, up to [`Backoff::most`]; between half of that and all of it, so that
/// actors that crashed together do not all come back in the same moment.
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

    /// The wait before the restart that is the `nth` (from 1) in its window; `jitter` is any number, from the seed of
    /// whoever waits.
    #[must_use]
    pub fn delay(&self, nth: usize, jitter: u32) -> Duration {
        let most = self.longest(nth);
        let half = most / 2;
        half + (most - half).mul_f64(f64::from(jitter) / f64::from(u32::MAX))
    }

    /// That wait without jitter.
    fn longest(&self, nth: usize) -> Duration {
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
        let delays: Vec<_> =
            [0, 1, 2, 3, 4, 5, 34, 35, usize::MAX].map(|nth| backoff.delay(nth, u32::MAX).as_millis()).into();
        assert_eq!(delays, [0, 0, 10, 20, 40, 70, 70, 70, 70]);
        assert_eq!(Backoff::NONE.delay(9, u32::MAX), Duration::ZERO);
    }

    #[test]
    fn jitter_takes_at_most_half_of_a_wait_away_and_adds_nothing() {
        let backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(40) };
        let at = |jitter| [1, 2, 3, 4, 5].map(|nth| backoff.delay(nth, jitter).as_millis());
        assert_eq!(at(0), [0, 5, 10, 20, 20]);
        assert_eq!(at(u32::MAX), [0, 10, 20, 40, 40]);
        assert_eq!(at(u32::MAX / 2), [0, 7, 15, 30, 30]);
    }

    #[test]
    fn an_actor_that_always_crashes_spends_its_budget_in_spite_of_the_backoff() {
        for policy in [Policy::system(), Policy::shard()] {
            let waits: Duration = (1..=policy.max_restarts as usize).map(|nth| policy.backoff.longest(nth)).sum();
            assert!(waits < policy.within, "{waits:?} of waiting outlasts the window of {:?}", policy.within);
        }
    }

    #[test]
    fn a_shard_that_is_killed_once_a_second_never_spends_its_budget() {
        let (mut budget, policy) = (super::super::Budget::default(), Policy::shard());
        for second in 0..300 {
            // One kill in three is late by nearly a second.
            let late = 990 * u32::from(second % 3 == 0);
            assert_eq!(budget.spend(second * 1_000 + late, &policy), super::super::Verdict::Restart, "second {second}");
        }
    }

    #[test]
    fn a_window_too_long_for_the_clocks_width_is_cut() {
        assert_eq!(Policy::new(1, Duration::MAX).window_ms(), i32::MAX as u32);
        assert_eq!(Policy::new(1, Duration::from_millis(7)).window_ms(), 7);
    }
}
