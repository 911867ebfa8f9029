//! The supervisor of one actix actor: a future that drives the actor under a catch and starts it again after a panic. Its
//! address and its queued messages survive; its state does not have to. Started through [`super::Children`].
//!
//! Why not `actix::Supervisor`: a panic ends it with the task it runs in (actix 0.13), so the mailbox closes.
//!
//! What a crash costs: the message whose handler panicked is consumed, and who awaits its answer gets
//! `MailboxError::Closed` although the mailbox is open; futures and streams the actor had spawned are dropped, and so
//! are the answers they owed. All other messages keep their place. After a backoff, `Supervised::restarting` and then
//! `Actor::started` run on the same actor: `restarting` must rebuild the state, for the panic may have left it half
//! changed, and forget every `SpawnHandle`, for their numbers are given out anew.
//!
//! ```text
//! running ──panic──→ restarting ──after the backoff──→ running
//!    │                    └──panic──→ restarting          both: budget spent → asks its supervisor: go on, or give up
//!    ├──a sibling it depends on gave up──→ restarting
//!    ├──stopped itself──→ ended (permanent: restarting)
//!    ├──no address left──→ ended
//!    └──told to stop──→ handles what is queued ──→ ended   too late: abandoned
//! ```

use std::{
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorState, Addr, Context,
    dev::{ContextFut, channel},
};
use actix_rt::ArbiterHandle;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::time::Sleep;

use super::{
    Budget, CrashReport, Exit, Restart, Verdict, catch,
    child::{Entry, Order},
};

/// Messages a mailbox holds until its actor sets a bound of its own; actix's default.
const MAILBOX: usize = 16;

pub(super) fn start_in<A>(arbiter: &ArbiterHandle, entry: Entry, make: impl FnOnce() -> A + Send + 'static) -> Addr<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised,
{
    let (address, receiver) = channel::channel(MAILBOX);
    let name = std::sync::Arc::clone(&entry.line.spec.name);
    let sent = arbiter.spawn_fn(move || supervise(Context::with_receiver(receiver), entry, make));
    if !sent {
        tracing::error!(actor = &*name, "cannot start an actor on an arbiter that has ended");
    }
    Addr::new(address)
}

pub(super) fn start_here<A>(entry: Entry, make: impl FnOnce() -> A) -> Addr<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised,
{
    let (address, receiver) = channel::channel(MAILBOX);
    supervise(Context::with_receiver(receiver), entry, make);
    Addr::new(address)
}

fn supervise<A>(context: Context<A>, entry: Entry, make: impl FnOnce() -> A)
where
    A: Actor<Context = Context<A>> + actix::Supervised,
{
    match catch(make) {
        Ok(actor) => {
            entry.running();
            let actor = Box::new(context.into_future(actor));
            let (phase, budget) = (Phase::Running, Budget::default());
            actix_rt::spawn(Supervised { actor: Some(actor), phase, budget, doomed: false, jitter: None, entry });
        }
        // There is no actor to start again. OTP, too, fails the start when `init` does.
        Err(report) => {
            let (place, panic) = (&*report.place, &*report.own_words());
            tracing::error!(actor = entry.name(), place, panic, "actor crashed while it was made, giving up");
            entry.stillborn(report);
        }
    }
}

/// See the module's text.
struct Supervised<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised,
{
    /// `None` once it has ended. Holds the mailbox: dropping it closes the address.
    actor: Option<Box<ContextFut<A, Context<A>>>>,
    phase: Phase,
    budget: Budget,
    /// Asked to panic while it was down: it does so as soon as it is back, so that a fault that was accepted is a fault.
    doomed: bool,
    /// Made for the first wait that needs it.
    jitter: Option<Box<StdRng>>,
    entry: Entry,
}

#[derive(Debug)]
enum Phase {
    Running,
    /// Nothing of the actor may run before `restarting` has; the wait, if there is one, comes first.
    Restarting(Option<Pin<Box<Sleep>>>),
    /// Told to stop.
    Stopping,
}

impl<A> Future for Supervised<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        if let Some(order) = this.entry.take_order(cx.waker()) {
            this.obey(order, cx);
        }
        loop {
            let Some(actor) = this.actor.as_deref_mut() else { return Poll::Ready(()) };
            let step = match &mut this.phase {
                Phase::Running | Phase::Stopping => {
                    catch(|| Pin::new(&mut *actor).poll(cx)).map(|polled| polled.map(|()| false))
                }
                Phase::Restarting(wait) => {
                    if let Some(wait) = wait {
                        ready!(wait.as_mut().poll(cx));
                    }
                    catch(|| actor.restart()).map(Poll::Ready)
                }
            };
            match step {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(true)) => {
                    this.phase = Phase::Running;
                    this.entry.running();
                    if std::mem::take(&mut this.doomed) {
                        this.crashed(asked_to_panic());
                    }
                }
                Ok(Poll::Ready(false)) => this.finished(),
                Err(report) => this.crashed(report),
            }
        }
    }
}

