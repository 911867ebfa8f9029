//! Tests of loading as a whole: the shipped file, the layers, and that types and rules agree.
//! What is refused, and in which words, is in `refusals`.

mod refusals;

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use toml::Value;

use super::{
    AuthMode, Config, LoadError, Loaded, LogFormat, Origin, Scope, Sources, Who, load,
    rules::{Rule, TABLES, parts},
};

const SHIPPED: &str = include_str!("../../../config/dormouse.toml");

/// A file that is gone when the test is over.
struct TempFile(PathBuf);

impl TempFile {
    fn new(text: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dormouse-config-{}-{}.toml", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn from_file(text: &str) -> Result<Loaded, LoadError> {
    let file = TempFile::new(text.as_bytes());
    load(&Sources { file: Some(file.0.clone()), ..Sources::default() })
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Loaded, LoadError> {
    load(&Sources { environment: environment(variables), ..Sources::default() })
}

fn from_flags(set: &[&str]) -> Result<Loaded, LoadError> {
    load(&Sources { set: set.iter().map(|&s| s.to_owned()).collect(), ..Sources::default() })
}

#[test]
fn nothing_set_is_the_default() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.settings.is_empty());
}

#[test]
fn the_shipped_file_is_the_default() {
    assert_eq!(from_file(SHIPPED).unwrap().config, Config::default());
}

#[test]
fn the_shipped_file_has_every_key_with_one_line_of_why() {
    let file: toml::Table = SHIPPED.parse().unwrap();
    for (table, keys) in TABLES {
        let section = match *table {
            "channels" => &file["channels"]["defaults"],
            _ => &file[*table],
        };
        for (key, _) in *keys {
            let found =
                parts(key).skip(1).fold(section.get(parts(key).next().unwrap()), |inner, part| inner?.get(part));
            assert!(found.is_some(), "config/dormouse.toml lacks {table}.{key}");
        }
    }
    let shown_once = SHIPPED.split("[channels.\"chat\"]").next().unwrap();
    let rest = SHIPPED.split("[store]").nth(1).unwrap();
    for line in shown_once.lines().chain(rest.lines()).filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        assert!(line.contains('#'), "no why in: {line}");
    }
}

/// The types and the table of rules are two lists of the same keys: this holds them together.
#[test]
fn rules_and_types_know_the_same_keys() {
    let defaults = Value::try_from(Config::default()).unwrap();
    let defaults = defaults.as_table().unwrap();
    assert_eq!(defaults.len(), TABLES.len());
    for (table, keys) in TABLES {
        let section = &defaults[*table];
        let section = if *table == "channels" { &section["defaults"] } else { section }.as_table().unwrap();
        let leaves = |value: &Value| value.as_table().map_or(1, toml::Table::len);
        assert_eq!(section.values().map(leaves).sum::<usize>(), keys.len(), "[{table}]");
        for (key, rule) in *keys {
            let default = parts(key).skip(1).fold(&section[parts(key).next().unwrap()], |inner, part| &inner[part]);
            assert!(rule.allows(default), "the default of {table}.{key} breaks its own rule");
        }
    }
}

