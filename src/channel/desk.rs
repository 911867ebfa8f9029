//! The desks of one shard: which sessions the users have whose desk is here, and when those were last seen. A user's desk
//! follows from his name, as a channel's home does, so his sessions are found from every shard.
//!
//! Pure state; `desks.rs` moves letters to and from it. A million sessions stand here, so each costs a few bytes: the hash of
//! a name instead of the name. Two users with one hash would hear of each other's memberships; a letter names its user, and
//! a connection takes none that is not for its own.

use std::collections::{BTreeSet, HashMap, VecDeque};

use compact_str::CompactString;
use tokio::sync::oneshot;

use crate::{
    channel::message::{Membership, Tag},
    id::ConnectionId,
    protocol::frame::MembershipState,
    store::StoreError,
};

/// Users remembered who have no socket any more; the first to have gone are forgotten first.
const MOST_SEEN: usize = 16_384;

/// What is asked of a user's desk.
#[derive(Debug)]
pub enum DeskRequest {
    /// A session begins or comes back.
    Enroll(ConnectionId, Tag),
    /// The store has said which memberships there are.
    Found(ConnectionId, Tag, Result<Vec<MembershipState>, StoreError>),
    /// A session has lost its socket.
    Away,
    /// A session has ended.
    Farewell(ConnectionId),
    /// For all sessions.
    Tell(Membership),
    /// Who is he?
    Describe(oneshot::Sender<Person>),
}

/// What is known of a user.
#[derive(Debug, Default)]
pub struct Person {
    /// Where he is a member. Filled in by the store's reader.
    pub memberships: Vec<MembershipState>,
    /// All sessions, parked ones included.
    pub sessions: Vec<ConnectionId>,
    /// When one of them last lost its socket, unix milliseconds. `None` when none did, or that is forgotten.
    pub last_seen: Option<u64>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Desks {
    sessions: BTreeSet<(u64, ConnectionId)>,
    seen: HashMap<CompactString, u64>,
    /// Those of `seen`, oldest first; who was seen again stands here more than once.
    order: VecDeque<(u64, CompactString)>,
}

impl Desks {
    /// Once for each session, however often it comes back.
    pub(super) fn enroll(&mut self, hash: u64, session: ConnectionId) {
        self.sessions.insert((hash, session));
    }

    /// Whether a user of at most so many sessions may have this one.
    pub(super) fn has_room(&self, hash: u64, session: ConnectionId, most: usize) -> bool {
        self.sessions.contains(&(hash, session)) || self.sessions(hash).take(most).count() < most
    }

    pub(super) fn farewell(&mut self, hash: u64, session: ConnectionId) {
        self.sessions.remove(&(hash, session));
    }

    /// In the order of their ids.
    pub(super) fn sessions(&self, hash: u64) -> impl Iterator<Item = ConnectionId> + '_ {
        let (first, last) = (ConnectionId::from_bits(0), ConnectionId::from_bits(u64::MAX));
        self.sessions.range((hash, first)..=(hash, last)).map(|(_, session)| *session)
    }

    pub(super) fn see(&mut self, user: &str, unix_ms: u64) {
        self.seen.insert(user.into(), unix_ms);
        self.order.push_back((unix_ms, user.into()));
        while self.seen.len() > MOST_SEEN || self.order.len() > 2 * MOST_SEEN {
            let Some((at, oldest)) = self.order.pop_front() else { return };
            if self.seen.get(&oldest) == Some(&at) {
                self.seen.remove(&oldest);
            }
        }
    }

    pub(super) fn describe(&self, hash: u64, user: &str) -> Person {
        let (sessions, last_seen) = (self.sessions(hash).collect(), self.seen.get(user).copied());
        Person { memberships: Vec::new(), sessions, last_seen }
    }

    /// How many sessions there are.
    #[cfg(feature = "simulation")]
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> ConnectionId {
        ConnectionId::new(index as u16 % 2, index, 1)
    }

    #[test]
    fn a_users_sessions_are_his_alone_and_stand_there_once() {
        let mut desks = Desks::default();
        for session in [id(1), id(2), id(1)] {
            desks.enroll(7, session);
        }
        desks.enroll(8, id(3));
        assert_eq!(desks.sessions(7).collect::<Vec<_>>(), [id(2), id(1)]);
        assert!(desks.has_room(7, id(1), 2) && !desks.has_room(7, id(4), 2) && desks.has_room(7, id(4), 3));
        desks.farewell(7, id(2));
        desks.farewell(8, id(1));
        assert_eq!(desks.sessions(7).collect::<Vec<_>>(), [id(1)]);
        assert_eq!(desks.describe(8, "bob").sessions, [id(3)]);
    }

    #[test]
    fn who_was_seen_long_ago_is_forgotten_first() {
        let mut desks = Desks::default();
        for at in 0..MOST_SEEN as u64 {
            desks.see(&format!("user{at}"), at);
        }
        desks.see("user0", 1_000_000);
        desks.see("one more", 1_000_001);
        let seen = |user| desks.describe(0, user).last_seen;
        assert_eq!([seen("user0"), seen("user1"), seen("user2")], [Some(1_000_000), None, Some(2)]);
        assert_eq!(seen("one more"), Some(1_000_001));
        for at in 0..10 * MOST_SEEN as u64 {
            desks.see("the same", at);
        }
        assert!(desks.order.len() <= 2 * MOST_SEEN);
    }
}
