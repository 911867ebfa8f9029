//! Writes the server's frames (RFC 6455 §5.2: never masked, never fragmented) to the end of a buffer.
//!
//! Called by the shard for its write buffer and by whoever encodes a body once for many subscribers. A payload that has
//! yet to be serialized goes through [`OpenFrame`], straight to its place. Nothing here can fail or send.

use std::io;

use super::deflate::{WORTH_IT, deflate};
use super::head::{CONTROL_LIMIT, Opcode, RSV1};
use super::incoming::CloseFrame;

/// Two bytes, or with a 64-bit length.
const LONGEST_HEAD: usize = 10;

/// Left free by [`OpenFrame`]: right for 126–65,535 bytes. A shorter payload is moved back, which costs at most 125
/// bytes; a longer one is moved on, and hardly any limit lets one exist.
const RESERVED_HEAD: usize = 4;

/// Writes a text frame. The payload is UTF-8 by the caller's word: it came out of a serializer.
#[inline]
pub fn write_text(out: &mut Vec<u8>, payload: &[u8]) {
    write(out, Opcode::Text, payload);
}

/// Writes a binary frame.
#[inline]
pub fn write_binary(out: &mut Vec<u8>, payload: &[u8]) {
    write(out, Opcode::Binary, payload);
}

/// Writes a text frame, compressed if that makes it smaller. For sockets that have agreed to it.
pub fn write_compressed_text(out: &mut Vec<u8>, payload: &[u8]) {
    write_compressed(out, Opcode::Text, payload);
}

/// Writes a binary frame, compressed if that makes it smaller. For sockets that have agreed to it.
pub fn write_compressed_binary(out: &mut Vec<u8>, payload: &[u8]) {
    write_compressed(out, Opcode::Binary, payload);
}

/// The payload of a frame that was written here.
#[must_use]
pub fn payload(frame: &[u8]) -> &[u8] {
    let size = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    frame.get(size..).unwrap_or_default()
}

/// Writes a ping; what is beyond 125 bytes is left out, as §5.5 allows no more.
#[inline]
pub fn write_ping(out: &mut Vec<u8>, payload: &[u8]) {
    write(out, Opcode::Ping, &payload[..payload.len().min(CONTROL_LIMIT)]);
}

/// Writes a pong, cut like a ping; the answer to a ping carries the ping's payload.
#[inline]
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write(out, Opcode::Pong, &payload[..payload.len().min(CONTROL_LIMIT)]);
}

/// Writes a close frame; `None`, as the answer to a close without a code, writes an empty one. A reason over 123 bytes is
/// cut between characters.
#[inline]
pub fn write_close(out: &mut Vec<u8>, close: Option<CloseFrame<'_>>) {
    let Some(CloseFrame { code, reason }) = close else { return write(out, Opcode::Close, &[]) };
    let reason = &reason[..reason.floor_char_boundary(CONTROL_LIMIT - 2)];
    write_head(out, Opcode::Close, 2 + reason.len());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// A frame whose payload is being written in place, by a serializer for instance. Dropped unfinished, because the
/// serializer failed or panicked, it leaves the buffer as it was: no half frame is ever sent.
///
/// ```
/// use dormouse::websocket::frame::OpenFrame;
///
/// let mut out = Vec::new();
/// let mut frame = OpenFrame::begin(&mut out);
/// serde_json::to_writer(&mut frame, &[1, 2, 3])?;
/// frame.finish_text();
/// assert_eq!(out, b"\x81\x07[1,2,3]");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "an unfinished frame is taken back"]
pub struct OpenFrame<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    finished: bool,
}

impl<'a> OpenFrame<'a> {
    /// Begins a frame at the end of `out`.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; RESERVED_HEAD]);
        Self { out, start, finished: false }
    }

    /// Ends it as a text frame.
    pub fn finish_text(self) {
        self.finish(Opcode::Text);
    }

    /// Ends it as a binary frame.
    pub fn finish_binary(self) {
        self.finish(Opcode::Binary);
    }

    /// Bytes of payload written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len() - self.start - RESERVED_HEAD
    }

    /// True while no payload was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn finish(mut self, opcode: Opcode) {
        let (head, size) = encode_head(opcode, self.len());
        let (from, to, end) = (self.start + RESERVED_HEAD, self.start + size, self.out.len());
        if to > from {
            self.out.resize(end + (to - from), 0);
        }
        if to != from {
            self.out.copy_within(from..end, to);
        }
        self.out.truncate(to + (end - from));
        self.out[self.start..to].copy_from_slice(&head[..size]);
        self.finished = true;
    }
}

