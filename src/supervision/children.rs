//! The supervision tree of a node as those who start actors hold it: who runs, how often each was restarted, what it last
//! died of. Starting an actor here is what puts it under supervision; a branch is a supervisor under a supervisor.
//!
//! Held by the node and by whoever starts actors; read by `/v1/node`. Never holds an address: an actor whose addresses
//! are all gone ends, as everywhere in actix.

use std::sync::Arc;

use actix::{Actor, Addr, Context, Supervised};
use actix_rt::ArbiterHandle;
use serde::Serialize;
use tokio::sync::watch;

use super::{
    Child, ChildSpec, Policy, Strategy, SupervisorSpec,
    child::{Entry, Line, Order},
    drawing, supervised,
    supervisor::{Member, Supervisor, Tree},
};
use crate::clock::Clock;

/// One supervisor and all below it. Cheap to clone; all clones are one. The root outlives its branches: they end with it.
#[derive(Clone, Debug)]
pub struct Children {
    supervisor: Arc<Supervisor>,
}

/// A supervisor, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// Unique on the node.
    pub name: &'static str,
    /// Whom it starts again.
    pub strategy: Strategy,
    /// Children that gave up and were started again.
    pub restarts: u64,
}

impl Children {
    /// A root that ends the node with the first child that gives up. Budgets are counted on `clock`; `seed` decides the
    /// jitter of waits.
    #[must_use]
    pub fn new(clock: Clock, seed: u64) -> Self {
        let spec = SupervisorSpec { name: "node", strategy: Strategy::OneForOne, policy: Policy::never() };
        let tree = Arc::new(Tree { clock, seed, gave_up: watch::Sender::new(None) });
        Self { supervisor: Arc::new(Supervisor::new(spec, tree, None)) }
    }

    /// A supervisor below this one.
    #[must_use]
    pub fn branch(&self, spec: SupervisorSpec) -> Self {
        let parent = Some(Arc::downgrade(&self.supervisor));
        let supervisor = Arc::new(Supervisor::new(spec, Arc::clone(&self.supervisor.tree), parent));
        self.supervisor.add(Member::Supervisor(Arc::clone(&supervisor)));
        Self { supervisor }
    }

    /// Starts a supervised actor on `arbiter`; `make` runs on that thread. An ended child of the same name leaves the
    /// list. What a crash costs, and what the actor has to do about it, is told in `supervised.rs`. When the arbiter has
    /// ended, the address is closed from the beginning.
    pub fn start<A>(
        &self,
        arbiter: &ArbiterHandle,
        spec: ChildSpec,
        make: impl FnOnce() -> A + Send + 'static,
    ) -> Addr<A>
    where
        A: Actor<Context = Context<A>> + Supervised,
    {
        supervised::start_in(arbiter, self.enlist(spec), make)
    }

    /// As [`Children::start`], on the arbiter of the calling thread.
    ///
    /// # Panics
    /// Outside of an arbiter.
    pub fn start_here<A>(&self, spec: ChildSpec, make: impl FnOnce() -> A) -> Addr<A>
    where
        A: Actor<Context = Context<A>> + Supervised,
    {
        supervised::start_here(self.enlist(spec), make)
    }

    /// All actors below, in the order they were started.
    #[must_use]
    pub fn list(&self) -> Vec<Child> {
        self.supervisor.lines().iter().map(|line| line.child()).collect()
    }

    /// The actor of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Child> {
        self.line(name).map(|line| line.child())
    }

    /// The supervisors directly below.
    #[must_use]
    pub fn branches(&self) -> Vec<Branch> {
        let branch = |member: &Member| match member {
            Member::Supervisor(branch) => {
                Some(Branch { name: branch.spec.name, strategy: branch.spec.strategy, restarts: branch.restarts() })
            }
            Member::Actor(_) => None,
        };
        self.supervisor.members().iter().filter_map(branch).collect()
    }

    /// Panics the actor of that name from inside, for chaos; `false` when there is none that runs.
    #[must_use]
    pub fn crash(&self, name: &str) -> bool {
        let running = self.line(name).filter(|line| !line.has_ended());
        running.inspect(|line| line.order(Order::Panic)).is_some()
    }

    /// Waits until the root has given up, and names the child that began it. The node cannot keep its promises without
    /// that child: who awaits this escalates, as a supervisor in OTP does.
    pub async fn gave_up(&self) -> Arc<str> {
        let mut gave_up = self.supervisor.tree.gave_up.subscribe();
        if let Ok(name) = gave_up.wait_for(Option::is_some).await
            && let Some(name) = &*name
        {
            return Arc::clone(name);
        }
        std::future::pending().await
    }

    /// Stops all actors below, the last one started first; each handles what is queued and has the time of its spec.
    /// One that needs longer is abandoned. Returns the names of those.
    pub async fn stop(&self) -> Vec<Arc<str>> {
        let mut abandoned = Vec::new();
        for line in self.supervisor.lines().iter().rev() {
            line.order(Order::Stop);
            if tokio::time::timeout(line.spec.shutdown, line.wait_ended()).await.is_err() {
                let (name, patience) = (&line.spec.name, line.spec.shutdown);
                tracing::warn!(actor = &**name, ?patience, "actor does not stop, abandoning it");
                line.order(Order::Abandon);
                abandoned.push(Arc::clone(name));
            }
        }
        abandoned
    }

    /// The tree as text, drawn from the specs it was started with.
    #[must_use]
    pub fn draw(&self) -> String {
        drawing::draw(&self.supervisor)
    }

    fn line(&self, name: &str) -> Option<Arc<Line>> {
        self.supervisor.lines().into_iter().find(|line| *line.spec.name == *name)
    }

    fn enlist(&self, spec: ChildSpec) -> Entry {
        let line = Arc::new(Line::new(spec, self.supervisor.spec.name));
        self.supervisor.add(Member::Actor(Arc::clone(&line)));
        Entry { line, supervisor: Arc::clone(&self.supervisor) }
    }
}
