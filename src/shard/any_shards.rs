//! Shards whatever they run, for those who only count, list and hit: operators, chaos and the drain. What a behaviour alone
//! knows (its openings, its hub's letters) is not here, and nothing on the way of a message is: a call through this costs
//! an allocation.

use std::pin::Pin;

use crate::{
    id::ConnectionId,
    shard::{
        behaviour::Behaviour,
        command::{Act, Census, ConnectionView, CrashShard, Inspect, List, TakeCensus},
        shards::{Shards, ShardsGone},
    },
};

/// An answer under way.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, ShardsGone>> + 'a>>;

/// See the module's text. Each question is for the shard of that number.
pub trait AnyShards: Send + Sync {
    /// How many.
    fn count(&self) -> usize;
    /// See [`TakeCensus`].
    fn census(&self, shard: u16) -> Asked<'_, Census>;
    /// See [`List`].
    fn list(&self, shard: u16, list: List) -> Asked<'_, Vec<ConnectionView>>;
    /// See [`Inspect`].
    fn inspect(&self, connection: ConnectionId) -> Asked<'_, Option<ConnectionView>>;
    /// See [`Act`].
    fn act(&self, shard: u16, act: Act) -> Asked<'_, usize>;
    /// See [`CrashShard`].
    fn crash(&self, shard: u16) -> Asked<'_, ()>;
}

impl<B: Behaviour> AnyShards for Shards<B> {
    fn count(&self) -> usize {
        self.count()
    }

    fn census(&self, shard: u16) -> Asked<'_, Census> {
        Box::pin(self.ask(shard, TakeCensus))
    }

    fn list(&self, shard: u16, list: List) -> Asked<'_, Vec<ConnectionView>> {
        Box::pin(self.ask(shard, list))
    }

    fn inspect(&self, connection: ConnectionId) -> Asked<'_, Option<ConnectionView>> {
        Box::pin(self.ask(connection.shard(), Inspect(connection)))
    }

    fn act(&self, shard: u16, act: Act) -> Asked<'_, usize> {
        Box::pin(self.ask(shard, act))
    }

    fn crash(&self, shard: u16) -> Asked<'_, ()> {
        Box::pin(self.ask(shard, CrashShard))
    }
}

/// Does the same to all of them at once; how many it hit. One that has ended has nobody left to hit.
pub async fn act_on_all(shards: &dyn AnyShards, act: &Act) -> usize {
    let asked = (0..shards.count()).map(|shard| shards.act(shard as u16, act.clone()));
    futures_util::future::join_all(asked).await.into_iter().flatten().sum()
}
