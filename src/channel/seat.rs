//! A channel as one shard sees it: which of the shard's connections are subscribed, and how far events have come.

use roaring::RoaringBitmap;

use crate::id::Epoch;

/// See the module's text. Slot indexes in bitmaps: a bit each where subscribers are dense, and walked in the order of the
/// table.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) members: RoaringBitmap,
    /// Members that want `presence` frames.
    pub(super) watchers: RoaringBitmap,
    pub(super) epoch: Epoch,
    pub(super) head: u64,
}

impl Seat {
    pub(super) fn new(epoch: Epoch, head: u64) -> Self {
        Self { members: RoaringBitmap::new(), watchers: RoaringBitmap::new(), epoch, head }
    }

    pub(super) fn add(&mut self, index: u32, watches: bool) {
        self.members.insert(index);
        if watches {
            self.watchers.insert(index);
        } else {
            self.watchers.remove(index);
        }
    }

    pub(super) fn remove(&mut self, index: u32) {
        self.members.remove(index);
        self.watchers.remove(index);
    }
}
