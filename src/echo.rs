//! The smallest behaviour: sends every message back as it came. Served at `/v1/echo` for conformance suites and raw
//! benchmarks, and the proof that the engine below knows nothing of the chat protocol above.

use actix::{Actor, Handler, Message};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Now,
    id::ConnectionId,
    protocol::close::Close,
    shard::{
        self, Behaviour, Class, Description, Hub, Life, Mail, Network, Payload, Post, ReplayError, Replayed, Turn,
    },
};

/// Nothing is remembered between turns.
#[derive(Debug)]
pub struct Echo;

/// How large a message may be.
#[derive(Clone, Copy, Debug)]
pub struct EchoSettings {
    /// In bytes; conformance suites send up to 16 MiB.
    pub max_message_bytes: usize,
}

/// Messages between echo connections: there are none.
#[derive(Debug, Serialize, Deserialize)]
pub enum Nothing {}

/// A hub without a duty.
#[derive(Debug)]
pub struct NoHub;

#[derive(Message)]
#[rtype(result = "()")]
struct Bounce<'a>(Payload<'a>);

impl Actor for Echo {
    type Context = Turn<Self>;
}

impl Handler<Bounce<'_>> for Echo {
    type Result = ();

    fn handle(&mut self, Bounce(payload): Bounce<'_>, turn: &mut Turn<Self>) {
        match payload {
            Payload::Text(text) => turn.text(text),
            Payload::Binary(bytes) => turn.binary(bytes),
        }
    }
}

impl Behaviour for Echo {
    type Opening = ();
    type Record = ();
    type Message = Nothing;
    type Ask = Nothing;
    type Done = ();
    type Ticket = Nothing;
    type Settings = EchoSettings;
    type Hub = NoHub;

    const NAME: &'static str = "echo";
    const LABELS: &'static [&'static str] = &["echo"];

    fn open((): &(), _: Now) {}

    fn wake((): ()) -> Self {
        Self
    }

    fn sleep(self) {}

    fn receive(&mut self, mail: Mail<'_, Self>, turn: &mut Turn<Self>) {
        match mail {
            Mail::Frame(payload) => self.handle(Bounce(payload), turn),
            Mail::Detached { .. } => turn.end(),
            _ => {}
        }
    }

    fn deadline((): &(), _: &EchoSettings, _: Life) -> Option<u32> {
        None
    }

    fn admits((): &(), ticket: &Nothing) -> bool {
        match *ticket {}
    }

    fn refused(ticket: &Nothing, _: Now) {
        match *ticket {}
    }

    fn farewell((): &()) -> Option<Nothing> {
        None
    }

    fn leave((): &()) -> Close {
        Close::GOING_AWAY
    }

    fn max_message(settings: &EchoSettings) -> usize {
        settings.max_message_bytes
    }

    fn class(message: &Nothing) -> Class {
        match *message {}
    }

    fn heap_bytes((): &()) -> usize {
        0
    }

    fn describe((): &()) -> Description {
        Description::default()
    }
}

/// Plays the turn of a crash file.
///
/// # Errors
/// It is no crash file of this behaviour: what is wrong, and where.
pub fn replay(json: &str) -> Result<Replayed, ReplayError> {
    // No turn reads how large a message may be.
    shard::replay::<Echo>(json, |_| Ok(EchoSettings { max_message_bytes: 0 }))
}

impl Hub<Echo> for NoHub {
    type Letter = Nothing;

    fn ask(&mut self, _: ConnectionId, ask: Nothing, _: &mut Post<'_, Echo, impl Network>) {
        match ask {}
    }

    fn letter(&mut self, letter: Nothing, _: &mut Post<'_, Echo, impl Network>) {
        match letter {}
    }

    fn drained(&mut self, _: ConnectionId, _: &mut Post<'_, Echo, impl Network>) {}

    fn crashed(&mut self, _: &mut Post<'_, Echo, impl Network>) {}

    fn tick(&mut self, _: &mut Post<'_, Echo, impl Network>) {}
}
