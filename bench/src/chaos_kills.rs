//! The hand that kills in `chaos`: a thread that asks `POST /v1/chaos` for faults on a schedule that waits for nobody, and
//! counts what it asked for. Victims take turns in a shuffled order, so each is hit equally often and the restart budget of
//! the configuration is enough; the place of each fault is rolled.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::{chaos_crowd::VICTIM, clock, dice::Dice};

/// Requests a second at most; above that one request carries several victims.
const REQUESTS: f64 = 250.0;

/// Where a panic may happen, in the API's words.
pub(crate) const PLACES: [&str; 3] = ["turn", "job", "wake"];

/// What was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kills {
    /// Hits in turns, jobs and wakes; or in shards.
    pub(crate) hits: [u64; 3],
    pub(crate) shards: u64,
    /// Faults asked for that hit nobody.
    pub(crate) misses: u64,
    /// Requests refused or unanswered, and what was said about the first.
    pub(crate) refused: u64,
    pub(crate) complaint: String,
    pub(crate) took: Duration,
    /// The longest that a request waited for its answer.
    pub(crate) slowest: Duration,
}

impl Kills {
    pub(crate) fn all(&self) -> u64 {
        self.hits.iter().sum::<u64>() + self.shards
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.hits.iter_mut().zip(other.hits).for_each(|(sum, hits)| *sum += hits);
        self.shards += other.shards;
        self.misses += other.misses;
        self.refused += other.refused;
        self.took += other.took;
        self.slowest = self.slowest.max(other.slowest);
        if self.complaint.is_empty() {
            self.complaint.clone_from(&other.complaint);
        }
    }
}

/// Who is hit, and how often.
#[derive(Clone, Debug)]
pub(crate) enum Aim {
    /// These connections, in this order, so many a second.
    Victims(Vec<String>, f64),
    /// Every shard, so many times a second.
    Shards(usize, f64),
}

/// A thread at its work.
#[derive(Debug)]
pub(crate) struct Killer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Kills, usize)>,
}

impl Killer {
    /// Begins; `from` is how many victims have had their turn in earlier phases.
    pub(crate) fn start(address: SocketAddr, aim: Aim, from: usize, dice: Dice) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        Self { stop, thread: thread::spawn(move || work(address, &aim, from, dice, &stopped)) }
    }

    /// Ends it; what it did, and how many victims have had their turn.
    pub(crate) fn stop(self) -> Result<(Kills, usize)> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| anyhow!("the thread that kills has crashed"))
    }
}

fn work(address: SocketAddr, aim: &Aim, from: usize, mut dice: Dice, stop: &AtomicBool) -> (Kills, usize) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let url = format!("http://{address}/v1/chaos");
    let start = clock::now();
    let (mut kills, mut turn, mut asked) = (Kills::default(), from, 0u64);
    while !stop.load(Relaxed) {
        let (body, wanted, place, due) = match aim {
            Aim::Victims(victims, rate) => {
                let batch = (rate / REQUESTS).ceil().max(1.0) as usize;
                let chosen: Vec<_> = (turn..turn + batch).map(|n| &victims[n % victims.len()]).collect();
                let place = dice.roll() as usize % PLACES.len();
                let body = json!({"fault": "panic", "where": PLACES[place], "target": {"connections": chosen}});
                turn += batch;
                (body, batch as u64, Some(place), asked as f64 * batch as f64 / rate)
            }
            Aim::Shards(shards, rate) => {
                let body = json!({"fault": "panic_shard", "target": {"count": shards}});
                (body, *shards as u64, None, asked as f64 / rate)
            }
        };
        if !wait(start + Duration::from_secs_f64(due), stop) {
            break;
        }
        asked += 1;
        let sent = clock::now();
        match ask(&agent, &url, &body) {
            Ok(hit) => {
                *place.map_or(&mut kills.shards, |place| &mut kills.hits[place]) += hit;
                kills.misses += wanted - hit.min(wanted);
            }
            Err(error) => {
                kills.refused += 1;
                if kills.complaint.is_empty() {
                    kills.complaint = format!("{error:#}");
                }
            }
        }
        kills.slowest = kills.slowest.max(sent.elapsed());
    }
    kills.took = start.elapsed();
    (kills, turn)
}

/// Until then, or `false` when it was stopped.
fn wait(until: Instant, stop: &AtomicBool) -> bool {
    loop {
        let left = until.saturating_duration_since(clock::now());
        if stop.load(Relaxed) {
            return false;
        }
        if left.is_zero() {
            return true;
        }
        thread::park_timeout(left.min(Duration::from_millis(50)));
    }
}

fn ask(agent: &ureq::Agent, url: &str, body: &Value) -> Result<u64> {
    let mut response = agent.post(url).send_json(body)?;
    let answer: Value = response.body_mut().read_json()?;
    match answer["hit"].as_u64() {
        Some(hit) => Ok(hit),
        None => bail!("{}", answer["error"]["message"].as_str().unwrap_or("no number of hits")),
    }
}

/// The connections of all users that may be hit, shuffled.
pub(crate) fn victims(address: SocketAddr, dice: &mut Dice) -> Result<Vec<String>> {
    let mut response = ureq::get(format!("http://{address}/v1/connections?limit=10000")).call()?;
    // A list of ten thousand connections is larger than what ureq reads unasked.
    let list: Value = response.body_mut().with_config().limit(64 << 20).read_json()?;
    let connections = list["connections"].as_array().context("no list of connections")?;
    let mut ids: Vec<String> = connections
        .iter()
        .filter(|one| one["user"].as_str().is_some_and(|user| user.starts_with(VICTIM)))
        .filter_map(|one| Some(one["connection"].as_str()?.to_owned()))
        .collect();
    // A sort first: the order of the list is not the seed's.
    ids.sort_unstable();
    for at in (1..ids.len()).rev() {
        ids.swap(at, dice.roll() as usize % (at + 1));
    }
    Ok(ids)
}
