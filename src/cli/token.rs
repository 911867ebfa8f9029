//! `dormouse token`: mints a token for a user, with the first key of the configuration or one given.

use std::time::Duration;

use super::{Answer, Failure, settings};
use crate::{
    clock,
    config::{self, AuthMode},
    token::{self, Claims},
};

/// Make a token for a user
///
/// A JWT signed with HS256 and the first of `auth.keys`, printed alone on stdout. In open mode no token is needed: it is the
/// user name, and that is what is printed.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse token alice --config dormouse.toml
  dormouse token bot --expires 30d --channel 'game:*' --channel chat:lobby --config dormouse.toml
  DORMOUSE__AUTH__KEYS=… dormouse token alice          keeps the key out of `ps`, which --key does not")]
pub(super) struct Args {
    /// Whose token: the user name
    user: String,
    /// How long it is good, such as 15m, 24h or 30d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// Channels it opens, `*` for any run of characters; may be repeated. Without it: all
    #[arg(long = "channel", value_name = "PATTERN")]
    channels: Vec<String>,
    /// Signs with this secret instead of the configuration's
    #[arg(long, value_name = "SECRET")]
    key: Option<String>,
    #[command(flatten)]
    settings: settings::Settings,
}

pub(super) fn run(args: Args) -> Result<Answer, Failure> {
    if args.user.is_empty() {
        return Err(Failure::usage("a user name is not empty"));
    }
    let auth = config::load(&args.settings.sources(None))?.config.auth;
    let Some(key) = args.key.as_ref().or(auth.keys.first()) else {
        let note = "no token is needed in open mode (auth.mode = \"open\"): it is just the user name, which follows; for \
                    signed tokens set auth.mode = \"jwt\" and auth.keys";
        return Ok(Answer { result: args.user, note: Some(note.to_owned()), ..Answer::default() });
    };
    let now = clock::unix_ms() / 1000;
    let claims = Claims {
        user: args.user,
        expires: Some(now.saturating_add(args.expires.as_secs())),
        channels: (!args.channels.is_empty()).then_some(args.channels),
    };
    let token = token::mint(key, &claims, now).map_err(|error| Failure::new(format!("cannot sign: {error}")))?;
    let open = args.key.is_none() && auth.mode == AuthMode::Open;
    let note =
        "auth.mode is \"open\" in this configuration: a server that runs with it takes the whole token for a user name";
    Ok(Answer { result: token, note: open.then(|| note.to_owned()), ..Answer::default() })
}
