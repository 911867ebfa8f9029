//! The configuration (CONTRACT §4): typed, complete and checked before anything starts.
//!
//! Owns the types ([`Config`] and a section per table), their defaults, the rules a value must meet (`rules`), and the
//! layering of defaults, file, environment and `--set` (`load`). Every refusal names the line, variable or flag that caused
//! it, and what would be right. Must never start anything, read a clock or log. Called by the command line, which hands the
//! finished [`Config`] to the node; below that, parts are handed the section they need.

mod api_key;
mod conflicts;
mod duration;
mod file;
mod hooks;
mod key;
mod load;
mod namespaces;
mod rules;
mod sections;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use api_key::{ApiKey, Scope};
pub use hooks::{ChannelHook, Fallback, Hooks, PlainHook, UserHook};
pub use key::{Key, Origin, Setting};
pub use load::{LoadError, Loaded, Problem, Sources, load};
pub use namespaces::{Namespace, Namespaces, Who};
pub use sections::{
    Api, Auth, AuthMode, Chaos, Echo, Engine, Heartbeat, Limits, Listen, LogFormat, OnStall, Presence, Session, Shards,
    Store, Supervision, Telemetry, Tls,
};

/// Everything a node can be told. `Config::default()` is what plain `dormouse serve` runs with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen and how to leave.
    pub listen: Listen,
    /// How many shards and how they share their turns.
    pub shards: Shards,
    /// What one client, or all of them, may use.
    pub limits: Limits,
    /// How silence is noticed.
    pub heartbeat: Heartbeat,
    /// How sessions begin and how long they outlive a socket.
    pub session: Session,
    /// How often an actor may crash.
    pub supervision: Supervision,
    /// How presence is told.
    pub presence: Presence,
    /// What each namespace of channels keeps and tells.
    pub channels: Namespaces,
    /// Where durable channels are kept.
    pub store: Store,
    /// Who may connect.
    pub auth: Auth,
    /// Who may use the HTTP API.
    pub api: Api,
    /// What the application's backend decides.
    pub hooks: Hooks,
    /// Faults on demand.
    pub chaos: Chaos,
    /// The echo endpoint for conformance suites.
    pub echo: Echo,
    /// What is logged, and how.
    pub telemetry: Telemetry,
}

impl Config {
    /// The settings of a namespace by its name (`chat`, without the colon); those of `[channels.defaults]` for a name that
    /// has no table. With a whole channel name in hand, ask [`Namespaces::of`].
    #[must_use]
    pub fn namespace(&self, name: &str) -> &Namespace {
        self.channels.named(name)
    }

    /// What contradicts itself in it, in sentences. A configuration that was loaded has none of that; one put together of two
    /// may.
    #[must_use]
    pub fn contradictions(&self) -> Vec<String> {
        conflicts::find(self).into_iter().map(|conflict| conflict.message).collect()
    }
}
