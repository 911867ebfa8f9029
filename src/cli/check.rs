//! `dormouse check`: says whether a configuration is good, who set what, and what that makes of a server.

use std::{ffi::OsStr, fmt::Write as _, fs, io, path::Path, time::Duration};

use super::{Answer, Failure, settings, table::Table};
use crate::{
    clock::unix_ms,
    config::{self, ApiKey, AuthMode, Config, Engine, Loaded, LogFormat, Namespace, Scope, Who},
    store::{self, OpenError, Repair},
    token::Keys,
};

/// Check a configuration without starting anything
///
/// Prints what is in force. On a mistake: file, line and column, what is wrong and what would be right; exit code 2.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse check --config dormouse.toml
  DORMOUSE__LIMITS__MAILBOX=2048 dormouse check        the environment is checked too")]
pub(super) struct Args {
    #[command(flatten)]
    settings: settings::Settings,
    /// Make a damaged store usable again: what is whole is kept, the rest is put aside. The server must be stopped
    #[arg(long)]
    repair: bool,
}

pub(super) fn run(args: Args) -> Result<Answer, Failure> {
    let sources = args.settings.sources(None);
    let name = sources.file.as_ref().map_or("the configuration".to_owned(), |file| file.display().to_string());
    let loaded = config::load(&sources)?;
    let store = kept(&loaded.config.store, args.repair)?;
    let result = format!("{name} is good\n\n{}{}", changes(&loaded), summary(&loaded.config, &store));
    Ok(Answer { result, note: advice(&loaded.config), ..Answer::default() })
}

/// Where things are kept, and what is there already.
fn kept(settings: &config::Store, repair: bool) -> Result<String, Failure> {
    let path = settings.path.display();
    if settings.engine == Engine::Memory {
        return Ok("memory, nothing survives a restart".to_owned());
    }
    let unreadable = |error: &dyn std::fmt::Display| format!("embedded, in {path}, not looked into: {error}");
    // To open a store is to make its files, which would be here before the server that they are for.
    match has_log(&settings.path) {
        Ok(false) if !repair || !settings.path.exists() => return Ok(format!("embedded, in {path}")),
        Err(error) if !repair && is_refusal(&error) => return Ok(unreadable(&error)),
        // What else is wrong is told by whoever opens it.
        Ok(_) | Err(_) => {}
    }
    let found = if repair { store::repair } else { store::verify }(&settings.path, unix_ms());
    let Repair { channels, events, members, dropped, aside } = match found {
        Ok(found) => found,
        // A server at work is no mistake, unless something is to be done to its files.
        Err(OpenError::Locked(_)) if !repair => return Ok(format!("embedded, in {path}, in use")),
        // The store is its server's; who only checks a configuration may be somebody else.
        Err(OpenError::Io { ref error, .. }) if !repair && is_refusal(error) => return Ok(unreadable(error)),
        Err(error) => return Err(Failure::new(error.to_string())),
    };
    let holds = format!(
        "embedded, in {path}: {}, {}, {}",
        counted(channels, "channel"),
        counted(events as usize, "event"),
        counted(members as usize, "membership")
    );
    Ok(match aside {
        None => holds,
        Some(aside) => format!(
            "{holds}; {} were not readable, the old files are in {}",
            counted(dropped as usize, "byte"),
            aside.display()
        ),
    })
}

