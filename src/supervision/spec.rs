//! What a supervisor knows of a child before it runs, in OTP's words: its name, when it is started again, how often, how
//! long it may take to stop. Plain values; `children.rs` acts on them and draws the tree from them.

use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;

use super::Policy;

/// When an actor that has ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always: the node needs it whatever it thinks itself.
    Permanent,
    /// After a crash; one that stops by itself has done its work.
    Transient,
    /// Never, and nobody is told.
    Temporary,
}

/// Whom a supervisor starts again when one of its children has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// That child alone: its siblings do not depend on it.
    OneForOne,
    /// That child and those started after it, which may hold what it has lost.
    RestForOne,
}

/// One supervised actor.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// Unique on the node.
    pub name: Arc<str>,
    /// When it is started again.
    pub restart: Restart,
    /// How often, and after which wait.
    pub policy: Policy,
    /// How long it may take to stop; then it is abandoned.
    pub shutdown: Duration,
    /// What runs inside it, restarts with it and is no child of a supervisor.
    pub parts: Vec<Part>,
}

/// A part of a child, for whoever reads the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Its own restarts, or why it has none.
    pub how: String,
}

impl ChildSpec {
    /// Long enough to finish what is queued, short beside the time a node has to drain.
    pub const SHUTDOWN: Duration = Duration::from_secs(1);

    /// Restarted after a crash as `policy` says.
    #[must_use]
    pub fn transient(name: impl Into<Arc<str>>, policy: Policy) -> Self {
        let name = name.into();
        Self { name, restart: Restart::Transient, policy, shutdown: Self::SHUTDOWN, parts: Vec::new() }
    }

    /// A part of the node that must always run, with the policy of system actors.
    #[must_use]
    pub fn system(name: impl Into<Arc<str>>) -> Self {
        Self { restart: Restart::Permanent, ..Self::transient(name, Policy::system()) }
    }

    /// With a part that the drawing shows.
    #[must_use]
    pub fn with_part(mut self, name: &'static str, how: impl Into<String>) -> Self {
        self.parts.push(Part { name, how: how.into() });
        self
    }
}

impl fmt::Display for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {:?} to stop", self.restart, self.policy, self.shutdown)
    }
}

/// An inner node of the tree.
#[derive(Clone, Copy, Debug)]
pub struct SupervisorSpec {
    /// Unique on the node.
    pub name: &'static str,
    /// Whom it starts again.
    pub strategy: Strategy,
    /// How many of its children may give up; beyond that it gives up itself. Its backoff is not used: the child waits.
    pub policy: Policy,
}

impl fmt::Display for SupervisorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.strategy)?;
        match self.policy.max_restarts {
            0 => f.write_str("a child that gives up is passed on at once"),
            most => write!(f, "{most} children may give up in {:?}", self.policy.within),
        }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Temporary => "temporary",
        })
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneForOne => "one_for_one",
            Self::RestForOne => "rest_for_one",
        })
    }
}
