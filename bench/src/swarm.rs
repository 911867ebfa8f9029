//! All client connections of a run on one thread: one poller, one read buffer, one write buffer.
//!
//! One thread on purpose: the server shares the machine, and a generator that takes every core measures itself. The
//! swarm knows no protocol; what it repeats as a heartbeat is a text it was given. Driven by every measurement.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};

use crate::{
    client::{Connection, Happening},
    clock,
    dice::Dice,
    frame,
};

/// Which connection: its place in the order of dialling.
pub(crate) type Key = usize;

/// Holds the longest frame and then some, so that one read usually empties a socket.
const SCRATCH: usize = frame::LONGEST + 96 * 1024;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Swarm {
    address: SocketAddr,
    sources: u8,
    /// The last byte of the first of them.
    first_source: u8,
    deaf: bool,
    poll: Poll,
    events: Events,
    slots: Vec<Option<Connection>>,
    scratch: Vec<u8>,
    outgoing: Vec<u8>,
    dice: Dice,
    repeat: Option<Repeat>,
    answers: &'static [(&'static [u8], &'static [u8])],
    /// Answers that are due, kept to reuse the memory.
    due: Vec<(Key, &'static [u8])>,
}

/// What is said to show that a client is there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beat {
    Text(&'static str),
    /// A ping frame, which any server answers.
    Ping,
}

/// Said on every open connection once per interval, the connections spread evenly over it.
#[derive(Debug)]
struct Repeat {
    beat: Beat,
    every: Duration,
    /// What became due within this is said together.
    grain: Duration,
    since: Instant,
    said: u64,
    cursor: usize,
}

impl Swarm {
    /// Connections will go to `address`, from `sources` addresses 127.0.0.1 and up when that is loopback: one source
    /// address has only about 28,000 ports. With no sources the system chooses, which is enough for fewer connections than
    /// that and costs the kernel nothing for each.
    pub(crate) fn new(address: SocketAddr, sources: u8, dice: Dice) -> io::Result<Self> {
        Ok(Self {
            address,
            sources: if address.is_ipv4() && address.ip().is_loopback() { sources } else { 0 },
            first_source: 1,
            deaf: false,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            slots: Vec::new(),
            scratch: vec![0; SCRATCH],
            outgoing: Vec::new(),
            dice,
            repeat: None,
            answers: &[],
            due: Vec::new(),
        })
    }

    /// Ends a connection without a close frame, as a network does. Its end is not heard.
    pub(crate) fn hang_up_hard(&mut self, key: Key) {
        if let Some(slot) = self.slots.get_mut(key) {
            *slot = None;
        }
    }

    /// Starts one more connection: a WebSocket with `request`, a raw line without.
    pub(crate) fn dial(&mut self, request: Option<&str>) -> io::Result<Key> {
        let key = self.slots.len();
        self.slots.push(None);
        self.redial(key, request)?;
        Ok(key)
    }

    /// Starts a connection again in its old place; what was there is dropped.
    pub(crate) fn redial(&mut self, key: Key, request: Option<&str>) -> io::Result<()> {
        self.slots[key] = None;
        let source = (self.sources > 0)
            .then(|| IpAddr::V4(Ipv4Addr::new(127, 0, 0, self.first_source + (key % usize::from(self.sources)) as u8)));
        let mut connection = Connection::dial(self.address, source, request)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut connection.stream, Token(key), both)?;
        self.slots[key] = Some(connection);
        Ok(())
    }

    /// From now on connections go there; those that are open stay where they are.
    pub(crate) fn head_for(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// From now on loopback connections come from 127.0.0.`first` and up, as somebody else's.
    pub(crate) fn come_from(&mut self, first: u8) {
        self.first_source = first;
    }

    /// From now on nobody reads, once his handshake is done, before the peer has ended.
    pub(crate) fn go_deaf(&mut self) {
        self.deaf = true;
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) fn waiting(&self, key: Key) -> usize {
        self.slots.get(key).and_then(Option::as_ref).map_or(0, Connection::waiting)
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.slots.iter().flatten().filter(|connection| connection.is_open()).count()
    }

    /// From now on a message that begins with the first of a pair is answered with the second, once it has been heard.
    pub(crate) fn answer(&mut self, answers: &'static [(&'static [u8], &'static [u8])]) {
        self.answers = answers;
    }

    /// Says a text message. On a connection that is over it does nothing: its end was or will be heard.
    pub(crate) fn say(&mut self, key: Key, text: &[u8]) {
        self.frame(key, frame::TEXT, text);
    }

    fn frame(&mut self, key: Key, opcode: u8, payload: &[u8]) {
        self.outgoing.clear();
        let mask = self.dice.roll() as u32 | 1;
        frame::encode(&mut self.outgoing, opcode, payload, mask);
        if let Some(Some(connection)) = self.slots.get_mut(key) {
            // An error here is heard again, with its reason, by the reading side.
            let _ = connection.send(&self.outgoing);
        }
    }

    /// Sends bytes as they are, on a raw line.
    pub(crate) fn pour(&mut self, key: Key, bytes: &[u8]) {
        if let Some(Some(connection)) = self.slots.get_mut(key) {
            let _ = connection.send(bytes);
        }
    }

    /// Closes with 1000, which ends the session; the end is heard as a happening.
    pub(crate) fn hang_up(&mut self, key: Key) {
        self.close(key, 1000);
    }

    /// Closes with this code; the end is heard as a happening.
    pub(crate) fn close(&mut self, key: Key, code: u16) {
        if let Some(Some(connection)) = self.slots.get_mut(key) {
            let _ = connection.hang_up(code);
        }
    }

    /// From now on gives `beat` on every open connection once in `every`, as part of each turn.
    pub(crate) fn repeat(&mut self, beat: Beat, every: Duration) {
        self.repeat_in_bursts(beat, every, Duration::ZERO);
    }

    /// The same with all that becomes due within `grain` said at once, so that a swarm wakes no more often than that.
    pub(crate) fn repeat_in_bursts(&mut self, beat: Beat, every: Duration, grain: Duration) {
        self.repeat = Some(Repeat { beat, every, grain, since: clock::now(), said: 0, cursor: 0 });
    }

    /// Repeats nothing any more; how often the beat was given.
    pub(crate) fn hush(&mut self) -> u64 {
        self.repeat.take().map_or(0, |repeat| repeat.said)
    }

    /// How often the beat was given.
    pub(crate) fn repeated(&self) -> u64 {
        self.repeat.as_ref().map_or(0, |repeat| repeat.said)
    }

    /// Waits at most `patience` for anything to happen and tells `heard` all of it.
    pub(crate) fn turn(&mut self, patience: Duration, mut heard: impl FnMut(Key, Happening<'_>)) -> io::Result<()> {
        let patience = self.say_repeated().map_or(patience, |next| patience.min(next));
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let (answers, due) = (self.answers, &mut self.due);
        for event in &self.events {
            let key = event.token().0;
            let Some(Some(connection)) = self.slots.get_mut(key) else { continue };
            let mut heard = |happening: Happening<'_>| {
                if !answers.is_empty()
                    && let Happening::Message(message) = &happening
                    && let Some((_, answer)) = answers.iter().find(|(head, _)| message.starts_with(head))
                {
                    due.push((key, answer));
                }
                heard(key, happening);
            };
            let mut alive = true;
            if event.is_writable() || event.is_error() {
                alive = connection.writable(&mut heard);
            }
            let ended = event.is_read_closed() || event.is_error();
            let listens = ended || !self.deaf || !connection.is_open();
            if alive && listens && (event.is_readable() || event.is_error()) {
                alive = connection.readable(ended, &mut self.scratch, &mut heard);
            }
            if !alive {
                self.slots[key] = None;
            }
        }
        let mut due = std::mem::take(&mut self.due);
        due.drain(..).for_each(|(key, answer)| self.say(key, answer));
        self.due = due;
        Ok(())
    }

    /// Turns until `until`.
    pub(crate) fn linger(&mut self, until: Instant, mut heard: impl FnMut(Key, Happening<'_>)) -> io::Result<()> {
        loop {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left, &mut heard)?;
        }
    }

    /// Says what is due and tells the time until the next is.
    fn say_repeated(&mut self) -> Option<Duration> {
        let mut repeat = self.repeat.take()?;
        let all = self.slots.len() as u128;
        let step = (repeat.every.as_nanos() / all.max(1)).max(1);
        let grain = repeat.grain.as_nanos().max(step);
        let grains = clock::now().duration_since(repeat.since).as_nanos() / grain;
        let due = grains * grain / step;
        // The cursor walks over every place, also empty ones, so that each connection keeps its own rhythm.
        for _ in repeat.cursor as u128..due {
            let key = repeat.cursor % self.slots.len().max(1);
            repeat.cursor += 1;
            if self.slots.get(key).is_some_and(|slot| slot.as_ref().is_some_and(Connection::is_open)) {
                match repeat.beat {
                    Beat::Text(text) => self.say(key, text.as_bytes()),
                    Beat::Ping => self.frame(key, frame::PING, b""),
                }
                repeat.said += 1;
            }
        }
        let next = repeat.since + Duration::from_nanos(((grains + 1) * grain) as u64);
        self.repeat = Some(repeat);
        (all > 0).then(|| next.saturating_duration_since(clock::now()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::message;

    const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    /// A swarm with one connection, and the peer that plays its server and has read the handshake.
    fn pair() -> (Swarm, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut swarm = Swarm::new(address, 8, Dice::new(1)).unwrap();
        swarm.dial(Some(&message::gateway("host", "u", Some("bench")))).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        swarm.turn(Duration::from_secs(5), |_, _| {}).unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        assert!(request.starts_with(b"GET /v1/gateway?token=u&subscribe=bench HTTP/1.1\r\n"));
        (swarm, peer)
    }

    /// Turns until `count` things have been heard, each as a line.
    fn hear(swarm: &mut Swarm, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            swarm
                .turn(Duration::from_secs(5), |key, happening| {
                    lines.push(match happening {
                        Happening::Opened => format!("{key} opened"),
                        Happening::Pong => format!("{key} pong"),
                        Happening::Message(message) => format!("{key} {}", String::from_utf8_lossy(message)),
                        Happening::Closed(ending) => format!("{key} {ending}"),
                    });
                })
                .unwrap();
        }
        lines
    }

    #[test]
    fn frames_that_arrive_in_pieces_or_with_the_handshake_are_heard_whole_and_in_order() {
        let (mut swarm, mut peer) = pair();
        let mut first = ACCEPTED.to_vec();
        frame::encode_as_server(&mut first, frame::TEXT, b"one");
        let mut second = Vec::new();
        frame::encode_as_server(&mut second, frame::TEXT, &[b'x'; 70_000]);
        first.extend_from_slice(&second[..7]);
        peer.write_all(&first).unwrap();
        assert_eq!(hear(&mut swarm, 2), ["0 opened", "0 one"]);
        peer.write_all(&second[7..]).unwrap();
        assert_eq!(hear(&mut swarm, 1)[0].len(), 70_002);
    }

    #[test]
    fn a_ping_is_answered_and_a_close_code_is_told_even_when_the_socket_closes_at_once() {
        let (mut swarm, mut peer) = pair();
        peer.write_all(ACCEPTED).unwrap();
        assert_eq!(hear(&mut swarm, 1), ["0 opened"]);
        let mut bytes = Vec::new();
        frame::encode_as_server(&mut bytes, frame::PING, b"?");
        peer.write_all(&bytes).unwrap();
        swarm.turn(Duration::from_secs(5), |_, _| {}).unwrap();
        let mut pong = [0; 7];
        peer.read_exact(&mut pong).unwrap();
        assert_eq!((pong[0], pong[1], pong[6] ^ pong[2]), (0x8A, 0x81, b'?'));
        peer.write_all(b"\x88\x11\x0f\xa2slow_consumer..").unwrap();
        drop(peer);
        assert_eq!(hear(&mut swarm, 1), ["0 close 4002 slow_consumer.."]);
        assert_eq!(swarm.open(), 0);
    }

    #[test]
    fn what_is_to_be_answered_is_answered_and_nothing_else() {
        let (mut swarm, mut peer) = pair();
        swarm.answer(&[(b"2", b"3")]);
        let mut bytes = ACCEPTED.to_vec();
        frame::encode_as_server(&mut bytes, frame::TEXT, b"12");
        frame::encode_as_server(&mut bytes, frame::TEXT, b"2");
        peer.write_all(&bytes).unwrap();
        assert_eq!(hear(&mut swarm, 3), ["0 opened", "0 12", "0 2"]);
        let mut answer = [0; 7];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!((answer[0], answer[1], answer[6] ^ answer[2]), (0x81, 0x81, b'3'));
    }

    #[test]
    fn a_refused_handshake_tells_what_the_server_said() {
        let (mut swarm, mut peer) = pair();
        peer.write_all(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n\r\n").unwrap();
        assert!(hear(&mut swarm, 1)[0].starts_with("0 refused: HTTP/1.1 503"));
    }

    #[test]
    fn a_reset_is_heard_and_the_place_can_be_dialled_again() {
        let (mut swarm, peer) = pair();
        drop(peer);
        assert_eq!(hear(&mut swarm, 1).len(), 1);
        // Nobody listens any more: either the dial fails at once, or the end is heard.
        if swarm.redial(0, Some("GET / HTTP/1.1\r\n\r\n")).is_ok() {
            assert_eq!(hear(&mut swarm, 1).len(), 1);
        }
        assert_eq!(swarm.open(), 0);
    }
}
