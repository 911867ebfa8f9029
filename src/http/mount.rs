//! A behaviour that is served at a path of its own, beside the gateway: what the handshake and the drain need of it, without
//! the type it is made of. `node` mounts them; echo is one.

use std::{pin::Pin, sync::Arc};

use crate::{
    config::Config,
    shard::{AnyShards, Behaviour, IntakeLimits, Reconfigure, Shards, ShardsGone, Transport},
};

/// What a handshake asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// As it was asked for, without the query.
    pub path: String,
    /// Behind the `?`; empty when there is none.
    pub query: String,
    /// The sub-protocol that was agreed on.
    pub protocol: Option<&'static str>,
}

/// How it is mounted.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it is served; with a `/` at its end also everything below.
    pub path: String,
    /// Sub-protocols it speaks; the first that a client offers is agreed on.
    pub protocols: &'static [&'static str],
    /// Pages of any origin may connect.
    pub any_origin: bool,
}

type Done = Pin<Box<dyn Future<Output = Result<(), ShardsGone>>>>;
type Adopt = dyn Fn(Transport, Vec<u8>, Vec<u8>, Requested) -> Done + Send + Sync;
type TakeOver = dyn Fn(&Config) -> Done + Send + Sync;

/// See the module's text.
pub struct Mount {
    /// What operators call it; unique on the node.
    pub name: &'static str,
    pub(super) place: Place,
    pub(super) shards: Arc<dyn AnyShards>,
    adopt: Box<Adopt>,
    take_over: Box<TakeOver>,
}

impl Mount {
    /// Serves `shards` at `place`; `opening` makes of a handshake what the behaviour opens with, `settings` of a configuration
    /// what its turns may read and how much its clients may say.
    pub fn new<B: Behaviour>(
        name: &'static str,
        place: Place,
        shards: Shards<B>,
        opening: impl Fn(Requested) -> B::Opening + Send + Sync + 'static,
        settings: impl Fn(&Config) -> (B::Settings, IntakeLimits) + Send + Sync + 'static,
    ) -> Self {
        let known: Arc<dyn AnyShards> = Arc::new(shards.clone());
        let reached = shards.clone();
        let adopt = move |transport, response, unread, requested| -> Done {
            let (shards, opening) = (shards.clone(), opening(requested));
            Box::pin(async move { shards.adopt(transport, response, unread, opening).await })
        };
        let take_over = move |config: &Config| -> Done {
            let (shards, (settings, intake)) = (reached.clone(), settings(config));
            let settings = Arc::new(settings);
            Box::pin(async move { shards.ask_all(|| Reconfigure(Arc::clone(&settings), intake)).await.map(drop) })
        };
        Self { name, place, shards: known, adopt: Box::new(adopt), take_over: Box::new(take_over) }
    }

    /// From now on this configuration is in force.
    ///
    /// # Errors
    /// When the node is ending.
    pub async fn take_over(&self, config: &Config) -> Result<(), ShardsGone> {
        (self.take_over)(config).await
    }

    /// Whether it is what a path leads to.
    pub(super) fn serves(&self, path: &str) -> bool {
        let own = &*self.place.path;
        own == path || (own.ends_with('/') && path.starts_with(own))
    }

    /// Hands a socket to the next shard in turn.
    pub(super) async fn adopt(
        &self,
        transport: Transport,
        response: Vec<u8>,
        unread: Vec<u8>,
        requested: Requested,
    ) -> Result<(), ShardsGone> {
        (self.adopt)(transport, response, unread, requested).await
    }
}
