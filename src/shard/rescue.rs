//! What a service has in its hands, kept when a panic escapes it. Everything else of a shard stands in its core and
//! outlives the actor anyway; bytes read and not yet served, the message out of its mailbox and a job's result are on the
//! stack. Each stands in a guard that puts it into the shard's net while the stack unwinds, where [`Core::recover`] finds
//! it. A service that returns empties its guards itself, so that nothing is paid for a panic that does not come.

use std::{cell::Cell, mem, ops::Range, rc::Rc};

use crate::{
    id::ConnectionId,
    shard::{
        behaviour::{Behaviour, Class, Crash, JobFailure, Mail, Payload},
        core::Core,
        execute::Next,
        ledger::Drop,
        mailbox::Waiting,
        network::Network,
        output::Mark,
    },
    supervision,
    websocket::{Reader, Terms},
};

/// What a panic left.
pub(super) enum Rescued<B: Behaviour> {
    Frames { reader: Reader, rest: Vec<u8>, frame: Option<Frame> },
    Message(Waiting<B::Message>),
    Job(Result<B::Done, JobFailure>),
}

/// A client's message whose turn did not end.
pub(super) enum Frame {
    Text(String),
    Binary(Vec<u8>),
}

/// Where it is caught.
pub(super) type Net<B> = Rc<Cell<Option<Rescued<B>>>>;

/// Holds a message or a result.
pub(super) struct InHand<B: Behaviour> {
    pub(super) held: Option<Rescued<B>>,
    pub(super) net: Net<B>,
}

impl<B: Behaviour> std::ops::Drop for InHand<B> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.net.set(Some(held));
        }
    }
}

/// Holds what was read from a socket.
pub(super) struct FramesInHand<B: Behaviour> {
    pub(super) reader: Reader,
    pub(super) buffer: Vec<u8>,
    pub(super) filled: usize,
    pub(super) consumed: usize,
    place: Place,
    net: Option<Net<B>>,
}

/// Where the message under way stands.
enum Place {
    Nowhere,
    /// In the buffer; text or not.
    InBuffer(Range<usize>, bool),
    /// In the reader, which put it together; text or not.
    InReader(bool),
}

impl<B: Behaviour> FramesInHand<B> {
    pub(super) fn new(reader: Reader, buffer: Vec<u8>, filled: usize, net: Net<B>) -> Self {
        Self { reader, buffer, filled, consumed: 0, place: Place::Nowhere, net: Some(net) }
    }

    /// Takes the next message out, and serves it with `serve`, which says how to go on.
    pub(super) fn next(
        &mut self,
        terms: Terms,
        serve: impl FnOnce(Result<crate::websocket::Incoming<'_>, crate::websocket::ReadError>) -> Next,
    ) -> Option<Next> {
        use crate::websocket::Incoming;
        let base = self.buffer.as_ptr() as usize;
        let taken = self.reader.next(&mut self.buffer[..self.filled], &mut self.consumed, terms).transpose()?;
        let (bytes, text) = match &taken {
            Ok(Incoming::Text(text)) => (text.as_bytes(), true),
            Ok(Incoming::Binary(bytes)) => (&bytes[..], false),
            _ => return Some(serve(taken)),
        };
        // Compared as numbers: the borrow checker cannot know that the message may be a part of the buffer.
        let from = (bytes.as_ptr() as usize).wrapping_sub(base);
        self.place = if from.checked_add(bytes.len()).is_some_and(|end| end <= self.filled) {
            Place::InBuffer(from..from + bytes.len(), text)
        } else {
            Place::InReader(text)
        };
        let next = serve(taken);
        self.place = Place::Nowhere;
        Some(next)
    }

    /// The service has returned: reader, buffer, and what is left.
    pub(super) fn finish(mut self) -> (Reader, Vec<u8>, Vec<u8>) {
        self.net = None;
        let rest = self.buffer[self.consumed..self.filled].to_vec();
        (mem::take(&mut self.reader), mem::take(&mut self.buffer), rest)
    }

    fn frame(&mut self) -> Option<Frame> {
        let (bytes, text) = match mem::replace(&mut self.place, Place::Nowhere) {
            Place::Nowhere => return None,
            Place::InBuffer(range, text) => (self.buffer.get(range)?.to_vec(), text),
            Place::InReader(text) => (self.reader.take_finished()?, text),
        };
        if text { String::from_utf8(bytes).ok().map(Frame::Text) } else { Some(Frame::Binary(bytes)) }
    }
}

impl<B: Behaviour> std::ops::Drop for FramesInHand<B> {
    fn drop(&mut self) {
        if let Some(net) = self.net.take() {
            let frame = self.frame();
            let rest = self.buffer.get(self.consumed..self.filled).unwrap_or_default().to_vec();
            net.set(Some(Rescued::Frames { reader: mem::take(&mut self.reader), rest, frame }));
        }
    }
}

impl<B: Behaviour, N: Network> Core<B, N> {
    /// After a panic that escaped every turn: nothing half done stays, whoever was being served is told and served on, and
    /// whoever may have something to do is queued.
    pub(super) fn recover(&mut self) {
        self.turn.effects = Default::default();
        self.beat.end();
        self.moving = None;
        let (serving, rescued) = (self.serving.take(), self.net.take());
        if let Some(owner) = serving
            && let Err(report) = supervision::catch(|| self.resume(owner, rescued))
        {
            let place = &*report.place;
            tracing::error!(shard = self.shard, connection = %owner, place, "cannot serve on the connection that crashed its shard");
            // Once more, without what it had: its socket is cut at worst, and a cursor brings back what was lost.
            let cut = supervision::catch(|| {
                if let Some(index) = self.table.find(owner) {
                    self.detach(index, crate::shard::Cause::Cut);
                }
            });
            if let Err(report) = cut {
                tracing::error!(connection = %owner, place = &*report.place, "cannot park it either");
            }
        }
        self.ledger.drop(Drop::Crash, self.turn.output.events());
        self.turn.discard(Mark::default());
        self.queue_everybody();
    }

