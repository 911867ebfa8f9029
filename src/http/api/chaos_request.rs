//! What a request to `/v1/chaos` may say (CONTRACT §2), and what of it makes sense together. Pure: `chaos.rs` carries it out.

use std::time::Duration;

use serde::Deserialize;

use crate::{
    http::error::ApiError,
    shard::{Action, Fault},
};

/// A stall nobody gave a length.
const DEFAULT_STALL_MS: u64 = 1000;
/// The longest stall; more is cut to it.
const MAX_STALL_MS: u64 = 60_000;

/// The body.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with `fault` and `target`")]
pub(super) struct Request {
    fault: Kind,
    target: Target,
    #[serde(rename = "where")]
    place: Option<Place>,
    ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Panic,
    Stall,
    Drop,
    PanicShard,
    PanicActor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    Turn,
    Job,
    Wake,
}

/// Exactly one of these.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with one of `connection`, `user`, `count`, `fraction` and `actor`")]
struct Target {
    connection: Option<String>,
    user: Option<String>,
    count: Option<u64>,
    fraction: Option<f64>,
    actor: Option<String>,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Order {
    /// Something to connections.
    Connections(Aim, Action),
    /// A panic in so many shards.
    Shards(usize),
    /// A panic in the actor of that name.
    Actor(String),
}

/// Which connections.
#[derive(Debug)]
pub(super) enum Aim {
    Connection(String),
    User(String),
    Count(usize),
    /// Above 0, at most 1.
    Fraction(f64),
}

impl Request {
    /// # Errors
    /// Says which target or place would be right.
    pub(super) fn order(self) -> Result<Order, ApiError> {
        let stall = Duration::from_millis(self.ms.unwrap_or(DEFAULT_STALL_MS).min(MAX_STALL_MS));
        let action = match (self.fault, self.place.unwrap_or(Place::Turn)) {
            (Kind::PanicShard, _) => return self.target.shards(),
            (Kind::PanicActor, _) => return self.target.actor(),
            (Kind::Drop, _) => Action::Cut,
            (Kind::Panic, Place::Turn) => Action::Fault(Fault::Panic),
            (Kind::Panic, Place::Job) => Action::Fault(Fault::PanicInJob),
            (Kind::Panic, Place::Wake) => Action::Fault(Fault::PanicInWake),
            (Kind::Stall, Place::Turn) => Action::Fault(Fault::Stall(stall)),
            (Kind::Stall, Place::Job) => Action::Fault(Fault::StallInJob(stall)),
            (Kind::Stall, Place::Wake) => {
                return Err(ApiError::bad_request("a stall is possible where `turn` or `job`, not where `wake`"));
            }
        };
        self.target.connections().map(|aim| Order::Connections(aim, action))
    }
}

impl Target {
    fn connections(self) -> Result<Aim, ApiError> {
        match self {
            Self { connection: Some(id), user: None, count: None, fraction: None, actor: None } => {
                Ok(Aim::Connection(id))
            }
            Self { user: Some(user), connection: None, count: None, fraction: None, actor: None } => {
                Ok(Aim::User(user))
            }
            Self { count: Some(n), connection: None, user: None, fraction: None, actor: None } => {
                count(n).map(Aim::Count)
            }
            Self { fraction: Some(part), connection: None, user: None, count: None, actor: None } => {
                if part > 0.0 && part <= 1.0 {
                    return Ok(Aim::Fraction(part));
                }
                Err(ApiError::bad_request(format!("`fraction` {part} is not above 0 and up to 1")))
            }
            _ => Err(ApiError::bad_request(
                "`target` is one of {\"connection\":ID}, {\"user\":NAME}, {\"count\":N} and {\"fraction\":F} for this fault",
            )),
        }
    }

