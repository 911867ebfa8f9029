//! Who is in a channel: users with the number of their sessions, and what has changed since the watchers were last told.
//!
//! Pure state of a channel's home. Counts users, not connections; `invisible` counts as absent.

use std::collections::{BTreeMap, btree_map::Entry};

use compact_str::CompactString;

use crate::protocol::{
    frame::{Present, Roster},
    request::Status,
};

/// Users in a `subscribe` reply.
const FIRST: usize = 100;
/// Users remembered who are not seen any more; who went first is forgotten first.
const MOST_AWAY: usize = 128;

#[derive(Debug)]
struct Person {
    /// Sessions subscribed, parked ones included.
    sessions: u32,
    status: Status,
    /// Last join, status, publish or signal, unix ms.
    last_seen: u64,
}

impl Person {
    fn shown(&self) -> Option<Status> {
        (self.sessions > 0 && self.status != Status::Invisible).then_some(self.status)
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Presence {
    people: BTreeMap<CompactString, Person>,
    /// Users that may have changed since the watchers were told.
    changes: BTreeMap<CompactString, Change>,
    count: usize,
    /// When those went who were seen last, unix ms. Who became invisible went then, and stays gone whatever he does.
    away: BTreeMap<CompactString, u64>,
    /// How many of `changes` were there when the last roster was given out: its reader knows them otherwise than the
    /// watchers do, so they are told even if they come to nothing.
    divided: u32,
}

#[derive(Debug)]
struct Change {
    /// What the watchers know of the user.
    known: Option<Status>,
    /// How many changes came before it.
    nth: u32,
}

/// What watchers are told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) joined: Vec<Present>,
    pub(super) left: Vec<String>,
    pub(super) changed: Vec<Present>,
    pub(super) count: usize,
}

impl Presence {
    /// One more session of `user`; one that takes over from a parked session (`inherits`) is not counted again.
    pub(super) fn join(&mut self, user: &str, status: Status, inherits: bool, unix_ms: u64) {
        self.change(user, unix_ms, |person| {
            if !inherits || person.sessions == 0 {
                person.sessions += 1;
            }
            person.status = status;
            person.last_seen = unix_ms;
        });
    }

    /// One session less.
    pub(super) fn leave(&mut self, user: &str, unix_ms: u64) {
        self.change(user, unix_ms, |person| {
            person.sessions = person.sessions.saturating_sub(1);
            person.last_seen = unix_ms;
        });
    }

    /// The user is seen otherwise from now on.
    pub(super) fn set_status(&mut self, user: &str, status: Status, unix_ms: u64) {
        if self.people.contains_key(user) {
            self.change(user, unix_ms, |person| {
                person.status = status;
                person.last_seen = unix_ms;
            });
        }
    }

    /// The user did something here.
    pub(super) fn touch(&mut self, user: &str, unix_ms: u64) {
        if let Some(person) = self.people.get_mut(user) {
            person.last_seen = unix_ms;
        }
    }

    fn change(&mut self, user: &str, unix_ms: u64, change: impl FnOnce(&mut Person)) {
        let entry = self.people.entry(user.into());
        let (before, after, gone) = match entry {
            Entry::Vacant(vacant) => {
                let person = vacant.insert(Person { sessions: 0, status: Status::Online, last_seen: 0 });
                change(person);
                (None, person.shown(), person.sessions == 0)
            }
            Entry::Occupied(mut occupied) => {
                let before = occupied.get().shown();
                change(occupied.get_mut());
                (before, occupied.get().shown(), occupied.get().sessions == 0)
            }
        };
        if gone {
            self.people.remove(user);
        }
        if before != after {
            self.count = self.count + usize::from(after.is_some()) - usize::from(before.is_some());
            let nth = self.changes.len() as u32;
            self.changes.entry(user.into()).or_insert(Change { known: before, nth });
            match after {
                Some(_) => drop(self.away.remove(user)),
                None => self.remember(user, unix_ms),
            }
        }
    }

    fn remember(&mut self, user: &str, unix_ms: u64) {
        self.away.insert(user.into(), unix_ms);
        if self.away.len() > MOST_AWAY
            && let Some(first) = self.away.iter().min_by_key(|(_, at)| **at).map(|(user, _)| user.clone())
        {
            self.away.remove(&first);
        }
    }

    /// The user's last sign of activity here, or when he went; `None` when that was never or is forgotten.
    pub(super) fn last_seen(&self, user: &str) -> Option<u64> {
        let here = self.people.get(user).filter(|person| person.shown().is_some());
        here.map(|person| person.last_seen).or_else(|| self.away.get(user).copied())
    }

    /// Nobody is here and nobody needs to be told.
    pub(super) fn is_empty(&self) -> bool {
        self.people.is_empty() && self.changes.is_empty()
    }

