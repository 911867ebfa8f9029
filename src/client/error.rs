//! Why a request failed or a connection ended, as a program matches on it. Nothing here knows sockets or frames.

use std::{sync::Arc, time::Duration};

use crate::protocol::error::{ErrorCode, Fault, Retry};

/// Why a request failed, or why the connection has ended. Cheap to clone: everybody who waits is told the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server's answer: code, message, advice.
    #[error("{}", .0.message)]
    Refused(Fault),
    /// The socket was lost before the answer, and the request is not safe to repeat: whether it was served is not known.
    #[error("the socket was lost before an answer came")]
    ConnectionLost,
    /// No answer in the time that [`timeout`](crate::client::Connect::timeout) allows.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Bounded on purpose: whoever publishes into a dead network is told, instead of filling the memory.
    #[error("{0} requests are waiting already")]
    Overloaded(usize),
    /// A frame above the server's limit would cost the whole socket, so it costs this request.
    #[error("the frame has {bytes} bytes, the server takes {limit}")]
    TooLarge {
        /// Of the frame.
        bytes: usize,
        /// `max_frame_bytes` of the server.
        limit: usize,
    },
    /// One subscription for each channel.
    #[error("already subscribed to {0}")]
    AlreadySubscribed(String),
    /// The server ended it for good: 1000, or a close code that says not to retry as we are.
    #[error("the server closed the connection: {reason} ({code})")]
    Closed {
        /// The close code.
        code: u16,
        /// Its name.
        reason: String,
    },
    /// This side closed the connection, or unsubscribed from the channel.
    #[error("closed from this side")]
    Ended,
    /// What answers at the address is no gateway: the HTTP status and what it says.
    #[error("the handshake was refused with {status}: {message}")]
    Handshake {
        /// HTTP status.
        status: u16,
        /// The answer's body.
        message: String,
    },
    /// Not live within the time that [`open`](crate::client::Connect::open) has; the last trouble.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// An address that cannot be connected to.
    #[error("not an address of a gateway: {0}")]
    Address(String),
    /// A certificate that cannot be read, or one of the server that is not trusted.
    #[error("tls: {0}")]
    Tls(String),
    /// What was to be sent is not JSON, or what came is not what was asked for.
    #[error("data: {0}")]
    Data(Arc<serde_json::Error>),
}

impl ClientError {
    /// What the server said, if it was the server.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Refused(fault) => Some(fault),
            _ => None,
        }
    }

    /// The server's error code, if it was the server.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.fault().map(|fault| fault.code)
    }

    /// When the same request may be sent again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused(fault) => fault.retry,
            Self::ConnectionLost | Self::Timeout(_) | Self::Overloaded(_) | Self::Unreachable(_) => Retry::Later,
            _ => Retry::Never,
        }
    }
}

impl From<serde_json::Error> for ClientError {
    fn from(error: serde_json::Error) -> Self {
        Self::Data(Arc::new(error))
    }
}
