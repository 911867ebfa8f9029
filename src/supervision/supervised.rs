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
//!    │                    └──panic──→ restarting          both: budget spent → given up
//!    └──stopped itself, or no address left──→ ended
//! ```

use std::{
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
};

use actix::{
    Actor, ActorContext, ActorState, Addr, Context, Supervised,
    dev::{ContextFut, channel},
};
use actix_rt::ArbiterHandle;
use tokio::time::Sleep;

use super::{Budget, CrashReport, Exit, Policy, Verdict, catch, children::Entry};

/// Messages a mailbox holds until its actor sets a bound of its own; actix's default.
const MAILBOX: usize = 16;

pub(super) fn start_in<A>(
    arbiter: &ArbiterHandle,
    entry: Entry,
    policy: Policy,
    make: impl FnOnce() -> A + Send + 'static,
) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let (address, receiver) = channel::channel(MAILBOX);
    let name = entry.name.clone();
    let sent = arbiter.spawn_fn(move || supervise(Context::with_receiver(receiver), entry, policy, make));
    if !sent {
        tracing::error!(actor = &*name, "cannot start an actor on an arbiter that has ended");
    }
    Addr::new(address)
}

pub(super) fn start_here<A>(entry: Entry, policy: Policy, make: impl FnOnce() -> A) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let (address, receiver) = channel::channel(MAILBOX);
    supervise(Context::with_receiver(receiver), entry, policy, make);
    Addr::new(address)
}

fn supervise<A>(context: Context<A>, entry: Entry, policy: Policy, make: impl FnOnce() -> A)
where
    A: Actor<Context = Context<A>> + Supervised,
{
    match catch(make) {
        Ok(actor) => {
            entry.running();
            let actor = Box::new(context.into_future(actor));
            let phase = Phase::Running;
            actix_rt::spawn(Supervisor { actor: Some(actor), phase, policy, budget: Budget::default(), entry });
        }
        // There is no actor to start again. OTP, too, fails the start when `init` does.
        Err(report) => {
            let (place, panic) = (&*report.place, &*report.message);
            tracing::error!(actor = &*entry.name, place, panic, "actor crashed while it was made, giving up");
            entry.ended(Exit::GaveUp(report));
        }
    }
}

/// See the module's text.
struct Supervisor<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    /// `None` once it has ended. Holds the mailbox: dropping it closes the address.
    actor: Option<Box<ContextFut<A, Context<A>>>>,
    phase: Phase,
    policy: Policy,
    budget: Budget,
    entry: Entry,
}

enum Phase {
    Running,
    /// Nothing of the actor may run before `restarting` has; the wait, if there is one, comes first.
    Restarting(Option<Pin<Box<Sleep>>>),
}

impl<A> Future for Supervisor<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let Some(actor) = this.actor.as_deref_mut() else { return Poll::Ready(()) };
            let step = match &mut this.phase {
                Phase::Running => catch(|| Pin::new(&mut *actor).poll(cx)).map(|polled| polled.map(|()| false)),
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
                }
                Ok(Poll::Ready(false)) => this.finished(),
                Err(report) => this.crashed(report),
            }
        }
    }
}

impl<A> Supervisor<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    fn crashed(&mut self, report: CrashReport) {
        let Some(actor) = self.actor.as_deref_mut() else { return };
        let (name, place, panic) = (&*self.entry.name, &*report.place, &*report.message);
        if matches!(actor.ctx().state(), ActorState::Stopping | ActorState::Stopped) {
            tracing::error!(actor = name, place, panic, "actor crashed while stopping");
            return self.end(Exit::Crash(report));
        }
        let now_ms = self.entry.now_ms();
        match self.budget.spend(now_ms, &self.policy) {
            Verdict::Restart => {
                let nth = self.budget.spent(now_ms, &self.policy);
                let delay = self.policy.backoff.delay(nth);
                tracing::error!(actor = name, place, panic, nth, ?delay, "actor crashed, restarting");
                self.entry.crashed(report);
                let wait = (!delay.is_zero()).then(|| Box::pin(tokio::time::sleep(delay)));
                self.phase = Phase::Restarting(wait);
            }
            Verdict::GiveUp => {
                tracing::error!(actor = name, place, panic, "actor crashed, restart budget spent, giving up");
                self.end(Exit::GaveUp(report));
            }
        }
    }

    /// The actor's future has ended, or nobody is left who could reach the restarted actor.
    fn finished(&mut self) {
        let connected = self.actor.as_deref_mut().is_some_and(|actor| actor.ctx().connected());
        self.end(if connected { Exit::Normal } else { Exit::Shutdown });
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
            let (place, panic) = (&*report.place, &*report.message);
            tracing::error!(actor = &*self.entry.name, place, panic, "actor crashed while it was dropped");
        }
    }
}

impl<A> Drop for Supervisor<A>
where
    A: Actor<Context = Context<A>> + Supervised,
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
