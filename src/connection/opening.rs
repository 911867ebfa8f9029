//! What a socket brings to its record: from its handshake, or with a session that it goes on with. Made by the handshake and by
//! `identify`; how they look in logs is in `shown.rs`.

use serde::{Deserialize, Serialize};

use crate::{
    connection::secret,
    id::SessionSecret,
    protocol::{
        encoding::Encoding,
        request::{Cursor, Status},
    },
    token::Claims,
};

/// What the handshake learned.
#[derive(Clone, Serialize, Deserialize)]
pub struct Opening {
    /// The encoding agreed on; `None`: only unknown sub-protocols were offered.
    pub encoding: Option<Encoding>,
    /// `?token=` or `Authorization: Bearer`.
    pub token: Option<String>,
    /// `?subscribe=`.
    pub subscribe: Vec<String>,
}

/// What a client that resumes brings to the record it resumes, and when it asked: tickets may overtake each other.
#[derive(Serialize, Deserialize)]
pub struct Ticket {
    #[serde(with = "secret")]
    pub(crate) secret: SessionSecret,
    pub(crate) asked_at: u64,
    pub(crate) claims: Claims,
    pub(crate) encoding: Encoding,
    pub(crate) status: Option<Status>,
    pub(crate) cursors: Vec<(String, Cursor)>,
    pub(crate) subscribe: Vec<String>,
}
