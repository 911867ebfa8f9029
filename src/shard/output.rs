//! Bytes on their way to one socket, with marks where events end, so that the ledger can say event by event what the
//! kernel took and what was dropped.

use std::io::{self, Write};

/// Outgoing bytes and event ends (positions from the start of `bytes`, rising).
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    events: Vec<u32>,
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing is left.
    All,
    /// The socket takes no more for now; the rest stays.
    Part,
    /// The socket is dead; the rest stays for counting.
    Dead,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Events not yet taken by the kernel.
    pub(super) fn events(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn mark_event(&mut self) {
        self.events.push(self.bytes.len() as u32);
    }

    pub(super) fn mark(&self) -> (usize, usize) {
        (self.bytes.len(), self.events.len())
    }

    pub(super) fn cut(&mut self, (bytes, events): (usize, usize)) {
        self.bytes.truncate(bytes);
        self.events.truncate(events);
    }

    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        self.events.clear();
        std::mem::take(&mut self.bytes)
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.events.clear();
    }

    /// Puts `other` behind what is here and leaves it empty, its buffer kept.
    pub(super) fn append(&mut self, other: &mut Self) {
        let base = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&other.bytes);
        self.events.extend(other.events.iter().map(|end| base + end));
        other.clear();
    }

    /// Writes as much as `socket` takes; returns how many events went out whole.
    pub(super) fn flush(&mut self, socket: &mut impl Write) -> (Flushed, u64) {
        let mut written = 0;
        let result = loop {
            if written == self.bytes.len() {
                break Flushed::All;
            }
            match socket.write(&self.bytes[written..]) {
                Ok(0) => break Flushed::Dead,
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Flushed::Part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break Flushed::Dead,
            }
        };
        (result, self.advance(written))
    }

    fn advance(&mut self, written: usize) -> u64 {
        if written == self.bytes.len() {
            let events = self.events.len() as u64;
            self.clear();
            return events;
        }
        let done = self.events.partition_point(|&end| end as usize <= written);
        self.events.drain(..done);
        for end in &mut self.events {
            *end -= written as u32;
        }
        self.bytes.drain(..written);
        done as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes, then blocks.
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= n;
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_counts_only_when_its_last_byte_is_out() {
        let mut output = Output::default();
        for event in ["aaa", "bbb", "ccc"] {
            output.bytes.extend_from_slice(event.as_bytes());
            output.mark_event();
        }
        let mut socket = Narrow { room: 5, taken: Vec::new() };
        assert_eq!(output.flush(&mut socket), (Flushed::Part, 1));
        assert_eq!((output.len(), output.events()), (4, 2));
        socket.room = 1;
        assert_eq!(output.flush(&mut socket), (Flushed::Part, 1));
        let mut more = Output::default();
        more.bytes.push(b'd');
        more.mark_event();
        output.append(&mut more);
        assert!(more.is_empty());
        socket.room = 100;
        assert_eq!(output.flush(&mut socket), (Flushed::All, 2));
        assert_eq!(socket.taken, b"aaabbbcccd");
    }
}
