//! What a client's frame asks for: decoding of one JSON object into a [`Request`], with errors that say what and where.
//!
//! Two passes: the first reads `op` and `id` and proves that the frame is JSON, the second reads the fields of that op,
//! so that a failing request can still be answered by its `id`. Pure; called by connection turns.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{error::Category, value::RawValue};

use crate::protocol::{
    depth,
    error::{ErrorCode, Fault},
    name::ChannelName,
    text::Text,
};

/// The number a client ties its request and our reply with; any integer of 53 bits.
pub type RequestId = i64;

/// A place in a channel: everything after it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The epoch the offset belongs to, as the server gave it.
    pub epoch: String,
    /// Exclusive.
    pub offset: u64,
}

/// How a user wants to be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Here.
    #[default]
    Online,
    /// Away from the keyboard.
    Idle,
    /// Not to be disturbed.
    Busy,
    /// Counts as absent.
    Invisible,
}

/// `identify`: who the client is and where it was.
#[derive(Clone, Deserialize)]
pub struct Identify {
    /// The user name (open auth) or a JWT.
    pub token: String,
    /// The resume token of an earlier `ready`.
    pub resume: Option<String>,
    /// Where it was in each channel; names are checked when they are used.
    pub cursors: Option<BTreeMap<String, Cursor>>,
    /// Status to begin with.
    pub status: Option<Status>,
}

/// Tokens stay out of logs and panics.
impl fmt::Debug for Identify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identify").field("cursors", &self.cursors).field("status", &self.status).finish_non_exhaustive()
    }
}

/// `subscribe`.
#[derive(Debug, Deserialize)]
pub struct Subscribe<'a> {
    /// The channel.
    #[serde(borrow)]
    pub channel: ChannelName<'a>,
    /// Replay everything after this.
    pub from: Option<Cursor>,
    /// Replay the newest n.
    pub last: Option<u64>,
    /// Also send `presence` frames.
    #[serde(default)]
    pub presence: Option<bool>,
}

/// Any request whose only field is the channel.
#[derive(Debug, Deserialize)]
pub struct OnChannel<'a> {
    /// The channel.
    #[serde(borrow)]
    pub channel: ChannelName<'a>,
}

/// `publish`.
#[derive(Debug, Deserialize)]
pub struct Publish<'a> {
    /// The channel.
    #[serde(borrow)]
    pub channel: ChannelName<'a>,
    /// Any JSON, kept to the byte.
    #[serde(borrow)]
    pub data: &'a RawValue,
    /// Idempotency key.
    #[serde(borrow)]
    pub key: Option<Text<'a>>,
}

/// `signal`.
#[derive(Debug, Deserialize)]
pub struct Signal<'a> {
    /// The channel.
    #[serde(borrow)]
    pub channel: ChannelName<'a>,
    /// Chosen by the app: `typing` …
    #[serde(borrow)]
    pub kind: Text<'a>,
    /// Any JSON.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

/// `ack`.
#[derive(Debug, Deserialize)]
pub struct Ack<'a> {
    /// The channel.
    #[serde(borrow)]
    pub channel: ChannelName<'a>,
    /// Delivered up to here.
    pub delivered: Option<u64>,
    /// Read up to here.
    pub read: Option<u64>,
}

/// `history`.
#[derive(Debug, Deserialize)]
pub struct History<'a> {
    /// The channel.
    #[serde(borrow)]
    pub channel: ChannelName<'a>,
    /// The oldest after this.
    pub after: Option<u64>,
    /// The newest before this.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: Option<u64>,
}

/// `rpc`.
#[derive(Debug, Deserialize)]
pub struct Rpc<'a> {
    /// Chosen by the app.
    #[serde(borrow)]
    pub method: Text<'a>,
    /// Any JSON.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

/// `status`.
#[derive(Debug, Deserialize)]
pub struct SetStatus {
    /// The new status.
    pub status: Status,
}

/// What a `chaos` request does to the turn that handles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChaosFault {
    /// The turn panics.
    Panic,
    /// The turn blocks.
    Stall,
}

/// `chaos`.
#[derive(Debug, Deserialize)]
pub struct Chaos {
    /// Which fault.
    pub fault: ChaosFault,
    /// How long a stall lasts.
    pub ms: Option<u64>,
}

