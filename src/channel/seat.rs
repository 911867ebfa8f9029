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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_a_bit_where_subscribers_are_dense_and_two_bytes_where_they_are_not() {
        let bytes = |members: &mut dyn Iterator<Item = u32>| {
            let mut seat = Seat::new(Epoch::new(1), 0);
            members.for_each(|index| seat.add(index, false));
            assert!(seat.watchers.is_empty());
            // As it would be written down, which is as it is held, but for a few words of each 65,536 slots.
            seat.members.serialized_size()
        };
        assert!((8_192..8_224).contains(&bytes(&mut (0..65_536))), "65,536 bits");
        assert!((2_048..2_080).contains(&bytes(&mut (0..65_536).step_by(64))), "1,024 × 2 bytes");
    }
}
