//! A message that is not whole yet: the unmasked payload received so far, each byte copied and checked once.
//!
//! Kept by the reader while fragments or pieces of a large frame arrive. Grows with what was received, never with what a
//! header announces: a client that promises 60 KB and sends nothing costs nothing.

use super::deflate;
use super::head::{Head, Opcode, Open};
use super::incoming::Incoming;
use super::read_error::ReadError;

/// Below this a buffer would be reallocated for every few bytes of a trickle.
const SMALLEST_BUFFER: usize = 64;

#[derive(Debug)]
pub(super) enum Message {
    Text(Text),
    Binary(Vec<u8>),
    /// Compressed: nothing can be said of it before it is whole.
    Deflated(Deflated),
}

/// A compressed message on its way.
#[derive(Debug)]
pub(super) struct Deflated {
    packed: Vec<u8>,
    is_text: bool,
}

/// Text checked as it comes, so that bad UTF-8 is refused with the piece that holds it and not after 60 KB more.
#[derive(Debug, Default)]
pub(super) struct Text {
    whole: String,
    /// The first bytes of a character whose last have not come yet; the fourth completes any character.
    cut: [u8; 4],
    cut_len: u8,
}

impl Message {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.whole.len() + usize::from(text.cut_len),
            Self::Binary(bytes) => bytes.len(),
            Self::Deflated(deflated) => deflated.packed.len(),
        }
    }

    /// As the next header needs to know it.
    pub(super) fn as_open(&self) -> Open {
        Open { length: self.len(), deflated: matches!(self, Self::Deflated(_)) }
    }

    /// The message that begins with this header, which has come in pieces.
    pub(super) fn begin(head: &Head) -> Option<Self> {
        let is_text = match head.opcode {
            Opcode::Text => true,
            Opcode::Binary => false,
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => return None,
        };
        Some(match (head.deflated, is_text) {
            (true, _) => Self::Deflated(Deflated { packed: Vec::new(), is_text }),
            (false, true) => Self::Text(Text::default()),
            (false, false) => Self::Binary(Vec::new()),
        })
    }

    /// The message that is compressed in `packed`, of at most `limit` bytes.
    pub(super) fn inflate(packed: &[u8], is_text: bool, limit: usize) -> Result<Self, ReadError> {
        let bytes = deflate::inflate(packed, limit)?;
        if !is_text {
            return Ok(Self::Binary(bytes));
        }
        let whole = String::from_utf8(bytes).map_err(|_| ReadError::BadText)?;
        Ok(Self::Text(Text { whole, ..Text::default() }))
    }

    /// Appends `piece`. `at_most` is what the message can come to as far as is known; no more is reserved.
    pub(super) fn push(&mut self, piece: &[u8], at_most: usize) -> Result<(), ReadError> {
        match self {
            Self::Text(text) => text.push(piece, at_most),
            Self::Binary(bytes) | Self::Deflated(Deflated { packed: bytes, .. }) => {
                bytes.reserve_exact(growth(bytes.len(), bytes.capacity(), piece.len(), at_most));
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The end of the last fragment was reached; a compressed message may come to at most `limit` bytes.
    pub(super) fn finish(&mut self, limit: usize) -> Result<(), ReadError> {
        match self {
            Self::Text(text) if text.cut_len > 0 => Err(ReadError::BadText),
            Self::Deflated(Deflated { packed, is_text }) => {
                *self = Self::inflate(packed, *is_text, limit)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn as_incoming(&self) -> Incoming<'_> {
        match self {
            Self::Text(text) => Incoming::Text(&text.whole),
            Self::Binary(bytes) | Self::Deflated(Deflated { packed: bytes, .. }) => Incoming::Binary(bytes),
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.whole.into_bytes(),
            Self::Binary(bytes) | Self::Deflated(Deflated { packed: bytes, .. }) => bytes,
        }
    }

    /// Bytes allocated for it.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Text(text) => text.whole.capacity(),
            Self::Binary(bytes) | Self::Deflated(Deflated { packed: bytes, .. }) => bytes.capacity(),
        }
    }
}

impl Text {
    fn push(&mut self, mut piece: &[u8], at_most: usize) -> Result<(), ReadError> {
        let more = piece.len() + usize::from(self.cut_len);
        self.whole.reserve_exact(growth(self.whole.len(), self.whole.capacity(), more, at_most));
        while self.cut_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.cut[usize::from(self.cut_len)] = byte;
            self.cut_len += 1;
            match std::str::from_utf8(&self.cut[..usize::from(self.cut_len)]) {
                Ok(character) => {
                    self.whole.push_str(character);
                    self.cut_len = 0;
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(ReadError::BadText),
            }
        }
        let (complete, cut) = piece.split_at(piece.len() - cut_character(piece));
        self.whole.push_str(simdutf8::basic::from_utf8(complete).map_err(|_| ReadError::BadText)?);
        // A beginning that no continuation can mend is refused now.
        if std::str::from_utf8(cut).is_err_and(|error| error.error_len().is_some()) {
            return Err(ReadError::BadText);
        }
        self.cut[..cut.len()].copy_from_slice(cut);
        self.cut_len = cut.len() as u8;
        Ok(())
    }
}

/// How many of the last bytes begin a character without ending it: 0–3.
fn cut_character(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let width = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0.. => 4,
            _ => 1,
        };
        return if width > back + 1 { back + 1 } else { 0 };
    }
    0
}

