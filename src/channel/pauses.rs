//! Subscriptions of parked sessions: no events for now, and from where they would go on. Called by the hub.

use std::sync::Arc;

use crate::{
    channel::{catch_up::Since, directory::Channel, hub::ChannelHub},
    id::ConnectionId,
};

impl ChannelHub {
    pub(super) fn pause(&mut self, from: ConnectionId, channels: Vec<Arc<Channel>>, undelivered: u64, told: bool) {
        let untold = self.overflows.take(from.index());
        for channel in channels {
            let Some((epoch, head)) = self.seats.get(&channel).map(|seat| (seat.epoch, seat.head)) else { continue };
            let offset = self.pursuits.position(from.index(), &channel).unwrap_or(head);
            if self.leave_seat(&channel, from.index()) {
                // What did not reach the client is among the channel's newest.
                let refused = untold.iter().find(|(of, _)| *of == channel).map_or(0, |(_, gap)| offset + 1 - gap.from);
                let since = Since::Parked { epoch, offset, undelivered: undelivered + refused };
                let paused = self.paused.entry(from).or_default();
                match paused.iter_mut().find(|(known, _)| *known == channel) {
                    Some((_, earlier)) if told => *earlier = since,
                    Some(_) => {}
                    None => paused.push((channel, since)),
                }
            }
        }
    }

    /// From where a paused subscription would go on.
    pub(super) fn paused_since(&self, from: ConnectionId, channel: &Arc<Channel>) -> Option<Since> {
        self.paused.get(&from)?.iter().find(|(known, _)| known == channel).map(|(_, since)| since.clone())
    }

    pub(super) fn forget_paused(&mut self, from: ConnectionId, channel: &Arc<Channel>) {
        if let Some(paused) = self.paused.get_mut(&from) {
            paused.retain(|(known, _)| known != channel);
            if paused.is_empty() {
                self.paused.remove(&from);
            }
        }
    }
}