/// Else a refusal would be worded by serde, without what would be right.
#[test]
fn types_hold_whatever_the_rules_allow() {
    for (table, keys) in TABLES {
        for (key, rule) in *keys {
            let section = if *table == "channels" { "channels.x" } else { table };
            let extremes = match rule {
                Rule::Flag => vec!["true".to_owned(), "false".to_owned()],
                Rule::Count { min, max } => vec![min.to_string(), max.to_string()],
                Rule::Duration { min, max } => {
                    [min, max].map(|time| humantime::format_duration(*time).to_string()).to_vec()
                }
                Rule::Address => vec!["127.0.0.1:0".to_owned(), "[::1]:65535".to_owned()],
                Rule::Choice(known) => known.iter().map(|&name| name.to_owned()).collect(),
                Rule::Directory => vec!["/".to_owned()],
                Rule::LogFilter => vec!["off".to_owned(), "warn,dormouse::shard=trace".to_owned()],
                Rule::File => vec!["\"\"".to_owned()],
                Rule::Secret => vec!["hush".to_owned()],
                Rule::Url => vec!["http://127.0.0.1:9000/hook".to_owned(), "\"\"".to_owned()],
                Rule::Names => vec!["[\"chat\"]".to_owned(), "chat".to_owned()],
                Rule::Text => vec!["\"\"".to_owned(), "anything at all".to_owned()],
                Rule::Secrets | Rule::Files => vec!["[]".to_owned(), "[\"a\", \"b\"]".to_owned()],
                Rule::Origins => vec!["[\"*\", \"null\"]".to_owned(), "http://[::1]:80".to_owned()],
                Rule::ApiKeys => vec![
                    "[\"a\", {key = \"b\"}]".to_owned(),
                    "{key = \"a\", scopes = [\"publish\", \"read\", \"admin\", \"chaos\"]}".to_owned(),
                ],
            };
            for value in extremes {
                let mut set = vec![format!("{section}.{key}={value}")];
                // What the extreme of one key needs of another.
                match *key {
                    "mode" => {
                        set.extend(["auth.keys=k".to_owned(), "hooks.connect.url=http://127.0.0.1:9000".to_owned()])
                    }
                    "max_frame_bytes" => set.push(format!("limits.outbox_bytes={}", 1 << 30)),
                    "outbox_bytes" => set.push("limits.max_frame_bytes=128".to_owned()),
                    "turn_warn" if value != "1us" => set.clear(),
                    "turn_stall" => set.push("limits.turn_warn=1us".to_owned()),
                    _ => {}
                }
                let loaded = load(&Sources { set, ..Sources::default() });
                assert!(loaded.is_ok(), "{section}.{key}={value}: {}", loaded.unwrap_err());
            }
        }
    }
}

#[test]
fn a_later_layer_wins_and_the_rest_stays() {
    let file = TempFile::new(b"[limits]\nmailbox = 10\nsubscriptions = 11\npublish_burst = 12\nbad_frames = 13\n");
    let loaded = load(&Sources {
        file: Some(file.0.clone()),
        environment: environment(&[
            ("DORMOUSE__LIMITS__SUBSCRIPTIONS", "21"),
            ("DORMOUSE__LIMITS__PUBLISH_BURST", "22"),
            ("DORMOUSE__LISTEN__ADDR", "127.0.0.1:1000"),
            ("DORMOUSE_URL", "no key of ours"),
            ("PATH", "/bin"),
        ]),
        set: vec!["limits.publish_burst=32".to_owned(), "listen.addr=127.0.0.1:2000".to_owned()],
        listen: Some("[::1]:3000".to_owned()),
    })
    .unwrap();
    let limits = &loaded.config.limits;
    assert_eq!((limits.mailbox, limits.subscriptions, limits.publish_burst, limits.bad_frames), (10, 21, 32, 13));
    assert_eq!(loaded.config.listen.addr, "[::1]:3000".parse::<SocketAddr>().unwrap());
    assert_eq!(loaded.config.limits.outbox_bytes, Config::default().limits.outbox_bytes);
    let last = loaded.settings.last().unwrap();
    assert_eq!((last.key.to_string().as_str(), &last.origin), ("listen.addr", &Origin::Flag("--listen".to_owned())));
}

#[test]
fn every_kind_of_value_can_be_written_as_text() {
    let loaded = from_flags(&[
        "heartbeat.interval=30s",
        "session.resume_window=\"5m\"",
        "chaos.enabled = true",
        "auth.mode=jwt",
        "auth.keys=[\"one\", \"two\"]",
        "api.keys=12345",
        "listen.origins=https://app.example.com",
        "auth.key_files=keys.json",
        "auth.mode=open",
        "auth.audience=5",
        "channels.news.publish=nobody",
        "telemetry.format=json",
        "telemetry.log=warn,dormouse::shard=debug",
        "store.path=/var/lib/dormouse",
        "limits.max_frame_bytes=0x8000",
        "channels.chat.history_events=1_000",
        "channels.\"my.games\".durable=true",
    ]);
    let config = loaded.unwrap().config;
    assert_eq!(config.heartbeat.interval, Duration::from_secs(30));
    assert_eq!(config.session.resume_window, Duration::from_secs(300));
    assert!(config.chaos.enabled);
    assert_eq!((config.auth.mode, config.auth.keys), (AuthMode::Open, vec!["one".to_owned(), "two".to_owned()]));
    assert_eq!(config.api.keys.len(), 1);
    assert_eq!(config.api.keys[0].read().as_deref(), Ok("12345"));
    assert_eq!(config.listen.origins, ["https://app.example.com"]);
    assert_eq!(config.auth.key_files, [Path::new("keys.json")]);
    assert_eq!(config.auth.audience, "5");
    assert_eq!(config.channels.of("news:x").publish, Who::Nobody);
    assert_eq!(config.telemetry.format, LogFormat::Json);
    assert_eq!(config.telemetry.log, "warn,dormouse::shard=debug");
    assert_eq!(config.store.path, Path::new("/var/lib/dormouse"));
    assert_eq!(config.limits.max_frame_bytes, 32_768);
    assert_eq!(config.channels.named("chat").history_events, 1000);
    assert!(config.channels.of("my.games:one").durable);
}

