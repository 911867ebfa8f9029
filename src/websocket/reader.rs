//! Takes messages out of the bytes of one client, as they lie in the shard's read buffer.
//!
//! The usual case, a whole frame, is unmasked where it lies and handed out borrowed: no copy, no allocation. What a read
//! leaves unfinished is kept in one box that is freed with the end of the message. Never does I/O, never answers: a
//! ping's pong, a close's echo and the closing after a [`ReadError`] are the caller's, the shard's.
//!
//! ```text
//!            ┌────────── whole frame: borrowed from input ──────────┐
//!   nothing ─┴─ cut header ─→ payload under way ─→ between fragments ┴─→ message ─→ nothing
//!     kept      (kept.head)    (kept.frame)          (kept.message)      (kept.finished)
//! ```

use std::ops::Range;

use super::head::{self, Head, Opcode};
use super::incoming::Incoming;
use super::mask::{Mask, rotate, unmask};
use super::message::Message;
use super::read_error::ReadError;

/// The reading half of a WebSocket: eight bytes, and nothing on the heap while no frame is unfinished.
///
/// ```
/// use dormouse::websocket::{Incoming, Reader, Terms};
///
/// let terms = Terms { max_message: 65_536, compressed: false };
/// let mut reader = Reader::default();
/// let mut input = *b"\x81\x82\x01\x02\x03\x04ik\x89\x80\x00\x00\x00\x00";
/// let mut consumed = 0;
/// assert_eq!(reader.next(&mut input, &mut consumed, terms), Ok(Some(Incoming::Text("hi"))));
/// assert_eq!(reader.next(&mut input, &mut consumed, terms), Ok(Some(Incoming::Ping(b""))));
/// assert_eq!(reader.next(&mut input, &mut consumed, terms), Ok(None));
/// ```
#[derive(Debug, Default)]
pub struct Reader {
    kept: Option<Box<Kept>>,
}

/// What was agreed with a client, or laid down for it.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Bytes of its largest message, decompressed.
    pub max_message: usize,
    /// Its messages may be compressed ([`super::extension::negotiate`]).
    pub compressed: bool,
}

/// What outlives one read. Boxed: nearly every connection has none of it nearly always.
#[derive(Debug, Default)]
struct Kept {
    /// A header cut by the end of a read.
    head: [u8; head::LONGEST],
    head_len: u8,
    /// The frame whose payload is under way.
    frame: Option<Frame>,
    /// The data message under way, between its fragments too.
    message: Option<Message>,
    /// The payload of a control frame under way; it may stand between the fragments of `message`.
    control: Vec<u8>,
    /// Bytes of it once decompressed, if it came compressed.
    inflated: usize,
    /// What the last call handed out from here; dropped by the next one.
    finished: Option<Finished>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    remaining: usize,
    /// Turned so that it begins with the key of the next byte.
    mask: Mask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finished {
    Message,
    Control(Opcode),
}

/// Where a message that is whole now lies.
enum Place {
    Input(Opcode, Range<usize>),
    Kept(Finished),
}

impl Reader {
    /// Takes the next message out of `input`, beginning at `*consumed`, and advances `*consumed` past it. `Ok(None)`: the
    /// input is used up, an unfinished rest is kept here.
    ///
    /// The caller may stop after any message (its budget for this round is spent) and come back later with the bytes
    /// from `*consumed` on. What lies before `*consumed` has been overwritten by unmasking.
    ///
    /// # Errors
    /// A broken rule or limit; the connection is to be closed with [`ReadError::close`] and nothing more read from it.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        consumed: &mut usize,
        terms: Terms,
    ) -> Result<Option<Incoming<'a>>, ReadError> {
        self.release();
        let place = self.advance(input, consumed, terms).inspect_err(|_| self.kept = None)?;
        let Some(place) = place else { return Ok(None) };
        match place {
            Place::Input(opcode, range) => Incoming::new(opcode, &input[range]).map(Some),
            Place::Kept(finished) => {
                let Some(kept) = &mut self.kept else { return Ok(None) };
                kept.finished = Some(finished);
                match (finished, &kept.message) {
                    (Finished::Control(opcode), _) => Incoming::new(opcode, &kept.control).map(Some),
                    (Finished::Message, message) => Ok(message.as_ref().map(Message::as_incoming)),
                }
            }
        }
    }

    /// True when nothing is unfinished: dropping the reader now would lose no byte of the client.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| match kept.finished {
            Some(Finished::Message) => true,
            Some(Finished::Control(_)) => kept.message.is_none(),
            None => false,
        })
    }

    /// Frees a message that was handed out from here. [`Reader::next`] does it too; this is for a caller that stops before
    /// `next` has said that the input is used up.
    #[inline]
    pub fn release(&mut self) {
        if let Some(kept) = &mut self.kept {
            match kept.finished.take() {
                None => {}
                Some(Finished::Control(_)) if kept.message.is_some() => kept.control = Vec::new(),
                Some(_) => self.kept = None,
            }
        }
    }

    /// Takes the message that the last call of [`Reader::next`] handed out, unless it lay in the input: for a caller whom a
    /// panic has interrupted with it.
    pub fn take_finished(&mut self) -> Option<Vec<u8>> {
        let kept = self.kept.take_if(|kept| kept.finished == Some(Finished::Message))?;
        kept.message.map(Message::into_bytes)
    }

    /// Bytes that the message handed out last was decompressed to: what it cost, beyond what was received.
    #[must_use]
    pub fn inflated(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.inflated)
    }

    /// Bytes on the heap: 0 for a reader that keeps nothing.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| {
            size_of::<Kept>() + kept.control.capacity() + kept.message.as_ref().map_or(0, Message::memory)
        })
    }

    /// Reads up to the end of the next message. Finds its place only: a borrow returned from inside a loop would hold the
    /// reader for all of the loop.
    #[inline]
    fn advance(&mut self, input: &mut [u8], consumed: &mut usize, terms: Terms) -> Result<Option<Place>, ReadError> {
        loop {
            if let Some(kept) = &mut self.kept
                && let Some(frame) = kept.frame
            {
                match kept.take_payload(frame, input.get_mut(*consumed..).unwrap_or_default(), consumed, terms)? {
                    Step::InputUsedUp => return Ok(None),
                    Step::FrameEnded => {}
                    Step::Finished(finished) => return Ok(Some(Place::Kept(finished))),
                }
            }
            let Some(head) = self.take_head(input, consumed, terms)? else { return Ok(None) };
            let payload = *consumed..consumed.saturating_add(head.length);
            if head.fin
                && head.opcode != Opcode::Continuation
                && let Some(bytes) = input.get_mut(payload.clone())
            {
                unmask(bytes, head.mask);
                *consumed = payload.end;
                if head.deflated {
                    let message = Message::inflate(bytes, head.opcode == Opcode::Text, terms.max_message)?;
                    let kept = self.kept.get_or_insert_default();
                    kept.inflated = message.len();
                    kept.message = Some(message);
                    return Ok(Some(Place::Kept(Finished::Message)));
                }
                self.free_unless_needed();
                return Ok(Some(Place::Input(head.opcode, payload)));
            }
            self.kept.get_or_insert_default().open(&head);
        }
    }

    /// The next header, if all of it has come; what has come of it is kept otherwise.
    #[inline]
    fn take_head(&mut self, input: &[u8], consumed: &mut usize, terms: Terms) -> Result<Option<Head>, ReadError> {
        let rest = input.get(*consumed..).unwrap_or_default();
        let open = match &mut self.kept {
            None => None,
            Some(kept) if kept.head_len > 0 => return kept.complete_head(rest, consumed, terms),
            Some(kept) => kept.message.as_ref().map(Message::as_open),
        };
        let head = Head::decode(rest, open, terms)?;
        match &head {
            Some(head) => *consumed += head.size,
            None if rest.is_empty() => {}
            None => {
                let kept = self.kept.get_or_insert_default();
                kept.head[..rest.len()].copy_from_slice(rest);
                kept.head_len = rest.len() as u8;
                *consumed += rest.len();
            }
        }
        Ok(head)
    }

    /// After a frame that needed the box for no more than its cut header.
    #[inline]
    fn free_unless_needed(&mut self) {
        if self.kept.as_ref().is_some_and(|kept| kept.message.is_none()) {
            self.kept = None;
        }
    }
}