/// One decoded request.
#[derive(Debug)]
pub enum Request<'a> {
    /// See [`Identify`].
    Identify(Identify),
    /// Proof of life.
    Heartbeat,
    /// See [`Subscribe`].
    Subscribe(Subscribe<'a>),
    /// End a subscription.
    Unsubscribe(OnChannel<'a>),
    /// Become a member.
    Join(OnChannel<'a>),
    /// End a membership.
    Leave(OnChannel<'a>),
    /// See [`Publish`].
    Publish(Publish<'a>),
    /// See [`Signal`].
    Signal(Signal<'a>),
    /// See [`Ack`].
    Ack(Ack<'a>),
    /// See [`History`].
    History(History<'a>),
    /// Who is here.
    Presence(OnChannel<'a>),
    /// Who belongs here.
    Members(OnChannel<'a>),
    /// See [`SetStatus`].
    Status(SetStatus),
    /// Who am I.
    Whoami,
    /// See [`Rpc`].
    Rpc(Rpc<'a>),
    /// See [`Chaos`].
    Chaos(Chaos),
}

/// A request and the number its reply carries.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// Absent: served without a reply.
    pub id: Option<RequestId>,
    /// What is asked.
    pub request: Request<'a>,
}

/// Why a frame is no request.
#[derive(Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Readable all the same: the fault goes into a reply.
    pub id: Option<RequestId>,
    /// What and where.
    pub fault: Fault,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    op: Text<'a>,
    id: Option<RequestId>,
}

/// The `id` alone, for answering a request whose turn crashed.
#[must_use]
pub fn peek_id(json: &str) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct IdOnly {
        id: Option<RequestId>,
    }
    serde_json::from_str::<IdOnly>(json).ok()?.id
}

/// What an idle client says all day: on a quiet node reading it with the parser, out of a cold cache, is much of its cost.
const HEARTBEAT: &str = r#"{"op":"heartbeat"}"#;

/// Decodes one frame.
///
/// # Errors
/// `bad_frame` when it is not a JSON object, `unknown_op`, or `bad_request` with field, line and column.
pub fn decode(json: &str) -> Result<Envelope<'_>, DecodeError> {
    if json == HEARTBEAT {
        return Ok(Envelope { id: None, request: Request::Heartbeat });
    }
    let fail = |id, fault| DecodeError { id, fault };
    if json.trim_ascii_start().as_bytes().first() != Some(&b'{') {
        // Also keeps serde from reading an array as the fields of a struct.
        let message = match serde_json::from_str::<serde::de::IgnoredAny>(json) {
            Ok(_) => "a frame is one object, this is another JSON value at line 1 column 1".to_owned(),
            Err(error) => error.to_string(),
        };
        return Err(fail(None, Fault::new(ErrorCode::BadFrame, message)));
    }
    let head: Head<'_> = serde_json::from_str(json).map_err(|error| fail(peek_id(json), head_fault(&error)))?;
    let id = head.id;
    depth::check(json).map_err(|fault| fail(id, fault))?;
    let request = match head.op.0.as_ref() {
        "identify" => parse(json).map(Request::Identify),
        "heartbeat" => Ok(Request::Heartbeat),
        "subscribe" => parse(json).map(Request::Subscribe),
        "unsubscribe" => parse(json).map(Request::Unsubscribe),
        "join" => parse(json).map(Request::Join),
        "leave" => parse(json).map(Request::Leave),
        "publish" => parse(json).map(Request::Publish),
        "signal" => parse(json).map(Request::Signal),
        "ack" => parse(json).map(Request::Ack),
        "history" => parse(json).map(Request::History),
        "presence" => parse(json).map(Request::Presence),
        "members" => parse(json).map(Request::Members),
        "status" => parse(json).map(Request::Status),
        "whoami" => Ok(Request::Whoami),
        "rpc" => parse(json).map(Request::Rpc),
        "chaos" => parse(json).map(Request::Chaos),
        other => {
            let shown: String = other.chars().take(64).collect();
            Err(Fault::new(ErrorCode::UnknownOp, format!("unknown op {shown:?}")))
        }
    };
    request.map(|request| Envelope { id, request }).map_err(|fault| fail(id, fault))
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Fault> {
    // The first pass has proved that it is JSON, so whatever is wrong now is a field.
    serde_json::from_str(json).map_err(|error| Fault::new(ErrorCode::BadRequest, error.to_string()))
}

fn head_fault(error: &serde_json::Error) -> Fault {
    let code = match error.classify() {
        Category::Data => ErrorCode::BadRequest,
        Category::Io | Category::Syntax | Category::Eof => ErrorCode::BadFrame,
    };
    Fault::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> (Option<RequestId>, ErrorCode, String) {
        let error = decode(json).expect_err("must not decode");
        (error.id, error.fault.code, error.fault.message.into_owned())
    }

    #[test]
    fn a_publish_keeps_its_data_to_the_byte() {
        let envelope =
            decode(r#"{"id":7,"data":{"b" : 1.50,"a":[]},"channel":"chat:x","op":"publish"}"#).expect("decodes");
        assert_eq!(envelope.id, Some(7));
        let Request::Publish(publish) = envelope.request else { panic!("not a publish") };
        assert_eq!(publish.data.get(), r#"{"b" : 1.50,"a":[]}"#);
        assert_eq!(publish.channel.as_str(), "chat:x");
    }

    #[test]
    fn errors_say_what_and_where() {
        let cases = [
            (r#"{"op":"publsh","id":1}"#, Some(1), ErrorCode::UnknownOp, r#"unknown op "publsh""#),
            (r#"{"op":"leave","id":1}"#, Some(1), ErrorCode::BadRequest, "missing field `channel` at line 1 column 21"),
            (r#"{"id":1}"#, Some(1), ErrorCode::BadRequest, "missing field `op` at line 1 column 8"),
            ("[1]", None, ErrorCode::BadFrame, "a frame is one object, this is another JSON value at line 1 column 1"),
            ("nonsense", None, ErrorCode::BadFrame, "expected ident at line 1 column 2"),
            (r#"{"op":"#, None, ErrorCode::BadFrame, "EOF while parsing a value at line 1 column 6"),
            (
                r#"{"op":"join","id":2,"channel":"a b"}"#,
                Some(2),
                ErrorCode::BadRequest,
                "channel name has the character ' ', allowed are A-Z a-z 0-9 _ . : + @ - at line 1 column 36",
            ),
        ];
        for (json, id, code, message) in cases {
            assert_eq!(fault(json), (id, code, message.to_owned()), "{json}");
        }
    }

    #[test]
    fn unknown_fields_and_nulls_are_ignored() {
        assert!(
            decode(r#"{"op":"subscribe","channel":"a","from":null,"last":null,"presence":null,"later":{}}"#).is_ok()
        );
    }
}
