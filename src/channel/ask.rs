//! What a connection's turn asks of its hub. Types only; `hub.rs` carries them out.

use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::{
    channel::{
        catch_up::Since,
        directory::Channel,
        message::{HomeRequest, Tag},
    },
    hooks::Question,
    protocol::request::Status,
};

/// What a connection's turn asks of its hub.
#[derive(Debug)]
pub enum Ask {
    /// Something of a channel's home.
    OfHome {
        /// The channel's name.
        channel: CompactString,
        /// What the answer answers.
        tag: Tag,
        /// What is asked.
        request: HomeRequest,
    },
    /// No more events of this channel.
    Unsubscribe {
        /// The channel.
        channel: Arc<Channel>,
        /// Whose subscription.
        user: CompactString,
    },
    /// The session begins or comes back: from now on it hears of memberships that begin and end. The answer lists those
    /// there are.
    Enroll {
        /// Whose session.
        user: CompactString,
        /// What the answer answers.
        tag: Tag,
    },
    /// One subscription that the home has counted is one too many.
    Surplus {
        /// The channel.
        channel: Arc<Channel>,
        /// Whose.
        user: CompactString,
    },
    /// The socket is lost: no more events for now, but the user stays present.
    Pause {
        /// Whose.
        user: CompactString,
        /// All subscriptions.
        channels: Vec<Arc<Channel>>,
        /// So many events offered before did not reach the client.
        undelivered: u64,
        /// The client knew of the subscription. One that it had not been told of since it came back stays paused where it
        /// was paused before.
        told: bool,
    },
    /// The client has been told of all that it goes on with.
    Resumed,
    /// Go on with a paused subscription from where the shard was when it paused.
    Resume {
        /// The channel.
        channel: Arc<Channel>,
        /// What the answer answers.
        tag: Tag,
        /// Its cursor, if the client sent one.
        cursor: Option<Since>,
        /// Who subscribes, and how.
        subscriber: Subscriber,
    },
    /// The user's status in these channels.
    SetStatus {
        /// All subscriptions.
        channels: Vec<Arc<Channel>>,
        /// Who.
        user: CompactString,
        /// The new one.
        status: Status,
    },
    /// The application's backend is to know that a client is gone.
    Tell {
        /// What it is told.
        disconnect: Question,
    },
    /// The record is gone.
    Farewell {
        /// All subscriptions.
        channels: Vec<Arc<Channel>>,
        /// Whose.
        user: CompactString,
    },
}

impl Ask {
    /// The one channel it is about, if it is about one.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        match self {
            Self::OfHome { channel, .. } => Some(channel),
            Self::Unsubscribe { channel, .. } | Self::Surplus { channel, .. } | Self::Resume { channel, .. } => {
                Some(&channel.name)
            }
            Self::Enroll { .. }
            | Self::Pause { .. }
            | Self::Resumed
            | Self::SetStatus { .. }
            | Self::Tell { .. }
            | Self::Farewell { .. } => None,
        }
    }
}

/// Who subscribes, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscriber {
    /// The user.
    pub user: CompactString,
    /// How he is seen.
    pub status: Status,
    /// `presence` frames are wanted.
    pub watches: bool,
    /// The session is counted as present already.
    pub inherits: bool,
    /// What waits of this channel in the mailbox is part of the replay asked for.
    pub replaces: bool,
}
