//! The plainest actor there is in Rust: a tokio task with a bounded mailbox of its own, whose state is a number. On a
//! runtime of one thread, like a shard; what it costs is the floor of every actor that is a task.

use anyhow::Result;
use serde_json::Value;
use tokio::{
    runtime::Builder,
    sync::mpsc::{self, Receiver, Sender},
    task::{LocalSet, spawn_local},
};

use crate::{
    counters::{Handled, measure},
    gateway::Plan,
};

/// Messages a mailbox holds.
const MAILBOX: usize = 16;

/// Everything about tokio tasks.
///
/// # Errors
/// A message was lost.
pub fn tasks(plan: Plan) -> Result<Value> {
    let runtime = Builder::new_current_thread().build()?;
    let spawn = |handled| {
        let (address, mailbox) = mpsc::channel(MAILBOX);
        spawn_local(actor(mailbox, handled));
        address
    };
    let tell = |address: &Sender<u64>| Ok(address.try_send(1)?);
    LocalSet::new().block_on(&runtime, measure(plan, spawn, tell))
}

async fn actor(mut mailbox: Receiver<u64>, handled: Handled) {
    while let Some(message) = mailbox.recv().await {
        handled.set(handled.get() + message);
    }
}
