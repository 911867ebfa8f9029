//! Values that are fine alone and impossible together. Checked once, over the finished configuration, since a file may leave
//! to the environment what it lacks (secrets, most often). Called by `load`, which blames the last setting involved.

use super::{AuthMode, Config, Fallback};
use crate::{tls::Acceptor, token::Keys};

/// Two or more keys that contradict each other.
pub(super) struct Conflict {
    /// The keys involved, as (table, name).
    pub(super) keys: &'static [(&'static str, &'static str)],
    /// What is wrong and what would be right.
    pub(super) message: String,
}

/// Every contradiction in a configuration.
pub(super) fn find(config: &Config) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut conflict = |keys, message| found.push(Conflict { keys, message });

    let limits = &config.limits;
    if limits.outbox_bytes < limits.max_frame_bytes {
        conflict(
            &[("limits", "outbox_bytes"), ("limits", "max_frame_bytes")],
            format!(
                "limits.outbox_bytes = {} cannot hold one message of limits.max_frame_bytes = {}: make it at least as large",
                limits.outbox_bytes, limits.max_frame_bytes
            ),
        );
    }
    if limits.turn_stall <= limits.turn_warn {
        conflict(
            &[("limits", "turn_stall"), ("limits", "turn_warn")],
            format!(
                "limits.turn_stall = \"{}\" must be longer than limits.turn_warn = \"{}\"",
                humantime::format_duration(limits.turn_stall),
                humantime::format_duration(limits.turn_warn)
            ),
        );
    }
    let tls = &config.listen.tls;
    if tls.is_on() == tls.key.as_os_str().is_empty() {
        conflict(
            &[("listen", "tls.cert"), ("listen", "tls.key")],
            "TLS needs both files: listen.tls.cert with the certificate and listen.tls.key with its private key"
                .to_owned(),
        );
    } else if tls.is_on()
        && let Err(error) = Acceptor::load(&tls.cert, &tls.key)
    {
        let of_key = error.file == tls.key;
        conflict(
            if of_key { &[("listen", "tls.key")] } else { &[("listen", "tls.cert")] },
            format!("listen.tls.{}: {error}", if of_key { "key" } else { "cert" }),
        );
    }
    let auth = &config.auth;
    if auth.mode == AuthMode::Jwt && auth.keys.is_empty() && auth.key_files.is_empty() {
        conflict(
            &[("auth", "mode"), ("auth", "keys"), ("auth", "key_files")],
            "auth.mode = \"jwt\" needs keys to verify tokens with: a secret in auth.keys = [\"…\"] (or DORMOUSE__AUTH__KEYS in \
             the environment), or files in auth.key_files = [\"…\"]"
                .to_owned(),
        );
    }
    if auth.mode == AuthMode::Jwt
        && let Err(error) = Keys::load(&auth.keys, &auth.key_files)
    {
        let keys: &[_] = if error.place == "auth.keys" { &[("auth", "keys")] } else { &[("auth", "key_files")] };
        conflict(keys, error.to_string());
    }
    let connect = &config.hooks.connect;
    if auth.mode == AuthMode::Hook && (connect.url.is_empty() || connect.fallback == Fallback::Allow) {
        conflict(
            &[("auth", "mode"), ("hooks", "connect.url"), ("hooks", "connect.fallback")],
            "auth.mode = \"hook\" needs an application that says who a client is: set hooks.connect.url, and \
             hooks.connect.fallback to \"deny\" or \"cached\""
                .to_owned(),
        );
    }
    let identifying = connect.deadline + config.hooks.subscribe.deadline;
    if !connect.url.is_empty() && identifying >= config.session.identify_within {
        conflict(
            &[("hooks", "connect.deadline"), ("hooks", "subscribe.deadline"), ("session", "identify_within")],
            format!(
                "hooks.connect.deadline and hooks.subscribe.deadline, {} together, must be shorter than \
                 session.identify_within = \"{}\"",
                humantime::format_duration(identifying),
                humantime::format_duration(config.session.identify_within)
            ),
        );
    }
    for problem in config.api.keys.iter().filter_map(|key| key.read().err()) {
        conflict(&[("api", "keys")], format!("api.keys: {problem}"));
    }
    if config.auth.mode == AuthMode::Open && !config.listen.addr.ip().to_canonical().is_loopback() {
        conflict(
            &[("auth", "mode"), ("listen", "addr")],
            format!(
                "open auth on {} would let everybody who reaches it be any user: set auth.mode = \"jwt\" with auth.keys or \
                 auth.key_files, or listen on 127.0.0.1:{}",
                config.listen.addr,
                config.listen.addr.port()
            ),
        );
    }
    found
}
