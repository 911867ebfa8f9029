//! Sockets whose connection is over: our close frame is on its way, and closing at once could destroy it (the kernel
//! answers unread bytes with a reset). They are read and thrown away until the peer is gone or a short time has passed.
//! Those that were blocked get what they are still owed as soon as they take it, within the same time.

use std::{
    collections::{HashMap, VecDeque},
    io::{ErrorKind, Read as _},
    net::TcpStream,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    clock::Now,
    shard::{
        Sockets,
        ledger::{Drop as Dropped, Ledger},
        network::{Network, Socket},
        output::{Flushed, Output},
        poller::Subject,
        transport::Transport,
    },
};

/// RFC 6455 §7.1.1 lets a server wait "a reasonable period" for the peer to close.
const PATIENCE_MS: u32 = 3_000;
/// More than this at once (a mass disconnect) and the oldest are closed early.
const MOST: usize = 8_192;
/// A peer that goes on sending gets no more than this before others have their turn.
const READS: usize = 16;

/// See the module's text.
pub(super) struct Lingering<S = TcpStream> {
    sockets: HashMap<u64, Leaver<S>>,
    due: VecDeque<(u64, u32)>,
    /// Those that had more to read than was thrown away at once: edge-triggered, they must be watched anew.
    unread: Vec<u64>,
    next: u64,
}

/// One of them.
struct Leaver<S> {
    transport: Transport<S>,
    /// `None`: the peer has everything, our side of the socket is ended.
    owed: Option<Owed>,
}

/// What goes before the close frame and the frame itself, counted among the node's sockets for as long as it exists.
#[derive(Debug)]
struct Owed {
    output: Output,
    sockets: Arc<Sockets>,
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.sockets.owed.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Default for Lingering<S> {
    fn default() -> Self {
        Self { sockets: HashMap::new(), due: VecDeque::new(), unread: Vec::new(), next: 0 }
    }
}

impl<S: Socket> Lingering<S> {
    /// Takes a watched socket; `owed` is what it must get before its end.
    pub(super) fn add(
        &mut self,
        transport: Transport<S>,
        owed: Output,
        (sockets, ledger): (&Arc<Sockets>, &mut Ledger),
        poller: &impl Network<Socket = S>,
        now: Now,
    ) {
        let owed = (!owed.is_empty()).then(|| {
            sockets.owed.fetch_add(1, Ordering::Relaxed);
            Owed { output: owed, sockets: Arc::clone(sockets) }
        });
        let mut leaver = Leaver { transport, owed };
        if leaver.owed.is_none() && leaver.transport.end().is_err() {
            return;
        }
        let number = self.next;
        self.next += 1;
        // A socket that is ready makes its first event under the new name at once.
        let watched = poller.rename(&leaver.transport.socket, Subject::Lingering(number));
        self.sockets.insert(number, leaver);
        if watched.is_err() {
            return self.close(number, ledger);
        }
        self.due.push_back((number, now.ms()));
        while self.sockets.len() > MOST {
            self.close_oldest(ledger);
        }
    }

    /// The peer sent something, took something or left.
    pub(super) fn ready(&mut self, number: u64, scratch: &mut [u8], ledger: &mut Ledger) {
        let Some(leaver) = self.sockets.get_mut(&number) else { return };
        if !leaver.write(ledger) {
            return self.close(number, ledger);
        }
        match leaver.read(scratch) {
            Unread::Nothing => {}
            Unread::More => self.unread.push(number),
            Unread::Ended => self.close(number, ledger),
        }
    }

    /// Has the poller tell again of those that [`Lingering::ready`] has not read to their end.
    pub(super) fn watch_unread(&mut self, poller: &impl Network<Socket = S>, ledger: &mut Ledger) {
        for number in std::mem::take(&mut self.unread) {
            if let Some(leaver) = self.sockets.get(&number)
                && poller.rename(&leaver.transport.socket, Subject::Lingering(number)).is_err()
            {
                self.close(number, ledger);
            }
        }
    }

    /// Events whose frame is under way.
    pub(super) fn pending_events(&self) -> u64 {
        self.sockets.values().map(Leaver::events).sum()
    }

    /// How many there are.
    #[cfg(feature = "simulation")]
    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Closes those whose time is over.
    pub(super) fn sweep(&mut self, now: Now, ledger: &mut Ledger) {
        while self.due.front().is_some_and(|&(_, since)| now.ms_since(since) >= PATIENCE_MS) {
            self.close_oldest(ledger);
        }
    }

    fn close(&mut self, number: u64, ledger: &mut Ledger) {
        if let Some(leaver) = self.sockets.remove(&number) {
            ledger.drop(Dropped::Disconnected, leaver.events());
        }
    }

