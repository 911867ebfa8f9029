//! What each namespace of channels keeps and tells, resolved once so that asking is a lookup.
//!
//! A namespace is what stands before the first `:` of a channel name. Its settings are, key by key: the file's
//! `[channels."NAME"]`, else the built-in's (`chat`, `dm`, `live`), else `[channels.defaults]`. Who may enter a channel is said
//! here and decided by the connection. Asked by channel homes and by whoever subscribes or publishes.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::duration;

/// The table that every namespace without one of its own uses. So a namespace cannot be called that.
const DEFAULTS: &str = "defaults";

/// Who may do something in the channels of a namespace. What a token says about channels holds beside it: who is allowed
/// here may be refused there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// Every user.
    #[default]
    Anyone,
    /// Who is subscribed to the channel; only for publishing.
    Subscriber,
    /// Whose token names the channel.
    Claim,
    /// No client; the HTTP API alone.
    Nobody,
}

/// The settings of one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Publications are on disk before their reply, and survive the process.
    pub durable: bool,
    /// Events kept for replay; 0 keeps none.
    pub history_events: usize,
    /// Events older than this are forgotten.
    #[serde(with = "duration")]
    pub history_age: Duration,
    /// Whether who is here can be asked and is told.
    pub presence: bool,
    /// Whether delivered and read cursors are told to others.
    pub receipts: bool,
    /// Most missed events replayed to one subscriber; the rest is told as a `gap`.
    pub catch_up_limit: usize,
    /// Who may subscribe, look at the history and at who is there.
    #[serde(default)]
    pub subscribe: Who,
    /// Who may publish and signal.
    #[serde(default)]
    pub publish: Who,
    /// Who may become a member.
    #[serde(default)]
    pub join: Who,
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            durable: false,
            history_events: 256,
            history_age: Duration::from_secs(60 * 60),
            presence: false,
            receipts: false,
            catch_up_limit: 500,
            subscribe: Who::Anyone,
            publish: Who::Anyone,
            join: Who::Anyone,
        }
    }
}

/// One `[channels."NAME"]` as written: only what differs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NamespaceTable {
    durable: Option<bool>,
    history_events: Option<usize>,
    #[serde(deserialize_with = "duration::optional::deserialize")]
    history_age: Option<Duration>,
    presence: Option<bool>,
    receipts: Option<bool>,
    catch_up_limit: Option<usize>,
    subscribe: Option<Who>,
    publish: Option<Who>,
    join: Option<Who>,
}

impl NamespaceTable {
    fn over(&self, below: &Namespace) -> Namespace {
        Namespace {
            durable: self.durable.unwrap_or(below.durable),
            history_events: self.history_events.unwrap_or(below.history_events),
            history_age: self.history_age.unwrap_or(below.history_age),
            presence: self.presence.unwrap_or(below.presence),
            receipts: self.receipts.unwrap_or(below.receipts),
            catch_up_limit: self.catch_up_limit.unwrap_or(below.catch_up_limit),
            subscribe: self.subscribe.unwrap_or(below.subscribe),
            publish: self.publish.unwrap_or(below.publish),
            join: self.join.unwrap_or(below.join),
        }
    }
}

/// The namespaces that exist without a file (CONTRACT §4).
fn built_in() -> [(&'static str, NamespaceTable); 3] {
    let conversation = NamespaceTable {
        durable: Some(true),
        history_events: Some(1000),
        history_age: Some(Duration::from_secs(7 * 24 * 60 * 60)),
        presence: Some(true),
        receipts: Some(true),
        ..NamespaceTable::default()
    };
    let stream = NamespaceTable {
        durable: Some(false),
        history_events: Some(0),
        presence: Some(false),
        receipts: Some(false),
        ..NamespaceTable::default()
    };
    [("chat", conversation.clone()), ("dm", conversation), ("live", stream)]
}

/// All namespaces of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, NamespaceTable>")]
pub struct Namespaces {
    defaults: Namespace,
    #[serde(flatten)]
    named: BTreeMap<String, Namespace>,
}

impl Namespaces {
    /// The settings of a channel by its whole name: `chat:lobby` uses those of `chat`, a name without `:` the defaults.
    #[must_use]
    pub fn of(&self, channel: &str) -> &Namespace {
        channel.split_once(':').map_or(&self.defaults, |(namespace, _)| self.named(namespace))
    }

    /// The settings of a namespace by its own name.
    #[must_use]
    pub fn named(&self, namespace: &str) -> &Namespace {
        self.named.get(namespace).unwrap_or(&self.defaults)
    }

    /// Every namespace that has settings of its own, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        self.named.iter().map(|(name, namespace)| (name.as_str(), namespace))
    }

    /// The settings of every name without a table of its own.
    #[must_use]
    pub fn defaults(&self) -> &Namespace {
        &self.defaults
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        BTreeMap::new().into()
    }
}

impl From<BTreeMap<String, NamespaceTable>> for Namespaces {
    fn from(mut tables: BTreeMap<String, NamespaceTable>) -> Self {
        let defaults = tables.remove(DEFAULTS).unwrap_or_default().over(&Namespace::default());
        let mut named: BTreeMap<_, _> =
            built_in().into_iter().map(|(name, table)| (name.to_owned(), table.over(&defaults))).collect();
        for (name, table) in tables {
            let below = named.get(&name).unwrap_or(&defaults);
            let namespace = table.over(below);
            named.insert(name, namespace);
        }
        Self { defaults, named }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(text: &str) -> Namespaces {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_namespace_is_what_stands_before_the_first_colon() {
        let all = Namespaces::default();
        assert!(all.of("chat:lobby").durable);
        assert!(all.of("chat:a:b").durable);
        assert_eq!(all.of("dm:alice+bob"), all.named("chat"));
        assert_eq!(all.of("live:score").history_events, 0);
        assert_eq!(all.of("chat"), &Namespace::default());
        assert_eq!(all.of("chatter:x"), &Namespace::default());
        assert_eq!(all.of(":x"), &Namespace::default());
    }

    #[test]
    fn a_table_overrides_a_built_in_namespace_key_by_key() {
        let all = namespaces("[chat]\nhistory_events = 5");
        assert_eq!(all.of("chat:x"), &Namespace { history_events: 5, ..Namespaces::default().named("chat").clone() });
        assert_eq!(all.named("dm"), Namespaces::default().named("dm"));
    }

    #[test]
    fn defaults_reach_every_namespace_that_does_not_say_otherwise() {
        let all = namespaces("[defaults]\ncatch_up_limit = 7\npresence = true\n[game]\ndurable = true");
        assert_eq!(all.of("anything").catch_up_limit, 7);
        assert_eq!(all.of("chat:x").catch_up_limit, 7);
        assert_eq!(all.of("game:x"), &Namespace { durable: true, ..all.of("plain").clone() });
        assert!(all.of("game:x").presence);
        assert!(!all.of("live:x").presence, "live says no itself");
    }
}
