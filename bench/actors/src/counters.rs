//! Plain actors that count what they are told, measured the same way whatever they are made of: spawned in waves, left idle,
//! then told something each in random order. `tasks` and `addresses` say how one is spawned and how it is told.

use std::{cell::Cell, rc::Rc};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::task::yield_now;

use crate::{
    gateway::{Plan, somebody},
    memory,
    series::Series,
    stopwatch::thread_time,
};

/// Messages on their way at once.
const BATCH: usize = 1_024;

/// What all actors of a measurement have handled.
pub(crate) type Handled = Rc<Cell<u64>>;

/// Everything about them on this thread. `spawn` makes one, `tell` sends it the number 1.
///
/// # Errors
/// A message was lost.
pub(crate) async fn measure<A>(
    plan: Plan,
    spawn: impl Fn(Handled) -> A,
    tell: impl Fn(&A) -> Result<()>,
) -> Result<Value> {
    let Plan { actors, waves } = plan;
    let handled = Handled::default();
    let before = memory::settled()?;
    let mut addresses = Vec::with_capacity(actors);
    let (mut spawned, mut bytes) = (Series::default(), Vec::new());
    for count in plan.waves() {
        let began = thread_time();
        for nth in 0..count {
            addresses.push(spawn(Rc::clone(&handled)));
            if nth % BATCH == 0 {
                // Each must have run once: then it waits for its first message.
                yield_now().await;
            }
        }
        yield_now().await;
        spawned.add(count, thread_time() - began);
        bytes.push((memory::settled()? - before) / addresses.len() as f64);
    }
    let mut messages = Series::default();
    let (mut dice, wakes) = (7_u64, actors.min(1_000_000));
    for _ in 0..waves {
        let (goal, began) = (handled.get() + wakes as u64, thread_time());
        let mut left = wakes;
        while left > 0 {
            for _ in 0..left.min(BATCH) {
                tell(&addresses[somebody(&mut dice, actors as u32) as usize])?;
            }
            left -= left.min(BATCH);
            yield_now().await;
        }
        while handled.get() < goal {
            yield_now().await;
        }
        messages.add(wakes, thread_time() - began);
    }
    ensure!(handled.get() == (wakes * waves) as u64, "{} of {} messages were handled", handled.get(), wakes * waves);
    Ok(json!({
        "actors": actors,
        "bytes": bytes,
        "spawned": spawned.per_second(),
        "delivery": messages.micros(),
    }))
}
