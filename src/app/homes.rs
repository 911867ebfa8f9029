//! The rooms that live on one shard: their states, their numbers, and how many members each other shard has. Pure but for
//! [`App::fold`], which may panic: a room changes in one step behind it.
//!
//! Bounded: every room that somebody is in (members times `limits.subscriptions`), and of the others the last [`EMPTY`], for
//! [`KEPT_MS`] each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    App,
    notice::{Snapshot, Telling},
};
use crate::{clock::Now, id::ConnectionId};

/// A room without members is kept for so long: those who lost their sockets together find it again.
const KEPT_MS: u32 = 60_000;
/// Rooms without members on one shard; beyond that the one that has been empty longest goes.
const EMPTY: usize = 1_024;

/// See the module's text.
pub(crate) struct Homes<A: App> {
    rooms: HashMap<Arc<str>, Room<A>>,
    /// Those without members, the one that has been empty longest first.
    empty: BTreeMap<u64, Arc<str>>,
    emptied: u64,
}

struct Room<A: App> {
    state: Arc<A::Room>,
    number: u64,
    /// Members by shard.
    members: Vec<u32>,
    /// Its key in [`Homes::empty`], and since when.
    empty: Option<(u64, u32)>,
}

impl<A: App> Default for Homes<A> {
    fn default() -> Self {
        Self { rooms: HashMap::new(), empty: BTreeMap::new(), emptied: 0 }
    }
}

impl<A: App> Homes<A> {
    /// The room as it is, made if need be. `enters`: with a member more on that shard.
    pub(super) fn look(&mut self, name: &Arc<str>, shard: u16, enters: bool) -> Snapshot<A> {
        let room = self.rooms.entry(Arc::clone(name)).or_insert_with(|| Room {
            state: Arc::default(),
            number: 0,
            members: Vec::new(),
            empty: None,
        });
        if enters {
            let shard = usize::from(shard);
            room.members.resize(room.members.len().max(shard + 1), 0);
            room.members[shard] += 1;
            if let Some((key, _)) = room.empty.take() {
                self.empty.remove(&key);
            }
        }
        Snapshot { room: Arc::clone(name), state: Arc::clone(&room.state), number: room.number }
    }

    /// A member less on that shard.
    pub(super) fn leave(&mut self, name: &Arc<str>, shard: u16, now: Now) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if let Some(count) = room.members.get_mut(usize::from(shard)) {
            *count = count.saturating_sub(1);
        }
        if room.empty.is_some() || room.members.iter().any(|count| *count > 0) {
            return;
        }
        self.emptied += 1;
        room.empty = Some((self.emptied, now.ms()));
        self.empty.insert(self.emptied, Arc::clone(name));
        if self.empty.len() > EMPTY {
            self.forget_first();
        }
    }

    /// What all members are to hear, and which shards have some. `None`: there is no such room.
    pub(super) fn tell(
        &mut self,
        name: &Arc<str>,
        from: ConnectionId,
        told: Arc<A::Told>,
    ) -> Option<(Telling<A>, &[u32])> {
        let room = self.rooms.get_mut(name)?;
        let state = Arc::new(A::fold(A::Room::clone(&room.state), &told));
        room.number += 1;
        room.state = Arc::clone(&state);
        Some((Telling { room: Arc::clone(name), number: room.number, from, told, state }, &room.members))
    }

    /// Lets rooms go that have been empty for long enough.
    pub(super) fn tick(&mut self, now: Now) {
        while let Some(first) = self.empty.values().next()
            && self.rooms.get(first).and_then(|room| room.empty).is_none_or(|(_, since)| now.ms_since(since) >= KEPT_MS)
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, name)) = self.empty.pop_first() {
            self.rooms.remove(&name);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }
}