impl io::Write for OpenFrame<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OpenFrame<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

#[inline]
fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    write_head(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Whether compressing is tried at all: not for a payload of a few words.
#[must_use]
pub fn is_worth_compressing(payload: &[u8]) -> bool {
    payload.len() >= WORTH_IT
}

fn write_compressed(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    deflate(payload, |packed| {
        let start = out.len();
        write(out, opcode, packed.unwrap_or(payload));
        if packed.is_some() {
            out[start] |= RSV1;
        }
    });
}

#[inline]
fn write_head(out: &mut Vec<u8>, opcode: Opcode, length: usize) {
    let (head, size) = encode_head(opcode, length);
    out.reserve(LONGEST_HEAD + length);
    // All ten and back again: a copy of constant size is two instructions, of a variable one a call.
    let start = out.len();
    out.extend_from_slice(&head);
    out.truncate(start + size);
}

#[inline]
fn encode_head(opcode: Opcode, length: usize) -> ([u8; LONGEST_HEAD], usize) {
    let mut head = [0; LONGEST_HEAD];
    head[0] = 0x80 | opcode as u8;
    if length <= 125 {
        head[1] = length as u8;
        (head, 2)
    } else if let Ok(length) = u16::try_from(length) {
        head[1] = 126;
        head[2..4].copy_from_slice(&length.to_be_bytes());
        (head, 4)
    } else {
        head[1] = 127;
        head[2..10].copy_from_slice(&(length as u64).to_be_bytes());
        (head, 10)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{OpenFrame, write_binary, write_close, write_ping, write_pong, write_text};
    use crate::protocol::close::Close;
    use crate::websocket::CloseFrame;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        write(&mut out);
        assert_eq!(out.drain(..6).as_slice(), b"before", "what was there stays");
        out
    }

    #[test]
    fn the_length_takes_its_shortest_form() {
        let rows: [(usize, &[u8]); 7] = [
            (0, &[0x82, 0]),
            (1, &[0x82, 1]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 255, 255]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (100_000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa0]),
        ];
        for (length, head) in rows {
            let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let expected = [head, &payload].concat();
            assert_eq!(written(|out| write_binary(out, &payload)), expected, "{length} bytes");

            let in_place = written(|out| {
                let mut frame = OpenFrame::begin(out);
                for piece in payload.chunks(1000) {
                    frame.write_all(piece).unwrap();
                }
                assert_eq!((frame.len(), frame.is_empty()), (length, length == 0));
                frame.finish_binary();
            });
            assert_eq!(in_place, expected, "{length} bytes in place");
        }
    }

    #[test]
    fn a_frame_that_is_not_finished_leaves_no_trace() {
        let out = written(|out| {
            let mut frame = OpenFrame::begin(out);
            frame.write_all(b"half of it").unwrap();
            drop(frame);
            write_text(out, b"next");
        });
        assert_eq!(out, b"\x81\x04next");
    }

    #[test]
    fn control_frames_are_kept_within_their_limit() {
        let long = "ü".repeat(100);
        assert_eq!(written(|out| write_ping(out, b"hi")), b"\x89\x02hi");
        assert_eq!(written(|out| write_pong(out, long.as_bytes()))[..2], [0x8a, 125]);
        assert_eq!(written(|out| write_ping(out, long.as_bytes())).len(), 127);
        let close = written(|out| write_close(out, Some(CloseFrame { code: 4000, reason: &long })));
        assert_eq!(close[..4], [0x88, 124, 0x0f, 0xa0], "122 bytes: the 62nd character would not fit whole");
        assert_eq!(std::str::from_utf8(&close[4..]).unwrap(), "ü".repeat(61));
    }

    #[test]
    fn a_close_carries_the_code_and_its_name() {
        assert_eq!(written(|out| write_close(out, Some(Close::KICKED.into()))), b"\x88\x08\x11\x97kicked");
        assert_eq!(written(|out| write_close(out, None)), b"\x88\x00");
    }
}
