//! A frame for many receivers, encoded once: complete with its WebSocket header, in JSON at once and in MessagePack when
//! the first receiver wants it.

use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    protocol::{
        encoding::{Encoding, msgpack_from_json},
        frame::Frame,
    },
    websocket::frame,
};

/// See the module's text.
#[derive(Debug)]
pub struct SharedFrame {
    json: Box<[u8]>,
    payload_at: usize,
    msgpack: OnceLock<Box<[u8]>>,
}

impl SharedFrame {
    /// Encodes `frame`.
    #[must_use]
    pub fn new(frame: &Frame<'_>) -> Self {
        let mut payload = Vec::with_capacity(256);
        Encoding::Json.write(frame, &mut payload);
        Self::of_json(&payload)
    }

    fn of_json(payload: &[u8]) -> Self {
        let mut json = Vec::with_capacity(payload.len() + 10);
        frame::write_text(&mut json, payload);
        let payload_at = json.len() - payload.len();
        Self { json: json.into_boxed_slice(), payload_at, msgpack: OnceLock::new() }
    }

    /// The bytes for a socket of that encoding.
    #[must_use]
    pub fn bytes(&self, encoding: Encoding) -> &[u8] {
        match encoding {
            Encoding::Json => &self.json,
            Encoding::Msgpack => self.msgpack.get_or_init(|| {
                let mut bytes = Vec::new();
                frame::write_binary(&mut bytes, &msgpack_from_json(&self.json[self.payload_at..]));
                bytes.into_boxed_slice()
            }),
        }
    }

    /// The JSON object without its WebSocket header.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.json[self.payload_at..]
    }
}

/// As the text of its JSON object, to the byte.
impl Serialize for SharedFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(self.json()))
    }
}

impl<'de> Deserialize<'de> for SharedFrame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|json| Self::of_json(json.as_bytes()))
    }
}
