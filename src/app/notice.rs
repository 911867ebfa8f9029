//! What the rooms tell a connection, and what its turns ask of them.

use std::{rc::Rc, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{App, Failure};
use crate::id::ConnectionId;

/// From the rooms to a connection; waits in its mailbox.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", bound = "")]
pub(crate) enum Notice<A: App> {
    Entered(Snapshot<A>),
    Skipped(Snapshot<A>),
    #[expect(
        clippy::redundant_allocation,
        reason = "the many clones of a shard count without touching what others count in"
    )]
    Told(Rc<Arc<Telling<A>>>),
    Failed(Failed<A>),
}

/// A room at a moment.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Snapshot<A: App> {
    pub(super) room: Arc<str>,
    pub(super) state: Arc<A::Room>,
    pub(super) number: u64,
}

/// Something that was told, made once for all members on all shards.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Telling<A: App> {
    pub(super) room: Arc<str>,
    pub(super) number: u64,
    pub(super) from: ConnectionId,
    pub(super) told: Arc<A::Told>,
    pub(super) state: Arc<A::Room>,
}

/// Something that did not happen.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Failed<A: App> {
    pub(super) room: Arc<str>,
    /// `None`: it was to enter.
    pub(super) told: Option<Arc<A::Told>>,
    pub(super) why: Failure,
}

/// From a committed turn to the rooms.
pub(crate) enum Ask<A: App> {
    Enter(Box<str>),
    Leave(Box<str>),
    Tell(Box<str>, A::Told),
    /// The turn itself could see that it cannot be.
    Fail(Box<str>, Option<A::Told>, Failure),
    /// The connection is gone; it was in these.
    Farewell(Rc<Vec<Box<str>>>),
}

impl<A: App> Notice<A> {
    /// The room whose members alone it is for.
    pub(super) fn of(&self) -> Option<&str> {
        match self {
            Self::Entered(snapshot) | Self::Skipped(snapshot) => Some(&snapshot.room),
            Self::Told(telling) => Some(&telling.room),
            Self::Failed(_) => None,
        }
    }

    /// A telling of that room.
    pub(super) fn is_told_in(&self, room: &str) -> bool {
        matches!(self, Self::Told(telling) if *telling.room == *room)
    }
}