#[test]
fn variables_are_read_in_any_case() {
    let config = from_environment(&[
        ("DORMOUSE__LIMITS__MAX_FRAME_BYTES", "1024"),
        ("dormouse__limits__mailbox", "7"),
        ("DORMOUSE__CHANNELS__CHAT__DURABLE", "false"),
    ]);
    let config = config.unwrap().config;
    assert_eq!((config.limits.max_frame_bytes, config.limits.mailbox), (1024, 7));
    assert!(!config.namespace("chat").durable);
    assert!(config.namespace("chat").presence);
}

#[test]
fn a_file_may_leave_its_secrets_to_the_environment() {
    let file = TempFile::new(b"[listen]\naddr = \"0.0.0.0:80\"\n[auth]\nmode = \"jwt\"\n");
    let environment = environment(&[("DORMOUSE__AUTH__KEYS", "hush")]);
    let loaded = load(&Sources { file: Some(file.0.clone()), environment, ..Sources::default() }).unwrap();
    assert_eq!(loaded.config.auth.keys, ["hush"]);
    let told = format!("{:?} {:?}", loaded.config, loaded.settings);
    assert!(!told.contains("hush"), "a secret shows in {told}");
}

#[test]
fn keys_of_the_api_have_scopes_and_may_stand_in_files() {
    let secret = TempFile::new(b"  hush\n");
    let text = format!(
        "[[api.keys]]\nkey = \"hidden\"\nscopes = [\"publish\"]\n[[api.keys]]\nfile = {:?}\nscopes = [\"read\", \"admin\"]\n",
        secret.0
    );
    let loaded = from_file(&text).unwrap();
    let keys: Vec<_> = loaded.config.api.keys.iter().map(|key| (key.read().unwrap(), key.scopes().to_vec())).collect();
    assert_eq!(
        keys,
        [("hidden".to_owned(), vec![Scope::Publish]), ("hush".to_owned(), vec![Scope::Read, Scope::Admin])]
    );
    let told = format!("{:?} {:?}", loaded.config, loaded.settings);
    assert!(!told.contains("hush") && !told.contains("hidden"), "a secret shows in {told}");
    let variable = from_environment(&[("DORMOUSE__API__KEYS", "[{key = \"hush\", scopes = [\"read\"]}, \"all\"]")]);
    assert_eq!(variable.unwrap().config.api.keys.len(), 2);
}

#[test]
fn a_namespace_says_who_may_do_what_and_defaults_reach_it() {
    let config = from_file(
        "[channels.defaults]\njoin = \"nobody\"\n[channels.news]\npublish = \"nobody\"\nsubscribe = \"claim\"\n",
    );
    let config = config.unwrap().config;
    let who = |name| (config.namespace(name).subscribe, config.namespace(name).publish, config.namespace(name).join);
    assert_eq!(who("news"), (Who::Claim, Who::Nobody, Who::Nobody));
    assert_eq!(who("chat"), (Who::Anyone, Who::Anyone, Who::Nobody));
}

#[test]
fn a_value_may_not_smuggle_a_second_key() {
    let config = from_flags(&["telemetry.log=\"info\"\nmore = 1"]);
    assert!(config.is_err());
    assert!(from_flags(&["limits.mailbox=5 # six"]).is_ok_and(|loaded| loaded.config.limits.mailbox == 5));
}

#[test]
fn open_auth_is_fine_on_any_loopback_address_and_jwt_on_every_address() {
    for addr in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(load(&Sources { listen: Some(addr.to_owned()), ..Sources::default() }).is_ok(), "{addr}");
    }
    for addr in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
        assert!(load(&Sources { listen: Some(addr.to_owned()), ..Sources::default() }).is_err(), "{addr}");
        let set = vec!["auth.mode=jwt".to_owned(), "auth.keys=k".to_owned()];
        assert!(load(&Sources { set, listen: Some(addr.to_owned()), ..Sources::default() }).is_ok(), "{addr}");
    }
}
