//! An attack under way, or at rest: dials, speaks and counts what comes back, as its row in the arsenal says and no faster.
//! Driven by the attackers' process.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    answers::{self, Answers},
    attack::Attack,
    attacker::Task,
    client::Happening,
    clock,
    dice::Dice,
    swarm::{Key, Swarm},
};

/// The last byte of the attackers' loopback address, which nobody else comes from.
const SOURCE: u8 = 99;
/// A socket with so much unsent gets nothing more to say.
const STUFFED: usize = 64 * 1024;
/// Between two looks at what is due.
const GRAIN: Duration = Duration::from_millis(2);

/// See the file's head.
pub(crate) struct Assault {
    attack: &'static Attack,
    host: String,
    swarm: Swarm,
    dice: Dice,
    rate: f64,
    sockets: Vec<Socket>,
    /// Since when, while it lasts.
    since: Option<Instant>,
    dialled: u64,
    said: u64,
    pub(crate) answers: Answers,
}

/// What a socket is up to.
#[derive(Debug, Default)]
struct Socket {
    is_dialled: bool,
    speaks: bool,
    then: Vec<u8>,
}

impl Assault {
    pub(crate) fn prepare(attack: &'static Attack, task: &Task) -> Result<Self> {
        let address = if attack.elsewhere { sink()? } else { task.address };
        let mut swarm = Swarm::new(address, 1, Dice::new(task.seed))?;
        swarm.come_from(SOURCE);
        if attack.deaf {
            swarm.go_deaf();
        }
        Ok(Self {
            attack,
            host: address.to_string(),
            swarm,
            dice: Dice::new(task.seed),
            rate: attack.rate * if task.quick { attack.in_quick } else { 1.0 } * attack.sockets as f64,
            sockets: Vec::new(),
            since: None,
            dialled: 0,
            said: 0,
            answers: Answers::new(),
        })
    }

    pub(crate) fn begin(&mut self) {
        (self.since, self.dialled, self.said) = (Some(clock::now()), 0, 0);
    }

    pub(crate) fn rest(&mut self) {
        self.since = None;
        (0..self.sockets.len()).for_each(|key| self.swarm.hang_up_hard(key));
        self.sockets.iter_mut().for_each(|socket| *socket = Socket::default());
    }

    pub(crate) fn turn(&mut self) -> Result<()> {
        if let Some(since) = self.since {
            let passed = since.elapsed().as_secs_f64();
            self.dial(passed)?;
            self.speak(passed);
        }
        let (mut opened, mut ended) = (Vec::new(), Vec::new());
        let (attack, heard) = (self.attack, &mut self.answers);
        self.swarm.turn(GRAIN, |key, happening| {
            let answer = match &happening {
                Happening::Opened if attack.elsewhere => Some("taken".to_owned()),
                Happening::Opened => Some("101".to_owned()),
                Happening::Pong => Some("pong".to_owned()),
                Happening::Message(message) => answers::to_message(message),
                Happening::Closed(ending) => Some(answers::to_end(ending)),
            };
            if let Some(answer) = answer {
                *heard.entry(answer).or_default() += 1;
            }
            match happening {
                Happening::Opened => opened.push(key),
                Happening::Closed(_) => ended.push(key),
                _ => {}
            }
        })?;
        opened.into_iter().for_each(|key| self.open(key));
        ended.into_iter().for_each(|key| self.sockets[key] = Socket::default());
        Ok(())
    }

    /// Sockets that are due, in the places of those that have ended. What cannot be dialled now is not made up for.
    fn dial(&mut self, passed: f64) -> Result<()> {
        let due = (passed * self.attack.dials) as u64;
        let mut free = (0..self.attack.sockets)
            .filter(|key| self.sockets.get(*key).is_none_or(|socket| !socket.is_dialled))
            .collect::<Vec<_>>()
            .into_iter();
        while self.dialled < due {
            self.dialled += 1;
            let Some(key) = free.next() else { continue };
            let head = (!self.attack.elsewhere).then(|| (self.attack.head)(&self.host, key));
            if key < self.sockets.len() {
                self.swarm.redial(key, head.as_deref())?;
            } else {
                let dialled: Key = self.swarm.dial(head.as_deref())?;
                self.sockets.resize_with(dialled + 1, Socket::default);
            }
            self.sockets[key].is_dialled = true;
            if self.attack.drips {
                self.open(key);
            }
        }
        Ok(())
    }

    fn open(&mut self, key: Key) {
        let first = (self.attack.first)(&mut self.dice, key);
        self.swarm.pour(key, &first);
        self.sockets[key].then = (self.attack.then)(&mut self.dice, key);
        self.sockets[key].speaks = true;
    }

    fn speak(&mut self, passed: f64) {
        let due = (passed * self.rate) as u64;
        while self.said < due {
            let key = self.said as usize % self.attack.sockets;
            self.said += 1;
            let Some(socket) = self.sockets.get(key).filter(|socket| socket.speaks) else { continue };
            if self.swarm.waiting(key) < STUFFED {
                self.swarm.pour(key, &socket.then);
            }
        }
    }
}

/// A listener of one's own that takes whatever comes.
fn sink() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || listener.incoming().flatten().for_each(|socket| drop(thread::spawn(|| swallow(socket)))));
    Ok(address)
}

fn swallow(mut socket: TcpStream) {
    let mut scratch = [0; 16 * 1024];
    while socket.read(&mut scratch).is_ok_and(|read| read > 0) {}
}
