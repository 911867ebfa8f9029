//! One client process of `chaos`: its own channels, their subscribers and their publisher, so that every latency is taken
//! with one clock. Publishes on a schedule that waits for nobody, and changes its phase when it is told to.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    chaos_witness::Witness,
    clock,
    crowd::{Arrival, gather},
    dice::Dice,
    message,
    swarm::{Beat, Key, Swarm},
    team::{self, Orders},
};

/// How long the last events may take after the last publication.
pub(crate) const TAIL: Duration = Duration::from_secs(15);

/// What a client process is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) address: SocketAddr,
    pub(crate) sources: u8,
    pub(crate) seed: u64,
    /// Its number; part of its channels' and users' names.
    pub(crate) process: usize,
    pub(crate) subscribers: usize,
    pub(crate) channels: usize,
    /// Publications a second in all its channels.
    pub(crate) rate: f64,
}

/// What it is told later.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Publications from now on belong to this phase; the first one begins to publish.
    Phase(usize),
    /// Publish no more, wait for the rest, tell.
    Finish,
}

/// Users whose names begin so may be hit.
pub(crate) const VICTIM: &str = "victim-";

/// The hidden command.
pub(crate) fn serve() -> Result<bool> {
    let orders = Orders::listen();
    let task: Task = orders.wait()?;
    let mut swarm = Swarm::new(task.address, task.sources, Dice::new(task.seed))?;
    let mut witness = Witness::new(task.subscribers, task.channels);
    let host = task.address.to_string();
    let crowd = gather(&mut swarm, task.subscribers, 64, Arrival::Ready, |key| {
        let role = if witness.is_victim(key) { VICTIM } else { "bystander-" };
        let user = format!("{role}{}-{key}", task.process);
        Some(message::gateway(&host, &user, Some(&channel(&task, key % task.channels))))
    })?;
    let user = format!("publisher-{}", task.process);
    let publisher = gather(&mut swarm, 1, 1, Arrival::Ready, |_| Some(message::gateway(&host, &user, None)))?;
    swarm.repeat(Beat::Text(message::HEARTBEAT), crowd.heartbeat);
    team::answer(&(task.subscribers + 1))?;
    drive(&task, &orders, &mut swarm, &mut witness, publisher.keys.start)?;
    let deadline = clock::now() + TAIL;
    while !witness.complete() && clock::now() < deadline {
        swarm.turn(Duration::from_millis(50), |key, happening| witness.hear(key, &happening))?;
    }
    // What comes now would be a double.
    swarm.linger(clock::now() + Duration::from_millis(500), |key, happening| witness.hear(key, &happening))?;
    team::answer(&witness.account(swarm.open()))?;
    // The sockets stay until the account is taken and the server has been looked at.
    while let Ok(Order::Phase(_) | Order::Finish) = orders.wait() {}
    Ok(true)
}

fn channel(task: &Task, number: usize) -> String {
    format!("chaos-{}-{number}", task.process)
}

/// Publishes until it is told to finish.
fn drive(task: &Task, orders: &Orders, swarm: &mut Swarm, witness: &mut Witness, publisher: Key) -> Result<()> {
    let step = Duration::from_secs_f64(1.0 / task.rate);
    let mut schedule: Option<(Instant, u32)> = None;
    let mut phase = 0;
    loop {
        match orders.next()? {
            Some(Order::Finish) => return Ok(()),
            Some(Order::Phase(next)) => {
                phase = next;
                // Processes that publish at the same moments would measure each other.
                let offset = step.mul_f64(0.25 * (task.process % 4) as f64);
                schedule.get_or_insert((clock::now() + offset, 0));
            }
            None => {}
        }
        let mut wait = Duration::from_millis(20);
        if let Some((start, said)) = &mut schedule {
            while *start + step * *said <= clock::now() {
                let at = *said as usize % task.channels;
                let n = witness.say(at, phase);
                swarm.say(publisher, message::publish(&channel(task, at), None, n, 0).as_bytes());
                *said += 1;
            }
            wait = wait.min((*start + step * *said).saturating_duration_since(clock::now()));
        }
        witness.look_up();
        swarm.turn(wait, |key, happening| witness.hear(key, &happening))?;
    }
}
