//! What the server tells a client: one enum of frames with their fields as they stand on the wire (CONTRACT §1).
//!
//! Built by connection turns and channel homes, written with [`crate::protocol::encoding::Encoding`].

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    id::{ConnectionId, Epoch},
    protocol::{
        error::Fault,
        request::{RequestId, Status},
    },
};

/// Version text in `hello` and `/v1/node`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One frame to a client.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Frame<'a> {
    /// First frame, always.
    Hello {
        /// Send something at least this often.
        heartbeat_ms: u64,
        /// Time for `identify`.
        identify_within_ms: u64,
        /// Largest message taken.
        max_frame_bytes: usize,
        /// Opaque name of the node.
        node: &'a str,
        /// Of the server.
        version: &'a str,
    },
    /// After identify.
    Ready {
        /// The user name.
        user: &'a str,
        /// Secret resume token.
        session: String,
        /// An earlier session goes on.
        resumed: bool,
        /// Of the actor.
        generation: u32,
        /// All current ones.
        subscriptions: &'a [SubscriptionState],
        /// The user's durable memberships.
        memberships: &'a [MembershipState],
    },
    /// To one request.
    Reply {
        /// The request's.
        id: RequestId,
        /// Success.
        #[serde(skip_serializing_if = "Option::is_none")]
        ok: Option<Outcome<'a>>,
        /// Failure.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Fault>,
    },
    /// A publication.
    Event {
        /// Where.
        channel: &'a str,
        /// Position.
        offset: u64,
        /// Publisher.
        from: &'a str,
        /// Unix milliseconds.
        at: u64,
        /// As published.
        data: &'a RawValue,
        /// Idempotency key.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
    },
    /// Ephemeral.
    Signal {
        /// Where.
        channel: &'a str,
        /// Who.
        from: &'a str,
        /// What.
        kind: &'a str,
        /// More.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a RawValue>,
    },
    /// Who came, went or changed since the last one.
    Presence {
        /// Where.
        channel: &'a str,
        /// Newly here.
        joined: &'a [Present],
        /// Gone.
        left: &'a [String],
        /// Other status.
        changed: &'a [Present],
        /// Users here now.
        count: usize,
    },
    /// Somebody's cursors have moved.
    Receipt {
        /// Where.
        channel: &'a str,
        /// Whose.
        user: &'a str,
        /// Where they are now.
        #[serde(flatten)]
        standing: Standing,
    },
    /// The user has become a member on another of his sessions, through a publication or through the API.
    #[serde(rename = "membership")]
    Joined(MembershipState),
    /// He is none any more.
    #[serde(rename = "membership")]
    Left {
        /// Where.
        channel: &'a str,
        /// Always.
        left: bool,
    },
    /// Events that will not arrive.
    Gap {
        /// Where.
        channel: &'a str,
        /// First, inclusive.
        from: u64,
        /// Last, inclusive.
        to: u64,
        /// Why.
        reason: GapReason,
    },
    /// The actor crashed and is back.
    Restarted {
        /// The new one.
        generation: u32,
        /// The request that crashed it.
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
        /// Messages consumed without effect.
        lost: u32,
    },
    /// Please leave and come back.
    Reconnect {
        /// Spread over this time.
        after_ms: u64,
        /// Why.
        reason: &'a str,
    },
    /// Answer to `heartbeat`.
    HeartbeatAck,
    /// A frame could not be served.
    Error {
        /// What and where.
        #[serde(flatten)]
        fault: &'a Fault,
        /// The request's, if it was readable.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<RequestId>,
    },
}

/// Why events will not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// More than `catch_up_limit` behind.
    CatchUpLimit,
    /// Older than what is kept.
    Retention,
    /// This connection could not take them in time.
    Overflow,
    /// Delivering it crashed the actor twice.
    Crash,
}

/// One entry of `ready.subscriptions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionState {
    /// Which.
    pub channel: String,
    /// Life of its numbering.
    pub epoch: Epoch,
    /// Its head at that moment.
    pub offset: u64,
    /// Nothing after the cursor asked for is missing.
    pub recovered: bool,
}

/// How far a user got in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// His devices have everything up to here.
    pub delivered: u64,
    /// He has seen everything up to here; never more than `delivered`.
    pub read: u64,
}

/// One entry of `ready.memberships`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipState {
    /// Which.
    pub channel: String,
    /// Life of its numbering.
    pub epoch: Epoch,
    /// Its head at that moment.
    pub offset: u64,
    /// Where the user stands.
    #[serde(flatten)]
    pub standing: Standing,
    /// Kept events after `read` that others sent.
    pub unread: u64,
}

/// A user in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// Name.
    pub user: String,
    /// As chosen.
    pub status: Status,
    /// Last sign of activity in this channel, unix ms; only in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<u64>,
}

/// Who is in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// Users, not connections.
    pub count: usize,
    /// All of them, or the first 100 in a `subscribe` reply.
    pub users: Vec<Present>,
}

/// A member of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Name.
    pub user: String,
    /// Where he stands.
    #[serde(flatten)]
    pub standing: Standing,
    /// Last sign of activity in this channel, unix ms; of one who is not here, when he went. Absent when that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<u64>,
}

/// Who belongs to a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// All of them.
    pub count: usize,
    /// The first 1,000 by name.
    pub members: Vec<Member>,
}

/// `reply.ok`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Outcome<'a> {
    /// Done, nothing to say.
    Done {},
    /// To `subscribe`.
    Subscribed {
        /// Which.
        channel: &'a str,
        /// Life of its numbering.
        epoch: Epoch,
        /// Head.
        offset: u64,
        /// Nothing asked for is missing.
        recovered: bool,
        /// When asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        presence: Option<&'a Roster>,
    },
    /// To `publish`.
    Published {
        /// Position.
        offset: u64,
        /// Unix milliseconds.
        at: u64,
        /// The key was known.
        duplicate: bool,
    },
    /// To `presence`.
    Roster(&'a Roster),
    /// To `members`.
    Members(&'a Members),
    /// To `join`.
    Joined {
        /// Which.
        channel: &'a str,
        /// Life of its numbering.
        epoch: Epoch,
        /// Head.
        offset: u64,
    },
    /// To `ack`: where the user stands now.
    Standing(Standing),
    /// To `history`.
    History {
        /// Rising, as `event` frames have them.
        events: &'a [Box<RawValue>],
        /// There is more in that direction.
        more: bool,
    },
    /// To `rpc`.
    Called {
        /// What the application says.
        data: Option<&'a RawValue>,
    },
    /// To `whoami`.
    Whoami {
        /// Name.
        user: &'a str,
        /// The resume token.
        session: String,
        /// Id for operators.
        connection: ConnectionId,
        /// Of the actor.
        generation: u32,
        /// Channels.
        subscriptions: Vec<&'a str>,
    },
}

impl<'a> Frame<'a> {
    /// A successful reply.
    #[must_use]
    pub fn ok(id: RequestId, outcome: Outcome<'a>) -> Self {
        Self::Reply { id, ok: Some(outcome), error: None }
    }

    /// A failed request: a `reply` when it had an id, else an `error`.
    #[must_use]
    pub fn failure(id: Option<RequestId>, fault: &'a Fault) -> Self {
        match id {
            Some(id) => Self::Reply { id, ok: None, error: Some(fault) },
            None => Self::Error { fault, id: None },
        }
    }
}
