//! Where the user is a member, how far he got and what is unread: begun by `ready`, moved by events, receipts and answers.
//! Pure; read by the application, written by the session.

use std::collections::BTreeMap;

use crate::client::event::{Event, Joined, Membership, Receipt};

/// By channel.
#[derive(Debug, Default)]
pub(super) struct Memberships(BTreeMap<String, Membership>);

impl Memberships {
    /// What `ready` says stands in place of all known before.
    pub(super) fn replace(&mut self, all: Vec<Membership>) {
        self.0 = all.into_iter().map(|one| (one.channel.clone(), one)).collect();
    }

    pub(super) fn get(&self, channel: &str) -> Option<&Membership> {
        self.0.get(channel)
    }

    pub(super) fn all(&self) -> Vec<Membership> {
        self.0.values().cloned().collect()
    }

    /// By a request of ours. The new membership, if it is one.
    pub(super) fn joined(&mut self, joined: &Joined) -> Option<Membership> {
        let Joined { channel, epoch, offset } = joined.clone();
        self.began(Membership { channel, epoch, offset, delivered: offset, read: offset, unread: 0 }, None)
    }

    /// By somebody else's message, or on another device. Whoever had subscribed by himself may have heard more already: up to
    /// this offset, so many of them from others. The new membership, if it is one.
    pub(super) fn began(&mut self, mut began: Membership, heard: Option<(u64, u64)>) -> Option<Membership> {
        if self.0.contains_key(&began.channel) {
            return None;
        }
        if let Some((floor, foreign)) = heard.filter(|(floor, _)| *floor > began.offset) {
            (began.offset, began.unread) = (floor, foreign);
        }
        self.0.insert(began.channel.clone(), began.clone());
        Some(began)
    }

    /// Whether there was one.
    pub(super) fn ended(&mut self, channel: &str) -> bool {
        self.0.remove(channel).is_some()
    }

    /// A new event: what `ready` had counted already comes again as an event. The membership, if it changed.
    pub(super) fn heard(&mut self, event: &Event, user: &str) -> Option<Membership> {
        let membership = self.0.get_mut(&event.channel).filter(|membership| event.offset > membership.offset)?;
        membership.offset = event.offset;
        membership.unread += u64::from(event.from != user);
        Some(membership.clone())
    }

    /// Our cursors are here now. How many events others sent between `read` and the head only the server knows. The
    /// membership, if it changed.
    pub(super) fn moved(&mut self, receipt: &Receipt) -> Option<Membership> {
        let Receipt { channel, delivered, read, .. } = receipt;
        let membership = self.0.get_mut(channel)?;
        if (membership.delivered, membership.read) == (*delivered, *read) {
            return None;
        }
        if *read > membership.read {
            membership.unread = membership.unread.min(membership.offset.saturating_sub(*read));
        }
        (membership.delivered, membership.read) = (*delivered, *read);
        Some(membership.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined() -> Memberships {
        let mut memberships = Memberships::default();
        let channel = "chat:x".to_owned();
        assert!(memberships.joined(&Joined { channel, epoch: "e".to_owned(), offset: 3 }).is_some());
        memberships
    }

    fn event(offset: u64, from: &str) -> Event {
        let text = format!(r#"{{"channel":"chat:x","offset":{offset},"from":"{from}","at":1,"data":0}}"#);
        serde_json::from_str(&text).expect("an event")
    }

    #[test]
    fn what_others_sent_is_unread_until_it_was_read() {
        let mut memberships = joined();
        for (offset, from, unread) in [(3, "bob", None), (4, "bob", Some(1)), (5, "ann", Some(1)), (6, "bob", Some(2))]
        {
            let changed = memberships.heard(&event(offset, from), "ann");
            assert_eq!(changed.map(|one| one.unread), unread, "{offset}");
        }
        let receipt = |read| Receipt { channel: "chat:x".to_owned(), user: "ann".to_owned(), delivered: 6, read };
        assert_eq!(memberships.moved(&receipt(5)).map(|one| one.unread), Some(1));
        assert_eq!(memberships.moved(&receipt(6)).map(|one| one.unread), Some(0));
        assert_eq!(memberships.moved(&receipt(6)), None);
    }

    #[test]
    fn a_membership_begins_once_and_counts_what_was_heard_before() {
        let mut memberships = joined();
        let other =
            Membership { channel: "chat:y".to_owned(), offset: 2, ..memberships.get("chat:x").expect("one").clone() };
        let began = memberships.began(other.clone(), Some((5, 2))).expect("new");
        assert_eq!((began.offset, began.unread), (5, 2));
        assert_eq!(memberships.began(other, None), None);
        assert!(memberships.ended("chat:y") && !memberships.ended("chat:y"));
    }
}
