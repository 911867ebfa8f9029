//! Events of one channel that are offered to its subscribers together. Publications come in bursts, and walking over
//! thousands of seats once for many events costs much less than once for each.
//!
//! Held back for no longer than one service of a connection or one batch of letters: the shard asks for it then, and
//! whatever else happens to a channel waits until its events have been handed out.

use std::{rc::Rc, sync::Arc};

use crate::{
    channel::{
        home::Event,
        hub::{ChannelHub, Channeled},
        message::Notice,
        traced::FanOut,
    },
    protocol::close::Close,
    shard::{Network, Post},
};

/// Events held back; more are handed out at once.
const MOST: usize = 64;

/// Events of one channel, in their order. Twice behind a pointer, as in the notice that they become: see there.
pub(super) type Burst = Vec<Rc<Arc<Event>>>;

impl ChannelHub {
    /// Takes an event for the subscribers of this shard.
    pub(super) fn deliver<B: Channeled>(&mut self, event: &Arc<Event>, post: &mut Post<'_, B, impl Network>) {
        if self.burst.first().is_some_and(|first| first.channel != event.channel) || self.burst.len() >= MOST {
            self.hand_out_burst(post);
        }
        let Some(seat) = self.seats.get_mut(&event.channel) else { return };
        seat.head = event.offset;
        self.burst.push(Rc::new(Arc::clone(event)));
    }

    /// Offers what is held back to every subscriber of this shard.
    pub(super) fn hand_out_burst<B: Channeled>(&mut self, post: &mut Post<'_, B, impl Network>) {
        let Some(first) = self.burst.first() else { return };
        let Some(seat) = self.seats.get(&first.channel) else { return self.burst.clear() };
        let (offset, since) = (first.offset, first.since);
        // Another one each time: who is served first has it sooner than the others.
        let wanted = since > 0 && post.wants_to_follow() && !seat.members.is_empty();
        let followed = wanted.then(|| seat.members.select((offset % seat.members.len()) as u32)).flatten();
        self.under_way.events = std::mem::take(&mut self.burst);
        let Some(channel) = self.under_way.events.first().map(|event| Arc::clone(&event.channel)) else { return };
        let events = self.under_way.events.iter().map(|event| &***event);
        let traced = FanOut::of(&self.tracer, post.shard(), events, &seat.members, post.now().micros);
        for index in &seat.members {
            self.under_way.reached = index;
            let events = &self.under_way.events;
            if self.pursuits.is_behind(index, &channel) {
                // They come with a page of his.
                continue;
            }
            let taken = if self.overflows.is_open(index, &channel) {
                post.refuse(index, events.len());
                0
            } else {
                let taken = post.offer_all(index, events.iter().map(|event| Notice::Event(Rc::clone(event))));
                if followed == Some(index) {
                    post.follow(index, taken, since);
                }
                for (nth, span) in traced.deliveries(index, taken, post.now().micros) {
                    post.trace(index, taken - nth, span);
                }
                taken
            };
            let Some(refused) = events.get(taken..).filter(|refused| !refused.is_empty()) else { continue };
            // What is kept can be asked for again, so a gap says enough; what is not is lost for good unless the client
            // comes back knowing that it was away.
            if channel.namespace.history_events > 0 {
                refused.iter().for_each(|event| self.overflows.refuse(index, &channel, event.offset));
            } else if let Some(id) = post.id(index) {
                post.close(id, Close::SLOW_CONSUMER);
            }
        }
        if !traced.is_empty() {
            traced.end(post.micros());
        }
        self.burst = std::mem::take(&mut self.under_way.events);
        self.burst.clear();
    }
}
