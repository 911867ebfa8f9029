//! What a client sent, borrowed from where its bytes lie: the shard's read buffer or the kept partial message.
//!
//! Made by the reader, matched on by the shard. Holds no bytes of its own. The payload of a close is checked here.

use super::head::Opcode;
use super::read_error::ReadError;
use crate::protocol::close::Close;

/// One message of a client. Text is known to be UTF-8, and a close to be well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole text message, its fragments joined.
    Text(&'a str),
    /// A whole binary message, its fragments joined.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// Needs no answer, solicited or not.
    Pong(&'a [u8]),
    /// The last thing to be read: RFC 6455 §5.5.1 lets nothing follow it. `None`: the client gave no code.
    Close(Option<CloseFrame<'a>>),
}

/// The payload of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why.
    pub code: u16,
    /// The same for people; at most 123 bytes go on the wire.
    pub reason: &'a str,
}

impl From<Close> for CloseFrame<'static> {
    fn from(close: Close) -> Self {
        Self { code: close.code, reason: close.name }
    }
}

impl<'a> Incoming<'a> {
    /// The message of an unmasked frame that came in one piece.
    #[inline]
    pub(super) fn new(opcode: Opcode, payload: &'a [u8]) -> Result<Self, ReadError> {
        match opcode {
            Opcode::Text => match simdutf8::basic::from_utf8(payload) {
                Ok(text) => Ok(Self::Text(text)),
                Err(_) => Err(ReadError::BadText),
            },
            Opcode::Binary | Opcode::Continuation => Ok(Self::Binary(payload)),
            Opcode::Ping => Ok(Self::Ping(payload)),
            Opcode::Pong => Ok(Self::Pong(payload)),
            Opcode::Close => CloseFrame::decode(payload).map(Self::Close),
        }
    }
}

impl<'a> CloseFrame<'a> {
    fn decode(payload: &'a [u8]) -> Result<Option<Self>, ReadError> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(None) } else { Err(ReadError::HalfCloseCode) };
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(ReadError::BadCloseCode(code));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| ReadError::BadCloseReason)?;
        Ok(Some(Self { code, reason }))
    }
}

/// RFC 6455 §7.4 with the codes IANA has registered since (1012–1014). 1004 is reserved; 1005, 1006 and 1015 are for
/// programs to tell themselves; 1016–2999 are defined by nobody.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
