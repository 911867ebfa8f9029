//! How sockets come to a shard and leave it: adopted after the handshake, closed, lost, or moved to the record they
//! resume. Whatever happens to a socket, its record is only freed by [`Core::release`].

use crate::{
    protocol::close::Close,
    shard::{
        behaviour::{Behaviour, Cause, Mail},
        core::Core,
        execute::Next,
        ledger::Drop,
        network::Network,
        output::Output,
        poller::Subject,
        stream::drop_waiting,
        transfer::{Letter, Transfer},
        transport::Transport,
    },
    supervision,
    websocket::{Reader, frame},
};

/// A socket fresh from its handshake.
pub(super) struct Arrival<O, S = std::net::TcpStream> {
    pub(super) transport: Transport<S>,
    /// The handshake's answer, not yet written: it leaves with the first frame in one packet.
    pub(super) response: Vec<u8>,
    /// What the client sent right behind its handshake.
    pub(super) unread: Vec<u8>,
    pub(super) opening: O,
}

impl<B: Behaviour, N: Network> Core<B, N> {
    /// Makes a connection of a socket.
    pub(super) fn adopt(&mut self, arrival: Arrival<B::Opening, N::Socket>) {
        let Arrival { transport, response, unread, opening } = arrival;
        self.now = self.clock.now();
        let now = self.now;
        let Ok(record) = supervision::catch(|| B::open(&opening, now)) else {
            tracing::error!("opening a connection crashed, its socket is closed");
            return self.sockets.closed();
        };
        let Some(index) = self.insert(record, transport) else { return };
        self.serving = self.table.id(index);
        self.turn.output.bytes.extend_from_slice(&response);
        match self.run(index, Mail::Opened(&opening), false) {
            Next::Go | Next::Retry => {
                self.keep_unread(index, Reader::default(), unread);
                // What it asked for may be answered already, or soon: then everything leaves in one packet.
                if self.serve_mailbox(index) {
                    self.cork(index);
                    self.finish(index);
                }
            }
            Next::Move => {
                self.send_transfer(index, Reader::default(), unread);
                self.finish(index);
            }
            Next::Stop => self.finish(index),
        }
        self.serving = None;
        self.settle();
    }

    /// What a new connection is sent is kept back while it waits for answers, until the next tick at the latest.
    fn cork(&mut self, index: u32) {
        let Some(slot) = self.table.get_mut(index).filter(|slot| slot.held && slot.socket.is_some()) else { return };
        let awake = slot.awake.get_or_insert_with(|| self.spare.take());
        // What the socket did not take waits for the socket and for nothing else.
        if awake.outbox.is_empty() {
            awake.corked = true;
            self.corked.extend(self.table.id(index));
        }
    }

    /// Sends what has been kept back for long enough.
    pub(super) fn uncork(&mut self) {
        // One by one: the others outlive a panic.
        while let Some(id) = self.corked.pop() {
            let Some(index) = self.table.find(id) else { continue };
            let awake = self.table.get_mut(index).and_then(|slot| slot.awake.as_mut());
            if let Some(awake) = awake.filter(|awake| awake.corked) {
                awake.corked = false;
                self.finish(index);
            }
        }
    }

    fn insert(&mut self, record: B::Record, transport: Transport<N::Socket>) -> Option<u32> {
        let Some(index) = self.table.insert(record, transport, self.now.ms()) else {
            tracing::error!(shard = self.shard, "table full, closing a socket");
            self.sockets.closed();
            return None;
        };
        if let Some(slot) = self.table.get(index)
            && let Some(socket) = &slot.socket
            && let Err(error) = self.poller.add(socket, Subject::Connection(index))
        {
            tracing::error!(shard = self.shard, %error, "cannot watch a socket, closing it");
            self.table.remove(index);
            self.sockets.closed();
            return None;
        }
        Some(index)
    }

    /// Puts bytes that were read elsewhere in front of what the socket will bring.
    pub(super) fn keep_unread(&mut self, index: u32, reader: Reader, unread: Vec<u8>) {
        if unread.is_empty() && reader.is_idle() {
            return;
        }
        let Some(slot) = self.table.get_mut(index) else { return };
        let awake = slot.awake.get_or_insert_with(|| self.spare.take());
        awake.reader = reader;
        awake.unread = unread;
        self.queue.push(index, &mut slot.place);
    }

    /// Sends a close frame behind everything the socket takes at once and parks the connection.
    pub(super) fn close(&mut self, index: u32, close: Close) {
        frame::write_close(&mut self.turn.output.bytes, Some(close.into()));
        self.detach(index, Cause::ServerClosed(close));
    }

    /// Takes the socket away, drops what waited for it, and runs the connection's turn for that.
    pub(super) fn detach(&mut self, index: u32, cause: Cause) {
        let mut undelivered = 0;
        if cause == Cause::Cut {
            undelivered = self.turn.output.events();
            self.turn.output.clear();
        } else if !self.flush(index) {
            return;
        }
        let Some(transport) = self.table.detach(index) else { return };
        self.stats.close(cause);
        let (mut owed, mut unheard) = (Output::default(), Vec::new());
        let id = self.table.id(index);
        if let Some(slot) = self.table.get_mut(index) {
            (slot.readable, slot.ended, slot.held, slot.overflowed) = (false, false, false, false);
            slot.heard_ms = self.now.ms();
            if let Some(awake) = &mut slot.awake {
                owed = awake.outbox.last_words();
                unheard.extend(awake.mailbox.drain_notices());
                undelivered += drop_waiting::<B>(awake);
            }
        }
        match cause {
            Cause::Cut => self.ledger.drop(Drop::Disconnected, undelivered),
            Cause::ClientClosed(_) | Cause::ServerClosed(_) => {
                self.ledger.drop(Drop::Disconnected, undelivered - owed.events());
                self.linger(transport, owed);
            }
        }
        self.sockets.closed();
        self.detached(index, cause, undelivered);
        // Answers to what the lost socket had asked.
        for message in &unheard {
            if let Some(id) = id {
                self.unheard(id, message);
            }
        }
        self.finish(index);
    }

