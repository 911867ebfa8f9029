//! A behaviour that is served at a path of its own, beside the gateway: what the handshake and the drain need of it, without
//! the type it is made of. `node` mounts them; echo is one.

use std::{pin::Pin, sync::Arc};

use crate::shard::{AnyShards, Behaviour, Shards, ShardsGone, Transport};

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

type Adopted = Pin<Box<dyn Future<Output = Result<(), ShardsGone>>>>;
type Adopt = dyn Fn(Transport, Vec<u8>, Vec<u8>, Requested) -> Adopted + Send + Sync;

/// See the module's text.
pub struct Mount {
    /// What operators call it; unique on the node.
    pub name: &'static str,
    pub(super) place: Place,
    pub(super) shards: Arc<dyn AnyShards>,
    adopt: Box<Adopt>,
}

impl Mount {
    /// Serves `shards` at `place`; `opening` makes of a handshake what the behaviour opens with.
    pub fn new<B: Behaviour>(
        name: &'static str,
        place: Place,
        shards: Shards<B>,
        opening: impl Fn(Requested) -> B::Opening + Send + Sync + 'static,
    ) -> Self {
        let known: Arc<dyn AnyShards> = Arc::new(shards.clone());
        let adopt = move |transport, response, unread, requested| -> Adopted {
            let (shards, opening) = (shards.clone(), opening(requested));
            Box::pin(async move { shards.adopt(transport, response, unread, opening).await })
        };
        Self { name, place, shards: known, adopt: Box::new(adopt) }
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
