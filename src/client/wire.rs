//! The server's frames as a client reads them, and ours as it writes them: `dormouse.v1.json` (CONTRACT §1). The server's own
//! types are for writing; where both sides agree they are used here too. Only bytes and values.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    client::event::{Event, Gap, Membership, Notice, PresenceChange, Receipt, Signal},
    protocol::{
        error::{ErrorCode, Fault, Retry},
        request::{Cursor, RequestId, Status},
    },
};

/// The sub-protocol.
pub(super) const PROTOCOL: &str = "dormouse.v1.json";

/// First frame.
#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    heartbeat_ms: u64,
    pub(super) max_frame_bytes: usize,
    #[serde(default)]
    pub(super) node: String,
}

impl Hello {
    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.max(1))
    }
}

/// After identify.
#[derive(Debug, Deserialize)]
pub(super) struct Ready {
    pub(super) user: String,
    pub(super) session: String,
    pub(super) resumed: bool,
    pub(super) generation: u32,
    #[serde(default)]
    pub(super) subscriptions: Vec<Restored>,
    #[serde(default)]
    pub(super) memberships: Vec<Membership>,
}

/// One of `ready.subscriptions`.
#[derive(Debug, Deserialize)]
pub(super) struct Restored {
    pub(super) channel: String,
    pub(super) epoch: String,
    pub(super) offset: u64,
}

/// To one request.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) id: RequestId,
    pub(super) outcome: Result<Box<RawValue>, Fault>,
}

/// A frame that is more than a notice.
#[derive(Debug)]
pub(super) enum Frame {
    Hello(Hello),
    Ready(Ready),
    Reply(Reply),
    Event(Event),
    HeartbeatAck,
    Gap(Gap),
    Reconnect {
        after: Duration,
        reason: String,
    },
    Receipt(Receipt),
    Began(Membership),
    Left(String),
    Error {
        id: Option<RequestId>,
        fault: Fault,
    },
    /// Nothing to be done about.
    Notice(Notice),
    /// Ops of later servers are none of our business.
    Unknown,
}

/// Reads one frame.
pub(super) fn decode(text: &str) -> Result<Frame, serde_json::Error> {
    #[derive(Deserialize)]
    struct Op<'a> {
        #[serde(borrow)]
        op: Cow<'a, str>,
    }
    let Op { op } = serde_json::from_str(text)?;
    Ok(match &*op {
        "hello" => Frame::Hello(serde_json::from_str(text)?),
        "ready" => Frame::Ready(serde_json::from_str(text)?),
        "reply" => Frame::Reply(reply(text)?),
        "event" => Frame::Event(serde_json::from_str(text)?),
        "heartbeat_ack" => Frame::HeartbeatAck,
        "gap" => Frame::Gap(serde_json::from_str(text)?),
        "receipt" => Frame::Receipt(serde_json::from_str(text)?),
        "signal" => Frame::Notice(Notice::Signal(serde_json::from_str::<Signal>(text)?)),
        "presence" => Frame::Notice(Notice::Presence(serde_json::from_str::<PresenceChange>(text)?)),
        "restarted" => {
            #[derive(Deserialize)]
            struct Restarted {
                generation: u32,
                request: Option<RequestId>,
                lost: u32,
            }
            let Restarted { generation, request, lost } = serde_json::from_str(text)?;
            Frame::Notice(Notice::Restarted { generation, request, lost })
        }
        "reconnect" => {
            #[derive(Deserialize)]
            struct Reconnect {
                after_ms: u64,
                reason: String,
            }
            let Reconnect { after_ms, reason } = serde_json::from_str(text)?;
            Frame::Reconnect { after: Duration::from_millis(after_ms), reason }
        }
        "membership" => {
            #[derive(Deserialize)]
            struct Left {
                channel: String,
                #[serde(default)]
                left: bool,
            }
            let Left { channel, left } = serde_json::from_str(text)?;
            if left { Frame::Left(channel) } else { Frame::Began(serde_json::from_str(text)?) }
        }
        "error" => {
            #[derive(Deserialize)]
            struct Id {
                id: Option<RequestId>,
            }
            let Id { id } = serde_json::from_str(text)?;
            Frame::Error { id, fault: serde_json::from_str::<Told>(text)?.into() }
        }
        _ => Frame::Unknown,
    })
}

