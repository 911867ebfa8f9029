//! What a shard is doing at this moment, in a few atomics: it writes them at every turn, the watchdog reads them. No lock
//! and no allocation, because it is paid for every turn of every connection.
//!
//! Given out by [`super::Watchdog::watch`]. Knows neither clock nor limits.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// [`Beat::began`] between turns.
pub(super) const IDLE: u64 = u64::MAX;

/// Bytes of a message kind's name that a beat keeps.
const KIND: usize = 16;

/// What a shard is doing, written by it at each turn and read by the watchdog. Four plain stores, no allocation: the name
/// of the message kind is copied, so that no index has to be kept in step with a table.
#[derive(Debug)]
pub struct Beat {
    /// Microseconds of [`crate::clock::Clock`], or [`IDLE`]. Written last: who sees it sees the rest of that turn.
    began: AtomicU64,
    connection: AtomicU64,
    kind: [AtomicU64; KIND / 8],
}

impl Default for Beat {
    fn default() -> Self {
        Self { began: AtomicU64::new(IDLE), connection: AtomicU64::new(0), kind: Default::default() }
    }
}

impl Beat {
    /// A turn begins: at `micros` of the clock, for a message of `kind` (its first sixteen bytes are kept), of the
    /// connection with these [bits](crate::id::ConnectionId::to_bits).
    pub fn begin(&self, micros: u64, connection: u64, kind: &'static str) {
        let mut name = [0; KIND];
        let length = kind.len().min(KIND);
        name[..length].copy_from_slice(&kind.as_bytes()[..length]);
        let (words, _) = name.as_chunks::<8>();
        for (kept, word) in self.kind.iter().zip(words) {
            kept.store(u64::from_le_bytes(*word), Relaxed);
        }
        self.connection.store(connection, Relaxed);
        self.began.store(micros, Release);
    }

    /// The turn is over, or its shard has recovered from a panic.
    pub fn end(&self) {
        self.began.store(IDLE, Relaxed);
    }

    /// When the present turn began, whose it is and for what. A turn that changes while it is read gives nothing: it is
    /// not stuck.
    pub(super) fn read(&self) -> Option<(u64, u64, String)> {
        let began = self.began.load(Acquire);
        let connection = self.connection.load(Acquire);
        let words = self.kind.each_ref().map(|word| word.load(Acquire).to_le_bytes());
        let name = words.as_flattened();
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(KIND);
        let unchanged = began != IDLE && self.began.load(Acquire) == began;
        unchanged.then(|| (began, connection, String::from_utf8_lossy(&name[..length]).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_keeps_its_first_sixteen_bytes() {
        let beat = Beat::default();
        let kind = |beat: &Beat| beat.read().map(|(_, _, kind)| kind);
        assert_eq!(kind(&beat), None);
        for (given, kept) in [("", ""), ("reconnect", "reconnect"), ("exactly sixteen!", "exactly sixteen!")] {
            beat.begin(0, 0, given);
            assert_eq!(kind(&beat).as_deref(), Some(kept));
        }
        beat.begin(0, 0, "more than sixteen bytes");
        assert_eq!(kind(&beat).as_deref(), Some("more than sixtee"));
    }
}
