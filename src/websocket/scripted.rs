//! Test support: the frames of a client, right and wrong ones, and what a reader makes of them.
//!
//! Shared by the conformance table and the properties; never part of the server.

use super::{Incoming, ReadError, Reader, Terms};

pub(super) const FIN: u8 = 0x80;
pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;

/// Nothing is compressed.
impl From<usize> for Terms {
    fn from(max_message: usize) -> Self {
        Self { max_message, compressed: false }
    }
}

/// An [`Incoming`] that outlives its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Incoming<'_>> for Got {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.to_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.to_owned()),
            Incoming::Ping(bytes) => Self::Ping(bytes.to_owned()),
            Incoming::Pong(bytes) => Self::Pong(bytes.to_owned()),
            Incoming::Close(close) => Self::Close(close.map(|close| (close.code, close.reason.to_owned()))),
        }
    }
}

/// A masked frame; `first` is the first byte as it goes on the wire, so that it can be wrong.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_masked(first, payload, [0x37, 0xfa, 0x21, 0x3d])
}

pub(super) fn frame_masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// What came of a stream: its messages, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) messages: Vec<Got>,
    pub(super) error: Option<ReadError>,
    /// Nothing unfinished was kept at the end.
    pub(super) idle: bool,
    /// Bytes that had been handed in when the error came.
    pub(super) seen: usize,
}

/// Reads `pieces` one after the other, as the shard would: until a close or an error.
pub(super) fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, terms: impl Into<Terms>) -> Reading {
    let terms = terms.into();
    let mut reader = Reader::default();
    let mut reading = Reading { messages: Vec::new(), error: None, idle: true, seen: 0 };
    'stream: for piece in pieces {
        let mut input = piece.to_vec();
        let mut consumed = 0;
        reading.seen += input.len();
        loop {
            match reader.next(&mut input, &mut consumed, terms) {
                Ok(None) => break,
                Ok(Some(incoming)) => {
                    let got = Got::from(incoming);
                    let over = matches!(got, Got::Close(_));
                    reading.messages.push(got);
                    if over {
                        break 'stream;
                    }
                }
                Err(error) => {
                    reading.error = Some(error);
                    break 'stream;
                }
            }
        }
        assert_eq!(consumed, input.len(), "`None` means that the input is used up");
    }
    reading.idle = reader.is_idle();
    reader.release();
    assert_eq!(reading.idle, reader.memory() == 0, "an idle reader owns nothing");
    reading
}
