//! The inbound queue of one connection, allocated only while it holds something.
//!
//! Two queues: notices (answers to the connection's own requests, never dropped) and deliveries (bounded; when they are
//! full the hub decides between a gap and a close). So data can never push out an answer.

use std::collections::VecDeque;

use crate::shard::behaviour::Class;

/// A waiting message and when it came.
#[derive(Debug)]
pub(super) struct Waiting<M> {
    pub(super) message: M,
    /// Microseconds, wrapping: only differences count.
    pub(super) since: u32,
    /// A turn that handled it has crashed before.
    pub(super) tried: bool,
}

/// The value comes back when the mailbox is full.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<M>(pub M);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Mailbox<M> {
    notices: VecDeque<Waiting<M>>,
    deliveries: VecDeque<Waiting<M>>,
}

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        Self { notices: VecDeque::new(), deliveries: VecDeque::new() }
    }
}

impl<M> Mailbox<M> {
    pub(super) fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.deliveries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.notices.len() + self.deliveries.len()
    }

    pub(super) fn notices(&self) -> usize {
        self.notices.len()
    }

    pub(super) fn has_deliveries(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// Queues `message`; a delivery beyond `capacity` comes back.
    pub(super) fn offer(&mut self, message: M, class: Class, since: u32, capacity: usize) -> Result<(), Full<M>> {
        if class != Class::Notice && self.deliveries.len() >= capacity {
            return Err(Full(message));
        }
        self.force(message, class, since);
        Ok(())
    }

    /// Queues as many of `deliveries` as there is room for, and returns how many.
    pub(super) fn extend(&mut self, deliveries: impl Iterator<Item = M>, since: u32, capacity: usize) -> usize {
        let before = self.deliveries.len();
        let fresh = deliveries.map(|message| Waiting { message, since, tried: false });
        self.deliveries.extend(fresh.take(capacity.saturating_sub(before)));
        self.deliveries.len() - before
    }

    /// Queues `message` even beyond the bound; for what the sender has bounded itself (a catch-up).
    pub(super) fn force(&mut self, message: M, class: Class, since: u32) {
        let waiting = Waiting { message, since, tried: false };
        match class {
            Class::Notice => self.notices.push_back(waiting),
            Class::Event | Class::Ephemeral => self.deliveries.push_back(waiting),
        }
    }

    /// When the oldest waiting delivery came.
    pub(super) fn oldest_delivery(&self) -> Option<u32> {
        self.deliveries.front().map(|waiting| waiting.since)
    }

    /// The next notice, else the next delivery unless those are held.
    pub(super) fn next(&mut self, deliveries: bool) -> Option<Waiting<M>> {
        self.notices.pop_front().or_else(|| if deliveries { self.deliveries.pop_front() } else { None })
    }

    /// The deliveries that wait, in their order.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = &Waiting<M>> {
        self.deliveries.iter()
    }

    /// The next delivery.
    pub(super) fn next_delivery(&mut self) -> Option<Waiting<M>> {
        self.deliveries.pop_front()
    }

    /// Takes out the first `count` deliveries.
    pub(super) fn take_deliveries(&mut self, count: usize) -> impl Iterator<Item = Waiting<M>> + '_ {
        self.deliveries.drain(..count.min(self.deliveries.len()))
    }

    /// Puts a message whose turn crashed back where it was.
    pub(super) fn retry(&mut self, waiting: Waiting<M>, class: Class) {
        let waiting = Waiting { tried: true, ..waiting };
        match class {
            Class::Notice => self.notices.push_front(waiting),
            Class::Event | Class::Ephemeral => self.deliveries.push_front(waiting),
        }
    }

    /// Takes out the deliveries that `unwanted` picks and returns how many of them were events.
    pub(super) fn withdraw(&mut self, unwanted: impl Fn(&M) -> bool, class: impl Fn(&M) -> Class) -> u64 {
        let before = self.pending_events(&class);
        self.deliveries.retain(|waiting| !unwanted(&waiting.message));
        before - self.pending_events(&class)
    }

    /// The notices that wait.
    pub(super) fn drain_notices(&mut self) -> impl Iterator<Item = M> + '_ {
        self.notices.drain(..).map(|waiting| waiting.message)
    }

    /// Drops all deliveries, returning how many were events and whether there were any.
    pub(super) fn drop_deliveries(&mut self, class: impl Fn(&M) -> Class) -> u64 {
        let events = self.pending_events(class);
        self.deliveries.clear();
        events
    }

    /// Events among the waiting.
    pub(super) fn pending_events(&self, class: impl Fn(&M) -> Class) -> u64 {
        self.deliveries.iter().filter(|waiting| class(&waiting.message) == Class::Event).count() as u64
    }

    /// Gives memory of a past burst back; called when empty.
    pub(super) fn shrink(&mut self, keep: usize) {
        if self.notices.capacity() > keep {
            self.notices.shrink_to(keep);
        }
        if self.deliveries.capacity() > keep {
            self.deliveries.shrink_to(keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_gives_deliveries_back_and_still_takes_notices() {
        let mut mailbox = Mailbox::default();
        assert_eq!(mailbox.offer(1, Class::Event, 0, 1), Ok(()));
        assert_eq!(mailbox.offer(2, Class::Event, 0, 1), Err(Full(2)));
        assert_eq!(mailbox.offer(3, Class::Notice, 0, 1), Ok(()));
        assert_eq!(mailbox.next(true).map(|w| w.message), Some(3));
        assert_eq!(mailbox.next(true).map(|w| w.message), Some(1));
        assert!(mailbox.is_empty());
    }

    #[test]
    fn a_held_mailbox_lets_only_notices_out() {
        let mut mailbox = Mailbox::default();
        mailbox.force(1, Class::Event, 0);
        mailbox.force(2, Class::Notice, 0);
        assert_eq!(mailbox.next(false).map(|w| w.message), Some(2));
        assert!(mailbox.next(false).is_none());
        assert_eq!(mailbox.len(), 1);
    }

    #[test]
    fn a_retried_message_is_the_next_again_and_marked() {
        let mut mailbox = Mailbox::default();
        mailbox.force('a', Class::Event, 0);
        mailbox.force('b', Class::Event, 0);
        let first = mailbox.next(true).expect("waiting");
        mailbox.retry(first, Class::Event);
        let again = mailbox.next(true).expect("waiting");
        assert_eq!((again.message, again.tried), ('a', true));
    }
}
