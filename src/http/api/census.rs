//! Questions to all shards at once. One that is stuck in a turn is left out rather than waited for: operators look at a
//! node when something is wrong with it.

use std::time::Duration;

use actix::{Actor, Handler, Message, dev::ToEnvelope};
use futures_util::future::join_all;

use crate::{
    connection::ConnectionActor,
    http::gateway::Gateway,
    shard::{Census, Shard, TakeCensus},
};

/// A shard that needs longer for a look at its table is not well.
const PATIENCE: Duration = Duration::from_secs(1);

/// The counts of all shards.
pub(super) async fn take(gateway: &Gateway) -> Vec<Option<Census>> {
    ask_each(gateway, || TakeCensus).await
}

/// Answers in the order of the shards' numbers; `None` for one that did not answer.
pub(super) async fn ask_each<M>(gateway: &Gateway, message: impl Fn() -> M) -> Vec<Option<M::Result>>
where
    M: Message + Send + 'static,
    M::Result: Send,
    Shard<ConnectionActor>: Handler<M>,
    <Shard<ConnectionActor> as Actor>::Context: ToEnvelope<Shard<ConnectionActor>, M>,
{
    let message = &message;
    let asked = (0..gateway.shards.count()).map(|shard| async move {
        let answer = tokio::time::timeout(PATIENCE, gateway.shards.ask(shard as u16, message())).await;
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
