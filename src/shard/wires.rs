//! The simulated network: sockets that are memory, with both ends in one process and every kernel's mood at the
//! simulation's command. A [`Peer`] decides how many bytes arrive at once, when it reads, and how it goes; the server's
//! end keeps what a kernel promises (edges, errors, what a reset destroys) and nothing more.
//!
//! Only compiled for simulations. Reads and writes are whole or short as with TCP; bytes that arrive in pieces are the
//! peer's doing ([`Peer::send`] piece by piece).

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::shard::{
    network::{Network, Socket},
    poller::{Ready, Subject},
};

/// One simulated connection.
struct Pipe {
    /// Sent by the peer, not yet read.
    inbound: VecDeque<u8>,
    /// Written by the server, not yet taken by the peer.
    outbound: VecDeque<u8>,
    /// Bytes `outbound` holds before writes are refused.
    capacity: usize,
    /// The peer has ended its side.
    ended: bool,
    /// The connection is destroyed.
    reset: bool,
    /// The server has ended its side.
    finished: bool,
    /// The server's end is gone.
    closed: bool,
    /// A write was refused or cut; room for more will be an edge.
    full: bool,
    /// Who watches it, and as whom.
    watch: Option<(Arc<Edges>, Subject)>,
    /// Waits in those edges.
    told: bool,
}

