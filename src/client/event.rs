//! What a client hears: events of its channels, answers to its requests, and notices of everything else. Decoded from the
//! server's frames; only values, no behaviour.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    client::error::ClientError,
    protocol::{
        frame::{GapReason, Present, Roster},
        request::RequestId,
    },
};

/// A publication.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// Where.
    pub channel: String,
    /// Position; rises, need not be dense.
    pub offset: u64,
    /// Publisher.
    pub from: String,
    /// Unix milliseconds.
    pub at: u64,
    /// The publisher's key for it.
    pub key: Option<String>,
    /// Usually empty: what lies between the event before and this one and will not come.
    #[serde(skip)]
    pub missed: Vec<Gap>,
    data: Box<RawValue>,
}

impl Event {
    /// What was published, as `T`.
    ///
    /// # Errors
    /// [`ClientError::Data`] when it is no `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        Ok(serde_json::from_str(self.data.get())?)
    }

    /// What was published, as JSON text, to the byte.
    #[must_use]
    pub fn json(&self) -> &str {
        self.data.get()
    }
}

/// Events that will not come, first and last inclusive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Gap {
    /// Where.
    pub channel: String,
    /// First.
    pub from: u64,
    /// Last.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// Something that was said and is not kept.
#[derive(Clone, Debug, Deserialize)]
pub struct Signal {
    /// Where.
    pub channel: String,
    /// Who.
    pub from: String,
    /// `typing` …, chosen by the application.
    pub kind: String,
    /// More, as JSON.
    pub data: Option<Box<RawValue>>,
}

/// Who came, went or changed since the roster or the last one of these.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PresenceChange {
    /// Where.
    pub channel: String,
    /// Newly here.
    pub joined: Vec<Present>,
    /// Gone.
    pub left: Vec<String>,
    /// Other status.
    pub changed: Vec<Present>,
    /// Users here now.
    pub count: usize,
}

/// Somebody's cursors have moved.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Receipt {
    /// Where.
    pub channel: String,
    /// Whose.
    pub user: String,
    /// His devices have everything up to here.
    pub delivered: u64,
    /// He has seen everything up to here.
    pub read: u64,
}

/// The user belongs to a channel: how far he got there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// Which.
    pub channel: String,
    /// Life of its numbering.
    pub epoch: String,
    /// The last event that is known to exist.
    pub offset: u64,
    /// His devices have everything up to here.
    pub delivered: u64,
    /// He has seen everything up to here.
    pub read: u64,
    /// Events after `read` that others sent.
    pub unread: u64,
}

/// The answer to a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// Position.
    pub offset: u64,
    /// Unix milliseconds.
    pub at: u64,
    /// The key had been published before, at that offset.
    pub duplicate: bool,
}

/// The answer to a subscribe, and what a socket said about a channel last.
#[derive(Clone, Debug, Deserialize)]
pub struct Subscribed {
    /// Which.
    pub channel: String,
    /// Life of its numbering.
    pub epoch: String,
    /// Its head at that moment.
    pub offset: u64,
    /// Nothing after the cursor asked for is missing.
    pub recovered: bool,
    /// Who is there, when presence was asked for.
    pub presence: Option<Roster>,
}

/// The answer to a join.
#[derive(Clone, Debug, Deserialize)]
pub struct Joined {
    /// Which.
    pub channel: String,
    /// Life of its numbering.
    pub epoch: String,
    /// Its head at that moment.
    pub offset: u64,
}

/// A page of history.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    /// Rising.
    pub events: Vec<Event>,
    /// There is more in that direction.
    pub more: bool,
}

/// Which page of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The newest.
    Newest,
    /// The oldest after this offset.
    After(u64),
    /// The newest before this offset.
    Before(u64),
}

/// The answer to whoami.
#[derive(Clone, Debug, Deserialize)]
pub struct Whoami {
    /// Name.
    pub user: String,
    /// Id for operators.
    pub connection: String,
    /// Of our actor; one more after each crash.
    pub generation: u32,
    /// Channels.
    pub subscriptions: Vec<String>,
}

/// Where a connection is: `Connecting → Live ⇄ Reconnecting`, and from everywhere to `Closed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not live yet.
    Connecting,
    /// Identified.
    Live,
    /// The socket was lost, another is on its way.
    Reconnecting,
    /// For good.
    Closed,
}

/// What this connection has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vitals {
    /// The user's name, as the server knows it.
    pub user: String,
    /// The node that serves us.
    pub node: String,
    /// Of our actor; one more after each crash.
    pub generation: u32,
    /// Crashes of our actor that we were told of.
    pub restarts: u64,
    /// Sockets that became live.
    pub sockets: u64,
    /// Events dropped because they had been delivered.
    pub doubles: u64,
}

/// Everything but events and answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// Another state.
    State(State),
    /// A socket is live.
    Ready {
        /// The session went on; false: a fresh one, our cursors count all the same.
        resumed: bool,
        /// Of our actor.
        generation: u32,
    },
    /// Also told by the next event of that channel, in [`Event::missed`].
    Gap(Gap),
    /// Our actor crashed and is back, on the same socket.
    Restarted {
        /// Of our actor.
        generation: u32,
        /// The request that crashed it.
        request: Option<RequestId>,
        /// Messages that the crash consumed without effect.
        lost: u32,
    },
    /// The server asks us to come back on another socket; done at a random moment of this time.
    Reconnect {
        /// The time.
        after: Duration,
        /// Why.
        reason: String,
    },
    /// See [`Signal`].
    Signal(Signal),
    /// Who is there, in place of all known before: its channel and them.
    Roster(String, Roster),
    /// See [`PresenceChange`].
    Presence(PresenceChange),
    /// See [`Receipt`].
    Receipt(Receipt),
    /// New or changed.
    Membership(Membership),
    /// The membership in this channel has ended.
    Left(String),
    /// An error that belongs to no request.
    Failed(ClientError),
    /// So many notices were not looked at in time and are gone.
    Missed(u64),
}
