//! The context of one turn: what a handler may read, and the effects it may ask for.
//!
//! Nothing here acts. Effects are gathered and carried out by the shard after the turn has returned, or dropped when it
//! panicked; so a crashed turn leaves no half frame and no half subscription. One `Turn` serves a whole shard, so that
//! its buffers are allocated once.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use actix::{ActorContext, ActorState};
use rand::{RngCore, SeedableRng, rngs::StdRng};

use crate::{
    clock::Now,
    id::{ConnectionId, SessionSecret},
    protocol::{close::Close, encoding::Encoding},
    shard::{
        behaviour::Behaviour,
        output::{Mark, Output},
    },
    websocket::frame,
};

/// What everything random in one turn follows from.
pub type Seed = [u8; 32];

/// Waiting or blocking work that a turn asks for; its result comes back as [`super::Mail::Job`].
pub struct Job<B: Behaviour> {
    /// Cancelled and answered with a timeout after this.
    pub deadline: Duration,
    /// The work.
    pub work: Work<B::Done>,
    /// Its result comes after those of the connection's earlier jobs that keep their order.
    pub in_order: bool,
}

/// How a job runs.
pub enum Work<T> {
    /// On the shard's runtime; must not block.
    Async(Pin<Box<dyn Future<Output = T>>>),
    /// Made and sent to the blocking pool.
    Blocking(Box<dyn FnOnce() -> T + Send>),
}

/// Read-only facts and gathered effects of one turn.
pub struct Turn<B: Behaviour> {
    now: Now,
    connection: ConnectionId,
    generation: u32,
    settings: Arc<B::Settings>,
    /// The shard's generator. Turns never draw from it directly: each that asks for something random gets a seed of its
    /// own, so that it can be repeated, and so that its seed tells nothing of other turns.
    random: StdRng,
    /// Seed and generator of this turn, once it has asked for something random.
    own: Option<(Seed, StdRng)>,
    payload: Vec<u8>,
    label: usize,
    read_before: bool,
    /// Whether frames may be compressed.
    compressed: bool,
    /// Frames of all turns since the last flush; a crashed turn's part is cut off again.
    pub(super) output: Output,
    pub(super) effects: Effects<B>,
}

/// What a turn asked for, besides frames.
pub(super) struct Effects<B: Behaviour> {
    pub(super) asks: Vec<B::Ask>,
    pub(super) jobs: Vec<Job<B>>,
    pub(super) close: Option<Close>,
    pub(super) end: bool,
    pub(super) hold: Option<bool>,
    pub(super) transfer: Option<(ConnectionId, B::Ticket)>,
}

impl<B: Behaviour> Default for Effects<B> {
    fn default() -> Self {
        Self { asks: Vec::new(), jobs: Vec::new(), close: None, end: false, hold: None, transfer: None }
    }
}

impl<B: Behaviour> Effects<B> {
    /// Nothing was asked for.
    pub(super) fn are_none(&self) -> bool {
        let Self { asks, jobs, close, end, hold, transfer } = self;
        asks.is_empty() && jobs.is_empty() && close.is_none() && !end && hold.is_none() && transfer.is_none()
    }
}

impl<B: Behaviour> Turn<B> {
    /// A context for many turns. `seed` decides everything random in them.
    #[must_use]
    pub fn new(settings: Arc<B::Settings>, seed: [u8; 32]) -> Self {
        Self {
            now: Now { micros: 0, unix_ms: 0 },
            connection: ConnectionId::from_bits(0),
            generation: 1,
            settings,
            random: StdRng::from_seed(seed),
            own: None,
            payload: Vec::new(),
            label: 0,
            read_before: false,
            compressed: false,
            output: Output::default(),
            effects: Effects::default(),
        }
    }

    pub(super) fn reconfigure(&mut self, settings: Arc<B::Settings>) {
        self.settings = settings;
    }

    /// Points the context at the next turn.
    pub fn begin(&mut self, now: Now, connection: ConnectionId, generation: u32) {
        (self.now, self.connection, self.generation, self.label) = (now, connection, generation, 0);
        self.own = None;
    }

    /// The time of this turn.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Whose turn it is.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// 1 for a fresh actor, one more after each crash.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The client frame of this turn had been received before an earlier turn ended: it waited for a hold or a budget.
    #[must_use]
    pub fn was_read_before(&self) -> bool {
        self.read_before
    }

    pub(super) fn set_read_before(&mut self, before: bool) {
        self.read_before = before;
    }

