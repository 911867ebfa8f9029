//! The shard as an actix actor on its own arbiter: it drives the core's rounds and answers operators and the HTTP side.
//!
//! The core lives outside the actor, so that a restart after a panic that escaped every turn finds table, poller and
//! sockets as they were. The actor itself holds no state of its own.

use std::{cell::RefCell, rc::Rc};

use actix::{Actor, AsyncContext, Context, Supervised, WrapFuture};
use tokio::sync::Notify;

use crate::shard::{TICK, behaviour::Behaviour, core::Core};

/// The actor. Messages it understands are in `command.rs`.
pub struct Shard<B: Behaviour> {
    pub(super) core: Rc<RefCell<Core<B>>>,
    pub(super) work: Rc<Notify>,
}

impl<B: Behaviour> Shard<B> {
    pub(super) fn new(core: Rc<RefCell<Core<B>>>, work: Rc<Notify>) -> Self {
        Self { core, work }
    }
}

impl<B: Behaviour> Actor for Shard<B> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Commands wait in a bounded queue; senders that must not lose one await their place.
        ctx.set_mailbox_capacity(4096);
        ctx.spawn(pump(Rc::clone(&self.core), Rc::clone(&self.work)).into_actor(self));
    }
}

impl<B: Behaviour> Supervised for Shard<B> {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.core.borrow_mut().recover();
    }
}

impl<B: Behaviour> Shard<B> {
    /// Ends the actor by a panic, for chaos.
    pub(super) fn crash(ctx: &mut Context<Self>) {
        ctx.spawn(actix::fut::wrap_future(async {
            #[expect(clippy::panic, reason = "an operator asked for it")]
            {
                panic!("chaos: asked to panic in the shard");
            }
        }));
    }
}

/// Rounds whenever there is something to do, ticks in between. Never ends.
async fn pump<B: Behaviour>(core: Rc<RefCell<Core<B>>>, work: Rc<Notify>) {
    let watched = core.borrow().poller.watch();
    let Ok(watched) = watched.inspect_err(|error| tracing::error!(%error, "cannot watch the poller")) else { return };
    let clock = core.borrow().clock;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut due = clock.elapsed();
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {
                let late = clock.elapsed().saturating_sub(due);
                core.borrow_mut().tick(late.as_secs_f64());
                due = clock.elapsed() + TICK;
            }
            ready = watched.readable() => {
                // Cleared before the round empties the poller: what comes after is a new edge.
                if let Ok(mut ready) = ready {
                    ready.clear_ready();
                }
            }
            () = work.notified() => {}
        }
        while core.borrow_mut().round() {
            // Before the look at the clock: the tick's timer fires, and orders are read, only when this task lets go. A
            // shard that is behind would otherwise do many rounds before it heard anybody.
            tokio::task::yield_now().await;
            if clock.elapsed() > due {
                break;
            }
        }
        if core.borrow().is_busy() {
            work.notify_one();
        }
    }
}
