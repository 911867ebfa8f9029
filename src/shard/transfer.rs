//! Letters between shards, and the move of a socket from the connection that brought it to the record it resumes.

use crate::{
    id::ConnectionId,
    shard::{
        behaviour::{Behaviour, Hub},
        network::Network,
        output::Output,
        poller::Poller,
        transport::Transport,
    },
    websocket::Reader,
};

/// What a shard's inbox holds.
pub(super) enum Letter<B: Behaviour, N: Network = Poller> {
    /// For its hub.
    Hub(<B::Hub as Hub<B>>::Letter),
    /// A socket that comes to resume a record here.
    Transfer(Box<Transfer<B, N>>),
}

/// A socket on its way, with everything that must not be lost on it.
pub(super) struct Transfer<B: Behaviour, N: Network = Poller> {
    /// The record it asks for.
    pub(super) to: ConnectionId,
    /// Its claim.
    pub(super) ticket: B::Ticket,
    pub(super) transport: Transport<N::Socket>,
    /// An unfinished frame.
    pub(super) reader: Reader,
    /// Bytes read and not yet looked at.
    pub(super) unread: Vec<u8>,
    /// What the socket did not take yet.
    pub(super) unsent: Output,
    /// The socket may have more.
    pub(super) readable: bool,
}
