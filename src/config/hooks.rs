//! `[hooks]`: where the application's backend is asked, how long for, and what counts while it does not answer.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::duration;

/// `[hooks]`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// Sent to the backend as a bearer, so that it knows who asks; empty: none.
    pub key: String,
    /// Calls of each hook that may be under way; the next one falls back at once.
    pub in_flight: usize,
    /// Attempts after the first, where that is safe.
    pub retries: u32,
    /// Failures in a row after which a hook is not called for a while.
    pub breaker_failures: u32,
    /// How long that is.
    #[serde(with = "duration")]
    pub breaker_pause: Duration,
    /// How long an answer is good for the fallback "cached".
    #[serde(with = "duration")]
    pub cached_for: Duration,
    /// When a client identifies.
    pub connect: UserHook,
    /// When a client subscribes or joins.
    pub subscribe: ChannelHook,
    /// When a client publishes.
    pub publish: ChannelHook,
    /// The op `rpc`.
    pub rpc: PlainHook,
    /// When a client is gone.
    pub disconnect: PlainHook,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            key: String::new(),
            in_flight: 256,
            retries: 2,
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(5),
            cached_for: Duration::from_secs(60 * 60),
            connect: UserHook::default(),
            subscribe: ChannelHook::default(),
            publish: ChannelHook::default(),
            rpc: PlainHook::default(),
            disconnect: PlainHook::default(),
        }
    }
}

impl Hooks {
    /// Whether one has an address.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.urls().iter().any(|url| !url.is_empty())
    }

    fn urls(&self) -> [&String; 5] {
        let Self { connect, subscribe, publish, rpc, disconnect, .. } = self;
        [&connect.url, &subscribe.url, &publish.url, &rpc.url, &disconnect.url]
    }
}

/// The key stays out of logs and panics.
impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("urls", &self.urls()).finish_non_exhaustive()
    }
}

/// What counts while the backend does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// Yes.
    Allow,
    /// The client is told to try again later.
    #[default]
    Deny,
    /// What the backend last said about the same, else as `Deny`.
    Cached,
}

/// A hook without a fallback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlainHook {
    /// Empty: off.
    pub url: String,
    /// For all attempts together.
    #[serde(with = "duration")]
    pub deadline: Duration,
}

/// A hook about a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserHook {
    /// Empty: off.
    pub url: String,
    /// For all attempts together.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// What counts without an answer.
    pub fallback: Fallback,
}

/// A hook about a user and a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelHook {
    /// Empty: off.
    pub url: String,
    /// For all attempts together.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// What counts without an answer.
    pub fallback: Fallback,
    /// Channels of these are asked about; empty: all.
    pub namespaces: Vec<String>,
}

const DEADLINE: Duration = Duration::from_secs(2);

impl Default for PlainHook {
    fn default() -> Self {
        Self { url: String::new(), deadline: DEADLINE }
    }
}

impl Default for UserHook {
    fn default() -> Self {
        Self { url: String::new(), deadline: DEADLINE, fallback: Fallback::default() }
    }
}

impl Default for ChannelHook {
    fn default() -> Self {
        Self { url: String::new(), deadline: DEADLINE, fallback: Fallback::default(), namespaces: Vec::new() }
    }
}
