//! What the generator says and how it reads what it hears (protocol `dormouse.v1.json`).
//!
//! Events are read by looking for one key, not by parsing: a fan-out run hears more than a million a second on the cores
//! that the server needs. Everything rarer goes through serde. Called by every measurement.

use memchr::memmem;
use serde::Deserialize;

use crate::client::KEY;

/// The one frame every connection repeats.
pub(crate) const HEARTBEAT: &str = r#"{"op":"heartbeat"}"#;

/// Kind of a server's message, as far as measurements care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Hello,
    Ready,
    Reply,
    Event,
    HeartbeatAck,
    Restarted,
    Reconnect,
    Gap,
    Error,
    Other,
}

/// The kind of a message.
pub(crate) fn op(message: &[u8]) -> Op {
    // The tag comes first in practice; any other order is legal and takes the slow way.
    let named = |name: &[u8]| match name {
        b"hello" => Op::Hello,
        b"ready" => Op::Ready,
        b"reply" => Op::Reply,
        b"event" => Op::Event,
        b"heartbeat_ack" => Op::HeartbeatAck,
        b"restarted" => Op::Restarted,
        b"reconnect" => Op::Reconnect,
        b"gap" => Op::Gap,
        b"error" => Op::Error,
        _ => Op::Other,
    };
    if let Some(rest) = message.strip_prefix(br#"{"op":""#) {
        let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
        return named(&rest[..end]);
    }
    // A packet of Socket.IO is an array behind its kind.
    if let Some(rest) = message.strip_prefix(br#"42[""#) {
        let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
        return named(&rest[..end]);
    }
    #[derive(Deserialize)]
    struct Tagged<'a> {
        op: &'a str,
    }
    serde_json::from_slice::<Tagged<'_>>(message).map_or(Op::Other, |tagged| named(tagged.op.as_bytes()))
}

/// The number behind the first `"key":` in a message; `key` with quotes and colon.
pub(crate) fn number(message: &[u8], key: &str) -> Option<u64> {
    let at = memmem::find(message, key.as_bytes())? + key.len();
    let digits = message[at..].iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
    let mut any = false;
    let value = digits.fold(0u64, |value, digit| {
        any = true;
        value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    });
    any.then_some(value)
}

/// A reply, as far as measurements care.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reply {
    pub(crate) id: u64,
    pub(crate) ok: Option<Published>,
    pub(crate) error: Option<Refusal>,
}

/// `reply.ok` of a publish; other requests leave the offset out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Published {
    pub(crate) offset: u64,
}

/// `reply.error`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// The request of a WebSocket handshake.
pub(crate) fn handshake(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// The handshake that also identifies and, with a channel, subscribes.
pub(crate) fn gateway(host: &str, user: &str, channel: Option<&str>) -> String {
    let subscribe = channel.map(|channel| format!("&subscribe={channel}")).unwrap_or_default();
    handshake(host, &format!("/v1/gateway?token={user}{subscribe}"))
}

/// A publication whose data carries its number, padded with `padding` more bytes; without `id` there is no reply.
pub(crate) fn publish(channel: &str, id: Option<u64>, n: u64, padding: usize) -> String {
    let id = id.map(|id| format!(r#""id":{id},"#)).unwrap_or_default();
    let pad = if padding > 0 { format!(r#","pad":"{}""#, "x".repeat(padding)) } else { String::new() };
    format!(r#"{{"op":"publish",{id}"channel":"{channel}","data":{{"n":{n}{pad}}}}}"#)
}

/// Subscribes and asks for the newest `last` events that are kept.
pub(crate) fn subscribe(channel: &str, id: u64, last: u64) -> String {
    format!(r#"{{"op":"subscribe","id":{id},"channel":"{channel}","last":{last}}}"#)
}

/// Crashes the turn that handles it.
pub(crate) fn chaos(id: u64) -> String {
    format!(r#"{{"op":"chaos","id":{id},"fault":"panic"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_found_in_any_order_of_fields() {
        assert_eq!(op(br#"{"op":"event","channel":"bench"}"#), Op::Event);
        assert_eq!(op(br#"{ "id": 4, "op": "reply" }"#), Op::Reply);
        assert_eq!(op(br#"{"op":"heartbeat_ack"}"#), Op::HeartbeatAck);
        assert_eq!(op(br#"{"op":"presence"}"#), Op::Other);
        assert_eq!(op(b"rubbish"), Op::Other);
    }

    #[test]
    fn numbers_are_read_where_the_key_is_and_nowhere_else() {
        let event = br#"{"op":"event","channel":"bench","offset":117,"from":"p","at":1763839474711,"data":{"n": 42}}"#;
        assert_eq!(number(event, r#""offset":"#), Some(117));
        assert_eq!(number(event, r#""n":"#), Some(42));
        assert_eq!(number(event, r#""generation":"#), None);
        assert_eq!(number(br#"{"n":"42"}"#, r#""n":"#), None);
    }

    #[test]
    fn what_is_said_is_valid_json() {
        for said in [
            publish("bench", Some(3), 9, 40),
            publish("bench", None, 9, 0),
            subscribe("bench", 1, 10),
            chaos(4),
            HEARTBEAT.to_owned(),
        ] {
            assert!(serde_json::from_str::<serde_json::Value>(&said).is_ok(), "{said}");
        }
    }

    #[test]
    fn replies_of_every_shape_are_read() {
        let crashed = br#"{"op":"reply","id":7,"error":{"code":"crashed","message":"m","retry":"later"}}"#;
        let reply: Reply = serde_json::from_slice(crashed).unwrap();
        assert_eq!((reply.id, reply.error.unwrap().code.as_str()), (7, "crashed"));
        let published = br#"{"op":"reply","id":8,"ok":{"offset":12,"at":5,"duplicate":false}}"#;
        let reply: Reply = serde_json::from_slice(published).unwrap();
        assert_eq!((reply.id, reply.ok.unwrap().offset), (8, 12));
        assert!(serde_json::from_slice::<Reply>(br#"{"op":"reply","id":8,"ok":{}}"#).is_ok());
    }
}
