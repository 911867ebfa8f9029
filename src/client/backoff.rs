//! Exponential backoff with full jitter: clients that lost one server do not come back as one wave. Pure; the driver waits.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// The first wait is drawn from nothing to this, later ones from twice as much each …
const BASE: Duration = Duration::from_millis(250);
/// … up to this, unless the application has less patience.
pub(super) const CAP: Duration = Duration::from_secs(20);

/// Chance, and how often in a row it went wrong.
#[derive(Debug)]
pub(super) struct Backoff {
    chance: StdRng,
    tries: u32,
    cap: Duration,
}

impl Backoff {
    /// With a seed the waits can be repeated.
    pub(super) fn new(seed: Option<u64>, cap: Duration) -> Self {
        Self { chance: seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64), tries: 0, cap }
    }

    /// How long to wait before the next socket.
    pub(super) fn next(&mut self) -> Duration {
        let limit = self.limit(self.tries);
        self.tries = self.tries.saturating_add(1);
        self.part_of(limit)
    }

    /// The socket was live for long enough: the next trouble is a new one.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// The pause before a request is sent for the `tries`th time again.
    pub(super) fn pause(&mut self, tries: u32) -> Duration {
        self.part_of(self.limit(tries))
    }

    /// A random part of a time.
    pub(super) fn part_of(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.chance.random())
    }

    /// What no other client will have drawn.
    pub(super) fn name(&mut self) -> String {
        format!("{:016x}", self.chance.random::<u64>())
    }

    fn limit(&self, tries: u32) -> Duration {
        BASE.saturating_mul(1 << tries.min(16)).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_begin_anew_after_a_steady_socket() {
        let mut backoff = Backoff::new(Some(7), CAP);
        for tries in 0..40 {
            let most = Duration::from_millis(250 << tries.min(10)).min(CAP);
            assert!(backoff.next() <= most, "try {tries}");
        }
        backoff.reset();
        assert!(backoff.next() <= BASE);
    }

    #[test]
    fn the_same_seed_waits_the_same() {
        let (mut one, mut two) = (Backoff::new(Some(1), CAP), Backoff::new(Some(1), CAP));
        assert!((0..10).all(|_| one.next() == two.next()));
    }
}
