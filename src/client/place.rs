//! Where a client stands in one channel: what it asked for, the cursor to go on from, and which events it has had. Pure.
//!
//! It outlives sockets and sessions. Two numbers, because `last` brings events from below the head: the cursor is where the
//! next socket goes on, the floor is what was delivered.

use std::{collections::VecDeque, sync::Arc};

use serde::Serialize;

use crate::{
    client::{
        event::{Gap, Membership, Subscribed},
        queue::Queue,
        request::Ticket,
    },
    protocol::request::Cursor,
};

/// The newest events that are remembered until a membership may begin.
const MOST_FOREIGN: usize = 1_000;

/// What a subscriber asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Go on after this.
    pub(super) from: Option<Cursor>,
    /// Begin with the newest n.
    pub(super) last: Option<u64>,
    /// Also say who comes and goes.
    pub(super) presence: bool,
}

/// The fields of a `subscribe`.
#[derive(Debug, Serialize)]
pub(super) struct Fields<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a Cursor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    presence: bool,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) wanted: Wanted,
    /// Where to go on after a lost socket.
    pub(super) cursor: Option<Cursor>,
    /// Events up to this offset were delivered.
    pub(super) floor: Option<u64>,
    /// Who listens; nobody where a membership, the session or the URL subscribed.
    pub(super) queue: Option<Arc<Queue>>,
    /// Nobody here asked for it.
    pub(super) implicit: bool,
    /// The `subscribe` on its way.
    pub(super) opening: Option<Ticket>,
    /// Events were dropped because nobody took those before them; they are asked for again from the cursor.
    pub(super) behind: bool,
    /// Deliveries are to be acknowledged.
    pub(super) owes_ack: bool,
    /// The last `delivered` that was sent.
    pub(super) acknowledged: u64,
    /// Of others, while the user is no member here: a membership that began before them counts them.
    foreign: VecDeque<u64>,
    last_gap: Option<(Option<String>, u64, u64)>,
}

impl Place {
    /// A channel that somebody listens to.
    pub(super) fn wanted(wanted: Wanted, queue: Arc<Queue>) -> Self {
        Self { wanted, queue: Some(queue), ..Self::default() }
    }

    /// A channel that nobody here asked for; the inbox may listen.
    pub(super) fn implicit(inbox: Option<Arc<Queue>>) -> Self {
        Self { implicit: true, queue: inbox, ..Self::default() }
    }

    /// The fields of the next `subscribe`: from the cursor when there is one, else as first asked.
    pub(super) fn fields<'a>(&'a self, channel: &'a str) -> Fields<'a> {
        let from = self.cursor.as_ref().or(self.wanted.from.as_ref());
        let last = if from.is_none() { self.wanted.last } else { None };
        Fields { channel, from, last, presence: self.wanted.presence }
    }

    /// Takes over what the server says. An offset means nothing in another epoch, so it starts anew there. Without a cursor
    /// of ours the server goes on from the one it keeps for a member.
    pub(super) fn established(&mut self, epoch: &str, offset: u64, membership: Option<&Membership>) {
        self.behind = false;
        let kept = membership.map(|kept| Cursor {
            epoch: kept.epoch.clone(),
            offset: self.floor.map_or(kept.delivered, |floor| floor.max(kept.delivered)),
        });
        let start = self.cursor.clone().or_else(|| self.wanted.from.clone()).or(kept);
        let last = self.wanted.last.unwrap_or(0);
        let begin = match start {
            Some(start) if start.epoch == epoch => {
                self.floor = self.floor.max(Some(start.offset));
                start.offset
            }
            Some(_) => {
                self.floor = None;
                0
            }
            // A socket lost before the first replayed event must bring that replay again, so the cursor stays before it.
            None => {
                self.floor = (last == 0).then_some(offset);
                offset.saturating_sub(last)
            }
        };
        self.cursor = Some(Cursor { epoch: epoch.to_owned(), offset: begin });
        if let Some(queue) = self.queue.as_ref().filter(|_| !self.implicit) {
            queue.begin(epoch);
        }
    }

    /// As [`Place::established`], by the answer to a `subscribe`.
    pub(super) fn subscribed(&mut self, answer: &Subscribed) {
        self.opening = None;
        self.established(&answer.epoch, answer.offset, None);
    }

