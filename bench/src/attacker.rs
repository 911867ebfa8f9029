//! The attackers' process of `attacks`: dials, speaks and hears as its attack says, and counts the answers. It rests when
//! it is told to, with no socket open. Stands for another machine, which is why it runs aside.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    arsenal,
    attack::Attack,
    client::{Ending, Happening},
    clock,
    dice::Dice,
    message::{Op, Reply, op},
    swarm::{Key, Swarm},
    team::{self, Orders},
};

/// The last byte of the attackers' loopback address, which nobody else comes from.
const SOURCE: u8 = 99;
/// A socket with so much unsent gets nothing more to say.
const STUFFED: usize = 64 * 1024;
/// Between two looks at what is due.
const GRAIN: Duration = Duration::from_millis(2);

/// What the process is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) address: SocketAddr,
    pub(crate) seed: u64,
    pub(crate) attack: String,
    /// With the part of its rate that this needs.
    pub(crate) quick: bool,
}

/// What it is told later.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Attack,
    Rest,
    /// Rest, and tell the answers.
    Finish,
}

/// How often each answer came.
pub(crate) type Answers = BTreeMap<String, u64>;

/// The hidden command.
pub(crate) fn serve() -> Result<bool> {
    let orders = Orders::listen();
    let task: Task = orders.wait()?;
    let attack = arsenal::find(&task.attack).context("there is no such attack")?;
    let mut assault = Assault::prepare(attack, &task)?;
    team::answer(&true)?;
    loop {
        match orders.next()? {
            Some(Order::Attack) => assault.begin(),
            Some(Order::Rest) => assault.rest(),
            Some(Order::Finish) => break,
            None => {}
        }
        assault.turn()?;
    }
    assault.rest();
    team::answer(&assault.answers)?;
    // The end of the input is the end.
    while orders.wait::<Order>().is_ok() {}
    Ok(true)
}

/// An attack under way, or at rest.
struct Assault {
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
    answers: Answers,
}

/// What a socket is up to.
#[derive(Debug, Default)]
struct Socket {
    is_dialled: bool,
    speaks: bool,
    then: Vec<u8>,
}

impl Assault {
    fn prepare(attack: &'static Attack, task: &Task) -> Result<Self> {
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

    fn begin(&mut self) {
        (self.since, self.dialled, self.said) = (Some(clock::now()), 0, 0);
    }

    fn rest(&mut self) {
        self.since = None;
        (0..self.sockets.len()).for_each(|key| self.swarm.hang_up_hard(key));
        self.sockets.iter_mut().for_each(|socket| *socket = Socket::default());
    }

    fn turn(&mut self) -> Result<()> {
        if let Some(since) = self.since {
            let passed = since.elapsed().as_secs_f64();
            self.dial(passed)?;
            self.speak(passed);
        }
        let (mut opened, mut ended) = (Vec::new(), Vec::new());
        let (attack, answers) = (self.attack, &mut self.answers);
        self.swarm.turn(GRAIN, |key, happening| {
            let answer = match &happening {
                Happening::Opened if attack.elsewhere => Some("taken".to_owned()),
                Happening::Opened => Some("101".to_owned()),
                Happening::Pong => Some("pong".to_owned()),
                Happening::Message(message) => answer(message),
                Happening::Closed(ending) => Some(end(ending)),
            };
            if let Some(answer) = answer {
                *answers.entry(answer).or_default() += 1;
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

/// What a message says, in a word or two; nothing when it is only a greeting.
fn answer(message: &[u8]) -> Option<String> {
    let code = || {
        let error: Refused = serde_json::from_slice(message).unwrap_or_default();
        format!("error {}", error.code)
    };
    match op(message) {
        Op::Hello | Op::Ready => None,
        Op::HeartbeatAck => Some("heartbeat_ack".to_owned()),
        Op::Error => Some(code()),
        Op::Reply => {
            let reply: Reply = serde_json::from_slice(message).unwrap_or_default();
            Some(reply.error.map_or("ok".to_owned(), |error| format!("error {}", error.code)))
        }
        other => Some(format!("{other:?}").to_lowercase()),
    }
}

/// An `error` frame.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    code: String,
}

/// How a socket ended: a close code, a status, or cut.
fn end(ending: &Ending) -> String {
    if let Some(code) = ending.code {
        return format!("close {code}");
    }
    let status = ending.reason.strip_prefix("refused: HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.map_or("cut".to_owned(), |status| format!("HTTP {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_by_their_codes() {
        let ending = |code, reason: &str| end(&Ending { code, reason: reason.to_owned() });
        assert_eq!(ending(Some(4004), "rate_limited"), "close 4004");
        assert_eq!(ending(None, "refused: HTTP/1.1 429 Too Many Requests\r\nretry-after: 5"), "HTTP 429");
        assert_eq!(ending(None, "end of stream without a close frame"), "cut");
        let said = |text: &str| answer(text.as_bytes());
        assert_eq!(said(r#"{"op":"reply","id":1,"error":{"code":"too_large"}}"#).unwrap(), "error too_large");
        assert_eq!(said(r#"{"op":"error","code":"bad_frame","message":"m"}"#).unwrap(), "error bad_frame");
        assert_eq!(
            (said(r#"{"op":"reply","id":1,"ok":{}}"#).unwrap(), said(r#"{"op":"ready"}"#)),
            ("ok".to_owned(), None)
        );
    }
}
