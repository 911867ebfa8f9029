//! Identities that cross a boundary of the server: connections, sessions, epochs, the node. Each is opaque text to clients.
//!
//! A connection's id says where it lives (shard, slot, tag), so that a resume token or an operator's command finds its
//! record without any directory: an identity costs an idle connection no memory beyond the record itself.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};

/// Which shard, which slot of its table, and the slot's tag: a freed slot gets a new tag, so an old id finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// Slots a shard can hold (28 bits of index).
    pub const MAX_SLOTS: usize = 1 << 28;
    /// Shards a node can have (12 bits).
    pub const MAX_SHARDS: usize = 1 << 12;

    /// Packs the three parts; bits beyond their width are cut off.
    #[must_use]
    pub fn new(shard: u16, index: u32, tag: u32) -> Self {
        let shard = u64::from(shard) & 0xfff;
        Self(shard << 52 | (u64::from(index) & 0x0fff_ffff) << 24 | (u64::from(tag) & 0x00ff_ffff))
    }

    /// The shard that owns the record.
    #[must_use]
    pub fn shard(self) -> u16 {
        (self.0 >> 52) as u16
    }

    /// The slot in that shard's table.
    #[must_use]
    pub fn index(self) -> u32 {
        (self.0 >> 24) as u32 & 0x0fff_ffff
    }

    /// The tag the slot had when the id was given out.
    #[must_use]
    pub fn tag(self) -> u32 {
        self.0 as u32 & 0x00ff_ffff
    }

    /// All parts in one number, for atomics and keys.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The inverse of [`ConnectionId::to_bits`].
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:x}", self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ConnectionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConnectionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The text is not an id this server could have given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this server")]
pub struct ParseIdError;

impl FromStr for ConnectionId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('c').ok_or(ParseIdError)?;
        if digits.is_empty() || digits.len() > 16 || digits.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ParseIdError);
        }
        u64::from_str_radix(digits, 16).map(Self).map_err(|_| ParseIdError)
    }
}

/// The secret half of a resume token.
pub type SessionSecret = [u8; 16];

/// A resume token: where the session's record is, and the secret that proves the holder received it from us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionToken {
    /// The connection whose record holds the session.
    pub connection: ConnectionId,
    /// Compared in constant time with the record's.
    pub secret: SessionSecret,
}

impl SessionToken {
    /// What logs call the session: it tells nothing of the token, and whoever has the token can work it out.
    #[must_use]
    pub fn mark(&self) -> String {
        let hash = Sha256::digest(self.to_string());
        hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.connection.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.secret);
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionToken({}, ..)", self.connection)
    }
}

impl FromStr for SessionToken {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseIdError)?;
        let (connection, secret) = bytes.split_first_chunk::<8>().ok_or(ParseIdError)?;
        let secret = SessionSecret::try_from(secret).map_err(|_| ParseIdError)?;
        Ok(Self { connection: ConnectionId(u64::from_be_bytes(*connection)), secret })
    }
}

/// One life of a channel's numbering: offsets of different epochs do not compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// A fresh epoch from random bits.
    #[must_use]
    pub fn new(random: u64) -> Self {
        Self(random)
    }

    /// As a number, to be kept; the inverse of [`Epoch::new`].
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl FromStr for Epoch {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 16 {
            return Err(ParseIdError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| ParseIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_id_keeps_its_parts_through_text() {
        for (shard, index, tag) in [(0, 0, 0), (1, 17, 3), (4095, (1 << 28) - 1, (1 << 24) - 1)] {
            let id = ConnectionId::new(shard, index, tag);
            assert_eq!((id.shard(), id.index(), id.tag()), (shard, index, tag));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn a_session_token_survives_text_and_hides_its_secret_in_debug() {
        let token = SessionToken { connection: ConnectionId::new(1, 2, 3), secret: [0xab; 16] };
        assert_eq!(token.to_string().parse(), Ok(token));
        assert!(!format!("{token:?}").contains("ab"));
    }

    #[test]
    fn rubbish_is_no_id() {
        for text in ["", "c", "x12", "c12345678901234567", "cZ", "c+1"] {
            assert!(text.parse::<ConnectionId>().is_err(), "{text}");
            assert!(text.parse::<SessionToken>().is_err(), "{text}");
            assert!(text.parse::<Epoch>().is_err(), "{text}");
        }
    }
}