    /// Frames to the own client may be compressed: it has agreed to it, and reads both.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.compressed
    }

    pub(super) fn set_compressed(&mut self, compressed: bool) {
        self.compressed = compressed;
    }

    /// The settings all turns share.
    #[must_use]
    pub fn settings(&self) -> Arc<B::Settings> {
        Arc::clone(&self.settings)
    }

    /// Unguessable bytes from a seeded generator (ChaCha) of this turn, so that it replays to the same secret.
    #[must_use]
    pub fn secret(&mut self) -> SessionSecret {
        let random = &mut self.random;
        let (_, own) = self.own.get_or_insert_with(|| {
            let mut seed = Seed::default();
            random.fill_bytes(&mut seed);
            (seed, StdRng::from_seed(seed))
        });
        let mut secret = SessionSecret::default();
        own.fill_bytes(&mut secret);
        secret
    }

    /// What everything random in this turn followed from; `None` if it has not asked for anything random.
    #[must_use]
    pub fn seed(&self) -> Option<Seed> {
        self.own.as_ref().map(|(seed, _)| *seed)
    }

    /// Lets the turn that has just begun draw what an earlier one with this seed drew.
    pub fn reseed(&mut self, seed: Seed) {
        self.own = Some((seed, StdRng::from_seed(seed)));
    }

    /// Any number, for the shard's own choices.
    pub(super) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// Names what this turn handles (index into [`Behaviour::LABELS`]), for `dormouse_turns_total`.
    pub fn label(&mut self, label: usize) {
        self.label = label;
    }

    pub(super) fn current_label(&self) -> usize {
        self.label
    }

    /// Sends one object to the own client, in its encoding.
    pub fn send(&mut self, encoding: Encoding, value: &impl serde::Serialize) {
        self.payload.clear();
        encoding.write(value, &mut self.payload);
        let write = match encoding {
            Encoding::Json => self.writer_of_text(),
            Encoding::Msgpack => self.writer_of_binary(),
        };
        write(&mut self.output.bytes, &self.payload);
    }

    /// Sends a text message to the own client.
    pub fn text(&mut self, text: &str) {
        self.writer_of_text()(&mut self.output.bytes, text.as_bytes());
    }

    /// Sends a binary message to the own client.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.writer_of_binary()(&mut self.output.bytes, bytes);
    }

    fn writer_of_text(&self) -> fn(&mut Vec<u8>, &[u8]) {
        if self.compressed { frame::write_compressed_text } else { frame::write_text }
    }

    fn writer_of_binary(&self) -> fn(&mut Vec<u8>, &[u8]) {
        if self.compressed { frame::write_compressed_binary } else { frame::write_binary }
    }

    /// Sends a complete WebSocket frame that was encoded before and is shared by many; with `event`, the ledger counts it
    /// as delivered once the kernel has it.
    pub fn frame(&mut self, frame: &[u8], event: bool) {
        self.output.bytes.extend_from_slice(frame);
        if event {
            self.output.mark_event();
        }
    }

    /// Asks the shard's hub for something, carried out after the commit.
    pub fn ask(&mut self, ask: B::Ask) {
        self.effects.asks.push(ask);
    }

    /// Starts a job after the commit.
    pub fn job(&mut self, deadline: Duration, work: Work<B::Done>) {
        self.effects.jobs.push(Job { deadline, work, in_order: false });
    }

    /// As [`Turn::job`]; jobs begun so run side by side and end in the order they began.
    pub fn job_in_order(&mut self, deadline: Duration, work: Work<B::Done>) {
        self.effects.jobs.push(Job { deadline, work, in_order: true });
    }

    /// Closes the socket after everything sent so far. The first reason given in a turn counts.
    pub fn close(&mut self, close: Close) {
        self.effects.close.get_or_insert(close);
    }

    /// Frees the record; with a socket still open, it is closed as `bye`.
    pub fn end(&mut self) {
        self.effects.end = true;
    }

    /// Keeps client frames and deliveries waiting until [`Turn::release`]; notices go on.
    pub fn hold(&mut self) {
        self.effects.hold = Some(true);
    }

    /// Lets waiting frames and deliveries through again.
    pub fn release(&mut self) {
        self.effects.hold = Some(false);
    }

    /// Moves the socket, with all that is still unread, to the record of `to` if that one admits `ticket`; this record
    /// is freed.
    pub fn transfer(&mut self, to: ConnectionId, ticket: B::Ticket) {
        self.effects.transfer = Some((to, ticket));
    }

    /// Where the output stood, for [`Turn::discard`].
    pub(super) fn mark(&self) -> Mark {
        self.output.mark()
    }

    /// Forgets everything since `mark`.
    pub(super) fn discard(&mut self, mark: Mark) {
        self.output.cut(mark);
        self.effects = Effects::default();
    }
}

/// What a unit test of a handler looks at: the frames' bytes and the asks of the turns so far.
impl<B: Behaviour> Turn<B> {
    /// Bytes of all frames sent since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.output.take_bytes()
    }

    /// Asks since the last call.
    pub fn take_asks(&mut self) -> Vec<B::Ask> {
        std::mem::take(&mut self.effects.asks)
    }

    /// How many jobs were asked for.
    #[must_use]
    pub fn asked_jobs(&self) -> usize {
        self.effects.jobs.len()
    }

    /// The close asked for, if any.
    #[must_use]
    pub fn asked_close(&self) -> Option<Close> {
        self.effects.close
    }

    /// Whether the record's end was asked for.
    #[must_use]
    pub fn asked_end(&self) -> bool {
        self.effects.end
    }

    /// `true`: a hold was asked for, `false`: a release.
    #[must_use]
    pub fn asked_hold(&self) -> Option<bool> {
        self.effects.hold
    }

    /// Where the socket was asked to go, and with what.
    #[must_use]
    pub fn asked_transfer(&self) -> Option<(ConnectionId, &B::Ticket)> {
        self.effects.transfer.as_ref().map(|(to, ticket)| (*to, ticket))
    }
}

impl<B: Behaviour> ActorContext for Turn<B> {
    fn stop(&mut self) {
        self.close(Close::BYE);
        self.end();
    }

    fn terminate(&mut self) {
        self.stop();
    }

    fn state(&self) -> ActorState {
        if self.effects.end { ActorState::Stopping } else { ActorState::Running }
    }
}
