//! Serving one ready connection: its mailbox first, then what its client sent, then one write for everything that came
//! of it. Each part has a budget; what is left goes to the back of the run queue.

use std::{
    io::{self, Read},
    rc::Rc,
};

#[cfg(feature = "simulation")]
use crate::shard::faults::{self, Defect};
use crate::{
    shard::{
        batch::Batch,
        behaviour::{Behaviour, Cause, Mail, Payload},
        core::Core,
        execute::Next,
        ledger::Drop,
        network::Network,
        output::Flushed,
        rescue::{FramesInHand, InHand, Rescued},
        table::Awake,
        transport::TransportMut,
    },
    websocket::{Incoming, Reader, Terms, frame},
};

/// A delivery that has waited so long no longer goes before the client's own requests.
const LATE_MICROS: u32 = 100_000;
/// Answers waiting to be passed on before a client's further requests wait.
const MOST_NOTICES: usize = 256;
/// Bytes that a compressed message comes to for which it counts as one more in the budget.
const INFLATED_FOR_ONE: usize = 1024;
/// Output gathered before it is written even if the budget is not used up.
pub(super) const WRITE_AT: usize = 64 * 1024;

impl<B: Behaviour, N: Network> Core<B, N> {
    /// Serves the connection in slot `index`, which was in the run queue.
    pub(super) fn serve(&mut self, index: u32) {
        let Some(slot) = self.table.get_mut(index) else { return };
        if slot.awake.is_none() {
            self.spare.woken += 1;
        }
        // Room is made for what its turns send; what is little leaves together with that.
        let waiting = slot.awake.as_ref().map_or(0, |awake| awake.outbox.len());
        if waiting >= WRITE_AT || !self.has_room(index) {
            self.flush(index);
        }
        if self.serve_mailbox(index) && (self.is_behind(index) || self.serve_input(index)) {
            self.finish(index);
        }
    }

    /// Deliveries are left over that came a moment ago: requests wait for them, so that a client that has its reply has
    /// seen what happened before. Deliveries that wait longer no longer hold requests up.
    fn is_behind(&self, index: u32) -> bool {
        let Some(slot) = self.table.get(index) else { return false };
        let oldest = slot.awake.as_ref().and_then(|awake| awake.mailbox.oldest_delivery());
        let waited = |since: u32| (self.clock.micros() as u32).wrapping_sub(since);
        !slot.held && self.has_room(index) && oldest.is_some_and(|since| waited(since) < LATE_MICROS)
    }

    /// `false`: this connection needs nothing more in this round.
    pub(super) fn serve_mailbox(&mut self, index: u32) -> bool {
        let mut budget = self.options.budget;
        while budget > 0 {
            if !self.has_room(index) {
                return true;
            }
            let Some(slot) = self.table.get_mut(index) else { return false };
            let held = slot.held;
            let Some(awake) = &mut slot.awake else { return true };
            if awake.mailbox.notices() == 0 && !held {
                match self.run_batch(index, budget) {
                    Batch::Empty => return true,
                    Batch::Done(count, next) => {
                        budget -= count.min(budget);
                        if !self.go_on(index, next) {
                            return false;
                        }
                    }
                }
                continue;
            }
            let Some(waiting) = awake.mailbox.next(!held) else { return true };
            budget -= 1;
            let (retriable, since) = (!waiting.tried, waiting.since);
            let mut hand = InHand { held: Some(Rescued::Message(waiting)), net: Rc::clone(&self.net) };
            let Some(Rescued::Message(waiting)) = &hand.held else { return true };
            let next = self.run(index, Mail::Message(&waiting.message), retriable);
            let held = hand.held.take();
            // The turn has read the clock.
            let waited = (self.now.micros as u32).wrapping_sub(since);
            self.stats.wait_seconds.observe(f64::from(waited) * 1e-6);
            self.put_back(index, held, next);
            if !self.go_on(index, next) {
                return false;
            }
        }
        true
    }

