//! An actix actor for each: `Actor::start` on a system of one thread, like a shard, reached by its address. Its state is a
//! number; what it costs is what an actor costs that a server makes of a crate's own.

use std::{cell::Cell, rc::Rc};

use actix::{Actor, Addr, Context, Handler, Message};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::task::yield_now;

use crate::{
    memory,
    series::{Series, WAVES},
    stopwatch::thread_time,
};

/// Messages on their way at once.
const BATCH: usize = 1_024;

struct Counter {
    handled: Rc<Cell<u64>>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Add(u64);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Add> for Counter {
    type Result = ();

    fn handle(&mut self, Add(number): Add, _: &mut Self::Context) {
        self.handled.set(self.handled.get() + number);
    }
}

/// Everything about actix actors.
///
/// # Errors
/// A message was lost.
pub fn addresses(actors: usize) -> Result<Value> {
    actix_rt::System::new().block_on(measure(actors))
}

async fn measure(actors: usize) -> Result<Value> {
    let handled = Rc::new(Cell::new(0));
    let before = memory::settled()?;
    let mut addresses: Vec<Addr<Counter>> = Vec::with_capacity(actors);
    let mut spawned = Series::default();
    for wave in 0..WAVES {
        let count = actors * (wave + 1) / WAVES - actors * wave / WAVES;
        let began = thread_time();
        for nth in 0..count {
            addresses.push(Counter { handled: Rc::clone(&handled) }.start());
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
                address.try_send(Add(1))?;
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
