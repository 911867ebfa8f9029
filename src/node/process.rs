//! The process around the node: what it may open, and what tells it to reload or to end.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::node::reload::Reload;

/// Descriptors that are not sockets of clients: listener, pollers, store, logs, and some for the HTTP side.
const RESERVED_DESCRIPTORS: u64 = 128;

/// Raises the soft limit to the hard one; returns what there is now.
pub(super) fn raise_descriptor_limit() -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            let soft = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
            tracing::warn!(%error, limit = soft, "cannot raise the descriptor limit");
            soft
        }
    }
}

pub(super) fn connections_for(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(RESERVED_DESCRIPTORS)).unwrap_or(usize::MAX)
}

/// SIGTERM and SIGINT end the node; SIGHUP reloads what can be.
pub(super) async fn until_told_to_stop(reload: &Reload) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => reload.run().await,
        }
    }
}

/// Ctrl-C by somebody who does not want to wait any longer.
pub(super) async fn until_interrupted() -> std::io::Result<()> {
    signal(SignalKind::interrupt())?.recv().await;
    Ok(())
}

pub(super) async fn until_stopped(stop: Option<oneshot::Receiver<()>>) {
    match stop {
        // Dropped, it is told as well.
        Some(stop) => drop(stop.await),
        None => std::future::pending().await,
    }
}
