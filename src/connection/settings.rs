//! What every turn of a connection may read: limits, times, who is let in. Made once by `node`, shared by all shards.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    config::{AuthMode, Config},
    connection::rate::Limit,
    protocol::name,
    token::{Claims, Verifier},
};

/// See the module's text. Serialized without its secrets, for crash files.
#[derive(Serialize, Deserialize)]
pub struct Settings {
    pub(crate) node: String,
    pub(crate) heartbeat: Duration,
    pub(crate) identify_within: Duration,
    pub(crate) resume_window: Duration,
    pub(crate) max_frame_bytes: usize,
    pub(crate) subscriptions: usize,
    pub(crate) publish: Limit,
    /// Refused publishes in a minute that end a connection.
    pub(crate) most_refused: u32,
    pub(crate) bad_frames: u32,
    pub(crate) chaos: bool,
    auth: Auth,
    /// Instead of what authentication would say, in a replay: the keys are no part of a crash file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claims: Option<Result<Claims, String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auth {
    /// The token is the user name.
    Open,
    /// The token is a JWT. Read back, it accepts none.
    Jwt(#[serde(skip, default = "accepts_none")] Box<Verifier>),
}

fn accepts_none() -> Box<Verifier> {
    Box::new(Verifier::new::<&str>(&[]))
}

/// A client that goes on publishing at twenty times its burst within a minute is not going to stop.
const REFUSED_PER_BURST: u32 = 20;

impl Settings {
    /// The settings a configuration asks for; `node` is this node's name.
    #[must_use]
    pub fn new(config: &Config, node: String) -> Self {
        let limits = &config.limits;
        Self {
            node,
            heartbeat: config.heartbeat.interval,
            identify_within: config.session.identify_within,
            resume_window: config.session.resume_window,
            max_frame_bytes: limits.max_frame_bytes,
            subscriptions: limits.subscriptions,
            publish: Limit::new(limits.publish_per_second, limits.publish_burst),
            most_refused: limits.publish_burst.saturating_mul(REFUSED_PER_BURST).min(u32::from(u16::MAX) - 1),
            bad_frames: limits.bad_frames,
            chaos: config.chaos.enabled,
            auth: match config.auth.mode {
                AuthMode::Open => Auth::Open,
                AuthMode::Jwt => Auth::Jwt(Box::new(Verifier::new(&config.auth.keys))),
            },
            claims: None,
        }
    }

    /// Whom a token stands for.
    pub(crate) fn authenticate(&self, token: &str, unix_ms: u64) -> Result<Claims, String> {
        if let Some(claims) = &self.claims {
            return claims.clone();
        }
        let claims = match &self.auth {
            Auth::Open => Claims { user: token.to_owned(), expires: None, channels: None },
            Auth::Jwt(verifier) => verifier.verify(token, unix_ms / 1000).map_err(|error| error.to_string())?,
        };
        name::check_user(&claims.user).map_err(|error| error.to_string())?;
        Ok(claims)
    }

    /// Tokens can be renewed: they expire.
    pub(crate) fn renews_tokens(&self) -> bool {
        matches!(self.auth, Auth::Jwt(_))
    }
}
