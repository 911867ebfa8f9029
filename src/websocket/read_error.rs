//! Why the bytes of a client were refused, and the close code it is told (RFC 6455 §7.4.1).
//!
//! Every case ends the connection: after one of these nothing in the stream can be trusted to be a frame. The texts go
//! into logs, hence they carry numbers and never payload.

use thiserror::Error;

use crate::protocol::close::Close;

/// A broken rule of RFC 6455 or RFC 7692, or a limit passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// §5.2: nothing was negotiated that gives this bit a meaning; compression gives one to RSV1 at a message's begin.
    #[error("reserved bits are set")]
    ReservedBits,
    /// §5.2: opcodes 3–7 and 11–15.
    #[error("opcode {0} is unknown")]
    UnknownOpcode(u8),
    /// §5.1: a client masks every frame.
    #[error("frame is not masked")]
    NotMasked,
    /// §5.5: control frames come in one piece.
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// §5.5: control frames carry at most 125 bytes.
    #[error("control frame is longer than 125 bytes")]
    LongControl,
    /// §5.4: a continuation with nothing to continue.
    #[error("continuation frame without a message")]
    UnexpectedContinuation,
    /// §5.4: text or binary where the rest of a message is due.
    #[error("new message begins inside a fragmented one")]
    InterruptedMessage,
    /// §5.2: the shortest form of the length must be used.
    #[error("length is not in its shortest form")]
    LengthNotMinimal,
    /// §5.2: the highest bit of a 64-bit length must be 0.
    #[error("length has its highest bit set")]
    LengthOutOfRange,
    /// §5.5.1: a close payload is empty or begins with two bytes of code.
    #[error("close frame has half a code")]
    HalfCloseCode,
    /// §7.4: a code that must not be sent, or that nobody has defined.
    #[error("close code {0} is not allowed")]
    BadCloseCode(u16),
    /// §5.5.1: the reason of a close is UTF-8.
    #[error("close reason is not utf-8")]
    BadCloseReason,
    /// §8.1: the sum of a text message's fragments is UTF-8.
    #[error("text is not utf-8")]
    BadText,
    /// A frame, or the sum of a message's fragments, is over the limit. Known from the header, before any payload.
    #[error("message of {length} bytes or more is over the limit of {limit}")]
    TooBig {
        /// Bytes of the message so far, with the frame just announced.
        length: u64,
        /// What was allowed.
        limit: usize,
    },
    /// RFC 7692 §7.2.2: not what a compressor makes.
    #[error("compressed message cannot be decompressed")]
    BadCompression,
    /// A compressed message that would be over the limit. Not more of it than that was ever made.
    #[error("compressed message is over the limit of {limit} once decompressed")]
    InflatesTooBig {
        /// What was allowed, in bytes.
        limit: usize,
    },
}

impl ReadError {
    /// What the socket is closed with.
    #[must_use]
    pub fn close(&self) -> Close {
        match self {
            Self::BadText | Self::BadCloseReason | Self::BadCompression => Close::INVALID_PAYLOAD,
            Self::TooBig { .. } | Self::InflatesTooBig { .. } => Close::MESSAGE_TOO_BIG,
            Self::ReservedBits
            | Self::UnknownOpcode(_)
            | Self::NotMasked
            | Self::FragmentedControl
            | Self::LongControl
            | Self::UnexpectedContinuation
            | Self::InterruptedMessage
            | Self::LengthNotMinimal
            | Self::LengthOutOfRange
            | Self::HalfCloseCode
            | Self::BadCloseCode(_) => Close::PROTOCOL_ERROR,
        }
    }
}
