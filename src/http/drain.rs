//! The orderly end: clients are asked to leave in paced batches, those that stay are closed with 4003, and the node is
//! gone within `listen.drain`.

use std::time::Duration;

use crate::{
    http::gateway::Gateway,
    shard::{Act, Action, Target},
};

/// How often the drain looks whether everybody has left.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// For close frames on their way.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Returns when nobody is connected any more, at the latest after `listen.drain`.
pub async fn drain(gateway: &Gateway) {
    let deadline = gateway.config.listen.drain;
    let began = gateway.clock.elapsed();
    // Clients spread their leaving over half of the time; the other half is for those that come late.
    let after_ms = (deadline / 2).as_millis() as u64;
    let waves = async {
        ask_to_leave(gateway, after_ms).await;
        until_empty(gateway, Duration::MAX).await;
    };
    let patience = deadline.saturating_sub(LAST_WORDS * 2).max(deadline / 2);
    if tokio::time::timeout(patience, waves).await.is_err() {
        tracing::info!(connections = gateway.sockets.open(), "closing those that stayed");
    }
    act(gateway, Action::Leave).await;
    if let Some(echo) = &gateway.echo
        && echo.ask_all(|| Act { target: Target::All, action: Action::Leave }).await.is_err()
    {
        tracing::debug!("echo shards were gone before the drain");
    }
    if began != gateway.clock.elapsed() {
        until_empty(gateway, LAST_WORDS).await;
    }
}

/// Asks everybody in batches, so that not all of them ask another node for a connection at once.
async fn ask_to_leave(gateway: &Gateway, after_ms: u64) {
    let open = gateway.sockets.open();
    let pace = gateway.config.listen.drain_pace.max(1) as usize;
    if open <= pace {
        return act(gateway, Action::Reconnect { after_ms }).await;
    }
    // More than a second's worth: the clients' own spread is widened to the pace.
    let spread_ms = after_ms.max(open as u64 * 1000 / pace as u64);
    act(gateway, Action::Reconnect { after_ms: spread_ms }).await;
}

async fn act(gateway: &Gateway, action: Action) {
    if gateway.shards.ask_all(|| Act { target: Target::All, action }).await.is_err() {
        tracing::error!("a shard was gone before the drain");
    }
}

async fn until_empty(gateway: &Gateway, patience: Duration) {
    let began = gateway.clock.elapsed();
    while gateway.sockets.open() > 0 && gateway.clock.elapsed() - began < patience {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
