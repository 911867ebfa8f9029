//! Every close code in one table (CONTRACT §1, "Close codes"). No other file writes a number that closes a socket.
//!
//! 4000–4499 tell a client to come back and resume; 4500–4999 tell it not to retry as it is.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Why a socket is closed. The number goes on the wire, the name is the reason text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Close {
    /// The WebSocket close code.
    pub code: u16,
    /// The reason text sent with it.
    pub name: &'static str,
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $constant:ident = $code:literal $name:literal;)*) => {
        impl Close {
            $($(#[$doc])* pub const $constant: Self = Self { code: $code, name: $name };)*

            /// The whole table, in order of code.
            pub const ALL: &'static [Self] = &[$(Self::$constant),*];
        }
    };
}

close_codes! {
    /// The client said goodbye, or is answered in kind.
    BYE = 1000 "bye";
    /// The server leaves and this client has no session to come back to.
    GOING_AWAY = 1001 "going_away";
    /// RFC 6455 §7.4.1: the peer broke the framing rules.
    PROTOCOL_ERROR = 1002 "protocol_error";
    /// RFC 6455 §7.4.1: a kind of data that cannot be accepted.
    UNSUPPORTED_DATA = 1003 "unsupported_data";
    /// RFC 6455 §7.4.1: text that is not UTF-8.
    INVALID_PAYLOAD = 1007 "invalid_payload";
    /// RFC 6455 §7.4.1: larger than `limits.max_frame_bytes`.
    MESSAGE_TOO_BIG = 1009 "message_too_big";
    /// Registered with IANA as "try again later": the application's backend cannot say who the client is.
    TRY_AGAIN_LATER = 1013 "try_again_later";
    /// The connection's restart budget is spent.
    GAVE_UP = 4000 "gave_up";
    /// Silence for twice the heartbeat interval.
    HEARTBEAT_TIMEOUT = 4001 "heartbeat_timeout";
    /// Cannot keep up, and what it missed is kept nowhere.
    SLOW_CONSUMER = 4002 "slow_consumer";
    /// The node is being drained.
    DRAINING = 4003 "draining";
    /// Went on publishing far beyond its limit.
    RATE_LIMITED = 4004 "rate_limited";
    /// No `identify` within `session.identify_within`.
    NOT_IDENTIFIED = 4500 "not_identified";
    /// The token was refused.
    AUTH_FAILED = 4501 "auth_failed";
    /// The token's time is over.
    TOKEN_EXPIRED = 4502 "token_expired";
    /// An operator or the backend ended it.
    KICKED = 4503 "kicked";
    /// The session was resumed on another socket.
    SESSION_TAKEN_OVER = 4504 "session_taken_over";
    /// More than `limits.bad_frames` undecodable frames in a minute.
    PROTOCOL_VIOLATION = 4505 "protocol_violation";
    /// Only unknown sub-protocols were offered.
    BAD_ENCODING = 4506 "bad_encoding";
}

impl Close {
    /// The entry of a number an operator chose, if the table has it.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|close| close.code == code)
    }

    /// Whether it tells a client not to come back as it is: 4500–4999, and the goodbye.
    #[must_use]
    pub fn is_final(code: u16) -> bool {
        code == Self::BYE.code || (4500..=4999).contains(&code)
    }
}

/// As its number.
impl Serialize for Close {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.code)
    }
}

impl<'de> Deserialize<'de> for Close {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = u16::deserialize(deserializer)?;
        Self::from_code(code).ok_or_else(|| D::Error::custom(format!("{code} is no close code of this server")))
    }
}

#[cfg(test)]
mod tests {
    use super::Close;

    #[test]
    fn codes_are_unique_and_rising() {
        assert!(Close::ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn a_code_is_found_by_its_number() {
        assert_eq!(Close::from_code(4503), Some(Close::KICKED));
        assert_eq!(Close::from_code(4999), None);
    }

    #[test]
    fn clients_come_back_from_everything_that_may_pass() {
        let last: Vec<u16> = Close::ALL.iter().map(|close| close.code).filter(|code| Close::is_final(*code)).collect();
        assert_eq!(last, [1000, 4500, 4501, 4502, 4503, 4504, 4505, 4506]);
    }
}
