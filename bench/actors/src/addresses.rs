//! An actix actor for each: `Actor::start` on a system of one thread, like a shard, reached by its address. Its state is a
//! number; what it costs is what an actor costs that a server makes of a crate's own.

use actix::{Actor, Addr, Context, Handler, Message};
use anyhow::Result;
use serde_json::Value;

use crate::{
    counters::{Handled, measure},
    gateway::Plan,
};

struct Counter {
    handled: Handled,
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
pub fn addresses(plan: Plan) -> Result<Value> {
    let spawn = |handled| Counter { handled }.start();
    let tell = |address: &Addr<Counter>| Ok(address.try_send(Add(1))?);
    actix_rt::System::new().block_on(measure(plan, spawn, tell))
}