/// Sockets of one shard with an edge that was not taken yet.
struct Edges {
    shard: u16,
    waiting: Mutex<VecDeque<Arc<Mutex<Pipe>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers an edge of `pipe`, if somebody watches it.
fn edge(pipe: &Arc<Mutex<Pipe>>) {
    let edges = {
        let mut inside = lock(pipe);
        match (&inside.watch, inside.told) {
            (Some((edges, _)), false) => {
                let edges = Arc::clone(edges);
                inside.told = true;
                edges
            }
            _ => return,
        }
    };
    lock(&edges.waiting).push_back(Arc::clone(pipe));
}

/// The server's end.
pub(super) struct Wire(Arc<Mutex<Pipe>>);

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut pipe = lock(&self.0);
        match () {
            () if pipe.reset => Err(ErrorKind::ConnectionReset.into()),
            () if !pipe.inbound.is_empty() => pipe.inbound.read(into),
            () if pipe.ended => Ok(0),
            () => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = lock(&self.0);
        if pipe.reset || pipe.finished {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(pipe.capacity.saturating_sub(pipe.outbound.len()));
        pipe.full |= taken < bytes.len();
        pipe.outbound.extend(&bytes[..taken]);
        if taken == 0 && !bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Wire {
    fn end(&self) -> io::Result<()> {
        let mut pipe = lock(&self.0);
        if pipe.reset {
            return Err(ErrorKind::NotConnected.into());
        }
        pipe.finished = true;
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut pipe = lock(&self.0);
        pipe.closed = true;
        pipe.watch = None;
        // A kernel answers bytes that nobody has read with a reset, which destroys what is still on its way.
        if !pipe.inbound.is_empty() && !pipe.reset {
            pipe.reset = true;
            pipe.outbound.clear();
        }
    }
}

/// The readiness of one shard's wires.
pub(super) struct Wires(Arc<Edges>);

impl Wires {
    pub(super) fn new(shard: u16) -> Self {
        Self(Arc::new(Edges { shard, waiting: Mutex::default() }))
    }

    /// A connection with room for `capacity` unread bytes on their way to the peer.
    pub(super) fn connect(capacity: usize) -> (Wire, Peer) {
        let pipe = Pipe {
            inbound: VecDeque::new(),
            outbound: VecDeque::new(),
            capacity,
            ended: false,
            reset: false,
            finished: false,
            closed: false,
            full: false,
            watch: None,
            told: false,
        };
        let pipe = Arc::new(Mutex::new(pipe));
        (Wire(Arc::clone(&pipe)), Peer(pipe))
    }

    /// No edge waits to be taken.
    pub(super) fn is_quiet(&self) -> bool {
        lock(&self.0.waiting).is_empty()
    }
}

impl Network for Wires {
    type Socket = Wire;

    fn add(&self, socket: &Wire, subject: Subject) -> io::Result<()> {
        {
            let mut pipe = lock(&socket.0);
            if pipe.watch.is_some() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            pipe.watch = Some((Arc::clone(&self.0), subject));
            pipe.told = false;
        }
        edge(&socket.0);
        Ok(())
    }

    fn rename(&self, socket: &Wire, subject: Subject) -> io::Result<()> {
        match &mut lock(&socket.0).watch {
            Some((edges, name)) if Arc::ptr_eq(edges, &self.0) => *name = subject,
            _ => return Err(ErrorKind::NotFound.into()),
        }
        edge(&socket.0);
        Ok(())
    }

    fn remove(&self, socket: &Wire) -> io::Result<()> {
        let mut pipe = lock(&socket.0);
        let watched = pipe.watch.take_if(|(edges, _)| Arc::ptr_eq(edges, &self.0));
        watched.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn take(&mut self, mut each: impl FnMut(Ready)) -> io::Result<bool> {
        let waiting = std::mem::take(&mut *lock(&self.0.waiting));
        for pipe in waiting {
            let ready = {
                let mut pipe = lock(&pipe);
                // One that has moved to another shard since waits in that one's edges.
                let subject = pipe.watch.as_ref().filter(|(edges, _)| Arc::ptr_eq(edges, &self.0)).map(|watch| watch.1);
                let Some(subject) = subject else { continue };
                pipe.told = false;
                let ended = pipe.ended || pipe.reset;
                Ready { subject, readable: ended || !pipe.inbound.is_empty(), ended }
            };
            each(ready);
        }
        Ok(false)
    }
}

/// The client's end. Dropping it does nothing: a client that goes says how ([`Peer::end`], [`Peer::reset`]).
#[derive(Clone)]
pub struct Peer(Arc<Mutex<Pipe>>);

/// What a client finds at its end beside bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Both directions are open.
    Open,
    /// The server has ended its side, and everything it wrote was taken.
    Ended,
    /// The connection is destroyed.
    Reset,
}

impl Peer {
    /// These bytes arrive. At an end that is gone they cause a reset.
    pub fn send(&self, bytes: &[u8]) {
        {
            let mut pipe = lock(&self.0);
            if pipe.closed {
                pipe.reset = true;
                pipe.outbound.clear();
                return;
            }
            pipe.inbound.extend(bytes);
        }
        edge(&self.0);
    }

    /// Takes at most so many bytes from what the server has written.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<u8> {
        let (taken, room) = {
            let mut pipe = lock(&self.0);
            let most = most.min(pipe.outbound.len());
            let taken = pipe.outbound.drain(..most).collect();
            let room = pipe.full && pipe.outbound.len() < pipe.capacity;
            pipe.full &= !room;
            (taken, room)
        };
        if room {
            edge(&self.0);
        }
        taken
    }

    /// Bytes to be taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.0).outbound.len()
    }

    /// The state of the connection, seen from here.
    #[must_use]
    pub fn line(&self) -> Line {
        let pipe = lock(&self.0);
        match () {
            () if pipe.reset => Line::Reset,
            () if pipe.outbound.is_empty() && (pipe.finished || pipe.closed) => Line::Ended,
            () => Line::Open,
        }
    }

    /// Ends this side; what comes is still read.
    pub fn end(&self) {
        lock(&self.0).ended = true;
        edge(&self.0);
    }

    /// Destroys the connection: what was on its way is lost, in both directions.
    pub fn reset(&self) {
        {
            let mut pipe = lock(&self.0);
            pipe.reset = true;
            pipe.inbound.clear();
            pipe.outbound.clear();
        }
        edge(&self.0);
    }

    /// The shard that watches the server's end, and as whom.
    pub(super) fn watched(&self) -> Option<(u16, Subject)> {
        lock(&self.0).watch.as_ref().map(|(edges, subject)| (edges.shard, *subject))
    }
}
