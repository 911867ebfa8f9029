//! The plainest actor there is in Rust: a tokio task with a bounded mailbox of its own, whose state is a number. On a
//! runtime of one thread, like a shard; what it costs is the floor of every actor that is a task.

use std::{cell::Cell, rc::Rc};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::{
    runtime::Builder,
    sync::mpsc::{self, Receiver, Sender},
    task::{LocalSet, spawn_local, yield_now},
};

use crate::{
    memory,
    series::{Series, WAVES},
    stopwatch::thread_time,
};

/// Messages a mailbox holds.
const MAILBOX: usize = 16;
/// Messages on their way at once.
const BATCH: usize = 1_024;

/// Everything about tokio tasks.
///
/// # Errors
/// A message was lost.
pub fn tasks(actors: usize) -> Result<Value> {
    let runtime = Builder::new_current_thread().build()?;
    LocalSet::new().block_on(&runtime, measure(actors))
}

async fn measure(actors: usize) -> Result<Value> {
    let handled = Rc::new(Cell::new(0));
    let before = memory::settled()?;
    let mut addresses: Vec<Sender<u64>> = Vec::with_capacity(actors);
    let mut spawned = Series::default();
    for wave in 0..WAVES {
        let count = actors * (wave + 1) / WAVES - actors * wave / WAVES;
        let began = thread_time();
        for nth in 0..count {
            let (address, mailbox) = mpsc::channel(MAILBOX);
            spawn_local(actor(mailbox, Rc::clone(&handled)));
            addresses.push(address);
            if nth % BATCH == 0 {
                // Each must have run once: then it waits for its first message.
                yield_now().await;
            }
        }
        yield_now().await;
        spawned.add(count, thread_time() - began);
    }
    let bytes = (memory::settled()? - before) / actors as f64;
    let mut messages = Series::default();
    let (mut dice, wakes) = (7_u64, actors.min(1_000_000));
    for _ in 0..WAVES {
        let (goal, began) = (handled.get() + wakes as u64, thread_time());
        let mut left = wakes;
        while left > 0 {
            for _ in 0..left.min(BATCH) {
                let address = &addresses[crate::gateway::somebody(&mut dice, actors as u32) as usize];
                address.try_send(1)?;
            }
            left -= left.min(BATCH);
            yield_now().await;
        }
        while handled.get() < goal {
            yield_now().await;
        }
        messages.add(wakes, thread_time() - began);
    }
    ensure!(handled.get() == (wakes * WAVES) as u64, "{} of {} messages were handled", handled.get(), wakes * WAVES);
    Ok(json!({
        "actors": actors,
        "bytes": bytes,
        "spawned": spawned.per_second(),
        "delivery": messages.micros(),
    }))
}

async fn actor(mut mailbox: Receiver<u64>, handled: Rc<Cell<u64>>) {
    while let Some(message) = mailbox.recv().await {
        handled.set(handled.get() + message);
    }
}
