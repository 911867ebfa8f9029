//! Where a shard's sockets come from and how it learns what they are ready for: the one thing about a shard that a
//! simulation exchanges. In a server it is the kernel ([`super::poller::Poller`] and TCP); everything that reads, writes
//! or closes is written against these traits and compiled for each network, so that the kernel's costs nothing more.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};

use crate::shard::poller::{Ready, Subject};

/// A nonblocking stream of bytes; dropping it closes it. A read that brings less than it was given room for has emptied
/// it: more makes a new edge.
pub trait Socket: Read + Write + 'static {
    /// Ends our side behind what has been written.
    fn end(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Tells once of each time one of its sockets became ready (edge-triggered).
pub trait Network: 'static {
    /// What it watches.
    type Socket: Socket;

    /// Watches a socket; its first event comes at once if it is ready. An error if it is watched already.
    fn add(&self, socket: &Self::Socket, subject: Subject) -> io::Result<()>;
    /// Watches an already watched socket under another name; its first event comes at once if it is ready.
    fn rename(&self, socket: &Self::Socket, subject: Subject) -> io::Result<()>;
    /// No longer watches a socket that goes to another shard. Closing one needs no call.
    fn remove(&self, socket: &Self::Socket) -> io::Result<()>;
    /// Takes what is ready without waiting. `true`: there may be more.
    fn take(&mut self, each: impl FnMut(Ready)) -> io::Result<bool>;
}
