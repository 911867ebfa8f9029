//! Filler in the place of what people wrote in a frame: the same number of bytes, the same nesting, the same kinds of
//! values, so that a turn that fails over a size or a shape fails over the filler too.
//!
//! It works on the text as it came, not on what a decoder makes of it: a decoder would lose lengths, order and doubles. What
//! is not JSON (or MessagePack) has no fields to tell apart, so all of it is hidden. Called by `redact.rs` alone.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    connection::redact::{is_channel, is_epoch},
    id::SessionToken,
    protocol::encoding::Payload,
    shard::filler,
};

mod json;
mod msgpack;

/// Whose frame it is: fields of one name mean different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// What may be seen of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// The frame itself: each field has its own rule.
    Frame(Sender),
    /// Everything, but tokens.
    Shown,
    /// Everything: the server wrote it.
    Ours,
    /// A number.
    Number,
    /// A word of the protocol.
    Word,
    /// A name of a channel.
    Channel,
    Epoch,
    /// An epoch and an offset.
    Cursor,
    /// Cursors by channel.
    Cursors,
    /// A token: its length.
    Secret,
    /// The field is known, its value is somebody's.
    Known,
    /// Nothing, not even the field's name.
    Hidden,
}

/// Words that fields of requests and frames may hold.
const WORDS: &[&str] = &[
    "identify",
    "heartbeat",
    "subscribe",
    "unsubscribe",
    "join",
    "leave",
    "publish",
    "signal",
    "ack",
    "history",
    "presence",
    "members",
    "status",
    "whoami",
    "rpc",
    "chaos",
    "event",
    "receipt",
    "online",
    "idle",
    "busy",
    "invisible",
    "panic",
    "stall",
];

/// Deeper nesting is no frame.
const DEEPEST: usize = 192;

impl Rule {
    fn of_frame(payloads: bool, sender: Sender) -> Self {
        if payloads { Self::Shown } else { Self::Frame(sender) }
    }

    /// The rule of a field.
    fn field(self, key: &str) -> Self {
        match (self, key) {
            (Self::Frame(Sender::Client) | Self::Shown, "token" | "resume") => Self::Secret,
            (Self::Frame(_), "op" | "status" | "fault") => Self::Word,
            (Self::Frame(_), "channel") => Self::Channel,
            (Self::Frame(_), "data" | "key" | "kind" | "method") => Self::Known,
            (Self::Frame(Sender::Client), "from") => Self::Cursor,
            (Self::Frame(Sender::Client), "cursors") => Self::Cursors,
            (
                Self::Frame(Sender::Client),
                "id" | "last" | "presence" | "after" | "before" | "limit" | "delivered" | "read" | "ms",
            ) => Self::Number,
            (Self::Frame(Sender::Server), "offset" | "at" | "count" | "delivered" | "read") => Self::Number,
            (Self::Frame(Sender::Server), "from" | "user" | "joined" | "left" | "changed") => Self::Ours,
            (Self::Cursor, "epoch") => Self::Epoch,
            (Self::Cursor, "offset") => Self::Number,
            (Self::Cursors, channel) if is_channel(channel) => Self::Cursor,
            (Self::Shown | Self::Ours, _) => self,
            _ => Self::Hidden,
        }
    }

    /// The rule of a list's items.
    fn item(self) -> Self {
        match self {
            Self::Shown | Self::Ours => self,
            _ => Self::Hidden,
        }
    }

    fn shows_text(self, text: &str) -> bool {
        match self {
            Self::Shown | Self::Ours => true,
            Self::Word => WORDS.contains(&text),
            Self::Channel => is_channel(text),
            Self::Epoch => is_epoch(text),
            _ => false,
        }
    }

    fn shows_numbers(self) -> bool {
        matches!(self, Self::Shown | Self::Ours | Self::Number)
    }
}

/// A JSON frame without what `sender`'s people wrote.
pub(crate) fn json(text: &str, sender: Sender, payloads: bool) -> String {
    json::mask(text, Rule::of_frame(payloads, sender)).unwrap_or_else(|| rubbish(text))
}

/// The payload of a client's frame, as evidence holds it.
pub(crate) fn payload(payload: &mut Value, payloads: bool) {
    let masked = with_payload(payload, |payload| match payload {
        Payload::Text(text) => Value::String(json(text, Sender::Client, payloads)),
        Payload::Binary(bytes) => {
            let rule = Rule::of_frame(payloads, Sender::Client);
            // A byte that no MessagePack has.
            let masked = msgpack::mask(bytes, rule).unwrap_or_else(|| vec![0xc1; bytes.len()]);
            Value::String(STANDARD.encode(masked))
        }
    });
    if let Some(shown) = payload.as_object_mut().and_then(|payload| payload.values_mut().next()) {
        *shown = masked.unwrap_or_default();
    }
}

/// Calls `act` with the payload that evidence holds, if it holds one.
pub(crate) fn with_payload<R>(payload: &Value, act: impl FnOnce(Payload<'_>) -> R) -> Option<R> {
    if let Some(text) = payload.get("text").and_then(Value::as_str) {
        return Some(act(Payload::Text(text)));
    }
    let bytes = STANDARD.decode(payload.get("binary")?.as_str()?).ok()?;
    Some(act(Payload::Binary(&bytes)))
}

/// Filler for a token. A resume token keeps the id of its connection, which decides where the turn sends it.
pub(crate) fn secret(token: &str) -> String {
    if let Ok(SessionToken { connection, .. }) = token.parse() {
        return SessionToken { connection, secret: [0xff; 16] }.to_string();
    }
    // The dots are the shape of a JWT.
    token.split('.').map(filler).collect::<Vec<_>>().join(".")
}

/// What cannot be read: its signs stay, so that it is as unreadable as before.
fn rubbish(text: &str) -> String {
    let hide = |c: char| -> Cow<'static, str> {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            String::from(c).into()
        } else {
            filler(c.encode_utf8(&mut [0; 4])).into()
        }
    };
    text.chars().map(hide).collect()
}
