//! Every key there is and what its value may be. One table, so that a refusal can say what would be right, and so that the
//! file, the environment and `--set` are held to the same rules. Types alone would not do: they cannot say that a heartbeat
//! every 0 s is impossible. Rules between keys are in `conflicts`. Asked by `load` for each setting.

use std::{fmt, net::SocketAddr, time::Duration};

use toml::Value;
use tracing_subscriber::EnvFilter;

use super::{api_key::Scope, key::Key};

/// What the value of a key may be. `Display` completes the sentence "… is not".
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    Flag,
    Count {
        min: i64,
        max: i64,
    },
    Duration {
        min: Duration,
        max: Duration,
    },
    Address,
    Choice(&'static [&'static str]),
    Directory,
    LogFilter,
    /// Any text.
    Text,
    /// A path, or nothing.
    File,
    /// A list of paths.
    Files,
    /// A list of origins, as browsers send them.
    Origins,
    /// A secret or nothing; what was written is never shown.
    Secret,
    /// A list of secrets; never shown either.
    Secrets,
    /// An address of HTTP, or nothing.
    Url,
    /// A list of namespaces.
    Names,
    /// A list of keys with their scopes; never shown either.
    ApiKeys,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const fn count(min: i64, max: i64) -> Rule {
    Rule::Count { min, max }
}

const fn duration(min: Duration, max: Duration) -> Rule {
    Rule::Duration { min, max }
}

/// Of one call of a backend.
const CALL: Rule = duration(MILLISECOND, Duration::from_secs(60));
const FALLBACK: Rule = Rule::Choice(&["allow", "deny", "cached"]);

/// The rule of each key, by table. For `channels` these are the keys of each table in it.
///
/// Lower bounds: 0 is allowed only where it means something ("one per core", "keep none", "at once"). Upper bounds catch a
/// slip of the unit, and keep times that connections store as 32-bit milliseconds far from their wrap.
///
/// A name with a dot in it is a key of a table in the table.
pub(super) const TABLES: &[(&str, &[(&str, Rule)])] = &[
    (
        "listen",
        &[
            ("addr", Rule::Address),
            ("backlog", count(1, 65_535)),
            ("compression", Rule::Flag),
            ("drain", duration(Duration::ZERO, HOUR)),
            ("drain_pace", count(1, 10_000_000)),
            ("origins", Rule::Origins),
            ("tls.cert", Rule::File),
            ("tls.key", Rule::File),
        ],
    ),
    ("shards", &[("count", count(0, 1024)), ("budget", count(1, 65_536))]),
    (
        "limits",
        &[
            ("max_connections", count(1, 100_000_000)),
            ("max_frame_bytes", count(128, 64 << 20)),
            ("mailbox", count(1, 1 << 20)),
            ("outbox_bytes", count(128, 1 << 30)),
            ("subscriptions", count(1, 65_536)),
            ("publish_per_second", count(1, 1_000_000)),
            ("publish_burst", count(1, 1_000_000)),
            ("frames_per_second", count(0, 100_000_000)),
            ("bytes_per_second", count(0, 4_000_000_000)),
            ("connections_per_address", count(0, 100_000_000)),
            ("sessions_per_user", count(0, 100_000_000)),
            ("handshakes_per_second", count(0, 100_000_000)),
            ("bad_frames", count(0, 1_000_000)),
            ("turn_warn", duration(Duration::from_micros(1), HOUR)),
            ("turn_stall", duration(MILLISECOND, HOUR)),
        ],
    ),
    ("heartbeat", &[("interval", duration(MILLISECOND, DAY))]),
    ("session", &[("identify_within", duration(MILLISECOND, HOUR)), ("resume_window", duration(MILLISECOND, DAY))]),
    (
        "supervision",
        &[
            ("max_restarts", count(0, 1_000_000)),
            ("within", duration(MILLISECOND, DAY)),
            ("on_stall", Rule::Choice(&["restart", "close", "keep"])),
            ("crash_files", count(0, 100_000)),
            ("crash_dir", Rule::Directory),
            ("crash_payloads", Rule::Flag),
        ],
    ),
    ("presence", &[("interval", duration(MILLISECOND, HOUR))]),
    (
        "channels",
        &[
            ("durable", Rule::Flag),
            ("history_events", count(0, 10_000_000)),
            ("history_age", duration(MILLISECOND, Duration::from_secs(10 * 365 * 24 * 60 * 60))),
            ("presence", Rule::Flag),
            ("receipts", Rule::Flag),
            ("catch_up_limit", count(1, 1_000_000)),
            ("subscribe", Rule::Choice(&["anyone", "claim", "nobody"])),
            ("publish", Rule::Choice(&["anyone", "subscriber", "claim", "nobody"])),
            ("join", Rule::Choice(&["anyone", "claim", "nobody"])),
        ],
    ),
    (
        "store",
        &[
            ("engine", Rule::Choice(&["embedded", "memory"])),
            ("path", Rule::Directory),
            ("commit", duration(Duration::ZERO, SECOND)),
        ],
    ),
    (
        "auth",
        &[
            ("mode", Rule::Choice(&["open", "jwt", "hook"])),
            ("keys", Rule::Secrets),
            ("key_files", Rule::Files),
            ("issuer", Rule::Text),
            ("audience", Rule::Text),
        ],
    ),
    ("api", &[("keys", Rule::ApiKeys)]),
    (
        "hooks",
        &[
            ("key", Rule::Secret),
            ("in_flight", count(1, 65_536)),
            ("retries", count(0, 10)),
            ("breaker_failures", count(1, 1_000_000)),
            ("breaker_pause", duration(MILLISECOND, HOUR)),
            ("cached_for", duration(MILLISECOND, DAY)),
            ("connect.url", Rule::Url),
            ("connect.deadline", CALL),
            ("connect.fallback", FALLBACK),
            ("subscribe.url", Rule::Url),
            ("subscribe.deadline", CALL),
            ("subscribe.fallback", FALLBACK),
            ("subscribe.namespaces", Rule::Names),
            ("publish.url", Rule::Url),
            ("publish.deadline", CALL),
            ("publish.fallback", Rule::Choice(&["allow", "deny"])),
            ("publish.namespaces", Rule::Names),
            ("rpc.url", Rule::Url),
            ("rpc.deadline", CALL),
            ("disconnect.url", Rule::Url),
            ("disconnect.deadline", CALL),
        ],
    ),
    ("chaos", &[("enabled", Rule::Flag)]),
    ("echo", &[("enabled", Rule::Flag)]),
    (
        "telemetry",
        &[
            ("log", Rule::LogFilter),
            ("format", Rule::Choice(&["text", "json"])),
            ("traces", Rule::Url),
            ("trace_one_in", count(1, 1_000_000_000)),
        ],
    ),
];

