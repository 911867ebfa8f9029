//! `dormouse token`: mints a token for a user, with a private key, a secret, or the first secret of the configuration.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Answer, Failure, settings};
use crate::{
    clock,
    config::{self, Auth, AuthMode},
    token::{Lists, Minting, SigningKey},
};

/// Make a token for a user
///
/// A JWT, printed alone on stdout. --key-file signs with RS256, ES256 or EdDSA, as the private key in it is; otherwise HS256
/// with --key or the first of `auth.keys`. In open mode no token is needed: it is the user name, and that is what is printed.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse token alice --config dormouse.toml
  dormouse token bot --expires 30d --channel 'game:*' --channel chat:lobby --config dormouse.toml
  dormouse token viewer --subscribe 'news:*' --key-file private.pem --kid 2026-10
  DORMOUSE__AUTH__KEYS=… dormouse token alice          keeps the key out of `ps`, which --key does not")]
pub(super) struct Args {
    /// Whose token: the user name
    user: String,
    /// How long it is good, such as 15m, 24h or 30d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// Channels it opens, `*` for any run of characters; may be repeated. Without any pattern: all channels
    #[arg(long = "channel", value_name = "PATTERN")]
    channels: Vec<String>,
    /// Channels it may subscribe to, instead of --channel; may be repeated
    #[arg(long, value_name = "PATTERN")]
    subscribe: Vec<String>,
    /// Channels it may publish in, instead of --channel; may be repeated
    #[arg(long, value_name = "PATTERN")]
    publish: Vec<String>,
    /// Channels it may join, instead of --channel; may be repeated
    #[arg(long, value_name = "PATTERN")]
    join: Vec<String>,
    /// Signs with this secret instead of the configuration's
    #[arg(long, value_name = "SECRET", conflicts_with = "key_file")]
    key: Option<String>,
    /// Signs with the private key in this file (PEM: RSA, EC on P-256, Ed25519)
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Name of the key, as the server's JWKS calls it
    #[arg(long, value_name = "NAME")]
    kid: Option<String>,
    #[command(flatten)]
    settings: settings::Settings,
}

pub(super) fn run(args: Args) -> Result<Answer, Failure> {
    if args.user.is_empty() {
        return Err(Failure::usage("a user name is not empty"));
    }
    let auth = config::load(&args.settings.sources(None))?.config.auth;
    let explicit = args.key.is_some() || args.key_file.is_some();
    let Some(key) = signing_key(args.key.as_deref(), args.key_file.as_deref(), &auth)? else {
        if auth.mode == AuthMode::Jwt {
            return Err(Failure::usage(
                "auth.key_files only verify, and auth.keys is empty: name the private key with --key-file",
            ));
        }
        if auth.mode == AuthMode::Hook {
            return Err(Failure::usage(
                "with auth.mode \"hook\" the application makes the tokens: only it knows what they are",
            ));
        }
        let note = "no token is needed in open mode (auth.mode = \"open\"): it is just the user name, which follows; for \
                    signed tokens set auth.mode = \"jwt\" and auth.keys";
        return Ok(Answer { result: args.user, note: Some(note.to_owned()), ..Answer::default() });
    };
    let now = clock::unix_ms() / 1000;
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let text = |text: String| (!text.is_empty()).then_some(text);
    let minting = Minting {
        sub: args.user,
        iat: now,
        exp: Some(now.saturating_add(args.expires.as_secs())),
        iss: text(auth.issuer),
        aud: text(auth.audience),
        lists: Lists {
            channels: some(args.channels),
            subscribe: some(args.subscribe),
            publish: some(args.publish),
            join: some(args.join),
        },
    };
    let token = key.mint(&minting, args.kid).map_err(|error| Failure::new(format!("cannot sign: {error}")))?;
    let open = !explicit && auth.mode == AuthMode::Open;
    let note =
        "auth.mode is \"open\" in this configuration: a server that runs with it takes the whole token for a user name";
    Ok(Answer { result: token, note: open.then(|| note.to_owned()), ..Answer::default() })
}

/// The key that was given, else the first secret of the configuration.
fn signing_key(key: Option<&str>, file: Option<&Path>, auth: &Auth) -> Result<Option<SigningKey>, Failure> {
    if let Some(file) = file {
        return SigningKey::from_file(file).map(Some).map_err(|error| Failure::usage(error.to_string()));
    }
    Ok(key.or(auth.keys.first().map(String::as_str)).map(SigningKey::from_secret))
}
