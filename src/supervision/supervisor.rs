//! An inner node of the tree: who its children are, and what follows when one of them gives up. It runs on no thread of
//! its own: the child that gives up asks it, on the child's thread, and the others are told by orders.
//!
//! ```text
//! child crashes → restarted within its own budget
//!                 budget spent → its supervisor's budget: this child (one_for_one), or it and all started after it
//!                                (rest_for_one), go on with fresh state
//!                                budget spent → the supervisor's supervisor: all its children go on with fresh state
//!                                               … at the root: the node ends in order
//! ```

use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::watch;

use super::{
    Budget, Strategy, SupervisorSpec, Verdict,
    child::{Line, Order},
    lock,
};
use crate::clock::Clock;

/// What all nodes of one tree share.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) clock: Clock,
    /// Of the jitter.
    pub(super) seed: u64,
    pub(super) gave_up: watch::Sender<Option<Arc<str>>>,
}

impl Tree {
    /// The root has given up because of the child of this name; the first one counts.
    pub(super) fn give_up(&self, name: &Arc<str>) {
        self.gave_up.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert_with(|| Arc::clone(name));
            is_first
        });
    }
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) spec: SupervisorSpec,
    pub(super) tree: Arc<Tree>,
    /// `None`: the root. Gone: the node has ended.
    parent: Option<Weak<Supervisor>>,
    budget: Mutex<Budget>,
    restarts: AtomicU64,
    /// In the order they were first started.
    members: Mutex<Vec<Member>>,
}

/// A child of a supervisor.
#[derive(Clone, Debug)]
pub(super) enum Member {
    Actor(Arc<Line>),
    Supervisor(Arc<Supervisor>),
}

impl Member {
    fn name(&self) -> &str {
        match self {
            Self::Actor(line) => &line.spec.name,
            Self::Supervisor(supervisor) => supervisor.spec.name,
        }
    }
}

impl Supervisor {
    pub(super) fn new(spec: SupervisorSpec, tree: Arc<Tree>, parent: Option<Weak<Self>>) -> Self {
        let (budget, restarts, members) = (Mutex::default(), AtomicU64::new(0), Mutex::default());
        Self { spec, tree, parent, budget, restarts, members }
    }

    pub(super) fn members(&self) -> Vec<Member> {
        lock(&self.members).clone()
    }

    /// Children that gave up and were started again.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts.load(Relaxed)
    }

    /// Adds a member; an actor of the same name that has ended leaves.
    pub(super) fn add(&self, member: Member) {
        let mut members = lock(&self.members);
        members.retain(|older| match older {
            Member::Actor(line) => *line.spec.name != *member.name() || !line.has_ended(),
            Member::Supervisor(_) => true,
        });
        members.push(member);
    }

    /// All actors below, in the order they were started.
    pub(super) fn lines(&self) -> Vec<Arc<Line>> {
        let below = |member: Member| match member {
            Member::Actor(line) => vec![line],
            Member::Supervisor(supervisor) => supervisor.lines(),
        };
        self.members().into_iter().flat_map(below).collect()
    }

    /// The child of that name has spent its budget at `now_ms`: whether it may go on. If so, those that must start again
    /// with it have been told.
    pub(super) fn child_gave_up(&self, name: &Arc<str>, now_ms: u32) -> Verdict {
        match self.spend(now_ms) {
            Verdict::Restart => {
                self.restarts.fetch_add(1, Relaxed);
                if self.spec.strategy == Strategy::RestForOne {
                    self.restart_after(name, name);
                }
                Verdict::Restart
            }
            Verdict::GiveUp => self.give_up(name, now_ms),
        }
    }

    /// More children have given up than allowed: this supervisor's own supervisor decides. All children start again, or
    /// the node ends.
    fn give_up(&self, name: &Arc<str>, now_ms: u32) -> Verdict {
        tracing::error!(supervisor = self.spec.name, child = &**name, "too many children gave up, giving up");
        let Some(parent) = &self.parent else {
            self.tree.give_up(name);
            return Verdict::GiveUp;
        };
        let Some(parent) = parent.upgrade() else { return Verdict::GiveUp };
        match parent.spend(now_ms) {
            Verdict::Restart => {
                parent.restarts.fetch_add(1, Relaxed);
                *lock(&self.budget) = Budget::default();
                self.restart_all(name);
                if parent.spec.strategy == Strategy::RestForOne {
                    parent.restart_after(self.spec.name, name);
                }
                Verdict::Restart
            }
            Verdict::GiveUp => parent.give_up(name, now_ms),
        }
    }

    fn spend(&self, now_ms: u32) -> Verdict {
        lock(&self.budget).spend(now_ms, &self.spec.policy)
    }

    /// Members started after the one of that name start again; never `who`, which does so by itself.
    fn restart_after(&self, name: &str, who: &str) {
        for member in self.members().iter().skip_while(|member| member.name() != name).skip(1) {
            member.restart(who);
        }
    }

    fn restart_all(&self, who: &str) {
        self.members().iter().for_each(|member| member.restart(who));
    }
}

impl Member {
    fn restart(&self, who: &str) {
        match self {
            Self::Actor(line) if *line.spec.name != *who => line.order(Order::Restart),
            Self::Actor(_) => {}
            Self::Supervisor(supervisor) => supervisor.restart_all(who),
        }
    }
}
