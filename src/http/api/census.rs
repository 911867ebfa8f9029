//! The counts of all shards at once. A shard that is stuck in a turn is left out rather than waited for: operators look at
//! a node when something is wrong with it.

use std::time::Duration;

use futures_util::future::join_all;

use crate::{
    http::gateway::Gateway,
    shard::{Census, TakeCensus},
};

/// A shard that needs longer to count is not well.
const PATIENCE: Duration = Duration::from_secs(1);

/// In the order of the shards' numbers; `None` for one that did not answer.
pub(super) async fn take(gateway: &Gateway) -> Vec<Option<Census>> {
    let asked = (0..gateway.shards.count()).map(|shard| async move {
        let answer = tokio::time::timeout(PATIENCE, gateway.shards.ask(shard as u16, TakeCensus)).await;
        answer.ok().and_then(Result::ok)
    });
    join_all(asked).await
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