    /// A message whose turn crashed goes back to where it was, if it is to be tried again.
    pub(super) fn put_back(&mut self, index: u32, held: Option<Rescued<B>>, next: Next) {
        if next == Next::Retry
            && let Some(Rescued::Message(waiting)) = held
            && let Some(slot) = self.table.get_mut(index)
        {
            let class = B::class(&waiting.message);
            slot.awake.get_or_insert_with(|| self.spare.take()).mailbox.retry(waiting, class);
        }
    }

    /// After turns over messages: whether this connection is served on.
    fn go_on(&mut self, index: u32, next: Next) -> bool {
        match next {
            Next::Go | Next::Retry => {}
            Next::Stop => return false,
            Next::Move => {
                self.send_transfer(index, Reader::default(), Vec::new());
                return false;
            }
        }
        #[cfg(feature = "simulation")]
        faults::between();
        self.turn.output.len() < WRITE_AT || self.flush(index)
    }

    /// Handles client frames until the budget, one read or the room for answers is used up. `false`: nothing more to do.
    ///
    /// Reads once: a budget of messages alone would not bound who sends large ones, or fragments of a message that never ends.
    fn serve_input(&mut self, index: u32) -> bool {
        let mut budget = self.options.budget;
        let mut has_read = false;
        while budget > 0 {
            if !self.has_room_to_ask(index) {
                return true;
            }
            let Some(slot) = self.table.get_mut(index) else { return false };
            if slot.held || self.intake.is_spent(index) {
                return true;
            }
            let (buffer, filled) = match &mut slot.awake {
                Some(awake) if !awake.unread.is_empty() => {
                    let unread = std::mem::take(&mut awake.unread);
                    let filled = unread.len();
                    self.turn.set_read_before(true);
                    (unread, filled)
                }
                _ if has_read => return true,
                _ => match self.read(index) {
                    Input::Bytes(filled) => {
                        has_read = true;
                        self.turn.set_read_before(false);
                        (std::mem::take(&mut self.scratch), filled)
                    }
                    Input::Nothing => return true,
                    Input::Lost => {
                        // A peer that has ended its side may still read: what it asked for before is answered.
                        if self.flush(index) {
                            self.detach(index, Cause::Cut);
                        }
                        return false;
                    }
                },
            };
            if !self.serve_bytes(index, buffer, filled, &mut budget) {
                return false;
            }
        }
        true
    }

    /// Handles the messages in `buffer[..filled]`; what the budget leaves is kept. `false`: nothing more to do.
    fn serve_bytes(&mut self, index: u32, buffer: Vec<u8>, filled: usize, budget: &mut usize) -> bool {
        let mut reader = Reader::default();
        if let Some(slot) = self.table.get_mut(index) {
            slot.heard_ms = self.now.ms();
            if let Some(awake) = &mut slot.awake {
                reader = std::mem::take(&mut awake.reader);
            }
        }
        let fresh = if self.turn.was_read_before() { 0 } else { filled };
        let mut hand = FramesInHand::new(reader, buffer, filled, Rc::clone(&self.net));
        let compressed = self.table.get(index).is_some_and(|slot| slot.compressed);
        let terms = Terms { max_message: B::max_message(&self.settings), compressed };
        let (mut served, mut inflated) = (0, 0);
        let next = loop {
            let held = self.table.get(index).is_none_or(|slot| slot.held);
            if *budget == 0 || held || !self.has_room_to_ask(index) {
                break Next::Go;
            }
            let next = hand.next(terms, |incoming| match incoming {
                Ok(Incoming::Text(text)) => self.run(index, Mail::Frame(Payload::Text(text)), false),
                Ok(Incoming::Binary(bytes)) => self.run(index, Mail::Frame(Payload::Binary(bytes)), false),
                Ok(Incoming::Ping(payload)) => {
                    frame::write_pong(&mut self.turn.output.bytes, payload);
                    Next::Go
                }
                Ok(Incoming::Pong(_)) => Next::Go,
                Ok(Incoming::Close(close)) => {
                    frame::write_close(&mut self.turn.output.bytes, close);
                    let code = close.map(|close| close.code);
                    self.detach(index, Cause::ClientClosed(code));
                    Next::Stop
                }
                Err(error) => {
                    tracing::debug!(connection = ?self.table.id(index), %error, "closing on a broken frame");
                    self.close(index, error.close());
                    Next::Stop
                }
            });
            let Some(next) = next else { break Next::Go };
            let came_to = hand.reader.inflated();
            (served, inflated) = (served + 1, inflated + came_to);
            // A read bounds what comes as it is; thousands of bytes may stand in a few of what was compressed.
            *budget = budget.saturating_sub(1 + came_to / INFLATED_FOR_ONE);
            match next {
                Next::Go | Next::Retry => {}
                Next::Stop | Next::Move => break next,
            }
            if self.turn.output.len() >= WRITE_AT && !self.flush(index) {
                break Next::Stop;
            }
        };
        self.intake.charge(index, served, fresh + inflated);
        let (mut reader, buffer, rest) = hand.finish();
        reader.release();
        if self.scratch.is_empty() {
            self.scratch = buffer;
        }
        match next {
            Next::Stop => false,
            Next::Move => {
                self.send_transfer(index, reader, rest);
                false
            }
            Next::Go | Next::Retry => {
                if !rest.is_empty() || !reader.is_idle() {
                    let Some(slot) = self.table.get_mut(index) else { return false };
                    let awake = slot.awake.get_or_insert_with(|| self.spare.take());
                    awake.reader = reader;
                    awake.unread = rest;
                }
                true
            }
        }
    }

