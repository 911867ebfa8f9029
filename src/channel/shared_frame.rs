//! A frame for many receivers, encoded once: complete with its WebSocket header, in JSON at once, and in each other form
//! when the first receiver wants it.

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
    others: OnceLock<Box<Others>>,
}

/// The forms that not everybody wants.
#[derive(Debug, Default)]
struct Others {
    msgpack: OnceLock<Box<[u8]>>,
    /// `None`: no smaller than without compression.
    compressed_json: OnceLock<Option<Box<[u8]>>>,
    compressed_msgpack: OnceLock<Option<Box<[u8]>>>,
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
        Self { json: made(frame::write_text, payload), others: OnceLock::new() }
    }

    /// The bytes for a socket of that encoding; `compressed`: for one that has agreed to it.
    #[must_use]
    pub fn bytes(&self, encoding: Encoding, compressed: bool) -> &[u8] {
        let plain = match encoding {
            Encoding::Json => &self.json,
            Encoding::Msgpack => {
                let msgpack = || made(frame::write_binary, &msgpack_from_json(self.json()));
                self.others().msgpack.get_or_init(msgpack)
            }
        };
        if !compressed {
            return plain;
        }
        let payload = frame::payload(plain);
        if !frame::is_worth_compressing(payload) {
            return plain;
        }
        let smaller = |write| Some(made(write, payload)).filter(|bytes| bytes.len() < plain.len());
        let others = self.others();
        let packed = match encoding {
            Encoding::Json => others.compressed_json.get_or_init(|| smaller(frame::write_compressed_text)),
            Encoding::Msgpack => others.compressed_msgpack.get_or_init(|| smaller(frame::write_compressed_binary)),
        };
        packed.as_deref().unwrap_or(plain)
    }

    /// The JSON object without its WebSocket header.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        frame::payload(&self.json)
    }

    fn others(&self) -> &Others {
        self.others.get_or_init(Box::default)
    }
}

/// A frame in as many bytes as it has.
fn made(write: fn(&mut Vec<u8>, &[u8]), payload: &[u8]) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(payload.len() + 10);
    write(&mut bytes, payload);
    bytes.into_boxed_slice()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> SharedFrame {
        SharedFrame::of_json(format!(r#"{{"op":"event","data":"{text}"}}"#).as_bytes())
    }

    #[test]
    fn what_compresses_is_compressed_once_for_all_and_the_rest_stays_as_it_is() {
        let long = event(&"said again and again, ".repeat(40));
        for encoding in Encoding::ALL {
            let (plain, packed) = (long.bytes(encoding, false), long.bytes(encoding, true));
            assert!(packed.len() < plain.len() / 3, "{encoding:?}: {} of {} bytes", packed.len(), plain.len());
            assert_eq!((plain[0] & 0x40, packed[0] & 0x40), (0, 0x40));
            assert!(std::ptr::eq(packed, long.bytes(encoding, true)), "the second has the same bytes");
        }
        let short = event("hello");
        let random: String =
            (0..900_u32).map(|i| char::from(33 + (i.wrapping_mul(2_654_435_761) >> 25) as u8 % 58)).collect();
        let noise = event(&random.replace('\\', "/"));
        assert!(std::ptr::eq(short.bytes(Encoding::Json, true), short.bytes(Encoding::Json, false)));
        assert!(short.others.get().is_none(), "nothing is kept for a short one");
        assert!(noise.bytes(Encoding::Json, true).len() <= noise.bytes(Encoding::Json, false).len());
    }
}
