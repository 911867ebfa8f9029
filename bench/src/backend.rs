//! An application's backend beside two servers: it publishes every message to both, over HTTP in batches and with a key, in
//! a thread of its own and at a rate that waits for nobody. A server that is gone is passed over; that a message came
//! nowhere is counted. Knows nothing of clients.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::clock;

/// Between two batches.
const EVERY: Duration = Duration::from_millis(100);
/// A server that takes longer over a batch is asked again, with the same keys.
const PATIENCE: Duration = Duration::from_secs(5);
/// So often before a batch counts as lost.
const TRIES: u32 = 3;

/// What it has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// Messages of each channel: their numbers begin with 1.
    pub(crate) messages: Vec<u64>,
    /// Those that each server has not taken, by server.
    pub(crate) refused: Vec<u64>,
    /// What was said to the first of those.
    pub(crate) complaint: String,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Backend {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Published>,
}

impl Backend {
    /// Begins: so many messages a second altogether, to each channel in turn.
    pub(crate) fn start(servers: Vec<SocketAddr>, channels: Vec<String>, rate: f64) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        Self { enough, thread: thread::spawn(move || publish(&servers, &channels, rate, &told)) }
    }

    /// Ends it, after the batch under way.
    pub(crate) fn finish(self) -> Result<Published> {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the backend panicked")
    }
}

fn publish(servers: &[SocketAddr], channels: &[String], rate: f64, enough: &AtomicBool) -> Published {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
    let (mut published, start) = (Published::default(), clock::now());
    published.messages.resize(channels.len(), 0);
    published.refused.resize(servers.len(), 0);
    let (mut said, mut batches) = (0, 0);
    while !enough.load(Ordering::Relaxed) {
        clock::rest((start + EVERY * batches).saturating_duration_since(clock::now()));
        batches += 1;
        let mut batch = Vec::new();
        while (said as f64) < rate * (EVERY * batches).as_secs_f64() {
            let channel = said % channels.len();
            published.messages[channel] += 1;
            batch.push(message(&channels[channel], published.messages[channel]));
            said += 1;
        }
        for (server, refused) in servers.iter().zip(&mut published.refused) {
            if let Err(error) = send(&agent, *server, &batch) {
                *refused += batch.len() as u64;
                if published.complaint.is_empty() {
                    published.complaint = format!("{error:#}");
                }
            }
        }
    }
    published
}

/// Its number is in its data, for whoever counts, and in its key, for a server that is told twice.
fn message(channel: &str, n: u64) -> Value {
    json!({"channel": channel, "from": "backend", "key": format!("message-{n}"), "data": {"n": n}})
}

/// All of a batch, or what stood in the way.
fn send(agent: &ureq::Agent, server: SocketAddr, batch: &[Value]) -> Result<()> {
    let url = format!("http://{server}/v1/publish/batch");
    let mut tries = 0;
    loop {
        tries += 1;
        let answer = agent.post(&url).send_json(batch).map_err(anyhow::Error::from).and_then(|mut answer| {
            let outcomes: Vec<Value> = answer.body_mut().read_json()?;
            let refused = outcomes.iter().find(|outcome| outcome.get("error").is_some());
            refused.map_or(Ok(()), |refused| Err(anyhow::anyhow!("{refused}")))
        });
        match answer {
            Err(_) if tries < TRIES => clock::rest(EVERY / 10),
            answer => return answer.with_context(|| format!("POST {url}")),
        }
    }
}
