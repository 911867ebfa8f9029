//! Subscriptions of parked sessions: no events for now, and from where they would go on. Called by the hub.

use std::sync::Arc;

use crate::{
    channel::{directory::Channel, home::Since, hub::ChannelHub},
    id::ConnectionId,
};

impl ChannelHub {
    pub(super) fn pause(&mut self, from: ConnectionId, channels: Vec<Arc<Channel>>, undelivered: u64) {
        let untold = self.overflows.take(from.index());
        for channel in channels {
            let Some((epoch, offset)) = self.seats.get(&channel).map(|seat| (seat.epoch, seat.head)) else { continue };
            if self.leave_seat(&channel, from.index()) {
                // What did not reach the client is among the channel's newest.
                let refused = untold.iter().find(|(of, _)| *of == channel).map_or(0, |(_, gap)| offset + 1 - gap.from);
                let since = Since::Parked { epoch, offset, undelivered: undelivered + refused };
                let paused = self.paused.entry(from).or_default();
                paused.retain(|(known, _)| *known != channel);
                paused.push((channel, since));
            }
        }
    }

    /// From where a paused subscription would go on.
    pub(super) fn take_paused(&mut self, from: ConnectionId, channel: &Arc<Channel>) -> Option<Since> {
        let paused = self.paused.get_mut(&from)?;
        let at = paused.iter().position(|(known, _)| known == channel)?;
        let (_, since) = paused.swap_remove(at);
        if paused.is_empty() {
            self.paused.remove(&from);
        }
        Some(since)
    }
}
