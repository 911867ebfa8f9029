//! What attackers are answered, in a word or two each: a close code, an HTTP status, the code of an error. Pure names and counts.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    client::Ending,
    message::{Op, Reply, op},
};

/// How often each came.
pub(crate) type Answers = BTreeMap<String, u64>;

/// What a message says, in a word or two; nothing when it is only a greeting.
pub(crate) fn to_message(message: &[u8]) -> Option<String> {
    let code = || {
        let error: Refused = serde_json::from_slice(message).unwrap_or_default();
        format!("error {}", error.code)
    };
    match op(message) {
        Op::Hello | Op::Ready => None,
        Op::HeartbeatAck => Some("heartbeat_ack".to_owned()),
        Op::Error => Some(code()),
        Op::Reply => {
            let reply: Reply = serde_json::from_slice(message).unwrap_or_default();
            Some(reply.error.map_or("ok".to_owned(), |error| format!("error {}", error.code)))
        }
        other => Some(format!("{other:?}").to_lowercase()),
    }
}

/// An `error` frame.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    code: String,
}

/// How a socket ended: a close code, a status, or cut.
pub(crate) fn to_end(ending: &Ending) -> String {
    if let Some(code) = ending.code {
        return format!("close {code}");
    }
    let status = ending.reason.strip_prefix("refused: HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.map_or("cut".to_owned(), |status| format!("HTTP {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_by_their_codes() {
        let ending = |code, reason: &str| to_end(&Ending { code, reason: reason.to_owned() });
        assert_eq!(ending(Some(4004), "rate_limited"), "close 4004");
        assert_eq!(ending(None, "refused: HTTP/1.1 429 Too Many Requests\r\nretry-after: 5"), "HTTP 429");
        assert_eq!(ending(None, "end of stream without a close frame"), "cut");
        let said = |text: &str| to_message(text.as_bytes());
        assert_eq!(said(r#"{"op":"reply","id":1,"error":{"code":"too_large"}}"#).unwrap(), "error too_large");
        assert_eq!(said(r#"{"op":"error","code":"bad_frame","message":"m"}"#).unwrap(), "error bad_frame");
        assert_eq!(
            (said(r#"{"op":"reply","id":1,"ok":{}}"#).unwrap(), said(r#"{"op":"ready"}"#)),
            ("ok".to_owned(), None)
        );
    }
}
