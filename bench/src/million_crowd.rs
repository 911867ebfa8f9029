//! One client process of `million`: as many connections to one server as a process may have descriptors, opened when it is
//! told to, kept alive, and each to hear one message exactly once.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    census::Census,
    client::Happening,
    clock,
    crowd::{Arrival, gather_beside},
    dice::Dice,
    message::{self, HEARTBEAT, Op, number, op},
    swarm::{Beat, Key, Swarm},
    team::{self, Orders},
};

/// Connections between two looks at the orders while dialling.
const BATCH: usize = 512;

/// Heartbeats that become due within this are said together: they come from dozens of processes here, and waking both sides
/// for each would measure that and not a heartbeat. A server with all connections would find as many at each look.
const GRAIN: Duration = Duration::from_secs(1);

/// Between two looks at the orders.
const LOOK: Duration = Duration::from_millis(250);

/// How long all may take to hear their message, and the last heartbeats to be answered.
pub(crate) const HEARING: Duration = Duration::from_secs(300);
const ANSWERING: Duration = Duration::from_secs(10);

/// Whoever hears a message twice, hears the second one within this.
const DOUBLES: Duration = Duration::from_secs(1);

/// What a client process is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) address: SocketAddr,
    /// Its number; part of its users' names, and what its message carries.
    pub(crate) process: u64,
    pub(crate) connections: usize,
    /// Handshakes under way at once.
    pub(crate) concurrency: usize,
    pub(crate) seed: u64,
}

/// What it is told later. All but the first two are answered with a [`Standing`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Connect; answered when all are there.
    Dial,
    /// Stop connecting, or do not begin; the answer follows at once.
    Enough,
    /// How it stands.
    Tell,
    /// Answered when each connection has heard a message.
    Listen,
    /// Say no more heartbeats; answered when all have been, and nothing came twice.
    Finish,
}

/// Everything that was counted since the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub(crate) arrived: u64,
    pub(crate) open: u64,
    pub(crate) closed: u64,
    /// Gaps and error frames.
    pub(crate) refused: u64,
    pub(crate) heartbeats: u64,
    pub(crate) answered: u64,
    /// Connections that have heard their message, messages beyond the first, messages of others.
    pub(crate) heard: u64,
    pub(crate) doubled: u64,
    pub(crate) foreign: u64,
    pub(crate) complaint: Option<String>,
}

impl Standing {
    pub(crate) fn add(&mut self, other: &Self) {
        self.arrived += other.arrived;
        self.open += other.open;
        self.closed += other.closed;
        self.refused += other.refused;
        self.heartbeats += other.heartbeats;
        self.answered += other.answered;
        self.heard += other.heard;
        self.doubled += other.doubled;
        self.foreign += other.foreign;
        if self.complaint.is_none() {
            self.complaint.clone_from(&other.complaint);
        }
    }
}

/// The channel all connections of a process are in. Of no namespace: kept in memory, with a short history.
pub(crate) fn channel() -> &'static str {
    "bench"
}

/// The hidden command.
pub(crate) fn serve() -> Result<bool> {
    let orders = Orders::listen();
    let task: Task = orders.wait()?;
    // The system chooses the ports: a process's connections all go to one server, and are fewer than a range has ports.
    let mut swarm = Swarm::new(task.address, 0, Dice::new(task.seed))?;
    let mut ear = Ear { number: task.process, ..Ear::default() };
    match orders.wait()? {
        Order::Dial => dial(&task, &orders, &mut swarm, &mut ear)?,
        Order::Enough => {}
        other => bail!("told to {other:?} before connecting"),
    }
    team::answer(&ear.standing(&swarm))?;
    let mut listening = None;
    loop {
        match orders.next()? {
            Some(Order::Tell) => team::answer(&ear.standing(&swarm))?,
            Some(Order::Listen) => listening = Some(clock::now() + HEARING),
            Some(Order::Finish) => break,
            Some(Order::Dial | Order::Enough) | None => {}
        }
        swarm.turn(LOOK, |key, happening| ear.hear(key, &happening))?;
        if listening.is_some_and(|deadline| ear.has_heard_all() || clock::now() > deadline) {
            listening = None;
            team::answer(&ear.standing(&swarm))?;
        }
    }
    ear.heartbeats = swarm.hush();
    let deadline = clock::now() + ANSWERING;
    while ear.census.acks < ear.heartbeats && clock::now() < deadline {
        swarm.turn(LOOK, |key, happening| ear.hear(key, &happening))?;
    }
    swarm.linger(clock::now() + DOUBLES, |key, happening| ear.hear(key, &happening))?;
    team::answer(&ear.standing(&swarm))?;
    // The sockets stay until the servers have been asked, and end with this process.
    while orders.wait::<Order>().is_ok() {}
    Ok(true)
}