    /// The net changes since the last call; `None` when there are none.
    pub(super) fn take_changes(&mut self) -> Option<Changes> {
        let mut changes = Changes { count: self.count, ..Changes::default() };
        let divided = std::mem::take(&mut self.divided);
        for (user, Change { known, nth }) in std::mem::take(&mut self.changes) {
            let now = self.people.get(&user).and_then(Person::shown);
            let present = |status| Present { user: user.to_string(), status, last_seen: None };
            match (known, now) {
                (None, Some(status)) => changes.joined.push(present(status)),
                (Some(_), None) => changes.left.push(user.to_string()),
                (Some(_), Some(status)) if nth < divided => changes.joined.push(present(status)),
                (None, None) if nth < divided => changes.left.push(user.to_string()),
                (Some(old), Some(status)) if old != status => changes.changed.push(present(status)),
                _ => {}
            }
        }
        let any = !(changes.joined.is_empty() && changes.left.is_empty() && changes.changed.is_empty());
        any.then_some(changes)
    }

    /// Some are changed since the watchers were told.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// How many are seen here.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Everybody, or with `first` the first hundred by name.
    pub(super) fn roster(&mut self, first: bool) -> Roster {
        self.divided = self.changes.len() as u32;
        let shown = self.people.iter().filter_map(|(user, person)| {
            let status = person.shown()?;
            Some(Present { user: user.to_string(), status, last_seen: Some(person.last_seen) })
        });
        let users = if first { shown.take(FIRST).collect() } else { shown.collect() };
        Roster { count: self.count, users }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(present: &[Present]) -> Vec<&str> {
        present.iter().map(|present| present.user.as_str()).collect()
    }

    #[test]
    fn users_are_counted_once_however_many_sessions_they_have() {
        let mut presence = Presence::default();
        presence.join("ann", Status::Online, false, 1);
        presence.join("ann", Status::Online, false, 2);
        presence.join("bob", Status::Busy, false, 3);
        let changes = presence.take_changes().expect("two joined");
        assert_eq!((names(&changes.joined), changes.count), (vec!["ann", "bob"], 2));
        presence.leave("ann", 4);
        assert_eq!(presence.take_changes(), None);
        presence.leave("ann", 5);
        let changes = presence.take_changes().expect("ann left");
        assert_eq!((changes.left, changes.count), (vec!["ann".to_owned()], 1));
    }

    #[test]
    fn coming_and_going_within_one_interval_is_not_told() {
        let mut presence = Presence::default();
        presence.join("ann", Status::Online, false, 1);
        presence.leave("ann", 2);
        assert_eq!(presence.take_changes(), None);
        assert!(presence.is_empty());
    }

    #[test]
    fn who_came_between_two_tellings_hears_of_everybody_his_roster_shows_otherwise() {
        let mut presence = Presence::default();
        presence.join("ann", Status::Online, false, 1);
        presence.take_changes();
        presence.leave("ann", 2);
        presence.join("bob", Status::Online, false, 3);
        presence.join("cat", Status::Online, false, 4);
        assert_eq!((presence.roster(true).count, presence.count()), (2, 2));
        presence.join("ann", Status::Online, false, 5);
        presence.leave("bob", 6);
        presence.join("dan", Status::Online, false, 7);
        presence.leave("dan", 8);
        let changes = presence.take_changes().expect("the roster had no ann and a bob");
        assert_eq!(
            (names(&changes.joined), changes.left, changes.count),
            (vec!["ann", "cat"], vec!["bob".to_owned()], 2)
        );
        presence.leave("ann", 9);
        presence.join("ann", Status::Online, false, 10);
        assert_eq!(presence.take_changes(), None);
    }

    #[test]
    fn invisible_counts_as_absent() {
        let mut presence = Presence::default();
        presence.join("ann", Status::Online, false, 1);
        presence.take_changes();
        presence.set_status("ann", Status::Invisible, 2);
        let changes = presence.take_changes().expect("looks gone");
        assert_eq!((changes.left, changes.count), (vec!["ann".to_owned()], 0));
        assert_eq!(presence.roster(false).count, 0);
        presence.set_status("ann", Status::Idle, 3);
        assert_eq!(names(&presence.take_changes().expect("is back").joined), ["ann"]);
    }

    #[test]
    fn who_went_was_last_seen_then() {
        let mut presence = Presence::default();
        assert_eq!(presence.last_seen("ann"), None);
        presence.join("ann", Status::Online, false, 1);
        presence.touch("ann", 2);
        assert_eq!(presence.last_seen("ann"), Some(2));
        presence.set_status("ann", Status::Invisible, 3);
        presence.touch("ann", 4);
        presence.leave("ann", 5);
        assert_eq!(presence.last_seen("ann"), Some(3), "nothing gives an invisible user away");
        for at in 0..MOST_AWAY as u64 {
            presence.join("bob", Status::Online, false, 9);
            let user = format!("user{at}");
            presence.join(&user, Status::Online, false, 10 + at);
            presence.leave(&user, 10 + at);
        }
        assert_eq!((presence.last_seen("ann"), presence.last_seen("user0")), (None, Some(10)));
        assert_eq!(presence.last_seen("bob"), Some(9), "who is here is not away");
    }

    #[test]
    fn a_resumed_session_inherits_its_place() {
        let mut presence = Presence::default();
        presence.join("ann", Status::Online, false, 1);
        presence.join("ann", Status::Online, true, 2);
        presence.leave("ann", 3);
        assert_eq!(presence.roster(false).count, 0);
    }
}
