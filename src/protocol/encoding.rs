//! The two encodings of one object model. JSON is native: MessagePack frames are turned into JSON when they arrive and out
//! of it when they leave, so that there is one decoder, one set of error texts, and no object that only one side can carry.

use std::borrow::Cow;

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, Serializer};

use crate::protocol::{
    depth,
    error::{ErrorCode, Fault},
};

/// How a connection's frames look on the wire, agreed in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Text frames, `dormouse.v1.json`; also without any sub-protocol.
    #[default]
    Json,
    /// Binary frames, `dormouse.v1.msgpack`.
    Msgpack,
}

impl Encoding {
    /// Both, in order of preference when a client offers both… the client's order decides, this is for listing.
    pub const ALL: [Self; 2] = [Self::Json, Self::Msgpack];

    /// The name in `Sec-WebSocket-Protocol`.
    #[must_use]
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "dormouse.v1.json",
            Self::Msgpack => "dormouse.v1.msgpack",
        }
    }

    /// Writes `value` as a payload of this encoding at the end of `out`.
    pub fn write(self, value: &impl Serialize, out: &mut Vec<u8>) {
        // Writing our own frames to memory cannot fail: their keys are strings and their numbers finite.
        match self {
            Self::Json => {
                let written = serde_json::to_writer(&mut *out, value);
                debug_assert!(written.is_ok(), "{written:?}");
            }
            Self::Msgpack => {
                let json = serde_json::to_vec(value).unwrap_or_default();
                out.extend_from_slice(&msgpack_from_json(&json));
            }
        }
    }
}

/// JSON text of a MessagePack frame.
///
/// # Errors
/// `bad_frame` when it is not MessagePack, or holds what JSON cannot (binary, extension types, keys that are no strings).
pub fn json_from_msgpack(bytes: &[u8]) -> Result<String, Fault> {
    let mut rest = bytes;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    decoder.set_max_depth(depth::MAX_DEPTH + 1);
    let value = serde_json::Value::deserialize(&mut decoder).map_err(|error| {
        Fault::new(ErrorCode::BadFrame, format!("not a MessagePack object both encodings share: {error}"))
    })?;
    if !rest.is_empty() {
        let message = format!("{} bytes after the MessagePack object", rest.len());
        return Err(Fault::new(ErrorCode::BadFrame, message));
    }
    Ok(value.to_string())
}

/// MessagePack form of a JSON text we wrote or checked ourselves.
#[must_use]
pub fn msgpack_from_json(json: &[u8]) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    rmp_serde::to_vec_named(&value).unwrap_or_default()
}

/// The JSON text of a frame in either encoding.
///
/// # Errors
/// As [`json_from_msgpack`].
pub fn json_of(payload: Payload<'_>) -> Result<Cow<'_, str>, Fault> {
    match payload {
        Payload::Text(text) => Ok(Cow::Borrowed(text)),
        Payload::Binary(bytes) => json_from_msgpack(bytes).map(Cow::Owned),
    }
}

/// A data frame's payload.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload<'a> {
    /// A text frame.
    Text(&'a str),
    /// A binary frame.
    Binary(#[serde(serialize_with = "as_base64")] &'a [u8]),
}

fn as_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64Display::new(bytes, &STANDARD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_survives_both_ways() {
        let json = r#"{"op":"publish","id":9007199254740991,"data":{"x":[1.5,-3,null,true,"\u00e4"]},"channel":"c"}"#;
        let packed = msgpack_from_json(json.as_bytes());
        let back: serde_json::Value =
            serde_json::from_str(&json_from_msgpack(&packed).expect("decodes")).expect("json");
        assert_eq!(back, serde_json::from_str::<serde_json::Value>(json).expect("json"));
    }

    #[test]
    fn what_json_cannot_hold_is_refused_with_a_reason() {
        let binary = [0x81, 0xa1, b'd', 0xc4, 0x01, 0x00];
        let fault = json_from_msgpack(&binary).expect_err("binary");
        assert_eq!(fault.code, ErrorCode::BadFrame);
        assert!(json_from_msgpack(&[0x80, 0x80]).is_err(), "trailing bytes");
        assert!(json_from_msgpack(&[0xc1]).is_err(), "reserved marker");
        assert!(json_from_msgpack(&[]).is_err(), "nothing");
        assert!(json_from_msgpack(&[0x91; 60_000]).is_err(), "nested without end");
    }
}
