//! What a shard runs: the trait a connection actor implements, the messages it gets, and the hub that serves its shard.
//!
//! The shard knows sockets, mailboxes, turns and restarts, and no protocol. The gateway's `ConnectionActor` is one
//! implementation, the echo behaviour another; a third needs nothing from this crate but this file and `turn.rs`. Whoever only
//! wants a protocol of his own is better served by `app`.

use std::time::Duration;

use actix::Actor;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    clock::Now,
    id::ConnectionId,
    protocol::close::Close,
    shard::{evidence::Evidence, network::Network, post::Post, turn::Turn},
    supervision::CrashReport,
};

/// A connection actor. Its state between turns is the record; the actor value itself lives for one turn.
///
/// A turn is `wake → receive → sleep` on a copy of the record. When it returns, the new record and the effects gathered in
/// [`Turn`] are committed together; when it panics, both are dropped and the record stays the one before.
///
/// A turn is a pure function of its record, its mail, the time and a seed: so whatever a turn is given must be possible to
/// write down and read back (`Serialize + DeserializeOwned`; deriving both is enough), for crash files and their replay.
/// Secrets must leave their serialized form as filler.
pub trait Behaviour: Actor<Context = Turn<Self>> {
    /// What the handshake learned about the client.
    type Opening: Serialize + DeserializeOwned + Send + 'static;
    /// The whole state of one connection. Kept for every connection, so every byte counts; `Clone` must be cheap
    /// (share big parts behind `Rc` and copy them on write).
    type Record: Serialize + DeserializeOwned + Clone + 'static;
    /// What the hub tells a connection. Given to turns by reference, so that a crashed delivery can be tried again.
    type Message: Serialize + DeserializeOwned + 'static;
    /// What a turn asks of its shard's hub.
    type Ask: 'static;
    /// What a job brings back.
    type Done: Serialize + DeserializeOwned + Send + 'static;
    /// What travels with a socket that is moved to another connection's record (resume).
    type Ticket: Serialize + DeserializeOwned + Send + 'static;
    /// Settings that all turns of a shard may read.
    type Settings: Send + Sync + 'static;
    /// The shard's companion.
    type Hub: Hub<Self>;

    /// What crash files call it.
    const NAME: &'static str;
    /// Names of what a turn may handle, for metrics; [`Turn::label`] takes an index into it.
    const LABELS: &'static [&'static str];

    /// The record of a connection whose handshake is done.
    fn open(opening: &Self::Opening, now: Now) -> Self::Record;
    /// The actor for one turn.
    fn wake(record: Self::Record) -> Self;
    /// The record after it.
    fn sleep(self) -> Self::Record;
    /// Handles one mail: decides which `actix::Handler` gets it, and nothing else.
    fn receive(&mut self, mail: Mail<'_, Self>, turn: &mut Turn<Self>);

    /// When this connection wants [`Mail::Silence`], as [`Now::ms`]; asked by the sweeper for every connection in turn, so
    /// it must only read a few bytes.
    fn deadline(record: &Self::Record, settings: &Self::Settings, life: Life) -> Option<u32>;
    /// Whether a socket that comes with `ticket` may take over this record. Must not leak secrets by its timing.
    fn admits(record: &Self::Record, ticket: &Self::Ticket) -> bool;
    /// The record for a socket whose ticket no record admitted.
    fn refused(ticket: &Self::Ticket, now: Now) -> Self::Record;
    /// What the hub must hear when the record is gone, however it went.
    fn farewell(record: &Self::Record) -> Option<Self::Ask>;
    /// Whether anybody still waits for `message`: not for an answer to a socket that the record has lost.
    fn awaits(_record: &Self::Record, _message: &Self::Message) -> bool {
        true
    }
    /// What the hub must hear when `message` was queued and no turn will ever handle it: the socket that asked is lost, or
    /// every turn that tried has crashed.
    fn unheard(_message: &Self::Message) -> Option<Self::Ask> {
        None
    }
    /// How a socket of this record is closed when the node leaves.
    fn leave(record: &Self::Record) -> Close;
    /// Largest message taken from the peer, in bytes.
    fn max_message(settings: &Self::Settings) -> usize;
    /// Which queue a message waits in, and whether the loss ledger counts it.
    fn class(message: &Self::Message) -> Class;
    /// Heap bytes of a record beyond its own size, for inspection.
    fn heap_bytes(record: &Self::Record) -> usize;
    /// What operators see of a record. Never secrets.
    fn describe(record: &Self::Record) -> Description;

    /// What logs call a turn beside its connection.
    fn subject(connection: ConnectionId, record: &Self::Record, mail: &Mail<'_, Self>) -> Subject {
        let _ = (connection, record, mail);
        Subject::default()
    }

    /// Makes the evidence of a crashed turn fit for a file: says which settings the turn could read, and hides what people
    /// wrote unless `payloads` may be shown. Filler has the shape and length of what it hides, so that a panic over a size
    /// replays. Runs outside of every shard. Unless a behaviour knows better, every text is hidden.
    fn redact(evidence: &mut Evidence, settings: &Self::Settings, payloads: bool) {
        let _ = settings;
        if !payloads {
            evidence.hide_texts();
        }
    }
}

/// The index of `name` in [`Behaviour::LABELS`], found when the program is compiled.
///
/// # Panics
/// When there is no such label: inside `const { … }` the program does not compile.
#[must_use]
pub const fn label_index(labels: &[&str], name: &str) -> usize {
    let mut at = 0;
    while at < labels.len() {
        let (known, name) = (labels[at].as_bytes(), name.as_bytes());
        let mut byte = 0;
        while byte < known.len() && byte < name.len() && known[byte] == name[byte] {
            byte += 1;
        }
        if byte == known.len() && byte == name.len() {
            return at;
        }
        at += 1;
    }
    panic!("this label is not in LABELS")
}

