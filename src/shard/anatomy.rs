//! What a connection is made of, part by part, with the bytes of each: for the test that notices when one grows, and for
//! whoever shows what an actor costs. No server asks.

use crate::{
    id::ConnectionId,
    shard::{
        behaviour::Behaviour,
        mailbox::{Mailbox, Waiting},
        output::Output,
        table::{Awake, Slot},
    },
    supervision::Budget,
    websocket::Reader,
};

/// One structure that exists for each connection, or for each that is in a certain state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub name: &'static str,
    /// By `size_of`; what it points to is a part of its own.
    pub bytes: usize,
}

/// The shard's parts of a connection of behaviour `B`.
#[must_use]
pub fn anatomy<B: Behaviour>() -> Vec<Piece> {
    let piece = |name, bytes| Piece { name, bytes };
    vec![
        // Always.
        piece("slot", size_of::<Slot<B::Record, B::Message>>()),
        piece("record, in the slot", size_of::<B::Record>()),
        piece("socket, in the slot", size_of::<Option<std::net::TcpStream>>()),
        piece("connection id", size_of::<ConnectionId>()),
        // While something is going on.
        piece("awake", size_of::<Awake<B::Message>>()),
        piece("mailbox, in awake", size_of::<Mailbox<B::Message>>()),
        piece("outbox, in awake", size_of::<Output>()),
        piece("reader, in awake", size_of::<Reader>()),
        piece("waiting message", size_of::<Waiting<B::Message>>()),
        // For a while after a crash.
        piece("budget entry", size_of::<(u32, Budget)>()),
    ]
}
