//! What a request to `/v1/chaos` may say (CONTRACT §2), and what of it makes sense together. Pure: `chaos.rs` carries it out.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

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
    target: Option<Target>,
    /// Whose connections or shards; the gateway's without.
    app: Option<String>,
    #[serde(rename = "where")]
    place: Option<Place>,
    ms: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Panic,
    Stall,
    Drop,
    PanicShard,
    PanicActor,
    StoreDelay,
    StoreFail,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    #[default]
    Turn,
    Job,
    Wake,
}

/// Exactly one of these. Taken as they come and looked at by [`Target::only`], so that a refusal names its field.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with one of `connection`, `connections`, `user`, `count`, `fraction` and `actor`")]
struct Target {
    connection: Option<Value>,
    connections: Option<Value>,
    user: Option<Value>,
    count: Option<Value>,
    fraction: Option<Value>,
    actor: Option<Value>,
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
    /// A fault of the disk, for so long.
    Disk(Disk, Duration),
}

/// What a disk may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// Nothing, for the time being.
    Hang,
    /// Refuse.
    Fail,
}

/// Which connections.
#[derive(Debug)]
pub(super) enum Aim {
    Connection(String),
    /// All of these that are there.
    Connections(Vec<String>),
    User(String),
    Count(usize),
    /// Above 0, at most 1.
    Fraction(f64),
}

impl Request {
    /// What is to be done, and in which app.
    ///
    /// # Errors
    /// Names the field that is wrong, and says what would be right.
    pub(super) fn order(mut self) -> Result<(Option<String>, Order), ApiError> {
        let app = self.app.take();
        let order = self.what()?;
        if app.is_some() && !matches!(order, Order::Connections(..) | Order::Shards(_)) {
            return Err(ApiError::bad_request("`app` is for faults of connections and of so many shards"));
        }
        Ok((app, order))
    }

    fn what(self) -> Result<Order, ApiError> {
        let Self { fault, target, place, ms, .. } = self;
        if matches!(fault, Kind::StoreDelay | Kind::StoreFail) {
            if target.is_some() || place.is_some() {
                return Err(ApiError::bad_request(
                    "`target` and `where` are not for faults of the store: there is one",
                ));
            }
            let disk = if fault == Kind::StoreDelay { Disk::Hang } else { Disk::Fail };
            return Ok(Order::Disk(disk, stall(ms)?));
        }
        let target = target.ok_or_else(|| ApiError::bad_request("missing field `target`"))?;
        let place = place.unwrap_or_default();
        let action = match (fault, place) {
            (Kind::Drop | Kind::PanicShard | Kind::PanicActor, Place::Job | Place::Wake) => {
                return Err(ApiError::bad_request(
                    "`where` is for `panic` and `stall`; the other faults have no such place",
                ));
            }
            (Kind::PanicShard, _) => return target.shards(),
            (Kind::PanicActor | Kind::StoreDelay | Kind::StoreFail, _) => return target.actor(),
            (Kind::Drop, _) => Action::Cut,
            (Kind::Panic, Place::Turn) => Action::Fault(Fault::Panic),
            (Kind::Panic, Place::Job) => Action::Fault(Fault::PanicInJob),
            (Kind::Panic, Place::Wake) => Action::Fault(Fault::PanicInWake),
            (Kind::Stall, Place::Turn) => Action::Fault(Fault::Stall(stall(ms)?)),
            (Kind::Stall, Place::Job) => Action::Fault(Fault::StallInJob(stall(ms)?)),
            (Kind::Stall, Place::Wake) => {
                return Err(ApiError::bad_request(
                    "`where` of a stall is `turn` or `job`: a wake does nothing that could last",
                ));
            }
        };
        target.connections().map(|aim| Order::Connections(aim, action))
    }
}

impl Target {
    /// The one field that is set, with its name.
    fn only(self, wanted: &'static str) -> Result<(&'static str, Value), ApiError> {
        let mut fields = [
            ("connection", self.connection),
            ("connections", self.connections),
            ("user", self.user),
            ("count", self.count),
            ("fraction", self.fraction),
            ("actor", self.actor),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
        match (fields.next(), fields.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(ApiError::bad_request(wanted)),
        }
    }

    fn connections(self) -> Result<Aim, ApiError> {
        const WANTED: &str = "`target` is one of {\"connection\":ID}, {\"connections\":[ID,…]}, {\"user\":NAME}, \
            {\"count\":N} and {\"fraction\":F} for this fault";
        match self.only(WANTED)? {
            ("connection", id) => text("connection", id).map(Aim::Connection),
            ("connections", Value::Array(ids)) if !ids.is_empty() => {
                ids.into_iter().map(|id| text("connections", id)).collect::<Result<_, _>>().map(Aim::Connections)
            }
            ("connections", other) => {
                Err(ApiError::bad_request(format!("`connections` is a list of at least one id, not {other}")))
            }
            ("user", user) => text("user", user).map(Aim::User),
            ("count", n) => count(&n).map(Aim::Count),
            ("fraction", part) => match part.as_f64() {
                Some(number) if number > 0.0 && number <= 1.0 => Ok(Aim::Fraction(number)),
                _ => Err(ApiError::bad_request(format!("`fraction` is a number above 0 and up to 1, not {part}"))),
            },
            _ => Err(ApiError::bad_request(WANTED)),
        }
    }

    fn shards(self) -> Result<Order, ApiError> {
        const WANTED: &str = "`target` is {\"count\":N} or {\"actor\":\"shard-0\"} for this fault";
        match self.only(WANTED)? {
            ("count", n) => count(&n).map(Order::Shards),
            ("actor", name) => match text("actor", name)? {
                name if name.starts_with("shard-") => Ok(Order::Actor(name)),
                _ => Err(ApiError::bad_request(WANTED)),
            },
            _ => Err(ApiError::bad_request(WANTED)),
        }
    }

    fn actor(self) -> Result<Order, ApiError> {
        const WANTED: &str = "`target` is {\"actor\":NAME} for this fault, with a name from `actors` of /v1/node";
        match self.only(WANTED)? {
            ("actor", name) => text("actor", name).map(Order::Actor),
            _ => Err(ApiError::bad_request(WANTED)),
        }
    }
}

fn text(field: &str, value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(ApiError::bad_request(format!("`{field}` is a text, not {other}"))),
    }
}

