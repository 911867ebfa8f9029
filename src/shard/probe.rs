//! How long deliveries take: of all that are under way on a shard one is followed, from the moment its event got its offset
//! until the kernel has taken it. Following each would cost every event a look at the clock.
//!
//! A new one is chosen by the hub at most once a tick, the first of what it offers to somebody. Whose socket takes nothing
//! for ten seconds is left: he is slow, and the outbox says so.

use crate::{clock::Now, id::ConnectionId};

/// No slot has this index ([`ConnectionId::MAX_SLOTS`]).
const NOBODY: u32 = u32::MAX;
/// After this a delivery is no longer followed.
pub(super) const PATIENCE_MICROS: u64 = 10_000_000;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Probe {
    /// Whose delivery it is; the one number that every write is compared with.
    index: u32,
    connection: ConnectionId,
    /// When its event got its offset, in microseconds of the clock.
    since: u64,
    /// How many events the kernel takes of this connection until it is the one's turn, itself included.
    left: u64,
    /// One was chosen since the last tick.
    chosen: bool,
}

impl Default for Probe {
    fn default() -> Self {
        Self { index: NOBODY, connection: ConnectionId::from_bits(0), since: 0, left: 0, chosen: false }
    }
}

impl Probe {
    /// Whether a delivery is wanted.
    pub(super) fn is_free(&self) -> bool {
        self.index == NOBODY && !self.chosen
    }

    /// Follows a delivery to `connection` that has `ahead` others before it.
    pub(super) fn follow(&mut self, connection: ConnectionId, since: u64, ahead: u64) {
        *self = Self { index: connection.index(), connection, since, left: ahead + 1, chosen: true };
    }

    /// Whether the connection in slot `index` is the one.
    pub(super) fn is_at(&self, index: u32) -> bool {
        self.index == index
    }

    /// The kernel has taken `count` more events of the connection that is followed, whose id is `connection` now; how many
    /// microseconds its delivery has taken, if it is among them.
    pub(super) fn delivered(&mut self, connection: Option<ConnectionId>, count: u64, micros: u64) -> Option<u64> {
        if connection != Some(self.connection) {
            self.index = NOBODY;
            return None;
        }
        self.left = self.left.saturating_sub(count);
        if self.left > 0 {
            return None;
        }
        self.index = NOBODY;
        Some(micros.saturating_sub(self.since))
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now: Now) {
        self.chosen = false;
        if now.micros.saturating_sub(self.since) > PATIENCE_MICROS {
            self.index = NOBODY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(micros: u64) -> Now {
        Now { micros, unix_ms: 0 }
    }

    #[test]
    fn a_delivery_is_measured_when_those_before_it_and_itself_are_out() {
        let (mut probe, ann) = (Probe::default(), ConnectionId::new(0, 7, 1));
        assert!(probe.is_free() && !probe.is_at(7));
        probe.follow(ann, 1_000, 2);
        assert!(!probe.is_free() && probe.is_at(7) && !probe.is_at(8));
        assert_eq!(probe.delivered(Some(ann), 2, 1_500), None);
        assert_eq!(probe.delivered(Some(ann), 5, 1_700), Some(700));
        assert!(!probe.is_at(7));
    }

    #[test]
    fn one_is_chosen_a_tick() {
        let (mut probe, ann) = (Probe::default(), ConnectionId::new(0, 7, 1));
        probe.follow(ann, 1_000, 0);
        assert_eq!(probe.delivered(Some(ann), 1, 1_002), Some(2));
        assert!(!probe.is_free(), "this tick had its one");
        probe.tick(now(50_000));
        assert!(probe.is_free());
    }

    #[test]
    fn who_is_gone_or_takes_nothing_is_left() {
        let (mut probe, ann) = (Probe::default(), ConnectionId::new(0, 7, 1));
        probe.follow(ann, 1_000, 0);
        assert_eq!(probe.delivered(Some(ConnectionId::new(0, 7, 2)), 1, 2_000), None, "another in the same slot");
        probe.tick(now(3_000));
        probe.follow(ann, 4_000, 0);
        probe.tick(now(4_000 + PATIENCE_MICROS));
        assert!(probe.is_at(7));
        probe.tick(now(4_001 + PATIENCE_MICROS));
        assert!(probe.is_free());
    }
}