    /// Room for more output: what waits for the socket is within `limits.outbox_bytes`.
    fn has_room(&self, index: u32) -> bool {
        let waiting = self.table.get(index).and_then(|slot| slot.awake.as_ref()).map_or(0, |awake| awake.outbox.len());
        waiting < self.options.outbox_bytes
    }

    /// Room for more requests: answers that wait to be passed on are bounded by not asking more.
    fn has_room_to_ask(&self, index: u32) -> bool {
        let slot = self.table.get(index);
        let notices = slot.and_then(|slot| slot.awake.as_ref()).map_or(0, |awake| awake.mailbox.notices());
        notices < MOST_NOTICES && self.has_room(index)
    }

    fn read(&mut self, index: u32) -> Input {
        let Some((slot, tls)) = self.table.get_with_tls(index) else { return Input::Nothing };
        if !slot.readable {
            return Input::Nothing;
        }
        let Some(socket) = &mut slot.socket else { return Input::Nothing };
        let mut transport = TransportMut { socket, tls };
        loop {
            match transport.read(&mut self.scratch) {
                Ok(0) => return Input::Lost,
                Ok(filled) => {
                    // A short read has emptied the socket: the next byte makes a new edge. Only after the peer's end
                    // there is no new edge, so reads go on until they find it.
                    if filled < self.scratch.len() && !slot.ended && !transport.has_ended() {
                        slot.readable = false;
                    }
                    return Input::Bytes(filled);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    slot.readable = false;
                    return Input::Nothing;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Input::Lost,
            }
        }
    }

    /// Writes what the turns since the last flush sent, behind what waits already. `false`: the socket is lost.
    pub(super) fn flush(&mut self, index: u32) -> bool {
        let Some((slot, tls)) = self.table.get_with_tls(index) else {
            self.turn.output.clear();
            return false;
        };
        let Some(socket) = &mut slot.socket else {
            let undelivered = self.turn.output.events();
            self.ledger.drop(Drop::Disconnected, undelivered);
            self.turn.output.clear();
            return true;
        };
        let mut transport = TransportMut { socket, tls };
        if let Some(awake) = &mut slot.awake {
            awake.corked = false;
        }
        let output = &mut self.turn.output;
        let (flushed, delivered) = match &mut slot.awake {
            Some(awake) if !awake.outbox.is_empty() => {
                #[cfg(feature = "simulation")]
                if faults::has(Defect::ReorderedFlush) {
                    std::mem::swap(&mut awake.outbox, output);
                }
                awake.outbox.append(output);
                let before = awake.outbox.len();
                let outcome = awake.outbox.flush(&mut transport);
                // Room where there was none: the peer reads. What it says meanwhile is not read before the outbox has room.
                if awake.outbox.len() < before {
                    slot.heard_ms = self.now.ms();
                }
                outcome
            }
            _ if output.is_empty() => return true,
            awake => {
                let (flushed, delivered) = output.flush(&mut transport);
                if flushed != Flushed::All {
                    awake.get_or_insert_with(|| self.spare.take()).outbox.append(output);
                }
                (flushed, delivered)
            }
        };
        self.ledger.delivered += delivered;
        if delivered > 0 && self.probe.is_at(index) {
            self.probed(index, delivered);
        }
        if delivered > 0 && !self.traced.is_empty() {
            self.traced.delivered(self.table.id(index), delivered, self.clock.micros());
        }
        if flushed == Flushed::Dead {
            self.detach(index, Cause::Cut);
            return false;
        }
        true
    }

    /// The kernel has taken events of the connection whose delivery is followed.
    fn probed(&mut self, index: u32, delivered: u64) {
        if let Some(took) = self.probe.delivered(self.table.id(index), delivered, self.clock.micros()) {
            self.stats.delivery_seconds.observe(took as f64 * 1e-6);
        }
    }

    /// After its service: writes, then queues the connection again, or lets it sleep.
    pub(super) fn finish(&mut self, index: u32) {
        if !self.keep_back(index) && !self.flush(index) {
            return;
        }
        let (room, spent) = (self.has_room(index), self.intake.is_spent(index));
        let Some(slot) = self.table.get_mut(index) else { return };
        let open = room && !slot.held;
        let Some(awake) = &mut slot.awake else {
            if slot.readable && open && !spent && slot.socket.is_some() {
                self.queue.push(index, &mut slot.place);
            }
            return;
        };
        if slot.overflowed && !awake.mailbox.has_deliveries() {
            slot.overflowed = false;
            if let Some(id) = self.table.id(index) {
                self.drained(id);
            }
            return self.finish(index);
        }
        let input = !spent && slot.socket.is_some() && (slot.readable || !awake.unread.is_empty());
        #[cfg(feature = "simulation")]
        let input = input && !faults::has(Defect::LostWakeup);
        if (room && awake.mailbox.notices() > 0) || (open && (awake.mailbox.has_deliveries() || input)) {
            self.queue.push(index, &mut slot.place);
        } else if awake.is_idle() {
            self.sleep(index);
        }
    }

    /// Keeps the output of a connection for later if it is corked and still waits for answers.
    fn keep_back(&mut self, index: u32) -> bool {
        let Some(slot) = self.table.get_mut(index).filter(|slot| slot.held) else { return false };
        let most = self.options.outbox_bytes.min(WRITE_AT);
        let awake = slot.awake.as_mut().filter(|awake| awake.corked);
        let Some(awake) = awake.filter(|awake| awake.outbox.len() + self.turn.output.len() < most) else {
            return false;
        };
        awake.outbox.append(&mut self.turn.output);
        true
    }

    fn sleep(&mut self, index: u32) {
        let Some(slot) = self.table.get_mut(index) else { return };
        if let Some(awake) = slot.awake.take() {
            self.spare.put(awake);
        }
        if let Some(record) = &slot.record {
            let bytes = size_of_val(slot) + B::heap_bytes(record);
            self.stats.record_bytes.observe(bytes as f64);
        }
    }
}

/// What a read brought.
enum Input {
    Bytes(usize),
    Nothing,
    Lost,
}

/// Empties everything that waited for a socket, but for notices, and returns how many events that were.
pub(super) fn drop_waiting<B: Behaviour>(awake: &mut Awake<B::Message>) -> u64 {
    let events = awake.outbox.events() + awake.mailbox.drop_deliveries(B::class);
    awake.outbox = Default::default();
    awake.reader = Reader::default();
    awake.unread = Vec::new();
    events
}
