//! A session's memberships and cursors: begun and ended with or without a word of ours, moved by answers and receipts; and the
//! acknowledgements of what listeners have taken, for all channels together.

use std::time::Duration;

use crate::client::{
    error::ClientError,
    event::{Membership, Notice, Receipt},
    session::Session,
    timers::Timer,
    wire,
};

/// Deliveries are acknowledged so often at most.
pub(super) const ACKNOWLEDGE: Duration = Duration::from_millis(300);

impl Session {
    pub(super) fn began(&mut self, membership: Membership) {
        if !self.places.contains_key(&membership.channel) {
            self.place(&membership.channel).established(&membership.epoch, membership.offset, None);
        }
        let place = self.places.get(&membership.channel);
        let heard = place.and_then(|place| Some((place.floor?, place.foreign_after(membership.offset))));
        let began = self.shared.memberships().began(membership, heard);
        if let Some(membership) = began {
            self.shared.tell(Notice::Membership(membership));
        }
    }

    pub(super) fn left(&mut self, channel: &str) {
        if let Some(place) = self.places.remove(channel)
            && let Some(queue) = place.queue.filter(|_| !place.implicit)
        {
            queue.end(ClientError::Ended);
        }
        if self.shared.memberships().ended(channel) {
            self.shared.tell(Notice::Left(channel.to_owned()));
        }
    }

    /// Our own cursors are here now.
    pub(super) fn moved(&mut self, receipt: &Receipt) {
        let moved = self.shared.memberships().moved(receipt);
        if let Some(membership) = moved {
            self.shared.tell(Notice::Membership(membership));
        }
    }

    /// Says how far listeners have taken events. Nobody waits for it: the next one says it again.
    pub(super) fn acknowledge(&mut self) {
        let mut more = false;
        for (channel, place) in self.places.iter_mut().filter(|(_, place)| place.owes_ack) {
            let taken = place.queue.as_ref().and_then(|queue| queue.taken(channel));
            if let Some(taken) = taken.filter(|taken| *taken > place.acknowledged) {
                self.out.push_back(wire::delivered(channel, taken));
                place.acknowledged = taken;
            }
            place.owes_ack = taken < place.floor;
            more |= place.owes_ack;
        }
        if more {
            self.timers.start(Timer::Acknowledge, ACKNOWLEDGE);
        }
    }

    /// What the last socket was told may have been lost with it.
    pub(super) fn acknowledge_again(&mut self) {
        for place in self.places.values_mut() {
            place.owes_ack |= place.acknowledged > 0;
            place.acknowledged = 0;
        }
        if self.places.values().any(|place| place.owes_ack) {
            self.timers.start(Timer::Acknowledge, ACKNOWLEDGE);
        }
    }
}
