//! SIGHUP: the configuration is read again as a whole, with its files and its environment as the process has it. What can change
//! while clients are connected changes at once, what cannot is named in the log, and a mistake anywhere changes nothing.

use std::{collections::BTreeMap, sync::Arc};

use toml::Value;

use crate::{
    config::Config,
    connection::Settings,
    hooks::Hooks,
    http::{ApiKeys, Gateway},
    shard::{IntakeLimits, Reconfigure},
    telemetry::LogFilter,
    tls::TlsError,
};

/// Keys that a running node takes over; a `*` at the end stands for everything that begins so.
const LIVE: &[&str] = &[
    "listen.compression",
    "listen.drain",
    "listen.drain_pace",
    "listen.origins",
    "limits.max_connections",
    "limits.max_frame_bytes",
    "limits.subscriptions",
    "limits.publish_per_second",
    "limits.publish_burst",
    "limits.frames_per_second",
    "limits.bytes_per_second",
    "limits.connections_per_address",
    "limits.handshakes_per_second",
    "limits.bad_frames",
    "heartbeat.*",
    "session.*",
    "auth.keys",
    "auth.key_files",
    "auth.issuer",
    "auth.audience",
    "api.*",
    "chaos.*",
    "telemetry.log",
];
/// Of each namespace.
const LIVE_OF_NAMESPACES: &[&str] = &["subscribe", "publish", "join"];

/// Reads the configuration again; a sentence when there is none.
pub(super) type Source = Box<dyn Fn() -> Result<Config, String> + Send>;

/// Everything that a reload reaches.
pub(super) struct Reload {
    /// `None`: there is nothing to read.
    pub(super) source: Option<Source>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) hooks: Hooks,
    /// `None`: logs are not the node's business.
    pub(super) logs: Option<LogFilter>,
    /// What the descriptors of this process allow.
    pub(super) most_connections: usize,
}

/// A configuration with the changes that can be made, and the keys of all of them.
#[derive(Debug, PartialEq)]
struct Change {
    config: Config,
    made: Vec<String>,
    put_off: Vec<String>,
}

impl Reload {
    /// Reads and takes over. Nothing is half done: the log says what was, or why nothing was.
    pub(super) async fn run(&self) {
        match self.take_over().await {
            Ok(Change { made, put_off, .. }) => {
                tracing::info!(changed = made.join(", "), "configuration read again");
                if !put_off.is_empty() {
                    tracing::warn!(keys = put_off.join(", "), "these have changed and need a restart");
                }
            }
            Err(error) => tracing::error!(%error, "the configuration stays as it was"),
        }
    }

    async fn take_over(&self) -> Result<Change, String> {
        let before = self.gateway.config();
        let Some(source) = &self.source else { return Err("it was not read from anywhere".to_owned()) };
        let mut wanted = source()?;
        wanted.limits.max_connections = wanted.limits.max_connections.min(self.most_connections);
        let change = changes(&before, &wanted).map_err(|error| error.to_string())?;
        let config = &change.config;
        // What is wanted is right as a whole; the part of it that can be had now must be too.
        if let Some(first) = config.contradictions().first() {
            return Err(format!("{} needs a restart, and without it: {first}", change.put_off.join(", ")));
        }
        // Whatever can fail comes before whatever changes something.
        let settings = Settings::new(config, self.gateway.node.clone()).map_err(|error| error.to_string())?;
        let settings = Arc::new(settings.with_hooks(self.hooks.clone()));
        let keys = ApiKeys::new(&config.api)?;
        let files = &config.listen.tls;
        let tls = self.gateway.tls.as_ref().map(|acceptor| Ok((acceptor, acceptor.read(&files.cert, &files.key)?)));
        let tls = tls.transpose().map_err(|error: TlsError| error.to_string())?;
        if let Some(logs) = &self.logs {
            logs.set(&config.telemetry).map_err(|error| error.to_string())?;
        }
        if let Some((acceptor, certificate)) = tls {
            acceptor.show(certificate);
        }
        self.gateway.keys.replace(keys);
        self.gateway.reconfigure(config.clone());
        let intake = IntakeLimits::new(&config.limits);
        let told = self.gateway.shards.ask_all(|| Reconfigure(Arc::clone(&settings), intake)).await;
        told.map_err(|error| error.to_string())?;
        for mount in &self.gateway.mounts {
            mount.take_over(config).await.map_err(|error| error.to_string())?;
        }
        Ok(change)
    }
}

