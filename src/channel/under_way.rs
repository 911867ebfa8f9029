//! What a hub is doing at this moment, and for whom: after a panic it can say who is owed an answer, which event has not reached
//! everybody, and which durable home has more to do. Written by the hub as it goes, read only when it has crashed.

use std::sync::Arc;

use crate::{
    channel::{burst::Burst, directory::Channel, home::Published, message::Tag},
    id::ConnectionId,
};

/// What the hub is doing, for the case that it panics over it.
#[derive(Default)]
pub(super) struct UnderWay {
    /// Who has asked and not been answered.
    pub(super) owed: Option<(ConnectionId, Tag)>,
    /// Who is behind and waits for his next page.
    pub(super) pursuer: Option<ConnectionId>,
    /// What he asked for is on disk already: he is told so.
    pub(super) stored: Option<Published>,
    /// The durable home that is being worked off.
    pub(super) durable: Option<Arc<Channel>>,
    /// What is being offered to the subscribers of this shard: events of one channel.
    pub(super) events: Burst,
    /// The last of them it was offered to, or was about to be.
    pub(super) reached: u32,
}
