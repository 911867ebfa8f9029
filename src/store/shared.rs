//! The state of an engine as threads share it, and the reading side that is the same for all engines: everything but the
//! events themselves is answered from memory under a read lock, events are fetched without any.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use compact_str::CompactString;

use super::{Archive, Cursors, Event, Extent, Membership, Page, Range, StoreError, state::State};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Shared<P, F> {
    state: RwLock<State<P>>,
    pub(super) fetch: F,
}

/// Gets events from where they are.
pub(super) trait Fetch<P>: Send + Sync {
    /// In the order of `places`; `None` when one of them has moved meanwhile.
    fn fetch(&self, places: &[(u64, P)]) -> Result<Option<Vec<Event>>, StoreError>;
}

impl<P, F> Shared<P, F> {
    pub(super) fn new(state: State<P>, fetch: F) -> Self {
        Self { state: RwLock::new(state), fetch }
    }

    /// A panic under the lock leaves at worst a part of a group; the writer makes the engine anew after one.
    pub(super) fn state(&self) -> RwLockReadGuard<'_, State<P>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State<P>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Clone + PartialEq + Send + Sync, F: Fetch<P>> Archive for Shared<P, F> {
    fn extent(&self, channel: &str) -> Option<Extent> {
        self.state().extent(channel)
    }

    fn channels(&self, prefix: &str, limit: usize) -> Vec<CompactString> {
        self.state().names(prefix, limit)
    }

    fn read(&self, channel: &str, range: Range, limit: usize) -> Result<Page, StoreError> {
        loop {
            let (places, more) = self.state().places(channel, range, limit);
            if let Some(events) = self.fetch.fetch(&places)? {
                return Ok(Page { events, more });
            }
        }
    }

    fn cursors(&self, channel: &str, user: &str) -> Cursors {
        self.state().standing(channel, user).unwrap_or_default().1
    }

    fn unread(&self, channel: &str, user: &str, after: u64) -> u64 {
        self.state().unread(channel, user, after)
    }

    fn members(&self, channel: &str) -> Vec<(CompactString, Cursors)> {
        self.state().members(channel)
    }

    fn memberships(&self, user: &str) -> Vec<Membership> {
        self.state().memberships(user)
    }

    fn memberships_within(&self, user: &str, most: usize) -> Option<Vec<Membership>> {
        let state = match self.state.try_read() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        (state.cost_of_memberships(user, most) <= most).then(|| state.memberships(user))
    }

    fn is_member(&self, channel: &str, user: &str) -> bool {
        self.state().standing(channel, user).unwrap_or_default().0
    }
}
