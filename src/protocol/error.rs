//! The error codes of the wire protocol and the HTTP API, each with its advice on retrying (CONTRACT §1).
//!
//! A [`Fault`] is what a client is told; it is built where the request failed and carried unchanged to the frame or body.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What went wrong, as clients match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The frame or body could not be decoded.
    BadFrame,
    /// A field is missing, of the wrong type or out of range.
    BadRequest,
    /// No such op.
    UnknownOp,
    /// `identify` must come first.
    NotIdentified,
    /// The token or key is wrong.
    AuthFailed,
    /// Known, and not allowed.
    Forbidden,
    /// No such channel, connection or path.
    NotFound,
    /// Larger or more than a limit allows.
    TooLarge,
    /// Too often; `retry_after_ms` says when again.
    RateLimited,
    /// The node sheds load.
    Overloaded,
    /// The actor crashed while it served this request.
    Crashed,
    /// This node cannot serve it at present.
    Unavailable,
    /// The deadline passed.
    Timeout,
    /// A defect of the server.
    Internal,
}

/// When the same request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// At once.
    Now,
    /// After a pause.
    Later,
    /// Not as it is.
    Never,
}

/// A failed request as its sender is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what and where.
    pub message: Cow<'static, str>,
    /// Advice.
    pub retry: Retry,
    /// With `rate_limited`: milliseconds until it may succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Fault {
    /// A fault with the code's usual advice.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry: code.retry(), retry_after_ms: None }
    }

    /// The same fault with other advice.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The same fault with a time after which it may succeed.
    #[must_use]
    pub fn after_ms(mut self, after_ms: u64) -> Self {
        self.retry_after_ms = Some(after_ms);
        self
    }
}

impl ErrorCode {
    /// The usual advice for this code.
    #[must_use]
    pub fn retry(self) -> Retry {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::Crashed
            | Self::Unavailable
            | Self::Timeout
            | Self::Internal => Retry::Later,
            Self::NotIdentified => Retry::Now,
            Self::BadFrame
            | Self::BadRequest
            | Self::UnknownOp
            | Self::AuthFailed
            | Self::Forbidden
            | Self::NotFound
            | Self::TooLarge => Retry::Never,
        }
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadFrame | Self::BadRequest | Self::UnknownOp => 400,
            Self::NotIdentified | Self::AuthFailed => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Crashed | Self::Internal => 500,
            Self::Overloaded | Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }
}