impl Rule {
    /// Whether a value is one that this rule allows.
    pub(super) fn allows(self, value: &Value) -> bool {
        match self {
            Self::Flag => value.is_bool(),
            Self::Count { min, max } => value.as_integer().is_some_and(|n| (min..=max).contains(&n)),
            Self::Duration { min, max } => value
                .as_str()
                .and_then(|text| humantime::parse_duration(text).ok())
                .is_some_and(|time| (min..=max).contains(&time)),
            Self::Address => value.as_str().is_some_and(|text| text.parse::<SocketAddr>().is_ok()),
            Self::Choice(known) => value.as_str().is_some_and(|text| known.contains(&text)),
            Self::Directory => value.as_str().is_some_and(|text| !text.trim().is_empty()),
            Self::LogFilter => {
                value.as_str().is_some_and(|text| !text.trim().is_empty() && EnvFilter::builder().parse(text).is_ok())
            }
            Self::Text | Self::File | Self::Secret => value.is_str(),
            Self::Url => value.as_str().is_some_and(|text| text.is_empty() || is_url(text)),
            Self::Names => all(value, |name| name.as_str().is_some_and(|name| checked_namespace(name).is_ok())),
            Self::Secrets | Self::Files => all(value, is_text),
            Self::Origins => all(value, |origin| origin.as_str().is_some_and(is_origin)),
            Self::ApiKeys => all(value, |key| is_text(key) || is_api_key(key)),
        }
    }

