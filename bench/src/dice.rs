//! Seeded random numbers for backoff jitter and frame masks. Not for secrets: the same seed gives the same run, which is
//! the point, and the seed is printed with each table.

use std::time::Duration;

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Anything between nothing and `limit`.
    pub(crate) fn up_to(&mut self, limit: Duration) -> Duration {
        let share = (self.roll() >> 11) as f64 / (1u64 << 53) as f64;
        limit.mul_f64(share)
    }
}

/// Exponential backoff with full jitter: spreading over the whole interval is what keeps a restarted server from meeting
/// all its clients in the same millisecond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
}

impl Backoff {
    /// How long to wait before attempt number `attempt` (0 is the first).
    pub(crate) fn wait(&self, attempt: u32, dice: &mut Dice) -> Duration {
        dice.up_to(self.limit(attempt))
    }

    fn limit(&self, attempt: u32) -> Duration {
        self.base.saturating_mul(1u32.checked_shl(attempt.min(20)).unwrap_or(u32::MAX)).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        assert!((0..100).all(|_| one.roll() == other.roll()));
    }

    #[test]
    fn backoff_doubles_up_to_its_cap_and_never_passes_it() {
        let backoff = Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(5) };
        assert_eq!(backoff.limit(0), Duration::from_millis(250));
        assert_eq!(backoff.limit(3), Duration::from_secs(2));
        assert_eq!(backoff.limit(5), Duration::from_secs(5));
        assert_eq!(backoff.limit(4_000_000), Duration::from_secs(5));
        let mut dice = Dice::new(1);
        assert!((0..1000).all(|attempt| backoff.wait(attempt, &mut dice) <= backoff.cap));
    }
}
