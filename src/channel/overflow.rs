//! Events that full mailboxes refused, remembered per connection and channel until the mailbox is empty again and the
//! client can be told the gap. Loss is never silent.

use std::{collections::HashMap, sync::Arc};

use crate::{
    channel::{catch_up::Gap, directory::Channel},
    protocol::frame::GapReason,
};

/// Open gaps by slot index.
#[derive(Debug, Default)]
pub(super) struct Overflows {
    open: HashMap<u32, Vec<(Arc<Channel>, Gap)>>,
}

impl Overflows {
    /// One more event of `channel` could not be queued. Once there is a gap, later events extend it until it is told.
    pub(super) fn refuse(&mut self, index: u32, channel: &Arc<Channel>, offset: u64) {
        let gaps = self.open.entry(index).or_default();
        match gaps.iter_mut().find(|(known, _)| known == channel) {
            Some((_, gap)) => gap.to = offset,
            None => gaps.push((Arc::clone(channel), Gap { from: offset, to: offset, reason: GapReason::Overflow })),
        }
    }

    /// There is an untold gap: an event queued now would arrive before it.
    pub(super) fn is_open(&self, index: u32, channel: &Arc<Channel>) -> bool {
        // Nearly always nobody overflows, and this is asked for every delivery.
        !self.open.is_empty()
            && self.open.get(&index).is_some_and(|gaps| gaps.iter().any(|(known, _)| known == channel))
    }

    /// The gap of one channel, to be told before what is queued beyond the mailbox's bound.
    pub(super) fn take_of(&mut self, index: u32, channel: &Arc<Channel>) -> Option<Gap> {
        let gaps = self.open.get_mut(&index)?;
        let at = gaps.iter().position(|(known, _)| known == channel)?;
        Some(gaps.swap_remove(at).1)
    }

    /// The client no longer wants to know about this channel.
    pub(super) fn forget(&mut self, index: u32, channel: &Arc<Channel>) {
        if let Some(gaps) = self.open.get_mut(&index) {
            gaps.retain(|(known, _)| known != channel);
        }
    }

    /// Connections that have some.
    #[cfg(feature = "simulation")]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The gaps to tell, now that there is room.
    pub(super) fn take(&mut self, index: u32) -> Vec<(Arc<Channel>, Gap)> {
        self.open.remove(&index).unwrap_or_default()
    }
}
