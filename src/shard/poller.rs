//! Readiness of a shard's sockets: one edge-triggered mio poller, whose own descriptor the runtime awaits. Connections cost
//! the runtime nothing; the kernel keeps their registration.
//!
//! Tokens: a connection's slot index, a lingering socket's number with the top bit, or the wake-up of the inbox.

use std::{
    io,
    net::TcpStream,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, Waker, unix::SourceFd};
use tokio::io::{Interest as RuntimeInterest, unix::AsyncFd};

use crate::shard::network::Network;

const WAKE: usize = usize::MAX;
const LINGERING: usize = 1 << 63;
/// Events taken per system call.
const BATCH: usize = 1024;

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A connection, by slot index.
    Connection(u32),
    /// A socket that waits for its peer's close.
    Lingering(u64),
}

impl Subject {
    fn token(self) -> Token {
        match self {
            Self::Connection(index) => Token(index as usize),
            Self::Lingering(number) => Token(LINGERING | number as usize),
        }
    }
}

/// What happened to a socket.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// To whom.
    pub subject: Subject,
    /// There is something to read.
    pub readable: bool,
    /// The peer has ended its side: reads go on until they return nothing.
    pub ended: bool,
}

/// See the module's text.
pub struct Poller {
    poll: Poll,
    events: Events,
}

impl Poller {
    /// A poller and the waker of its shard's inbox.
    pub(super) fn new() -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(WAKE))?;
        Ok((Self { poll, events: Events::with_capacity(BATCH) }, waker))
    }

    /// A second handle of the poller's own descriptor, registered with the current runtime.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for descriptors that may be closed early; this one is owned"
    )]
    pub(super) fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let descriptor = self.poll.registry().as_fd().try_clone_to_owned()?;
        AsyncFd::with_interest(descriptor, RuntimeInterest::READABLE)
    }
}

impl Network for Poller {
    type Socket = TcpStream;

    fn add(&self, socket: &TcpStream, subject: Subject) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), subject.token(), Interest::READABLE | Interest::WRITABLE)
    }

    fn rename(&self, socket: &TcpStream, subject: Subject) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        self.poll.registry().reregister(&mut SourceFd(&fd), subject.token(), Interest::READABLE | Interest::WRITABLE)
    }

    fn remove(&self, socket: &TcpStream) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()))
    }

    fn take(&mut self, mut each: impl FnMut(Ready)) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        }
        let mut taken = 0;
        for event in &self.events {
            taken += 1;
            let Token(token) = event.token();
            if token == WAKE {
                continue;
            }
            let subject = if token & LINGERING == 0 {
                Subject::Connection(token as u32)
            } else {
                Subject::Lingering((token & !LINGERING) as u64)
            };
            let ended = event.is_read_closed() || event.is_error();
            each(Ready { subject, readable: event.is_readable() || ended, ended });
        }
        Ok(taken == BATCH)
    }
}