    /// Frees a record and tells the hub. An open socket is closed as `bye`.
    pub(super) fn release(&mut self, index: u32) {
        let Some(id) = self.table.id(index) else { return };
        frame::write_close(&mut self.turn.output.bytes, Some(Close::BYE.into()));
        self.flush(index);
        self.turn.output.clear();
        // A dead socket found by that flush has run the connection's last turn, which may have freed it.
        if self.table.find(id).is_none() {
            return;
        }
        let transport = self.table.detach(index);
        let Some(mut slot) = self.table.remove(index) else { return };
        let (mut owed, mut unheard) = (Output::default(), Vec::new());
        if let Some(mut awake) = slot.awake.take() {
            unheard.extend(awake.mailbox.drain_notices());
            owed = awake.outbox.last_words();
            let waiting = drop_waiting::<B>(&mut awake);
            self.ledger.drop(Drop::Disconnected, waiting - owed.events());
        }
        if let Some(transport) = transport {
            self.stats.close(Cause::ServerClosed(Close::BYE));
            self.linger(transport, owed);
            self.sockets.closed();
        }
        self.budgets.remove(&index);
        self.intake.forget(index);
        self.jobs.abort(id);
        for message in &unheard {
            self.unheard(id, message);
        }
        if let Some(record) = &slot.record
            && let Ok(Some(ask)) = supervision::catch(|| B::farewell(record))
        {
            self.ask(id, ask);
        }
    }

    /// Keeps a socket until its peer has taken the close frame and what must go before it.
    fn linger(&mut self, transport: Transport<N::Socket>, owed: Output) {
        self.lingering.add(transport, owed, (&self.sockets, &mut self.ledger), &self.poller, self.now);
    }

    /// Sends this connection's socket to the record it asked for; its own record is freed.
    pub(super) fn send_transfer(&mut self, index: u32, reader: Reader, rest: Vec<u8>) {
        let Some((to, ticket)) = self.moving.take() else { return };
        if !self.flush(index) {
            return;
        }
        let Some(transport) = self.table.detach(index) else { return };
        let mut transfer =
            Transfer { to, ticket, transport, reader, unread: rest, unsent: Output::default(), readable: true };
        if let Some(slot) = self.table.get_mut(index)
            && let Some(awake) = &mut slot.awake
        {
            // Its events are on their way, but no longer in this shard's hands.
            self.ledger.drop(Drop::Disconnected, awake.outbox.events());
            transfer.unsent = std::mem::take(&mut awake.outbox);
            transfer.unsent.forget_events();
            if transfer.reader.is_idle() && transfer.unread.is_empty() {
                transfer.reader = std::mem::take(&mut awake.reader);
                transfer.unread = std::mem::take(&mut awake.unread);
            }
        }
        self.release(index);
        // A token of a node with more shards names nobody: this shard answers it with a fresh record.
        let Some(peer) = self.peers.get(usize::from(to.shard())).filter(|_| to.shard() != self.shard) else {
            return self.receive_transfer(transfer);
        };
        if let Err(error) = self.poller.remove(&transfer.transport.socket) {
            tracing::error!(%error, "cannot hand a socket over, closing it");
            return self.sockets.closed();
        }
        peer.send(Letter::Transfer(Box::new(transfer)));
    }

    /// A socket asks for a record of this shard: it gets it, or a fresh one.
    pub(super) fn receive_transfer(&mut self, transfer: Transfer<B, N>) {
        let Transfer { to, ticket, transport, reader, unread, mut unsent, readable } = transfer;
        self.now = self.clock.now();
        let now = self.now;
        let claimed = self.table.find(to).filter(|&index| {
            let record = self.table.get(index).and_then(|slot| slot.record.as_ref());
            record.is_some_and(|record| supervision::catch(|| B::admits(record, &ticket)).unwrap_or(false))
        });
        if let Some(index) = claimed
            && self.table.get(index).is_some_and(|slot| slot.socket.is_some())
        {
            self.close(index, Close::SESSION_TAKEN_OVER);
        }
        // Watched by this shard's poller from here on, under whatever name it had before.
        let claimed = claimed.filter(|_| self.table.find(to).is_some());
        let (index, mail) = match claimed {
            Some(index) => {
                let subject = Subject::Connection(index);
                let socket = &transport.socket;
                if self.poller.add(socket, subject).or_else(|_| self.poller.rename(socket, subject)).is_err() {
                    return self.sockets.closed();
                }
                self.table.attach(index, transport);
                (index, Mail::Claimed(&ticket))
            }
            None => {
                if self.poller.remove(&transport.socket).is_err() {
                    tracing::trace!("a socket from another shard was not watched here");
                }
                let Ok(record) = supervision::catch(|| B::refused(&ticket, now)) else {
                    return self.sockets.closed();
                };
                let Some(index) = self.insert(record, transport) else { return };
                (index, Mail::Refused(&ticket))
            }
        };
        if let Some(slot) = self.table.get_mut(index) {
            slot.heard_ms = now.ms();
            slot.readable = readable;
        }
        self.turn.output.append(&mut unsent);
        if self.run(index, mail, false) == Next::Go {
            self.keep_unread(index, reader, unread);
        }
        self.finish(index);
        self.settle();
    }
}