    /// Gives the connection back what its service held, answers for what cannot be served again, and lets it go on. Frames
    /// of turns that had returned are whole and go out.
    fn resume(&mut self, owner: ConnectionId, rescued: Option<Rescued<B>>) {
        let Some(index) = self.table.find(owner) else {
            if let Some(Rescued::Message(waiting)) = rescued
                && B::class(&waiting.message) == Class::Event
            {
                self.ledger.drop(Drop::Crash, 1);
            }
            return;
        };
        match rescued {
            None => {
                self.interrupted(index, None, false);
            }
            Some(Rescued::Job(result)) => {
                self.interrupted(index, Some(Mail::Job(result.as_ref())), false);
            }
            Some(Rescued::Frames { reader, rest, frame }) => {
                self.keep_unread(index, reader, rest);
                let payload = match &frame {
                    Some(Frame::Text(text)) => Some(Payload::Text(text)),
                    Some(Frame::Binary(bytes)) => Some(Payload::Binary(bytes)),
                    None => None,
                };
                self.interrupted(index, payload.map(Mail::Frame), false);
            }
            Some(Rescued::Message(waiting)) => {
                self.interrupted_over(index, waiting);
            }
        }
        self.finish(index);
        self.settle();
    }

    /// The next generation of a connection whose service was interrupted over a message of its mailbox.
    pub(super) fn interrupted_over(&mut self, index: u32, waiting: Waiting<B::Message>) -> Next {
        let is_event = B::class(&waiting.message) == Class::Event;
        let next = self.interrupted(index, Some(Mail::Message(&waiting.message)), !waiting.tried);
        if next != Next::Retry && is_event {
            self.ledger.drop(Drop::Crash, 1);
        }
        self.put_back(index, Some(Rescued::Message(waiting)), next);
        next
    }

    /// The next generation of a connection whose service a panic interrupted; whether it tries its message once more.
    fn interrupted(&mut self, index: u32, mail: Option<Mail<'_, B>>, retriable: bool) -> Next {
        let gave_up = self.spend(index);
        let Some(id) = self.table.id(index) else { return Next::Stop };
        let retried = retriable && !gave_up;
        match self.attempt(index, Mail::Restarted(Crash { mail: mail.as_ref(), retried, gave_up })) {
            Ok(()) => match self.commit(index) {
                Next::Go if gave_up => self.give_up(index, id),
                Next::Go if retried => Next::Retry,
                next => next,
            },
            Err(report) => {
                self.report(id, ("restarted", mail), &report);
                self.give_up(index, id)
            }
        }
    }
}