fn count(value: &Value) -> Result<usize, ApiError> {
    match value.as_u64().and_then(|count| usize::try_from(count).ok()) {
        Some(count) if count > 0 => Ok(count),
        _ => Err(ApiError::bad_request(format!("`count` is a whole number, at least 1, not {value}"))),
    }
}

/// What `ms` says.
fn stall(ms: Option<Value>) -> Result<Duration, ApiError> {
    let ms = match ms {
        None => DEFAULT_STALL_MS,
        Some(value) => value
            .as_u64()
            .ok_or_else(|| ApiError::bad_request(format!("`ms` is a whole number of milliseconds, not {value}")))?,
    };
    Ok(Duration::from_millis(ms.min(MAX_STALL_MS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(body: &str) -> Result<String, String> {
        let request: Request = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let told = |(app, order): (Option<String>, Order)| app.unwrap_or_default() + &format!("{order:?}");
        request.order().map(told).map_err(|error| error.into_fault().message.into_owned())
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
            (
                r#"{"fault":"drop","where":"turn","ms":5,"target":{"connections":["a","b"]}}"#,
                "Connections(Connections([\"a\", \"b\"]), Cut)",
            ),
            (r#"{"fault":"stall","ms":0,"target":{"user":"u"}}"#, "Connections(User(\"u\"), Fault(Stall(0ns)))"),
            (r#"{"fault":"panic_shard","target":{"count":2}}"#, "Shards(2)"),
            (r#"{"fault":"panic_shard","app":"counter ","target":{"count":2}}"#, "counter Shards(2)"),
            (r#"{"fault":"drop","app":"counter ","target":{"count":1}}"#, "counter Connections(Count(1), Cut)"),
            (r#"{"fault":"panic_shard","target":{"actor":"shard-1"}}"#, "Actor(\"shard-1\")"),
            (r#"{"fault":"panic_actor","target":{"actor":"presence"}}"#, "Actor(\"presence\")"),
            (r#"{"fault":"store_delay","ms":70}"#, "Disk(Hang, 70ms)"),
            (r#"{"fault":"store_fail"}"#, "Disk(Fail, 1s)"),
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
            (r#"{"fault":"panic","target":{"count":-1}}"#, "`count` is a whole number, at least 1, not -1"),
            (r#"{"fault":"panic","target":{"count":"all"}}"#, "`count`"),
            (r#"{"fault":"panic","target":{"fraction":"half"}}"#, "`fraction`"),
            (r#"{"fault":"panic","target":{"user":7}}"#, "`user` is a text, not 7"),
            (r#"{"fault":"panic","target":{"connection":["c"]}}"#, "`connection` is a text"),
            (r#"{"fault":"panic","target":{"connections":[]}}"#, "`connections`"),
            (r#"{"fault":"panic","target":{"connections":[1]}}"#, "`connections` is a text, not 1"),
            (r#"{"fault":"panic","target":"all"}"#, "an object with one of"),
            (r#"{"fault":"panic","where":"sleep","target":{"count":1}}"#, "expected one of `turn`, `job`, `wake`"),
            (r#"{"fault":"stall","where":"wake","target":{"count":1}}"#, "`turn` or `job`"),
            (r#"{"fault":"stall","ms":"long","target":{"count":1}}"#, "`ms`"),
            (r#"{"fault":"stall","ms":-5,"target":{"count":1}}"#, "`ms`"),
            (r#"{"fault":"drop","where":"job","target":{"count":1}}"#, "`where`"),
            (r#"{"fault":"panic_shard","where":"wake","target":{"count":1}}"#, "`where`"),
            (r#"{"fault":"panic_actor","where":"job","target":{"actor":"shard-0"}}"#, "`where`"),
            (r#"{"fault":"panic_shard","target":{"fraction":0.5}}"#, "{\"count\":N}"),
            (r#"{"fault":"panic_shard","target":{"actor":0}}"#, "`actor` is a text"),
            (r#"{"fault":"panic_actor","target":{"fraction":0.5}}"#, "{\"actor\":NAME}"),
            (r#"{"fault":"panic_actor","target":{"actor":"a","count":1}}"#, "{\"actor\":NAME}"),
            (r#"{"fault":"panic_shard","target":{"actor":"presence"}}"#, "shard-0"),
            (r#"{"fault":"panic_actor","target":{"count":1}}"#, "actors"),
            (r#"{"fault":"store_fail","target":{"count":1}}"#, "`target`"),
            (r#"{"fault":"store_delay","where":"turn"}"#, "`where`"),
            (r#"{"fault":"store_fail","app":"counter"}"#, "`app`"),
            (r#"{"fault":"panic_actor","app":"counter","target":{"actor":"counter-0"}}"#, "`app`"),
            (r#"{"fault":"burn","target":{"count":1}}"#, "unknown variant `burn`, expected one of `panic`"),
            (r#"{"fault":"panic"}"#, "missing field `target`"),
        ];
        for (body, told) in cases {
            let message = order(body).expect_err(body);
            assert!(message.contains(told), "{body}: {message}");
        }
    }
}
