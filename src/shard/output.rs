//! Bytes on their way to one socket, with marks where events end, so that the ledger can say event by event what the
//! kernel took and what was dropped. It also knows how far into a frame the kernel is: a close frame may follow only
//! where a frame ends.

use std::io::{self, Write};

/// Bytes of room that outlive a burst, in an output that many connections use in turn.
const KEEP: usize = 4096;

/// Outgoing bytes and event ends (positions from the start of `bytes`, rising).
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    events: Vec<u32>,
    /// How many bytes at the front belong to a frame whose beginning the kernel has already.
    begun: u32,
}

/// Where an output stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    bytes: usize,
    pub(super) events: usize,
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

    pub(super) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), events: self.events.len() }
    }

    pub(super) fn cut(&mut self, Mark { bytes, events }: Mark) {
        self.bytes.truncate(bytes);
        self.events.truncate(events);
    }

    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(self).bytes
    }

    /// No longer counts what is here; the bytes go on.
    pub(super) fn forget_events(&mut self) {
        self.events.clear();
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.events.clear();
        self.begun = 0;
    }

    /// Gives the memory of a past burst back, as far as it is not in use.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to(KEEP);
        self.events.shrink_to(KEEP / 64);
    }

    /// What a socket that is being closed is still owed: the rest of the frame under way, without which nothing after it
    /// could be read, and the last frame, which is the close frame.
    pub(super) fn last_words(&self) -> Self {
        let begun = self.begun as usize;
        let (mut last, mut next) = (begun, begun);
        while next < self.bytes.len() {
            last = next;
            next += unit(&self.bytes[next..]);
        }
        let bytes = [&self.bytes[..begun], &self.bytes[last..]].concat();
        let events = self.events.iter().copied().filter(|&end| end <= self.begun).collect();
        Self { bytes, events, begun: self.begun }
    }

    /// Puts `other` behind what is here and leaves it empty, its buffer kept. Only an empty output takes one that starts
    /// inside a frame.
    pub(super) fn append(&mut self, other: &mut Self) {
        if self.bytes.is_empty() {
            self.begun = other.begun;
        }
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
        let mut begun = self.begun as usize;
        while begun < written {
            begun += unit(&self.bytes[begun..]);
        }
        self.begun = (begun - written) as u32;
        self.bytes.drain(..written);
        done as u64
    }
}

/// The length of the frame at the start of `bytes`. Ours are never masked and never fragmented (RFC 6455 §5.2), so what
/// begins without FIN is the handshake's answer, which ends with an empty line.
fn unit(bytes: &[u8]) -> usize {
    let length = match *bytes {
        [first, ..] if first & 0x80 == 0 => bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4),
        [_, 127, a, b, c, d, e, f, g, h, ..] => Some(10 + u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize),
        [_, 126, a, b, ..] => Some(4 + usize::from(u16::from_be_bytes([a, b]))),
        [_, short, ..] => Some(2 + usize::from(short)),
        _ => None,
    };
    length.map_or(bytes.len(), |length| length.min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::frame;

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

    fn blocked_after(room: usize) -> Output {
        let mut output = Output::default();
        output.bytes.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n");
        frame::write_text(&mut output.bytes, &[b'a'; 10]);
        frame::write_binary(&mut output.bytes, &[b'b'; 200]);
        frame::write_text(&mut output.bytes, &[b'c'; 70_000]);
        let mut socket = Narrow { room, taken: Vec::new() };
        assert_eq!(output.flush(&mut socket).0, Flushed::Part);
        output
    }

    #[test]
    fn last_words_are_the_rest_of_the_frame_under_way_and_the_close_frame() {
        let (response, close) = (56, b"\x88\x02\x03\xe8");
        for (written, rest) in [
            (0, 0),
            (20, response - 20),
            (response, 0),
            (response + 1, 11),
            (response + 12, 0),
            (response + 12 + 3, 201),
            (response + 12 + 204, 0),
            (response + 12 + 204 + 9, 70_001),
        ] {
            let mut output = blocked_after(written);
            let before = output.bytes.clone();
            output.bytes.extend_from_slice(close);
            assert_eq!(output.last_words().bytes, [&before[..rest], close].concat(), "{written} bytes written");
        }
    }

    #[test]
    fn last_words_keep_the_event_under_way_and_no_other() {
        let mut output = Output::default();
        for _ in 0..3 {
            frame::write_text(&mut output.bytes, b"event");
            output.mark_event();
        }
        let mut socket = Narrow { room: 7, taken: Vec::new() };
        assert_eq!(output.flush(&mut socket), (Flushed::Part, 1));
        assert_eq!(output.last_words().events(), 0, "none is under way");
        socket.room = 1;
        assert_eq!(output.flush(&mut socket), (Flushed::Part, 0));
        assert_eq!(output.last_words().events(), 1);
    }

    #[test]
    fn an_empty_output_takes_over_where_a_frame_is_under_way() {
        let mut outbox = Output::default();
        outbox.append(&mut blocked_after(56 + 1));
        frame::write_close(&mut outbox.bytes, None);
        assert_eq!(outbox.last_words().bytes, [&[10][..], &[b'a'; 10], b"\x88\x00"].concat());
        let mut socket = Narrow { room: 10, taken: Vec::new() };
        outbox.flush(&mut socket);
        assert_eq!(outbox.last_words().bytes, b"a\x88\x00");
    }
}
