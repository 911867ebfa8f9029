//! `dormouse check`: says whether a configuration is good, who set what, and what that makes of a server.

use std::{fmt::Write as _, time::Duration};

use super::{Answer, Failure, settings, table::Table};
use crate::config::{self, AuthMode, Config, Loaded, LogFormat, Namespace};

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
}

pub(super) fn run(args: Args) -> Result<Answer, Failure> {
    let sources = args.settings.sources(None);
    let name = sources.file.as_ref().map_or("the configuration".to_owned(), |file| file.display().to_string());
    let loaded = config::load(&sources)?;
    let result = format!("{name} is good\n\n{}{}", changes(&loaded), summary(&loaded.config));
    Ok(Answer { result, note: advice(&loaded.config), ..Answer::default() })
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

fn summary(config: &Config) -> String {
    let Config { listen, shards, limits, store, auth, api, telemetry, .. } = config;
    let auth_line = match auth.mode {
        AuthMode::Open => "open: the token is the user name".to_owned(),
        AuthMode::Jwt => format!("jwt, signed with {}", counted(auth.keys.len(), "key")),
    };
    let api_line = match (api.keys.len(), auth.mode) {
        (0, AuthMode::Open) => "no key, for loopback only".to_owned(),
        (0, AuthMode::Jwt) => "closed: there are no api.keys".to_owned(),
        (keys, _) => format!("opened by {}", counted(keys, "key")),
    };
    let shards_line = if shards.count == 0 { "one per core".to_owned() } else { shards.count.to_string() };
    let format = match telemetry.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let mut table = Table::new([]);
    let mut row = |name: &str, value: String| table.row([format!("  {name}"), value]);
    row("listen", listen.addr.to_string());
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
    row("store", format!("embedded, in {}", store.path.display()));
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
    if config.auth.mode == AuthMode::Open && !config.auth.keys.is_empty() {
        advice.push("advice: auth.keys have no effect while auth.mode is \"open\": set it to \"jwt\"");
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
