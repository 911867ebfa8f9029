//! Cursors that have moved and that a channel's subscribers have not been told of: the newest of each user, and no more of
//! them at once than the channel can bear. In a crowd everybody's cursor moves with every event and everybody would be told:
//! a frame for each pair of users. So the more there are, the later and the fewer receipts go out; none that counts is lost.
//!
//! Pure state of a channel's home.

use std::collections::{HashMap, VecDeque};

use compact_str::CompactString;

use crate::protocol::frame::Standing;

/// Receipts that one channel may cost in a second, counted per subscriber.
const PER_SECOND: u64 = 20_000;
/// Told at once at most.
const MOST: u64 = 256;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    moved: HashMap<CompactString, Standing>,
    /// In the order in which they are to be told.
    order: VecDeque<CompactString>,
    /// When the next ones may go out, unix milliseconds.
    free_at: u64,
}

impl Receipts {
    pub(super) fn note(&mut self, user: CompactString, standing: Standing) {
        if self.moved.insert(user.clone(), standing).is_none() {
            self.order.push_back(user);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// What may be told now to so many subscribers.
    pub(super) fn take(&mut self, subscribers: u32, unix_ms: u64) -> Vec<(CompactString, Standing)> {
        if subscribers == 0 {
            self.moved.clear();
            self.order.clear();
            return Vec::new();
        }
        if unix_ms < self.free_at {
            return Vec::new();
        }
        let subscribers = u64::from(subscribers);
        let count = (PER_SECOND / 20 / subscribers).clamp(1, MOST).min(self.order.len() as u64);
        self.free_at = unix_ms + count * subscribers * 1000 / PER_SECOND;
        let next = self.order.drain(..count as usize);
        next.filter_map(|user| self.moved.remove_entry(&user)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(offset: u64) -> Standing {
        Standing { delivered: offset, read: offset }
    }

    #[test]
    fn only_the_newest_of_a_user_is_told() {
        let mut receipts = Receipts::default();
        for offset in 1..=9 {
            receipts.note("ann".into(), read(offset));
        }
        receipts.note("bob".into(), read(2));
        assert_eq!(receipts.take(3, 0), [("ann".into(), read(9)), ("bob".into(), read(2))]);
        assert!(receipts.is_empty() && receipts.take(3, 1000).is_empty());
    }

    #[test]
    fn in_a_crowd_they_are_few_and_in_turn() {
        let mut receipts = Receipts::default();
        let note_all = |receipts: &mut Receipts, offset| {
            (0..100).for_each(|user| receipts.note(format!("user{user}").into(), read(offset)));
        };
        note_all(&mut receipts, 1);
        let (mut told, mut users) = (0, Vec::new());
        for tick in 0..200 {
            for (user, _) in receipts.take(10_000, tick * 50) {
                told += 1;
                users.push(user);
            }
            note_all(&mut receipts, tick);
        }
        assert!((20..=21).contains(&told), "{told} receipts to 10,000 in 10 s");
        users.sort_unstable();
        users.dedup();
        assert_eq!(users.len(), told, "nobody twice before everybody once");
    }

    #[test]
    fn nobody_to_be_told_is_nothing_to_remember() {
        let mut receipts = Receipts::default();
        receipts.note("ann".into(), read(1));
        assert!(receipts.take(0, 0).is_empty() && receipts.is_empty());
    }
}