/// Connects until all are there or it is told that it is enough. Heartbeats begin with the first batch: on a machine that is
/// short of time the last may come much later.
fn dial(task: &Task, orders: &Orders, swarm: &mut Swarm, ear: &mut Ear) -> Result<()> {
    let host = task.address.to_string();
    while ear.heard.len() < task.connections {
        if let Some(Order::Enough) = orders.next()? {
            break;
        }
        let there = ear.heard.len();
        let count = BATCH.min(task.connections - there);
        let request = |index: usize| {
            let user = format!("u{}-{}", task.process, there + index);
            Some(message::gateway(&host, &user, Some(channel())))
        };
        let hear = |key: Key, happening: &Happening<'_>| ear.hear(key, happening);
        let crowd = gather_beside(swarm, count, task.concurrency, Arrival::Ready, request, hear)?;
        if there == 0 {
            swarm.repeat_in_bursts(Beat::Text(HEARTBEAT), crowd.heartbeat, GRAIN);
        }
        ear.heard.resize(there + count, 0);
    }
    ear.heard.shrink_to_fit();
    Ok(())
}

/// What was heard on which connection.
#[derive(Debug, Default)]
struct Ear {
    number: u64,
    census: Census,
    /// Messages of each connection.
    heard: Vec<u8>,
    once: u64,
    doubled: u64,
    foreign: u64,
    heartbeats: u64,
}

impl Ear {
    fn hear(&mut self, key: Key, happening: &Happening<'_>) {
        self.census.hear(key, happening);
        let Happening::Message(message) = happening else { return };
        if op(message) != Op::Event {
            return;
        }
        if number(message, r#""n":"#) != Some(self.number) {
            self.foreign += 1;
            return;
        }
        match self.heard.get_mut(key) {
            Some(heard @ 0) => (*heard, self.once) = (1, self.once + 1),
            _ => self.doubled += 1,
        }
    }

    fn has_heard_all(&self) -> bool {
        self.once == self.heard.len() as u64
    }

    fn standing(&self, swarm: &Swarm) -> Standing {
        Standing {
            arrived: self.heard.len() as u64,
            open: swarm.open() as u64,
            closed: self.census.closed,
            refused: self.census.gaps + self.census.errors,
            heartbeats: self.heartbeats.max(swarm.repeated()),
            answered: self.census.acks,
            heard: self.once,
            doubled: self.doubled,
            foreign: self.foreign,
            complaint: self.census.complaint.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_once_for_each_connection_and_only_ones_own() {
        let mut ear = Ear { number: 7, heard: vec![0; 2], ..Ear::default() };
        let event = |n: u64| format!(r#"{{"op":"event","channel":"bench","offset":1,"data":{{"n":{n}}}}}"#);
        for (key, n) in [(0, 7), (0, 7), (1, 8)] {
            ear.hear(key, &Happening::Message(event(n).as_bytes()));
        }
        assert_eq!((ear.once, ear.doubled, ear.foreign, ear.has_heard_all()), (1, 1, 1, false));
        ear.hear(1, &Happening::Message(event(7).as_bytes()));
        assert!(ear.has_heard_all());
    }
}