impl<A> Supervised<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised,
{
    fn obey(&mut self, order: Order, cx: &mut TaskContext<'_>) {
        let Some(actor) = self.actor.as_deref_mut() else { return };
        match (order, &self.phase) {
            (Order::Abandon, _) | (Order::Stop, Phase::Restarting(_)) => self.end(Exit::Shutdown),
            (Order::Stop, _) => {
                // What is queued is handled first: who stops a node has sent its last messages before.
                let polled = catch(|| Pin::new(&mut *actor).poll(cx));
                self.phase = Phase::Stopping;
                match polled {
                    Ok(Poll::Pending) => actor.ctx().stop(),
                    Ok(Poll::Ready(())) => self.finished(),
                    Err(report) => self.crashed(report),
                }
            }
            (Order::Panic, Phase::Running) => self.crashed(asked_to_panic()),
            (Order::Restart, Phase::Running) => {
                tracing::warn!(actor = self.entry.name(), "a sibling gave up, restarting with it");
                self.entry.restarting(Exit::Shutdown);
                self.phase = Phase::Restarting(None);
            }
            (Order::Panic, Phase::Restarting(_)) => self.doomed = true,
            // It starts anew anyway, or is on its way out.
            (Order::Panic, Phase::Stopping) | (Order::Restart, _) => {}
        }
    }

    fn crashed(&mut self, report: CrashReport) {
        let Some(actor) = self.actor.as_deref_mut() else { return };
        let (name, place, panic) = (self.entry.name(), &*report.place, &*report.own_words());
        let stopping = matches!(actor.ctx().state(), ActorState::Stopping | ActorState::Stopped);
        if stopping || matches!(self.phase, Phase::Stopping) {
            tracing::error!(actor = name, place, panic, "actor crashed while stopping");
            return self.end(Exit::Crash(report));
        }
        if self.entry.line.spec.restart == Restart::Temporary {
            tracing::error!(actor = name, place, panic, "temporary actor crashed");
            return self.end(Exit::Crash(report));
        }
        let wait = self.spend();
        let name = self.entry.name();
        match wait {
            Some(wait) => {
                tracing::error!(actor = name, place, panic, ?wait, "actor crashed, restarting");
                self.restart(wait, Exit::Crash(report));
            }
            None => {
                tracing::error!(actor = name, place, panic, "actor crashed, restart budget spent, giving up");
                self.end(Exit::GaveUp(report));
            }
        }
    }

    /// One more restart, and the wait before it; `None` when neither the actor's own budget nor its supervisor allows it.
    fn spend(&mut self) -> Option<Duration> {
        let (now_ms, policy) = (self.entry.now_ms(), self.entry.line.spec.policy);
        match self.budget.spend(now_ms, &policy) {
            Verdict::Restart => {
                let nth = self.budget.spent(now_ms, &policy);
                let seed = || Box::new(StdRng::seed_from_u64(self.entry.seed()));
                let wait = policy
                    .backoff
                    .delay(nth, if nth > 1 { self.jitter.get_or_insert_with(seed).next_u32() } else { 0 });
                Some(wait)
            }
            Verdict::GiveUp => match self.entry.escalate() {
                Verdict::Restart => {
                    self.budget = Budget::default();
                    Some(policy.backoff.most)
                }
                Verdict::GiveUp => None,
            },
        }
    }

    fn restart(&mut self, wait: Duration, exit: Exit) {
        self.entry.restarting(exit);
        self.phase = Phase::Restarting((!wait.is_zero()).then(|| Box::pin(tokio::time::sleep(wait))));
    }

    /// The actor's future has ended, or nobody is left who could reach the restarted actor.
    fn finished(&mut self) {
        let connected = self.actor.as_deref_mut().is_some_and(|actor| actor.ctx().connected());
        match (&self.phase, connected) {
            (Phase::Stopping, _) | (_, false) => self.end(Exit::Shutdown),
            (_, true) if self.entry.line.spec.restart == Restart::Permanent => match self.spend() {
                Some(wait) => {
                    tracing::warn!(actor = self.entry.name(), ?wait, "permanent actor stopped, restarting");
                    self.restart(wait, Exit::Normal);
                }
                None => self.end(Exit::Normal),
            },
            (_, true) => self.end(Exit::Normal),
        }
    }

    fn end(&mut self, exit: Exit) {
        self.discard();
        self.entry.ended(exit);
    }

    /// Drops an actor that has ended or crashed. Terminated first, so that nothing of it runs again: dropping a live
    /// context calls `stopping` and `stopped`, on a state that nobody has repaired.
    fn discard(&mut self) {
        if let Some(mut actor) = self.actor.take() {
            actor.ctx().terminate();
            self.drop_caught(actor);
        }
    }

    fn drop_caught(&self, actor: Box<ContextFut<A, Context<A>>>) {
        if let Err(report) = catch(|| drop(actor)) {
            let (place, panic) = (&*report.place, &*report.own_words());
            tracing::error!(actor = self.entry.name(), place, panic, "actor crashed while it was dropped");
        }
    }
}

impl<A> Drop for Supervised<A>
where
    A: Actor<Context = Context<A>> + actix::Supervised,
{
    /// The arbiter ends. A healthy actor is told (`stopping`, `stopped`); what it panics with there must not take the
    /// thread's other actors along.
    fn drop(&mut self) {
        if matches!(self.phase, Phase::Restarting(_)) {
            self.discard();
        }
        if let Some(actor) = self.actor.take() {
            self.drop_caught(actor);
        }
    }
}

/// A panic that an operator asked for: a real one, so that it takes the way of every other.
fn asked_to_panic() -> CrashReport {
    #[expect(clippy::panic, reason = "an operator asked for it")]
    let asked: Result<(), CrashReport> = catch(|| panic!("chaos: asked to panic"));
    asked.err().unwrap_or_else(|| CrashReport::new("chaos: asked to panic", None))
}