/// What of `wanted` a node that runs with `before` can take over.
fn changes(before: &Config, wanted: &Config) -> anyhow::Result<Change> {
    let (old, new) = (Value::try_from(before)?, Value::try_from(wanted)?);
    let (old_leaves, new_leaves) = (leaves(&old), leaves(&new));
    let (mut merged, mut made, mut put_off) = (old.clone(), Vec::new(), Vec::new());
    let names = old_leaves.keys().chain(new_leaves.keys()).collect::<std::collections::BTreeSet<_>>();
    for name in names {
        if old_leaves.get(name) == new_leaves.get(name) {
            continue;
        }
        match new_leaves.get(name).filter(|_| is_live(name) && old_leaves.contains_key(name)) {
            Some(value) => {
                put(&mut merged, name, (*value).clone());
                made.push(name.join("."));
            }
            None => put_off.push(name.join(".")),
        }
    }
    Ok(Change { config: merged.try_into()?, made, put_off })
}

fn is_live(name: &[String]) -> bool {
    let dotted = name.join(".");
    if let [table, .., key] = name
        && table == "channels"
    {
        return LIVE_OF_NAMESPACES.contains(&key.as_str());
    }
    LIVE.iter().any(|live| match live.strip_suffix('*') {
        Some(start) => dotted.starts_with(start),
        None => dotted == *live,
    })
}

/// Every key with its value. Lists are values.
fn leaves(value: &Value) -> BTreeMap<Vec<String>, &Value> {
    fn walk<'a>(value: &'a Value, above: &mut Vec<String>, found: &mut BTreeMap<Vec<String>, &'a Value>) {
        match value {
            Value::Table(table) => {
                for (key, value) in table {
                    above.push(key.clone());
                    walk(value, above, found);
                    above.pop();
                }
            }
            value => {
                found.insert(above.clone(), value);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(value, &mut Vec::new(), &mut found);
    found
}

fn put(root: &mut Value, name: &[String], value: Value) {
    let mut here = root;
    for part in name {
        let Some(inner) = here.get_mut(part) else { return };
        here = inner;
    }
    *here = value;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_can_change_is_taken_over_and_the_rest_is_named() {
        let before = Config::default();
        let mut wanted = before.clone();
        wanted.limits.bad_frames = 3;
        wanted.heartbeat.interval = Duration::from_secs(7);
        wanted.shards.count = 9;
        wanted.store.commit = Duration::from_millis(1);
        wanted.chaos.enabled = true;
        let change = changes(&before, &wanted).expect("comparable");
        assert_eq!(change.made, ["chaos.enabled", "heartbeat.interval", "limits.bad_frames"]);
        assert_eq!(change.put_off, ["shards.count", "store.commit"]);
        assert_eq!(change.config.limits.bad_frames, 3);
        assert_eq!(change.config.heartbeat.interval, Duration::from_secs(7));
        assert_eq!(
            (change.config.shards.count, change.config.store.commit),
            (before.shards.count, before.store.commit)
        );
    }

    #[test]
    fn nothing_new_is_no_change() {
        let config = Config::default();
        let change = changes(&config, &config).expect("comparable");
        assert_eq!(change, Change { config, made: Vec::new(), put_off: Vec::new() });
    }

    #[test]
    fn every_live_key_is_one_that_exists() {
        let value = Value::try_from(Config::default()).expect("a table");
        let known: Vec<String> = leaves(&value).keys().map(|name| name.join(".")).collect();
        for live in LIVE {
            let found = match live.strip_suffix('*') {
                Some(start) => known.iter().any(|name| name.starts_with(start)),
                None => known.iter().any(|name| name == live),
            };
            assert!(found, "{live}");
        }
    }
}
