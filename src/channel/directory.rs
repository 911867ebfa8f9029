//! Which channels exist and which shard is home to each. Shared by all shards and the HTTP side; the only state of the
//! node that is, so it holds names and settings and nothing that changes with traffic.
//!
//! A channel's home follows from its name alone, so that two shards that make the same entry at once agree.

use std::{
    borrow::Borrow,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use dashmap::DashSet;
use serde::{Deserialize, Serialize};

use crate::{
    config::{Namespace, Namespaces},
    store::Store,
};

/// What never changes about a channel.
#[derive(Debug, Serialize, Deserialize)]
pub struct Channel {
    /// Its name.
    pub name: Box<str>,
    /// The shard that gives out its offsets.
    pub home: u16,
    /// The settings of its namespace.
    pub namespace: Arc<Namespace>,
}

impl PartialEq for Channel {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Channel {}

impl Hash for Channel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Lets an entry be found by its name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Entry(Arc<Channel>);

impl Borrow<str> for Entry {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

/// See the module's text.
pub struct Directory {
    channels: DashSet<Entry>,
    namespaces: Vec<(Box<str>, Arc<Namespace>)>,
    defaults: Arc<Namespace>,
    salt: u64,
    shards: u16,
    /// Knows durable channels that nobody has asked for since the start.
    store: Option<Store>,
}

impl Directory {
    /// An empty directory for a node of `shards` shards. `salt` decides which shard is home to which name, and is nobody
    /// else's to know: names that all have one home would burden it.
    #[must_use]
    pub fn new(namespaces: &Namespaces, shards: u16, salt: u64) -> Self {
        Self {
            channels: DashSet::new(),
            namespaces: namespaces.iter().map(|(name, namespace)| (name.into(), Arc::new(namespace.clone()))).collect(),
            defaults: Arc::new(namespaces.of("").clone()),
            salt,
            shards,
            store: None,
        }
    }

    /// With what a store has kept.
    #[must_use]
    pub fn with_store(self, store: Store) -> Self {
        Self { store: Some(store), ..self }
    }

    /// The channel of that name, made if need be.
    #[must_use]
    pub fn intern(&self, name: &str) -> Arc<Channel> {
        self.in_use(name).unwrap_or_else(|| self.make(name))
    }

    /// Shards of the node.
    pub(super) fn shards(&self) -> u16 {
        self.shards
    }

    /// What the channel of that name would be.
    #[must_use]
    pub fn imagine(&self, name: &str) -> Arc<Channel> {
        Arc::new(Channel { name: name.into(), home: self.shard_of(name), namespace: self.namespace(name) })
    }

    /// The shard with the desk of that user.
    #[must_use]
    pub fn desk(&self, user: &str) -> u16 {
        self.shard_of(user)
    }

    /// What stands for a name where the name would take too much memory.
    pub(super) fn hash(&self, name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.salt, name).hash(&mut hasher);
        hasher.finish()
    }

    fn shard_of(&self, name: &str) -> u16 {
        (self.hash(name) % u64::from(self.shards)) as u16
    }

    /// The channel of that name, if it exists.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Channel>> {
        self.in_use(name).or_else(|| {
            let store = self.store.as_ref().filter(|_| self.namespace(name).durable)?;
            store.archive().extent(name).map(|_| self.make(name))
        })
    }

    fn in_use(&self, name: &str) -> Option<Arc<Channel>> {
        self.channels.get(name).map(|entry| Arc::clone(&entry.0))
    }

    fn make(&self, name: &str) -> Arc<Channel> {
        self.channels.insert(Entry(self.imagine(name)));
        // Another thread may have been first: then its entry is the one.
        self.in_use(name).unwrap_or_else(|| self.make(name))
    }

    /// Puts an entry back that a home still in use was made from.
    pub(super) fn keep(&self, channel: &Arc<Channel>) {
        if !self.channels.contains(&*channel.name) {
            self.channels.insert(Entry(Arc::clone(channel)));
        }
    }

    /// Forgets a channel whose home is gone.
    pub(super) fn remove(&self, name: &str) {
        self.channels.remove(name);
    }

    /// Existing channels whose names begin with `prefix`, sorted, at most `limit`.
    #[must_use]
    pub fn list(&self, prefix: &str, limit: usize) -> Vec<Arc<Channel>> {
        let begins = |entry: &Entry| entry.0.name.starts_with(prefix);
        let mut found: Vec<_> =
            self.channels.iter().filter(|entry| begins(entry.key())).map(|entry| Arc::clone(&entry.key().0)).collect();
        let kept = self.store.iter().flat_map(|store| store.archive().channels(prefix, limit));
        found.extend(kept.filter(|name| !self.channels.contains(&**name)).map(|name| self.imagine(&name)));
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        found.truncate(limit);
        found
    }

    fn namespace(&self, channel: &str) -> Arc<Namespace> {
        let named = channel.split_once(':').and_then(|(name, _)| {
            self.namespaces.iter().find(|(known, _)| **known == *name).map(|(_, namespace)| namespace)
        });
        Arc::clone(named.unwrap_or(&self.defaults))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_name_is_one_channel_with_its_namespace() {
        let directory = Directory::new(&Config::default().channels, 2, 0);
        let first = directory.intern("chat:lobby");
        assert!(Arc::ptr_eq(&first, &directory.intern("chat:lobby")));
        assert!(first.namespace.presence);
        assert!(!directory.intern("plain").namespace.presence);
        assert_eq!(directory.list("chat:", 10).len(), 1);
        directory.remove("chat:lobby");
        assert!(directory.get("chat:lobby").is_none());
        directory.keep(&first);
        assert!(Arc::ptr_eq(&first, &directory.intern("chat:lobby")));
    }
}