fn reply(text: &str) -> Result<Reply, serde_json::Error> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        id: RequestId,
        #[serde(borrow)]
        ok: Option<&'a RawValue>,
        error: Option<Told>,
    }
    let Raw { id, ok, error } = serde_json::from_str(text)?;
    let outcome = match error {
        Some(told) => Err(told.into()),
        None => Ok(ok.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned)),
    };
    Ok(Reply { id, outcome })
}

/// A fault as any server may tell it: one of a later version may have codes that we do not know.
#[derive(Deserialize)]
struct Told {
    code: String,
    message: String,
    #[serde(default)]
    retry: Option<Retry>,
    retry_after_ms: Option<u64>,
}

impl From<Told> for Fault {
    fn from(told: Told) -> Self {
        let known = serde_json::from_value(serde_json::Value::String(told.code));
        let code = known.unwrap_or(ErrorCode::Internal);
        let retry = told.retry.unwrap_or_else(|| code.retry());
        Self { code, message: told.message.into(), retry, retry_after_ms: told.retry_after_ms }
    }
}

/// What we say first.
#[derive(Serialize)]
pub(super) struct Identify<'a> {
    /// Always `identify`.
    pub(super) op: &'static str,
    pub(super) token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume: Option<&'a str>,
    pub(super) cursors: BTreeMap<&'a str, &'a Cursor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
}

/// A request's frame: `fields` is a JSON object.
pub(super) fn request(op: &str, id: RequestId, fields: &str) -> String {
    match fields.trim_start_matches('{') {
        "}" => format!(r#"{{"op":"{op}","id":{id}}}"#),
        rest => format!(r#"{{"op":"{op}","id":{id},{rest}"#),
    }
}

/// Proof of life.
pub(super) const HEARTBEAT: &str = r#"{"op":"heartbeat"}"#;

/// Everything up to `delivered` was taken; nobody waits for an answer.
pub(super) fn delivered(channel: &str, delivered: u64) -> String {
    // A channel's name has no character that JSON would escape.
    format!(r#"{{"op":"ack","channel":"{channel}","delivered":{delivered}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_object_with_its_fields() {
        assert_eq!(request("whoami", 1, "{}"), r#"{"op":"whoami","id":1}"#);
        assert_eq!(request("join", 2, r#"{"channel":"c"}"#), r#"{"op":"join","id":2,"channel":"c"}"#);
        assert_eq!(request("rpc", 3, r#"{"data":{"a":1}}"#), r#"{"op":"rpc","id":3,"data":{"a":1}}"#);
    }

    #[test]
    fn data_is_kept_to_the_byte() {
        let text = r#"{"op":"event","channel":"c","offset":3,"from":"a","at":1,"data":{"b" : 1.50}}"#;
        let Ok(Frame::Event(event)) = decode(text) else { panic!("an event") };
        assert_eq!((event.offset, event.json()), (3, r#"{"b" : 1.50}"#));
    }

    #[test]
    fn a_code_of_a_later_server_keeps_its_advice() {
        let text = r#"{"op":"reply","id":1,"error":{"code":"haunted","message":"boo","retry":"later"}}"#;
        let Ok(Frame::Reply(Reply { id: 1, outcome: Err(fault) })) = decode(text) else { panic!("a reply") };
        assert_eq!((fault.code, fault.retry, &*fault.message), (ErrorCode::Internal, Retry::Later, "boo"));
    }

    #[test]
    fn an_unknown_op_is_no_error_and_rubbish_is() {
        assert!(matches!(decode(r#"{"op":"lullaby"}"#), Ok(Frame::Unknown)));
        assert!(decode("[]").is_err() && decode("{").is_err());
    }
}
