//! A frame for many receivers, encoded once: complete with its WebSocket header, in JSON at once and in MessagePack when
//! the first receiver wants it.

use std::sync::OnceLock;

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
        let mut json = Vec::with_capacity(payload.len() + 10);
        frame::write_text(&mut json, &payload);
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