/// One message for one turn. Borrowed and `Copy`: after a crash the same mail tells the next generation what hit it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", bound = "")]
pub enum Mail<'a, B: Behaviour> {
    /// The socket has just been opened.
    Opened(&'a B::Opening),
    /// The client sent a message.
    Frame(Payload<'a>),
    /// The hub says something.
    Message(&'a B::Message),
    /// The deadline of [`Behaviour::deadline`] has passed.
    Silence,
    /// The socket is gone. `undelivered`: events that waited for it were dropped. The record stays (parked) unless the
    /// turn calls [`Turn::end`].
    Detached {
        /// How it went.
        cause: Cause,
        /// Events that waited for this socket and were dropped.
        undelivered: u64,
    },
    /// Another socket took this record's place ([`Behaviour::admits`] said yes).
    Claimed(&'a B::Ticket),
    /// No record admitted the ticket; this one was made by [`Behaviour::refused`].
    Refused(&'a B::Ticket),
    /// The turn before this one crashed.
    Restarted(Crash<'a, B>),
    /// A job ended.
    Job(Result<&'a B::Done, &'a JobFailure>),
    /// The node leaves.
    Reconnect {
        /// Spread over so many milliseconds.
        after_ms: u64,
    },
    /// An operator injects a fault.
    Fault(Fault),
}

impl<B: Behaviour> Clone for Mail<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Behaviour> Copy for Mail<'_, B> {}

pub use crate::protocol::encoding::Payload;

/// What the new generation of an actor learns about the old one's end.
#[derive(Serialize)]
#[serde(bound = "")]
pub struct Crash<'a, B: Behaviour> {
    /// The mail the crashed turn was handling; `None` when even telling about it crashed.
    pub mail: Option<&'a Mail<'a, B>>,
    /// It waits in the mailbox and will be tried once more.
    pub retried: bool,
    /// The restart budget is spent: the socket closes after this turn.
    pub gave_up: bool,
}

impl<B: Behaviour> Clone for Crash<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Behaviour> Copy for Crash<'_, B> {}

/// How a socket went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The client sent a close frame.
    ClientClosed(Option<u16>),
    /// We sent one.
    ServerClosed(Close),
    /// No close frame: reset, end of stream, or a failed write.
    Cut,
}

impl Cause {
    /// The close code; RFC 6455 §7.1.5 has one for a close frame without a code and one for no close frame.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::ClientClosed(code) => code.unwrap_or(1005),
            Self::ServerClosed(close) => close.code,
            Self::Cut => 1006,
        }
    }
}

/// A connection's life signs, for [`Behaviour::deadline`].
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// When the client last proved life, or when the socket was lost, as [`Now::ms`].
    pub heard_ms: u32,
    /// There is a socket.
    pub attached: bool,
    /// The present, for deadlines in wall time.
    pub now: Now,
}

/// Which queue a message waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Answers to this connection's own requests: bounded by those, never dropped, handled even while held.
    Notice,
    /// May be dropped when the mailbox is full; counted in the ledger.
    Event,
    /// May be dropped when the mailbox is full; not counted.
    Ephemeral,
}

/// A fault on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The turn panics.
    Panic,
    /// The turn blocks for so long.
    Stall(Duration),
    /// The turn's job panics.
    PanicInJob,
    /// The turn's job blocks its task for so long.
    StallInJob(Duration),
    /// Unpacking the record panics.
    PanicInWake,
}

/// Why a job brought nothing back.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobFailure {
    /// Its deadline passed; it was cancelled.
    #[error("the job's deadline passed")]
    Timeout,
    /// It panicked.
    #[error("the job crashed at {}", .0.place)]
    Crashed(CrashReport),
}

/// What logs call a turn by. Never secrets, never what people wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// A mark of the session, once there is one: the first eight digits of its token's SHA-256, by which whoever has the token
    /// finds it in the log.
    pub session: Option<String>,
    /// The number that the client gave its request.
    pub request: Option<i64>,
}

/// What operators see of a record.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Whose it is, once identified.
    pub user: Option<String>,
    /// What it is subscribed to.
    pub subscriptions: Vec<String>,
}

/// The shard's companion: state that many connections of a shard share (for the gateway: channels). It runs on the shard's
/// thread between turns, tells connections things through [`Post`] and talks to the hubs of other shards by letters.
pub trait Hub<B: Behaviour>: 'static {
    /// What hubs (and the HTTP side) send each other.
    type Letter: Send + 'static;

    /// A committed turn asks something.
    fn ask(&mut self, from: ConnectionId, ask: B::Ask, post: &mut Post<'_, B, impl Network>);
    /// A letter arrived. Letters from one sender arrive in the order they were sent.
    fn letter(&mut self, letter: Self::Letter, post: &mut Post<'_, B, impl Network>);
    /// Whether [`Hub::hand_out`] has anything to do.
    fn has_more(&self) -> bool {
        false
    }
    /// Calls that belong together are over: what the hub has gathered meanwhile goes to its connections.
    fn hand_out(&mut self, post: &mut Post<'_, B, impl Network>) {
        let _ = post;
    }
    /// A connection whose mailbox had overflowed, or of which the hub wanted to be reminded, has handled all it held.
    fn drained(&mut self, connection: ConnectionId, post: &mut Post<'_, B, impl Network>);
    /// A call of this hub panicked: what it was doing is over, and it goes on. Whoever would wait for ever is told here, and
    /// whatever may be half changed is made whole.
    fn crashed(&mut self, post: &mut Post<'_, B, impl Network>);
    /// Time passes; called every [`crate::shard::TICK`].
    fn tick(&mut self, post: &mut Post<'_, B, impl Network>);
}
