//! Sockets whose connection is over: our close frame is on its way, and closing at once could destroy it (the kernel
//! answers unread bytes with a reset). They are read and thrown away until the peer is gone or a short time has passed.

use std::{
    collections::{HashMap, VecDeque},
    io::Read,
    net::{Shutdown, TcpStream},
};

use crate::{
    clock::Now,
    shard::poller::{Poller, Subject},
};

/// RFC 6455 §7.1.1 lets a server wait "a reasonable period" for the peer to close.
const PATIENCE_MS: u32 = 3_000;
/// More than this at once (a mass disconnect) and the oldest are closed early.
const MOST: usize = 8_192;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    sockets: HashMap<u64, TcpStream>,
    due: VecDeque<(u64, u32)>,
    /// Those that had more to read than was thrown away at once: edge-triggered, they must be watched anew.
    unread: Vec<u64>,
    next: u64,
}

impl Lingering {
    /// Takes a watched socket whose last bytes are written.
    pub(super) fn add(&mut self, socket: TcpStream, poller: &Poller, now: Now) {
        if socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let number = self.next;
        self.next += 1;
        if poller.rename(&socket, Subject::Lingering(number)).is_err() {
            return;
        }
        self.sockets.insert(number, socket);
        self.due.push_back((number, now.ms()));
        while self.sockets.len() > MOST {
            self.close_oldest();
        }
    }

    /// The peer sent something or left.
    pub(super) fn ready(&mut self, number: u64, scratch: &mut [u8]) {
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        // A peer that goes on sending gets no more than this before others have their turn.
        for _ in 0..16 {
            match socket.read(scratch) {
                Ok(1..) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => {
                    self.sockets.remove(&number);
                    return;
                }
            }
        }
        self.unread.push(number);
    }

    /// Has the poller tell again of those that [`Lingering::ready`] has not read to their end.
    pub(super) fn watch_unread(&mut self, poller: &Poller) {
        for number in self.unread.drain(..) {
            if let Some(socket) = self.sockets.get(&number)
                && poller.rename(socket, Subject::Lingering(number)).is_err()
            {
                self.sockets.remove(&number);
            }
        }
    }

    /// Closes those whose time is over.
    pub(super) fn sweep(&mut self, now: Now) {
        while self.due.front().is_some_and(|&(_, since)| now.ms_since(since) >= PATIENCE_MS) {
            self.close_oldest();
        }
    }

    fn close_oldest(&mut self) {
        if let Some((number, _)) = self.due.pop_front() {
            self.sockets.remove(&number);
        }
        if self.sockets.is_empty() {
            self.sockets = HashMap::new();
            self.due = VecDeque::new();
        }
    }
}