    fn shards(self) -> Result<Order, ApiError> {
        match self {
            Self { count: Some(n), connection: None, user: None, fraction: None, actor: None } => {
                count(n).map(Order::Shards)
            }
            Self { actor: Some(name), connection: None, user: None, count: None, fraction: None }
                if name.starts_with("shard-") =>
            {
                Ok(Order::Actor(name))
            }
            _ => Err(ApiError::bad_request("`target` is {\"count\":N} or {\"actor\":\"shard-0\"} for this fault")),
        }
    }

    fn actor(self) -> Result<Order, ApiError> {
        match self {
            Self { actor: Some(name), connection: None, user: None, count: None, fraction: None } => {
                Ok(Order::Actor(name))
            }
            _ => Err(ApiError::bad_request(
                "`target` is {\"actor\":NAME} for this fault, with a name from `actors` of /v1/node",
            )),
        }
    }
}

fn count(count: u64) -> Result<usize, ApiError> {
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(ApiError::bad_request("`count` is at least 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(body: &str) -> Result<String, String> {
        let request: Request = serde_json::from_str(body).map_err(|error| error.to_string())?;
        request.order().map(|order| format!("{order:?}")).map_err(|error| error.into_fault().message.into_owned())
    }

    #[test]
    fn every_fault_finds_its_action() {
        let cases = [
            (r#"{"fault":"panic","target":{"count":3}}"#, "Connections(Count(3), Fault(Panic))"),
            (r#"{"fault":"panic","where":"job","target":{"user":"u"}}"#, "Connections(User(\"u\"), Fault(PanicInJob))"),
            (
                r#"{"fault":"panic","where":"wake","target":{"fraction":1}}"#,
                "Connections(Fraction(1.0), Fault(PanicInWake))",
            ),
            (r#"{"fault":"stall","target":{"connection":"c1"}}"#, "Connections(Connection(\"c1\"), Fault(Stall(1s)))"),
            (
                r#"{"fault":"stall","where":"job","ms":99999,"target":{"count":1}}"#,
                "Connections(Count(1), Fault(StallInJob(60s)))",
            ),
            (r#"{"fault":"drop","target":{"count":1}}"#, "Connections(Count(1), Cut)"),
            (r#"{"fault":"panic_shard","target":{"count":2}}"#, "Shards(2)"),
            (r#"{"fault":"panic_shard","target":{"actor":"shard-1"}}"#, "Actor(\"shard-1\")"),
            (r#"{"fault":"panic_actor","target":{"actor":"presence"}}"#, "Actor(\"presence\")"),
        ];
        for (body, wanted) in cases {
            assert_eq!(order(body).as_deref(), Ok(wanted), "{body}");
        }
    }

    #[test]
    fn a_wrong_target_is_told_what_would_be_right() {
        let cases = [
            (r#"{"fault":"panic","target":{}}"#, "{\"count\":N}"),
            (r#"{"fault":"panic","target":{"count":1,"user":"u"}}"#, "{\"count\":N}"),
            (r#"{"fault":"panic","target":{"count":0}}"#, "at least 1"),
            (r#"{"fault":"panic","target":{"fraction":0}}"#, "above 0"),
            (r#"{"fault":"panic","target":{"fraction":1.1}}"#, "up to 1"),
            (r#"{"fault":"panic","target":{"actor":"shard-0"}}"#, "{\"count\":N}"),
            (r#"{"fault":"stall","where":"wake","target":{"count":1}}"#, "`turn` or `job`"),
            (r#"{"fault":"panic_shard","target":{"actor":"presence"}}"#, "shard-0"),
            (r#"{"fault":"panic_actor","target":{"count":1}}"#, "actors"),
            (r#"{"fault":"burn","target":{"count":1}}"#, "unknown variant `burn`, expected one of `panic`"),
            (r#"{"fault":"panic"}"#, "missing field `target`"),
        ];
        for (body, told) in cases {
            let message = order(body).expect_err(body);
            assert!(message.contains(told), "{body}: {message}");
        }
    }
}