    fn close_oldest(&mut self, ledger: &mut Ledger) {
        if let Some((number, _)) = self.due.pop_front() {
            self.close(number, ledger);
        }
        if self.sockets.is_empty() {
            self.sockets = HashMap::new();
            self.due = VecDeque::new();
        }
    }
}

impl<S: Socket> Leaver<S> {
    /// Writes what is owed as far as the socket takes it, and ends our side behind it. `false`: it is dead.
    fn write(&mut self, ledger: &mut Ledger) -> bool {
        let Some(owed) = &mut self.owed else { return true };
        let (flushed, delivered) = owed.output.flush(&mut self.transport.as_mut());
        ledger.delivered += delivered;
        match flushed {
            Flushed::Part => true,
            Flushed::Dead => false,
            Flushed::All => {
                self.owed = None;
                self.transport.end().is_ok()
            }
        }
    }

    /// Events it has not taken whole.
    fn events(&self) -> u64 {
        self.owed.as_ref().map_or(0, |owed| owed.output.events())
    }

    /// Throws away what the peer sends. A peer that has only ended its side still gets what it is owed.
    fn read(&mut self, scratch: &mut [u8]) -> Unread {
        for _ in 0..READS {
            match self.transport.as_mut().read(scratch) {
                Ok(0) if self.owed.is_some() => return Unread::Nothing,
                Ok(0) => return Unread::Ended,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Unread::Nothing,
                Err(_) => return Unread::Ended,
            }
        }
        Unread::More
    }
}

/// What reading has left.
enum Unread {
    /// Nothing for now: the next byte makes a new edge.
    Nothing,
    /// More; closing over it would be a reset.
    More,
    /// The peer is gone.
    Ended,
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;
    use crate::shard::poller::Poller;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (socket, _) = listener.accept().expect("accepts");
        socket.set_nonblocking(true).expect("is nonblocking");
        (socket, peer)
    }

    fn event() -> Output {
        let mut output = Output::default();
        output.bytes.extend_from_slice(b"owed");
        output.mark_event();
        output
    }

    /// Fills the socket until it takes no more.
    fn fill(socket: &mut TcpStream) -> usize {
        let mut filled = 0;
        while let Ok(written) = socket.write(&[0; 65_536]) {
            filled += written;
        }
        filled
    }

    fn serve_until_empty(lingering: &mut Lingering, poller: &mut Poller, ledger: &mut Ledger) {
        let mut scratch = vec![0; 65_536];
        while !lingering.sockets.is_empty() {
            poller
                .take(|ready| {
                    if let Subject::Lingering(number) = ready.subject {
                        lingering.ready(number, &mut scratch, ledger);
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
        let (mut lingering, mut ledger) = (Lingering::default(), Ledger::default());
        lingering.add(socket.into(), event(), (&sockets, &mut ledger), &poller, Now { micros: 0, unix_ms: 0 });
        assert!(!sockets.are_gone(), "it has not got its last words");
        let reader = std::thread::spawn(move || {
            let mut taken = Vec::new();
            peer.read_to_end(&mut taken).map(|_| taken)
        });
        serve_until_empty(&mut lingering, &mut poller, &mut ledger);
        let taken = reader.join().expect("ends").expect("reads to an orderly end");
        assert_eq!((taken.len(), &taken[filled..]), (filled + 4, &b"owed"[..]));
        assert!(sockets.are_gone());
        assert_eq!(ledger.delivered, 1);
    }

    #[test]
    fn a_socket_that_never_takes_its_last_words_is_closed_after_its_time() {
        let (poller, _waker) = Poller::new().expect("polls");
        let (mut socket, _peer) = pair();
        poller.add(&socket, Subject::Connection(0)).expect("is watched");
        fill(&mut socket);
        let sockets = Arc::new(Sockets::default());
        let (mut lingering, mut ledger) = (Lingering::default(), Ledger::default());
        lingering.add(socket.into(), event(), (&sockets, &mut ledger), &poller, Now { micros: 0, unix_ms: 0 });
        lingering.sweep(Now { micros: 2_999_000, unix_ms: 0 }, &mut ledger);
        assert!(!sockets.are_gone());
        lingering.sweep(Now { micros: 3_000_000, unix_ms: 0 }, &mut ledger);
        assert!(sockets.are_gone());
        assert_eq!(ledger.dropped(Dropped::Disconnected), 1);
    }

    #[test]
    fn a_peer_that_goes_on_sending_is_not_closed_over_its_unread_bytes() {
        let (poller, _waker) = Poller::new().expect("polls");
        let (socket, mut peer) = pair();
        poller.add(&socket, Subject::Connection(0)).expect("is watched");
        let (mut lingering, mut ledger) = (Lingering::default(), Ledger::default());
        let now = Now { micros: 0, unix_ms: 0 };
        lingering.add(socket.into(), Output::default(), (&Arc::default(), &mut ledger), &poller, now);
        peer.write_all(&[0; READS + 1]).expect("sends");
        // One byte a read.
        while lingering.sockets[&0].transport.socket.peek(&mut [0; READS + 1]).is_ok_and(|there| there <= READS) {}
        lingering.ready(0, &mut [0], &mut ledger);
        assert_eq!(lingering.sockets.len(), 1);
        drop(peer);
        while !lingering.sockets.is_empty() {
            lingering.ready(0, &mut [0; 64], &mut ledger);
        }
    }
}
