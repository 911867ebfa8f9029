//! What a turn is about: everything that can happen to a connection of an [`App`](super::App).

use serde::{Deserialize, Serialize};

use super::{App, Opening};
use crate::id::ConnectionId;

/// One message for one turn.
pub enum Message<'a, A: App> {
    /// The socket is open.
    Opened(&'a Opening),
    /// The client sent a text.
    Text(&'a str),
    /// The client sent bytes.
    Binary(&'a [u8]),
    /// This connection is a member from here on. Also the answer to entering a room that it is in already.
    Entered {
        /// Which room.
        room: &'a str,
        /// The room as it is.
        state: &'a A::Room,
        /// Of the last telling that is in it; 0 when there was none.
        number: u64,
    },
    /// A member told the room something, perhaps this one.
    Told {
        /// Which room.
        room: &'a str,
        /// One more than that of the telling before.
        number: u64,
        /// Who: [`Effects::connection`](super::Effects::connection) for what this one has told.
        from: ConnectionId,
        /// What.
        told: &'a A::Told,
        /// The room after it.
        state: &'a A::Room,
    },
    /// The mailbox was full and tellings of this room did not fit. They will not come; everything after `number` will.
    Skipped {
        /// Which room.
        room: &'a str,
        /// The room as it is, with what was skipped.
        state: &'a A::Room,
        /// Of the last telling that is in it.
        number: u64,
    },
    /// Something this connection asked of a room did not happen. To try again is up to it; a room that it could not enter counts
    /// among its rooms until it leaves.
    Failed {
        /// Which room.
        room: &'a str,
        /// What it wanted to tell; `None`: it wanted to enter.
        told: Option<&'a A::Told>,
        /// Why not.
        why: Failure,
    },
    /// The time of [`Effects::wake_after`](super::Effects::wake_after) is over. Told once.
    Woken,
    /// The turn before this one panicked: nothing of it happened, and the state is the one before it.
    Restarted {
        /// What it was about. `None`: telling that has crashed too, or it was none of the app's business.
        lost: Option<&'a Message<'a, A>>,
        /// It will come once more. What a client sends never does, what came from a room does once.
        again: bool,
        /// This was one crash too many: the socket is closed behind this turn.
        gave_up: bool,
    },
    /// The node leaves. Clients that are asked to go elsewhere should do so within so many milliseconds, each at another
    /// moment; who stays is closed with 1001.
    Leaving {
        /// At most.
        after_ms: u64,
    },
    /// The socket is gone, and with this turn the connection. What it tells rooms still goes out.
    Closed {
        /// The close code; 1005 for none, 1006 for a socket that was lost.
        code: u16,
    },
}

/// Why a room did not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// A name of a room has 1 to 255 bytes.
    #[error("a room's name has 1 to 255 bytes")]
    BadName,
    /// A connection is in `limits.subscriptions` rooms at most.
    #[error("in too many rooms")]
    TooMany,
    /// Only members tell a room something.
    #[error("not a member of this room")]
    NotEntered,
    /// The node is behind; try again later.
    #[error("the node is behind")]
    Overloaded,
    /// [`App::fold`](super::App::fold) panicked over it, or the default of the room did.
    #[error("the room crashed over it")]
    Crashed,
}

impl<A: App> Clone for Message<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: App> Copy for Message<'_, A> {}
