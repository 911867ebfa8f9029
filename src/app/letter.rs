//! What the rooms of one shard write to those of another. Letters of one sender arrive in their order; that is what the order
//! of a room and the place of a snapshot in it stand on.

use std::sync::Arc;

use super::{
    App,
    notice::{Failed, Snapshot, Telling},
};
use crate::id::ConnectionId;

/// From the rooms of one shard to those of another.
pub(crate) enum Letter<A: App> {
    /// To a room's home.
    Home { room: Arc<str>, from: ConnectionId, request: Request<A> },
    /// From there: the answer to [`Request::Look`].
    Snapshot { to: ConnectionId, ticket: Ticket, snapshot: Snapshot<A> },
    /// From there, once to each shard with members.
    Told(Arc<Telling<A>>),
    /// From there; the ticket of what asked to enter.
    Failed { to: ConnectionId, ticket: Option<Ticket>, failed: Failed<A> },
}

/// What a room's home is asked.
pub(crate) enum Request<A: App> {
    /// For the room as it is; `enters`: a new member asks.
    Look { ticket: Ticket, enters: bool },
    /// A member less.
    Leave,
    /// By a member.
    Tell(Arc<A::Told>),
}

/// Pairs an answer with the latest question; what comes for an older one is no longer wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticket(pub(super) u64);
