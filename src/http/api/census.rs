//! Questions to all shards at once. One that is stuck in a turn is left out rather than waited for: operators look at a
//! node when something is wrong with it.

use std::time::Duration;

use futures_util::future::join_all;

use crate::shard::{AnyShards, Asked, Census};

/// A shard that needs longer for a look at its table is not well.
const PATIENCE: Duration = Duration::from_secs(1);

/// The counts of all shards.
pub(super) async fn take(shards: &dyn AnyShards) -> Vec<Option<Census>> {
    ask_each(shards, |shard| shards.census(shard)).await
}

/// Answers in the order of the shards' numbers; `None` for one that did not answer.
pub(super) async fn ask_each<'a, T>(shards: &dyn AnyShards, ask: impl Fn(u16) -> Asked<'a, T>) -> Vec<Option<T>> {
    let asked = (0..shards.count()).map(|shard| tokio::time::timeout(PATIENCE, ask(shard as u16)));
    join_all(asked).await.into_iter().map(|answer| answer.ok().and_then(Result::ok)).collect()
}

/// All shards' together.
pub(super) fn sum<'a>(shards: impl IntoIterator<Item = &'a Census>) -> Census {
    shards.into_iter().fold(Census::default(), |mut sum, shard| {
        sum.awake += shard.awake;
        sum.dormant += shard.dormant;
        sum.parked += shard.parked;
        sum.restarts += shard.restarts;
        sum.outbox_bytes += shard.outbox_bytes;
        sum.ledger.add(&shard.ledger);
        sum
    })
}
