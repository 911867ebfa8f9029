//! What a backend is asked and what it may answer. One JSON object each way; everything that a hook knows is told, and an
//! answer that is not one of the two there are is none.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::token::{Claims, Lists};

/// When the backend is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// A client identifies.
    Connect,
    /// A client subscribes or joins.
    Subscribe,
    /// A client publishes.
    Publish,
    /// A client asks the backend itself.
    Rpc,
    /// A client is gone.
    Disconnect,
}

impl Hook {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Connect, Self::Subscribe, Self::Publish, Self::Rpc, Self::Disconnect];

    /// As the configuration and the backend call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Rpc => "rpc",
            Self::Disconnect => "disconnect",
        }
    }

    /// Asking twice is asking once: it may be asked again after a call that the backend has perhaps heard. What an `rpc` does
    /// there nobody knows, and a backend may keep what is published.
    #[must_use]
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Connect | Self::Subscribe | Self::Disconnect)
    }
}

/// One call, as the backend gets it.
#[derive(Debug, Serialize)]
pub struct Call {
    /// Of this call, the same when it is repeated.
    pub id: String,
    /// The connection, as operators know it.
    pub connection: String,
    /// What is asked.
    #[serde(flatten)]
    pub question: Question,
}

/// What is asked.
#[derive(Serialize)]
#[serde(tag = "hook", rename_all = "snake_case")]
pub enum Question {
    /// May this client in, and who is it?
    Connect {
        /// Whom a token stands for, where the server knows by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// What the client sent, where the backend is to know: with `auth.mode = "hook"`.
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    /// May he enter?
    Subscribe {
        /// Who.
        user: String,
        /// Where.
        channel: String,
        /// `subscribe` or `join`.
        action: &'static str,
    },
    /// May he say this?
    Publish {
        /// Who.
        user: String,
        /// Where.
        channel: String,
        /// What, to the byte.
        data: Box<RawValue>,
        /// The client's key, if it gave one.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// The application's own.
    Rpc {
        /// Who.
        user: String,
        /// What to do.
        method: String,
        /// With what.
        data: Option<Box<RawValue>>,
    },
    /// He is gone.
    Disconnect {
        /// Who.
        user: String,
        /// The close code; 1006 for a lost socket.
        code: u16,
        /// The session may still be resumed.
        parked: bool,
    },
}

/// Tokens and what people write stay out of logs and panics.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Question").field(&self.hook()).finish()
    }
}

impl Question {
    /// Which hook it is for.
    #[must_use]
    pub fn hook(&self) -> Hook {
        match self {
            Self::Connect { .. } => Hook::Connect,
            Self::Subscribe { .. } => Hook::Subscribe,
            Self::Publish { .. } => Hook::Publish,
            Self::Rpc { .. } => Hook::Rpc,
            Self::Disconnect { .. } => Hook::Disconnect,
        }
    }

    /// What an answer to it is remembered by, for a fallback.
    pub(super) fn topic(&self) -> Option<String> {
        match self {
            Self::Connect { user, token } => Some(format!("c {user:?} {token:?}")),
            Self::Subscribe { user, channel, action } => Some(format!("s {action} {channel} {user}")),
            _ => None,
        }
    }
}

/// What came of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes.
    Allowed {
        /// To a `connect` that names a user: who it is and what he may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claims: Option<Claims>,
        /// To a `publish`: what is to be published instead; to an `rpc`: its result.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Box<RawValue>>,
    },
    /// No, and why, for the client.
    Denied(String),
    /// Nobody knows; for the client.
    Unknown(String),
}

impl Answer {
    /// A yes without more.
    pub(super) const fn yes() -> Self {
        Self::Allowed { claims: None, data: None }
    }
}

/// A backend's answer as it travels.
#[derive(Deserialize)]
struct Wire<'a> {
    allow: Option<bool>,
    deny: Option<String>,
    user: Option<String>,
    expires: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(flatten)]
    lists: Lists,
}

/// Reads an answer.
///
/// # Errors
/// It is none: a sentence for the operator.
pub(super) fn read(hook: Hook, body: &[u8]) -> Result<Answer, String> {
    if hook == Hook::Disconnect {
        return Ok(Answer::yes());
    }
    let text = std::str::from_utf8(body).map_err(|_| "the answer is not UTF-8".to_owned())?;
    let wire: Wire<'_> =
        serde_json::from_str(text).map_err(|error| format!("the answer is not what was asked for: {error}"))?;
    match (wire.allow, wire.deny) {
        (Some(false) | None, Some(why)) => Ok(Answer::Denied(why)),
        (Some(false), None) => Ok(Answer::Denied("the application refused".to_owned())),
        (Some(true), None) => {
            let claims = wire.user.map(|user| Claims { user, expires: wire.expires, grants: wire.lists.grants() });
            if claims.is_some() && hook != Hook::Connect {
                return Err("only the answer to `connect` names a user".to_owned());
            }
            Ok(Answer::Allowed { claims, data: wire.data.map(ToOwned::to_owned) })
        }
        _ => Err("the answer says neither `\"allow\": true` nor `\"deny\": \"why\"`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_tells_which_hook_it_is_for() {
        let question = Question::Subscribe { user: "ann".to_owned(), channel: "chat:x".to_owned(), action: "join" };
        let call = Call { id: "7".to_owned(), connection: "0-1".to_owned(), question };
        assert_eq!(
            serde_json::to_string(&call).expect("an object"),
            r#"{"id":"7","connection":"0-1","hook":"subscribe","user":"ann","channel":"chat:x","action":"join"}"#
        );
    }

    #[test]
    fn a_yes_a_no_and_everything_else() {
        let read = |body: &str| read(Hook::Connect, body.as_bytes());
        assert!(matches!(read(r#"{"allow":true}"#), Ok(Answer::Allowed { claims: None, data: None })));
        let Ok(Answer::Allowed { claims: Some(claims), .. }) =
            read(r#"{"allow":true,"user":"ann","expires":5,"subscribe":["chat:*"],"more":1}"#)
        else {
            panic!("a yes with claims")
        };
        assert_eq!(
            (claims.user.as_str(), claims.expires, claims.grants.map(|grants| grants.len())),
            ("ann", Some(5), Some(1))
        );
        assert!(matches!(read(r#"{"deny":"why"}"#), Ok(Answer::Denied(why)) if why == "why"));
        assert!(matches!(read(r#"{"allow":false}"#), Ok(Answer::Denied(_))));
        for lie in
            ["", "{}", "[]", "true", "{\"allow\":1}", "{\"allow\":true,\"deny\":\"x\"}", "{\"allow\":null}", "\u{0}"]
        {
            assert!(read(lie).is_err(), "{lie:?}");
        }
        assert!(super::read(Hook::Subscribe, br#"{"allow":true,"user":"eve"}"#).is_err());
        assert!(super::read(Hook::Publish, b"\xff").is_err());
    }

    #[test]
    fn an_answer_keeps_its_data_to_the_byte() {
        let Ok(Answer::Allowed { data: Some(data), .. }) = read(Hook::Rpc, br#"{"allow":true,"data":{"a" : 1.50}}"#)
        else {
            panic!("a yes with data")
        };
        assert_eq!(data.get(), r#"{"a" : 1.50}"#);
    }
}