    /// False for an event that was delivered before.
    pub(super) fn admit(&mut self, offset: u64) -> bool {
        if Some(offset) <= self.floor {
            return false;
        }
        self.floor = Some(offset);
        if let Some(cursor) = &mut self.cursor {
            cursor.offset = offset;
        }
        true
    }

    /// Somebody else's event came, and the user is no member here.
    pub(super) fn remember(&mut self, offset: u64) {
        if self.foreign.len() == MOST_FOREIGN {
            self.foreign.pop_front();
        }
        self.foreign.push_back(offset);
    }

    /// So many events of others came after this offset.
    pub(super) fn foreign_after(&self, offset: u64) -> u64 {
        self.foreign.iter().filter(|one| **one > offset).count() as u64
    }

    /// False for a gap that is told again because we came back with the same cursor. The cursor does not move: a log that
    /// still has these events may bring them with the next socket.
    pub(super) fn is_news(&mut self, gap: &Gap) -> bool {
        let told = Some((self.cursor.as_ref().map(|cursor| cursor.epoch.clone()), gap.from, gap.to));
        let news = told != self.last_gap;
        self.last_gap = told;
        news
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::frame::GapReason;

    use super::*;

    fn cursor(epoch: &str, offset: u64) -> Option<Cursor> {
        Some(Cursor { epoch: epoch.to_owned(), offset })
    }

    fn place(last: Option<u64>) -> Place {
        let mut place = Place { wanted: Wanted { last, ..Wanted::default() }, ..Place::default() };
        place.established("e1", 10, None);
        place
    }

    #[test]
    fn a_channel_begins_at_its_head_and_drops_doubles() {
        let mut place = place(None);
        assert_eq!(place.cursor, cursor("e1", 10));
        let admitted: Vec<u64> = [9, 10, 11, 11, 13, 12].into_iter().filter(|offset| place.admit(*offset)).collect();
        assert_eq!(admitted, [11, 13]);
        assert_eq!(place.cursor, cursor("e1", 13));
    }

    #[test]
    fn a_socket_lost_before_the_replay_of_last_brings_that_replay_again() {
        let mut place = place(Some(3));
        assert_eq!(place.cursor, cursor("e1", 7));
        place.established("e1", 10, None);
        let admitted: Vec<u64> = [7, 8, 9, 10].into_iter().filter(|offset| place.admit(*offset)).collect();
        assert_eq!(admitted, [8, 9, 10]);
    }

    #[test]
    fn in_another_epoch_offsets_begin_anew() {
        let mut place = place(None);
        assert!(place.admit(11));
        place.established("e2", 2, None);
        assert_eq!(place.cursor, cursor("e2", 0));
        assert!(place.admit(1) && place.admit(2) && !place.admit(2));
    }

    #[test]
    fn a_member_goes_on_from_the_cursor_that_the_server_keeps() {
        let mut place = Place::default();
        let channel = "chat:x".to_owned();
        let kept = Membership { channel, epoch: "e1".to_owned(), offset: 9, delivered: 4, read: 2, unread: 3 };
        place.established("e1", 9, Some(&kept));
        assert!(!place.admit(4) && place.admit(5));
    }

    #[test]
    fn what_is_asked_is_the_cursor_or_what_was_wanted_first() {
        let fields = |place: &Place| serde_json::to_string(&place.fields("c")).expect("json");
        let wanted = Wanted { last: Some(5), presence: true, from: None };
        let mut place = Place { wanted, ..Place::default() };
        assert_eq!(fields(&place), r#"{"channel":"c","last":5,"presence":true}"#);
        place.established("e1", 8, None);
        assert_eq!(fields(&place), r#"{"channel":"c","from":{"epoch":"e1","offset":3},"presence":true}"#);
    }

    #[test]
    fn a_gap_is_told_once() {
        let mut place = place(None);
        let gap = |from, to| Gap { channel: "c".to_owned(), from, to, reason: GapReason::Retention };
        assert!(place.is_news(&gap(11, 20)));
        assert!(!place.is_news(&gap(11, 20)));
        assert!(place.is_news(&gap(21, 25)));
    }
}