    /// The value meant by a text from the environment or `--set`: TOML where that fits, the bare text otherwise. The rule
    /// decides which, so that a secret of digits stays a text and a count in quotes does not become one.
    pub(super) fn read(self, text: &str) -> Value {
        let toml = toml_value(text);
        match (self, toml) {
            (Self::Flag | Self::Count { .. }, Some(value)) => value,
            (rule, Some(list @ Value::Array(_))) if rule.is_list() => list,
            (rule, Some(one @ Value::String(_))) if rule.is_list() => Value::Array(vec![one]),
            (Self::ApiKeys, Some(one @ Value::Table(_))) => Value::Array(vec![one]),
            (rule, _) if rule.is_list() => Value::Array(vec![Value::String(text.to_owned())]),
            (_, Some(quoted @ Value::String(_))) => quoted,
            _ => Value::String(text.to_owned()),
        }
    }

    /// What was written, as far as it may be shown.
    pub(super) fn show(self, written: &str) -> &str {
        match self {
            Self::Secret | Self::Secrets | Self::ApiKeys => "(not shown)",
            _ => written,
        }
    }

    fn is_list(self) -> bool {
        matches!(self, Self::Secrets | Self::Files | Self::Origins | Self::ApiKeys | Self::Names)
    }
}

fn all(list: &Value, allowed: impl Fn(&Value) -> bool) -> bool {
    list.as_array().is_some_and(|list| list.iter().all(allowed))
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}

/// Scheme, host and perhaps a port, as RFC 6454 §6.2 writes them; `null` is what browsers send for files and sandboxes.
fn is_origin(text: &str) -> bool {
    let host = |rest: &str| {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]*".contains(&byte);
        !rest.is_empty() && rest.bytes().all(letter)
    };
    match text.split_once("://") {
        Some((scheme, rest)) => matches!(scheme, "http" | "https") && host(rest),
        None => matches!(text, "*" | "null"),
    }
}

/// Scheme, host and whatever follows; who is there, its user finds out.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// A table with `key` or `file`, and perhaps `scopes`.
fn is_api_key(value: &Value) -> bool {
    let Some(table) = value.as_table() else { return false };
    let known = |scope: &Value| scope.as_str().is_some_and(|name| Scope::ALL.iter().any(|scope| scope.name() == name));
    table.contains_key("key") != table.contains_key("file")
        && table.iter().all(|(name, value)| match name.as_str() {
            "key" | "file" => is_text(value),
            "scopes" => all(value, known) && value.as_array().is_some_and(|list| !list.is_empty()),
            _ => false,
        })
}

fn toml_value(text: &str) -> Option<Value> {
    // One line only: a text must not smuggle a second key in.
    if text.contains(['\n', '\r']) {
        return None;
    }
    let mut table: toml::Table = format!("value = {text}").parse().ok()?;
    table.remove("value")
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Count { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Duration { min, max } => write!(
                f,
                "a duration with a unit from \"{}\" to \"{}\"",
                humantime::format_duration(*min),
                humantime::format_duration(*max)
            ),
            Self::Address => f.write_str("an IP address with a port from 0 to 65535"),
            Self::Choice(known) => match known {
                [one] => write!(f, "\"{one}\", the only one there is"),
                _ => write!(f, "one of {}", listed(known.iter().copied(), '"')),
            },
            Self::Directory => f.write_str("the path of a directory"),
            Self::LogFilter => f.write_str("a log filter such as \"info,dormouse::shard=debug\""),
            Self::Text => f.write_str("a text"),
            Self::File => f.write_str("the path of a file"),
            Self::Secret => f.write_str("a text"),
            Self::Url => f.write_str("an address such as \"http://127.0.0.1:9000/hook\", or \"\" for none"),
            Self::Names => f.write_str("a list of namespaces such as \"chat\""),
            Self::Secrets => f.write_str("a list of non-empty strings"),
            Self::Files => f.write_str("a list of paths of files"),
            Self::Origins => f.write_str(
                "a list of origins such as \"https://example.com\", \"https://*.example.com\" or \"*\", in lower case and without a path",
            ),
            Self::ApiKeys => f.write_str(
                "a list of keys, each a non-empty string or a table such as {file = \"/run/secrets/backend\", scopes = \
                 [\"publish\", \"read\"]} with `key` or `file`, and scopes among publish, read, admin and chaos",
            ),
        }
    }
}

