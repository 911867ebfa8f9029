//! One line of the tree: a supervised actor as it is listed, and the orders that reach it from outside its thread.
//!
//! Written by the future that drives the actor (`supervised.rs`), read by lists; orders are given by its supervisor, by
//! who stops the node, and by chaos.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU8, Ordering::AcqRel, Ordering::Relaxed},
};

use futures_util::task::AtomicWaker;
use serde::Serialize;
use tokio::sync::watch;

use super::{ChildSpec, CrashReport, Exit, Restart, Verdict, supervisor::Supervisor};

/// One supervised actor, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Child {
    /// Unique on the node.
    pub name: Arc<str>,
    /// Whose child it is.
    pub supervisor: &'static str,
    /// When it is started again.
    pub restart: Restart,
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

/// What a child is told from outside. A later one in this list overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Order {
    /// Start again with fresh state: a sibling it depends on did.
    Restart = 1,
    /// Panic, for chaos.
    Panic = 2,
    /// Finish what is queued and stop.
    Stop = 3,
    /// Its time to stop is over.
    Abandon = 4,
}

const NO_ORDER: u8 = 0;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) spec: ChildSpec,
    child: Mutex<Child>,
    ended: watch::Sender<bool>,
    order: AtomicU8,
    waker: AtomicWaker,
}

impl Line {
    pub(super) fn new(spec: ChildSpec, supervisor: &'static str) -> Self {
        let child = Child {
            name: Arc::clone(&spec.name),
            supervisor,
            restart: spec.restart,
            state: ChildState::Starting,
            restarts: 0,
            last_exit: None,
        };
        Self {
            spec,
            child: Mutex::new(child),
            ended: watch::Sender::new(false),
            order: AtomicU8::new(NO_ORDER),
            waker: AtomicWaker::new(),
        }
    }

    pub(super) fn child(&self) -> Child {
        super::lock(&self.child).clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Tells the child; one that has ended hears nothing.
    pub(super) fn order(&self, order: Order) {
        self.order.fetch_max(order as u8, AcqRel);
        self.waker.wake();
    }

    /// Waits until the child has ended.
    pub(super) async fn wait_ended(&self) {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as the line.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// The hold of a child's own future on its line. Dropped without an end, the child was shut down.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) line: Arc<Line>,
    pub(super) supervisor: Arc<Supervisor>,
}

impl Entry {
    pub(super) fn name(&self) -> &str {
        &self.line.spec.name
    }

    /// The clock restarts are counted on, in a budget's unit.
    pub(super) fn now_ms(&self) -> u32 {
        self.supervisor.tree.clock.now().ms()
    }

    /// Where this child's jitter begins: its own, and the same for every run with the tree's seed.
    pub(super) fn seed(&self) -> u64 {
        let mix = |seed: u64, byte: u8| (seed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self.name().bytes().fold(self.supervisor.tree.seed, mix)
    }

    /// The newest order, once. `waker` is woken by the next one.
    pub(super) fn take_order(&self, waker: &std::task::Waker) -> Option<Order> {
        self.line.waker.register(waker);
        // Nearly always none: this is asked at every poll.
        if self.line.order.load(Relaxed) == NO_ORDER {
            return None;
        }
        let given = self.line.order.swap(NO_ORDER, AcqRel);
        [Order::Restart, Order::Panic, Order::Stop, Order::Abandon].into_iter().find(|order| *order as u8 == given)
    }

    pub(super) fn running(&self) {
        super::lock(&self.line.child).state = ChildState::Running;
    }

    pub(super) fn restarting(&self, exit: Exit) {
        let mut child = super::lock(&self.line.child);
        child.state = ChildState::Restarting;
        child.restarts += 1;
        child.last_exit = Some(exit);
    }

    /// Its own budget is spent: whether its supervisor lets it go on with a fresh one.
    pub(super) fn escalate(&self) -> Verdict {
        self.supervisor.child_gave_up(&self.line.spec.name, self.now_ms())
    }

    /// It cannot even be started: nothing a supervisor could start again.
    pub(super) fn stillborn(&self, report: CrashReport) {
        self.ended(Exit::GaveUp(report));
        self.supervisor.tree.give_up(&self.line.spec.name);
    }

    pub(super) fn ended(&self, exit: Exit) {
        let mut child = super::lock(&self.line.child);
        child.state = ChildState::Ended;
        child.last_exit = Some(exit);
        drop(child);
        self.line.ended.send_replace(true);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.line.has_ended() {
            self.ended(Exit::Shutdown);
        }
    }
}