/// What to reserve so that `more` bytes fit: doubling, so that a trickle is copied a constant number of times, but not
/// beyond `at_most`.
fn growth(len: usize, capacity: usize, more: usize, at_most: usize) -> usize {
    let needed = len + more;
    if needed <= capacity {
        return 0;
    }
    needed.max(capacity.saturating_mul(2).max(SMALLEST_BUFFER).min(at_most)) - len
}

#[cfg(test)]
mod tests {
    use super::{Message, Text};
    use crate::websocket::{Incoming, ReadError};

    #[test]
    fn characters_cut_anywhere_are_put_together() {
        let text = "aß水𝄞, Mäuse 🐭";
        for size in 1..=text.len() {
            let mut message = Message::Text(Text::default());
            for piece in text.as_bytes().chunks(size) {
                message.push(piece, text.len()).unwrap();
            }
            message.finish(1 << 20).unwrap();
            assert_eq!(message.as_incoming(), Incoming::Text(text), "pieces of {size}");
        }
    }

    #[test]
    fn a_beginning_that_nothing_can_mend_is_refused_at_once() {
        // Surrogate, beyond U+10FFFF, overlong (two, three and four bytes), no such lead byte, lone continuation.
        let bad: [&[u8]; 8] =
            [&[0xed, 0xa0], &[0xf4, 0x90], &[0xc0], &[0xe0, 0x80], &[0xf0, 0x80], &[0xf5], &[0xff], &[0x80]];
        for bytes in bad {
            let mut at_once = Message::Text(Text::default());
            assert_eq!(at_once.push(bytes, 64), Err(ReadError::BadText), "{bytes:x?}");

            let mut one_by_one = Message::Text(Text::default());
            let mut verdicts = bytes.iter().map(|&byte| one_by_one.push(&[byte], 64));
            assert!(verdicts.any(|verdict| verdict.is_err()), "{bytes:x?} byte by byte");
        }
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_refused() {
        let mut message = Message::Text(Text::default());
        message.push(&"水".as_bytes()[..2], 64).unwrap();
        assert_eq!(message.finish(1 << 20), Err(ReadError::BadText));
    }

    #[test]
    fn memory_follows_what_came_and_stops_at_what_can_come() {
        for mut message in [Message::Binary(Vec::new()), Message::Text(Text::default())] {
            let mut reallocations = 0;
            for _ in 0..1000 {
                let before = message.memory();
                message.push(b"0123456789", 10_000).unwrap();
                reallocations += usize::from(message.memory() != before);
                assert!(message.memory() <= (2 * message.len()).max(64));
            }
            assert_eq!(message.memory(), 10_000);
            assert!(reallocations <= 9, "{reallocations}");
        }
    }
}
