//! What every turn of a connection may read: limits, times, who is let in. Made once by `node`, shared by all shards.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    config::{self, AuthMode, Config},
    connection::{
        access::{self, Rules},
        rate::Limit,
    },
    hooks::Hooks,
    protocol::name,
    token::{Claims, Expected, KeyError, Keys, Verifier},
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
    /// Who may do what in which namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rules: Rules,
    /// What the application's backend decides.
    #[serde(default, skip_serializing_if = "Hooks::are_none")]
    pub(crate) hooks: Hooks,
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
    /// The backend says whom the token stands for.
    Hook,
}

fn accepts_none() -> Box<Verifier> {
    Box::new(Verifier::new(Keys::default(), Expected::default()))
}

/// A client that goes on publishing at twenty times its burst within a minute is not going to stop.
const REFUSED_PER_BURST: u32 = 20;

impl Settings {
    /// The settings a configuration asks for; `node` is this node's name.
    ///
    /// # Errors
    /// A file with keys has gone bad since the configuration was checked.
    pub fn new(config: &Config, node: String) -> Result<Self, KeyError> {
        let limits = &config.limits;
        Ok(Self {
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
            rules: access::rules(&config.channels),
            auth: match config.auth.mode {
                AuthMode::Open => Auth::Open,
                AuthMode::Jwt => Auth::Jwt(Box::new(verifier(&config.auth)?)),
                AuthMode::Hook => Auth::Hook,
            },
            hooks: Hooks::default(),
            claims: None,
        })
    }

    /// With a backend that is asked.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Whom a token stands for; `None` when only the backend can say.
    pub(crate) fn authenticate(&self, token: &str, unix_ms: u64) -> Result<Option<Claims>, String> {
        if let Some(claims) = &self.claims {
            return claims.clone().map(Some);
        }
        let claims = match &self.auth {
            Auth::Open => Claims { user: token.to_owned(), expires: None, grants: None },
            Auth::Jwt(verifier) => verifier.verify(token, unix_ms / 1000).map_err(|error| error.to_string())?,
            Auth::Hook => return Ok(None),
        };
        name::check_user(&claims.user).map_err(|error| error.to_string())?;
        Ok(Some(claims))
    }

    /// Only the backend knows what a token is.
    pub(crate) fn backend_knows_tokens(&self) -> bool {
        matches!(self.auth, Auth::Hook)
    }

    /// Tokens can be renewed: they expire.
    pub(crate) fn renews_tokens(&self) -> bool {
        matches!(self.auth, Auth::Jwt(_) | Auth::Hook)
    }
}

fn verifier(auth: &config::Auth) -> Result<Verifier, KeyError> {
    let wanted = |text: &String| (!text.is_empty()).then(|| text.clone());
    let expected = Expected { issuer: wanted(&auth.issuer), audience: wanted(&auth.audience) };
    Ok(Verifier::new(Keys::load(&auth.keys, &auth.key_files)?, expected))
}
