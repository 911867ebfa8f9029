//! A room as one shard sees it: which of the shard's connections hear what is told there, and which wait to be shown the room
//! before they do. Pure.
//!
//! ```text
//!            enter             snapshot             mailbox full
//! stranger ────────▶ asked ────────────────▶ member ──────────────▶ behind
//!                      ▲                                               │
//!                      └───────────────────────────────────────────────┘ has handled all it held
//! ```

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::letter::Ticket;
use crate::id::ConnectionId;

/// See the module's text. Members are slot indexes: a bit or two bytes each.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    pub(super) members: RoaringBitmap,
    waiting: HashMap<ConnectionId, Waiting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// For the room's state. `skipped`: because it was behind.
    Asked { ticket: Ticket, skipped: bool },
    /// Until its mailbox is empty. Hears nothing meanwhile.
    Behind,
}

impl Seat {
    /// Nobody needs it.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.waiting.is_empty()
    }

    /// A member, or about to be one.
    pub(super) fn knows(&self, connection: ConnectionId) -> bool {
        self.members.contains(connection.index()) || self.waiting.contains_key(&connection)
    }

    /// Asked for the room's state. A member hears on meanwhile.
    pub(super) fn ask(&mut self, connection: ConnectionId, ticket: Ticket) {
        self.waiting.insert(connection, Waiting::Asked { ticket, skipped: false });
    }

    /// Becomes a member if this is the answer it waits for; then, whether it was behind.
    pub(super) fn answer(&mut self, connection: ConnectionId, ticket: Ticket) -> Option<bool> {
        match self.waiting.get(&connection) {
            Some(&Waiting::Asked { ticket: latest, skipped }) if latest == ticket => {
                self.waiting.remove(&connection);
                self.members.insert(connection.index());
                Some(skipped)
            }
            _ => None,
        }
    }

    /// Its question was refused: a stranger again.
    pub(super) fn refuse(&mut self, connection: ConnectionId, ticket: Ticket) {
        if matches!(self.waiting.get(&connection), Some(Waiting::Asked { ticket: latest, .. }) if *latest == ticket) {
            self.waiting.remove(&connection);
        }
    }

    /// Could not take a telling: hears no more until it is shown the room. `false`: it has asked for that already.
    pub(super) fn fall_behind(&mut self, connection: ConnectionId) -> bool {
        self.members.remove(connection.index());
        let asked = self.waiting.contains_key(&connection);
        self.waiting.entry(connection).or_insert(Waiting::Behind);
        !asked
    }

    /// Has handled all it held; `true`: it was behind, and the room's state is asked for.
    pub(super) fn catch_up(&mut self, connection: ConnectionId, ticket: Ticket) -> bool {
        let waiting = self.waiting.get_mut(&connection).filter(|waiting| **waiting == Waiting::Behind);
        waiting.map(|waiting| *waiting = Waiting::Asked { ticket, skipped: true }).is_some()
    }

    /// Whether it was here, in whichever way.
    pub(super) fn leave(&mut self, connection: ConnectionId) -> bool {
        let waited = self.waiting.remove(&connection).is_some();
        self.members.remove(connection.index()) || waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_latest_question_makes_a_member() {
        let (mut seat, ann) = (Seat::default(), ConnectionId::new(0, 7, 1));
        seat.ask(ann, Ticket(1));
        assert!(seat.knows(ann) && seat.members.is_empty());
        assert!(seat.leave(ann) && !seat.leave(ann));
        seat.ask(ann, Ticket(2));
        assert_eq!(seat.answer(ann, Ticket(1)), None, "she had left since");
        assert_eq!(seat.answer(ann, Ticket(2)), Some(false));
        assert_eq!(seat.answer(ann, Ticket(2)), None);
        assert!(seat.members.contains(7));
    }

    #[test]
    fn who_falls_behind_hears_nothing_until_he_is_shown_the_room() {
        let (mut seat, ann) = (Seat::default(), ConnectionId::new(0, 7, 1));
        seat.ask(ann, Ticket(1));
        seat.answer(ann, Ticket(1));
        assert!(!seat.catch_up(ann, Ticket(2)), "she is not behind");
        assert!(seat.fall_behind(ann) && seat.members.is_empty() && seat.knows(ann));
        assert!(seat.catch_up(ann, Ticket(3)));
        assert_eq!(seat.answer(ann, Ticket(3)), Some(true));
        seat.ask(ann, Ticket(4));
        assert!(!seat.fall_behind(ann), "what she has asked for is what she would have to ask for");
        assert_eq!(seat.answer(ann, Ticket(4)), Some(false));
    }

    #[test]
    fn who_is_refused_is_a_stranger() {
        let (mut seat, ann) = (Seat::default(), ConnectionId::new(0, 7, 1));
        seat.ask(ann, Ticket(1));
        seat.refuse(ann, Ticket(0));
        assert!(seat.knows(ann), "that was an older question");
        seat.refuse(ann, Ticket(1));
        assert!(seat.is_empty());
    }
}