enum Step {
    InputUsedUp,
    FrameEnded,
    Finished(Finished),
}

impl Kept {
    /// Byte by byte: at most thirteen of them, once per frame that a read has cut there.
    fn complete_head(&mut self, rest: &[u8], consumed: &mut usize, terms: Terms) -> Result<Option<Head>, ReadError> {
        let open = self.message.as_ref().map(Message::as_open);
        for &byte in rest {
            self.head[usize::from(self.head_len)] = byte;
            self.head_len += 1;
            *consumed += 1;
            if let Some(head) = Head::decode(&self.head[..usize::from(self.head_len)], open, terms)? {
                self.head_len = 0;
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn open(&mut self, head: &Head) {
        if let Some(message) = Message::begin(head) {
            self.message = Some(message);
        }
        let Head { opcode, fin, length, mask, .. } = *head;
        self.frame = Some(Frame { opcode, fin, remaining: length, mask });
    }

    /// Takes what has come of the payload. Each byte is unmasked, checked and copied once, in however many pieces a frame
    /// comes; an empty fragment leaves nothing behind, so any number of them costs the sender only.
    fn take_payload(
        &mut self,
        mut frame: Frame,
        rest: &mut [u8],
        consumed: &mut usize,
        terms: Terms,
    ) -> Result<Step, ReadError> {
        let taken = frame.remaining.min(rest.len());
        let piece = &mut rest[..taken];
        unmask(piece, frame.mask);
        if frame.opcode.is_control() {
            self.control.reserve_exact(frame.remaining);
            self.control.extend_from_slice(piece);
        } else if let Some(message) = &mut self.message {
            let at_most = if frame.fin { message.len() + frame.remaining } else { terms.max_message };
            message.push(piece, at_most)?;
        }
        *consumed += taken;
        frame.remaining -= taken;
        frame.mask = rotate(frame.mask, taken);
        if frame.remaining > 0 {
            self.frame = Some(frame);
            return Ok(Step::InputUsedUp);
        }
        self.frame = None;
        if frame.opcode.is_control() {
            return Ok(Step::Finished(Finished::Control(frame.opcode)));
        }
        if !frame.fin {
            return Ok(Step::FrameEnded);
        }
        if let Some(message) = &mut self.message {
            let deflated = message.as_open().deflated;
            message.finish(terms.max_message)?;
            self.inflated = if deflated { message.len() } else { 0 };
        }
        Ok(Step::Finished(Finished::Message))
    }
}