/// Finds the key that a dotted path names.
///
/// # Errors
/// The path names no key: which of its parts is to blame, and what would be right.
pub(super) fn find(path: &[&str]) -> Result<(Key, Rule), Unknown> {
    let (table, namespace, keys) = find_table(path)?;
    let depth = if namespace.is_some() { 2 } else { 1 };
    let heading = path.iter().take(depth).map(|part| quoted(part)).collect::<Vec<_>>().join(".");
    let unknown = |part, message| Err(Unknown { part, message });
    let Some(wanted) = path.get(depth).filter(|_| table != "channels" || namespace.is_some()) else {
        let tables =
            if table == "channels" { "[channels.defaults] or [channels.\"NAME\"]" } else { &format!("[{table}]") };
        return unknown(path.len().min(depth) - 1, format!("{heading} is a table: write {tables} and keys below it"));
    };
    let found = keys.iter().find(|(name, _)| path[depth..].iter().copied().take(parts(name).count()).eq(parts(name)));
    let Some((name, rule)) = found else {
        let suggestion = match tables_with(wanted) {
            Some(tables) => format!("it is a key of {tables}"),
            None => suggestion(wanted, keys.iter().map(|(name, _)| *name)),
        };
        return unknown(depth, format!("unknown key `{wanted}` in [{heading}]; {suggestion}"));
    };
    if path.len() > depth + parts(name).count() {
        return unknown(depth, format!("{heading}.{name} is no table: write {rule}"));
    }
    Ok((Key { table, namespace, name }, *rule))
}

/// A key's name as it is nested in its table.
pub(super) fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split('.')
}

/// A table that exists: its name, the namespace for one below `channels`, and its keys.
type FoundTable = (&'static str, Option<String>, &'static [(&'static str, Rule)]);

/// Finds the table that a path begins with.
///
/// # Errors
/// As [`find`].
pub(super) fn find_table(path: &[&str]) -> Result<FoundTable, Unknown> {
    let first = path.first().copied().unwrap_or_default();
    let Some((table, keys)) = TABLES.iter().find(|(table, _)| *table == first) else {
        // A lone name is a key whose table was forgotten, if there is one that has such a key.
        let message = match tables_with(first) {
            Some(tables) if path.len() == 1 => format!("`{first}` is a key of {tables}"),
            _ => format!("unknown table [{first}]; {}", suggestion(first, TABLES.iter().map(|(table, _)| *table))),
        };
        return Err(Unknown { part: 0, message });
    };
    let namespace = match path.get(1) {
        Some(name) if *table == "channels" => Some(checked_namespace(name)?),
        _ => None,
    };
    Ok((table, namespace, keys))
}

/// A path that names no key.
pub(super) struct Unknown {
    /// Index of the part of the path that is to blame.
    pub(super) part: usize,
    /// What is wrong and what would be right.
    pub(super) message: String,
}

/// A name that no channel could ever have would be a table without effect, hence a mistake.
fn checked_namespace(name: &str) -> Result<String, Unknown> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+@-".contains(&byte);
    if !name.is_empty() && name.bytes().all(letter) {
        return Ok(name.to_owned());
    }
    let message = match name.split_once(':') {
        Some((before, _)) if !before.is_empty() => {
            format!("no namespace is called {name:?}: it is what stands before the first `:`, so write \"{before}\"")
        }
        _ => format!("no namespace is called {name:?}: letters, digits and `_ . + @ -` make a name"),
    };
    Err(Unknown { part: 1, message })
}

/// The tables that have a key of that name, as they are written.
fn tables_with(key: &str) -> Option<String> {
    let tables: Vec<_> = TABLES
        .iter()
        .filter(|(_, keys)| keys.iter().any(|(name, _)| *name == key))
        .map(|(table, _)| if *table == "channels" { "[channels.defaults]".to_owned() } else { format!("[{table}]") })
        .collect();
    (!tables.is_empty()).then(|| tables.join(" and "))
}

fn suggestion<'a>(wrong: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    /// Below this a guess confuses more than it helps, and the whole list is told.
    const ALIKE: f64 = 0.8;
    let wrong = wrong.to_lowercase();
    let best = known
        .clone()
        .map(|name| (strsim::jaro_winkler(&wrong, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => format!("known are {}", listed(known, '`')),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>, quote: char) -> String {
    names.map(|name| format!("{quote}{name}{quote}")).collect::<Vec<_>>().join(", ")
}

/// A part of a dotted key as TOML wants it: bare where that is allowed.
pub(super) fn quoted(part: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !part.is_empty() && part.bytes().all(bare) { part.to_owned() } else { format!("{part:?}") }
}
