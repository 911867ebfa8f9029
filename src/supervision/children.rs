//! The supervised actors of a node: who runs, how often each was restarted, what it last died of. Starting an actor here is
//! what puts it under supervision.
//!
//! Held by the node and by whoever starts actors; read by `/v1/node`. Never holds an address: an actor whose addresses
//! are all gone ends, as everywhere in actix.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Actor, Addr, Context, Supervised};
use actix_rt::ArbiterHandle;
use serde::Serialize;
use tokio::sync::watch;

use super::{CrashReport, Exit, Policy, supervised};
use crate::clock::Clock;

/// See the module's text. Cheap to clone; all clones are one list.
#[derive(Clone, Debug)]
pub struct Children {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    /// In the order they were first started.
    list: Mutex<Vec<Arc<Mutex<Child>>>>,
    gave_up: watch::Sender<Option<Arc<str>>>,
}

/// One supervised actor, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Child {
    /// Unique on the node.
    pub name: Arc<str>,
    /// What it does at present.
    pub state: ChildState,
    /// Since it was started.
    pub restarts: u64,
    /// `None` until it ends or crashes for the first time.
    pub last_exit: Option<Exit>,
}

/// ```text
/// starting → running ⇄ restarting
///     └─────────┴──────────┴──→ ended
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// On its way to its arbiter.
    Starting,
    /// At work.
    Running,
    /// Crashed; its messages wait in its mailbox.
    Restarting,
    /// Over; its address is closed. [`Child::last_exit`] says why.
    Ended,
}

impl Children {
    /// An empty list. Budgets are counted on `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { shared: Arc::new(Shared { clock, list: Mutex::default(), gave_up: watch::Sender::new(None) }) }
    }

    /// Starts a supervised actor on `arbiter`; `make` runs on that thread. An ended child of the same name leaves the
    /// list. What a crash costs, and what the actor has to do about it, is told in `supervised.rs`. When the arbiter has
    /// ended, the address is closed from the beginning.
    pub fn start<A>(
        &self,
        arbiter: &ArbiterHandle,
        name: impl Into<Arc<str>>,
        policy: Policy,
        make: impl FnOnce() -> A + Send + 'static,
    ) -> Addr<A>
    where
        A: Actor<Context = Context<A>> + Supervised,
    {
        supervised::start_in(arbiter, self.enlist(name.into()), policy, make)
    }

    /// As [`Children::start`], on the arbiter of the calling thread.
    ///
    /// # Panics
    /// Outside of an arbiter.
    pub fn start_here<A>(&self, name: impl Into<Arc<str>>, policy: Policy, make: impl FnOnce() -> A) -> Addr<A>
    where
        A: Actor<Context = Context<A>> + Supervised,
    {
        supervised::start_here(self.enlist(name.into()), policy, make)
    }

    /// All children, in the order they were started.
    #[must_use]
    pub fn list(&self) -> Vec<Child> {
        lock(&self.shared.list).iter().map(|child| lock(child).clone()).collect()
    }

    /// The child of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Child> {
        self.list().into_iter().find(|child| &*child.name == name)
    }

    /// Waits until a child has given up, and names it. The node cannot keep its promises without that child: who awaits
    /// this escalates, as a supervisor in OTP does.
    pub async fn gave_up(&self) -> Arc<str> {
        let mut gave_up = self.shared.gave_up.subscribe();
        if let Ok(name) = gave_up.wait_for(Option::is_some).await
            && let Some(name) = &*name
        {
            return Arc::clone(name);
        }
        std::future::pending().await
    }

    fn enlist(&self, name: Arc<str>) -> Entry {
        let child = Child { name: Arc::clone(&name), state: ChildState::Starting, restarts: 0, last_exit: None };
        let child = Arc::new(Mutex::new(child));
        let mut list = lock(&self.shared.list);
        list.retain(|older| {
            let older = lock(older);
            older.name != name || older.state != ChildState::Ended
        });
        list.push(Arc::clone(&child));
        drop(list);
        Entry { name, child, shared: Arc::clone(&self.shared) }
    }
}

/// A supervisor's hold on its line of the list. Dropped without an end, the child was shut down.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    child: Arc<Mutex<Child>>,
    shared: Arc<Shared>,
}

impl Entry {
    /// The clock restarts are counted on, in a budget's unit.
    pub(super) fn now_ms(&self) -> u32 {
        self.shared.clock.now().ms()
    }

    pub(super) fn running(&self) {
        lock(&self.child).state = ChildState::Running;
    }

    pub(super) fn crashed(&self, report: CrashReport) {
        let mut child = lock(&self.child);
        child.state = ChildState::Restarting;
        child.restarts += 1;
        child.last_exit = Some(Exit::Crash(report));
    }

    pub(super) fn ended(&self, exit: Exit) {
        let gave_up = matches!(exit, Exit::GaveUp(_));
        let mut child = lock(&self.child);
        child.state = ChildState::Ended;
        child.last_exit = Some(exit);
        drop(child);
        if gave_up {
            self.shared.gave_up.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert_with(|| Arc::clone(&self.name));
                is_first
            });
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if lock(&self.child).state != ChildState::Ended {
            self.ended(Exit::Shutdown);
        }
    }
}

/// Nothing that runs under these locks can panic half way, so a poisoned one holds nothing wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
