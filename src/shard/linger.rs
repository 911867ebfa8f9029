//! Sockets whose connection is over: our close frame is on its way, and closing at once could destroy it (the kernel
//! answers unread bytes with a reset). They are read and thrown away until the peer is gone or a short time has passed.
//! Those that were blocked get what they are still owed as soon as they take it, within the same time.

use std::{
    collections::{HashMap, VecDeque},
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, atomic::Ordering},
};

use crate::{
    clock::Now,
    shard::{
        Sockets,
        poller::{Poller, Subject},
    },
};

/// RFC 6455 §7.1.1 lets a server wait "a reasonable period" for the peer to close.
const PATIENCE_MS: u32 = 3_000;
/// More than this at once (a mass disconnect) and the oldest are closed early.
const MOST: usize = 8_192;
/// Full reads of a peer that goes on sending; what else it sends is not looked at.
const READS: usize = 16;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    sockets: HashMap<u64, Leaver>,
    due: VecDeque<(u64, u32)>,
    next: u64,
}

/// One of them.
#[derive(Debug)]
struct Leaver {
    socket: TcpStream,
    /// `None`: the peer has everything, our side of the socket is ended.
    owed: Option<Owed>,
}

/// Bytes up to the end of the close frame, counted among the node's sockets for as long as they exist.
#[derive(Debug)]
struct Owed {
    bytes: Vec<u8>,
    sockets: Arc<Sockets>,
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.sockets.owed.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lingering {
    /// Takes a watched socket; `owed` is what it must get before its end.
    pub(super) fn add(&mut self, socket: TcpStream, owed: Vec<u8>, sockets: &Arc<Sockets>, poller: &Poller, now: Now) {
        let owed = (!owed.is_empty()).then(|| {
            sockets.owed.fetch_add(1, Ordering::Relaxed);
            Owed { bytes: owed, sockets: Arc::clone(sockets) }
        });
        if owed.is_none() && socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let number = self.next;
        self.next += 1;
        // A socket that is ready makes its first event under the new name at once.
        if poller.rename(&socket, Subject::Lingering(number)).is_err() {
            return;
        }
        self.sockets.insert(number, Leaver { socket, owed });
        self.due.push_back((number, now.ms()));
        while self.sockets.len() > MOST {
            self.close_oldest();
        }
    }

    /// The peer sent something, took something or left.
    pub(super) fn ready(&mut self, number: u64, scratch: &mut [u8]) {
        let Some(leaver) = self.sockets.get_mut(&number) else { return };
        if leaver.write().is_err() || leaver.read(scratch) {
            self.sockets.remove(&number);
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

impl Leaver {
    /// Writes what is owed as far as the socket takes it, and ends our side behind it.
    fn write(&mut self) -> std::io::Result<()> {
        let Some(owed) = &mut self.owed else { return Ok(()) };
        while !owed.bytes.is_empty() {
            match self.socket.write(&owed.bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => drop(owed.bytes.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.owed = None;
        self.socket.shutdown(Shutdown::Write)
    }

    /// Throws away what the peer sends. `true`: it is gone. A peer that has only ended its side still gets what it is owed.
    fn read(&mut self, scratch: &mut [u8]) -> bool {
        for _ in 0..READS {
            match self.socket.read(scratch) {
                Ok(0) => return self.owed.is_none(),
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            }
        }
        // Closing over unread bytes would be a reset: the sweep ends it, ready or not.
        false
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (socket, _) = listener.accept().expect("accepts");
        socket.set_nonblocking(true).expect("is nonblocking");
        (socket, peer)
    }

    /// Fills the socket until it takes no more.
    fn fill(socket: &mut TcpStream) -> usize {
        let mut filled = 0;
        while let Ok(written) = socket.write(&[0; 65_536]) {
            filled += written;
        }
        filled
    }

    fn serve_until_empty(lingering: &mut Lingering, poller: &mut Poller) {
        let mut scratch = vec![0; 65_536];
        while !lingering.sockets.is_empty() {
            poller
                .take(|ready| {
                    if let Subject::Lingering(number) = ready.subject {
                        lingering.ready(number, &mut scratch);
                    }
                })
                .expect("polls");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_blocked_socket_gets_what_it_is_owed_and_then_its_end() {
        let (mut poller, _waker) = Poller::new().expect("polls");
        let (mut socket, mut peer) = pair();
        poller.add(&socket, Subject::Connection(0)).expect("is watched");
        let filled = fill(&mut socket);
        let sockets = Arc::new(Sockets::default());
        let mut lingering = Lingering::default();
        lingering.add(socket, b"owed".to_vec(), &sockets, &poller, Now { micros: 0, unix_ms: 0 });
        assert!(!sockets.are_gone(), "it has not got its last words");
        let reader = std::thread::spawn(move || {
            let mut taken = Vec::new();
            peer.read_to_end(&mut taken).map(|_| taken)
        });
        serve_until_empty(&mut lingering, &mut poller);
        let taken = reader.join().expect("ends").expect("reads to an orderly end");
        assert_eq!((taken.len(), &taken[filled..]), (filled + 4, &b"owed"[..]));
        assert!(sockets.are_gone());
    }

    #[test]
    fn a_socket_that_never_takes_its_last_words_is_closed_after_its_time() {
        let (poller, _waker) = Poller::new().expect("polls");
        let (mut socket, _peer) = pair();
        poller.add(&socket, Subject::Connection(0)).expect("is watched");
        fill(&mut socket);
        let sockets = Arc::new(Sockets::default());
        let mut lingering = Lingering::default();
        lingering.add(socket, b"owed".to_vec(), &sockets, &poller, Now { micros: 0, unix_ms: 0 });
        lingering.sweep(Now { micros: 2_999_000, unix_ms: 0 });
        assert!(!sockets.are_gone());
        lingering.sweep(Now { micros: 3_000_000, unix_ms: 0 });
        assert!(sockets.are_gone());
    }

    #[test]
    fn a_peer_that_goes_on_sending_is_not_closed_over_its_unread_bytes() {
        let (poller, _waker) = Poller::new().expect("polls");
        let (socket, mut peer) = pair();
        poller.add(&socket, Subject::Connection(0)).expect("is watched");
        let mut lingering = Lingering::default();
        let now = Now { micros: 0, unix_ms: 0 };
        lingering.add(socket, Vec::new(), &Arc::default(), &poller, now);
        peer.write_all(&[0; READS + 1]).expect("sends");
        // One byte a read.
        while lingering.sockets[&0].socket.peek(&mut [0; READS + 1]).is_ok_and(|there| there <= READS) {}
        lingering.ready(0, &mut [0]);
        assert_eq!(lingering.sockets.len(), 1);
        drop(peer);
        while !lingering.sockets.is_empty() {
            lingering.ready(0, &mut [0; 64]);
        }
    }
}