fn has_log(folder: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        if entry?.path().extension() == Some(OsStr::new("log")) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Who changed what. Of several for one key only the last is in force.
fn changes(loaded: &Loaded) -> String {
    let mut table = Table::new([]);
    for (index, setting) in loaded.settings.iter().enumerate().filter(|(_, setting)| setting.changes) {
        let overridden = loaded.settings[index + 1..].iter().any(|later| later.key == setting.key);
        let state = if overridden { "(overridden)" } else { "" };
        table.row([format!("  {} = {}", setting.key, setting.written), setting.origin.to_string(), state.to_owned()]);
    }
    if table.is_empty() { String::new() } else { format!("Changed:\n{table}\n\n") }
}

fn summary(config: &Config, store: &str) -> String {
    let Config { listen, shards, limits, auth, api, hooks, telemetry, .. } = config;
    let auth_line = match auth.mode {
        AuthMode::Open => "open: the token is the user name".to_owned(),
        // The configuration is good, so its keys can be read; a file that vanished since is told by `serve`.
        AuthMode::Jwt => match Keys::load(&auth.keys, &auth.key_files) {
            Ok(keys) => format!("jwt, signed with {} ({})", counted(keys.len(), "key"), keys.algorithms().join(", ")),
            Err(error) => format!("jwt, but {error}"),
        },
        AuthMode::Hook => format!("hook: {} says whom a token stands for", hooks.connect.url),
    };
    let api_line = match (api.keys.len(), auth.mode) {
        (0, AuthMode::Open) => "no key, for loopback only".to_owned(),
        (0, AuthMode::Jwt | AuthMode::Hook) => "closed: there are no api.keys".to_owned(),
        (keys, _) => {
            let scopes = |key: &ApiKey| match key.scopes() {
                scopes if scopes.len() == Scope::ALL.len() => "everything".to_owned(),
                scopes => scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" and "),
            };
            let each = api.keys.iter().map(scopes).collect::<Vec<_>>().join("; ");
            format!("opened by {}: {each}", counted(keys, "key"))
        }
    };
    let shards_line = if shards.count == 0 { "one per core".to_owned() } else { shards.count.to_string() };
    let format = match telemetry.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let mut table = Table::new([]);
    let mut row = |name: &str, value: String| table.row([format!("  {name}"), value]);
    let tls = if listen.tls.is_on() { format!(", TLS with {}", listen.tls.cert.display()) } else { String::new() };
    row("listen", format!("{}{tls}", listen.addr));
    row("auth", auth_line);
    row("api", api_line);
    row("shards", shards_line);
    row(
        "limits",
        format!(
            "{}, {} a message, {} queued, {} unsent",
            counted(limits.max_connections, "connection"),
            bytes(limits.max_frame_bytes),
            counted(limits.mailbox, "message"),
            bytes(limits.outbox_bytes)
        ),
    );
    row(
        "time",
        format!(
            "heartbeat {}, resume within {}, drain {}",
            time(config.heartbeat.interval),
            time(config.session.resume_window),
            time(listen.drain)
        ),
    );
    row("store", store.to_owned());
    for (name, namespace) in config.channels.iter() {
        row(&format!("{name}:"), describe(namespace));
    }
    row("others", describe(config.channels.named("defaults")));
    row("faults", format!("chaos {}, echo {}", on_off(config.chaos.enabled), on_off(config.echo.enabled)));
    row("log", format!("{}, as {format}", telemetry.log));
    format!("In force:\n{table}")
}

fn describe(namespace: &Namespace) -> String {
    let mut text = if namespace.durable { "durable" } else { "in memory" }.to_owned();
    for (on, name) in [(namespace.presence, ", presence"), (namespace.receipts, ", receipts")] {
        text.push_str(if on { name } else { "" });
    }
    let _ = match namespace.history_events {
        0 => write!(text, ", no history"),
        events => write!(text, ", {} for {}", counted(events, "event"), time(namespace.history_age)),
    };
    for (who, action) in [(namespace.subscribe, "subscribe"), (namespace.publish, "publish"), (namespace.join, "join")]
    {
        let _ = match who {
            Who::Anyone => Ok(()),
            Who::Subscriber => write!(text, ", subscribers {action}"),
            Who::Claim => write!(text, ", a claim to {action}"),
            Who::Nobody => write!(text, ", nobody may {action}"),
        };
    }
    text
}

/// What is allowed and yet hardly meant.
fn advice(config: &Config) -> Option<String> {
    /// RFC 7518 §3.2: a shorter key makes HS256 weaker than it looks.
    const HS256_KEY_BYTES: usize = 32;
    let mut advice = Vec::new();
    if config.auth.mode == AuthMode::Jwt && config.auth.keys.iter().any(|key| key.len() < HS256_KEY_BYTES) {
        advice.push("advice: a key in auth.keys is shorter than 32 bytes, which is easy to guess from a token");
    }
    let auth = &config.auth;
    if auth.mode == AuthMode::Open && !(auth.keys.is_empty() && auth.key_files.is_empty()) {
        advice.push("advice: keys in [auth] have no effect while auth.mode is \"open\": set it to \"jwt\"");
    }
    if auth.mode == AuthMode::Jwt && !auth.key_files.is_empty() && auth.audience.is_empty() {
        advice.push("advice: whoever shares the keys in auth.key_files can mint tokens for other services that are good here: set auth.audience");
    }
    let claims = |namespace: &Namespace| [namespace.subscribe, namespace.publish, namespace.join].contains(&Who::Claim);
    let all = || config.channels.iter().map(|(_, namespace)| namespace).chain([config.channels.defaults()]);
    if auth.mode == AuthMode::Open && all().any(claims) {
        advice.push("advice: \"claim\" in [channels] lets nobody in while auth.mode is \"open\": there are no tokens with claims");
    }
    if config.listen.origins.iter().any(|origin| origin == "*") && auth.mode == AuthMode::Open {
        advice.push(
            "advice: listen.origins = [\"*\"] with open auth lets every page that somebody here visits in, as anybody",
        );
    }
    if config.chaos.enabled && !config.listen.addr.ip().to_canonical().is_loopback() {
        advice.push("advice: chaos.enabled lets every client crash its actor, on an address that others reach");
    }
    (!advice.is_empty()).then(|| advice.join("\n"))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn bytes(count: usize) -> String {
    if count >= 1024 && count.is_multiple_of(1024) { format!("{} KiB", count / 1024) } else { format!("{count} B") }
}

fn time(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(time)
}

fn on_off(flag: bool) -> &'static str {
    if flag { "on" } else { "off" }
}
