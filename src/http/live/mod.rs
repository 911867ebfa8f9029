//! The live feed of the dashboard and of `dormouse top`: one sampler for all who watch, its last ten minutes, and a socket
//! for each viewer.
//!
//! ```text
//! shards ──Survey──▶ Sampler (a system actor, at work only while somebody watches) ──▶ Live: the latest, the past
//! metrics ──differences─┘                                                              │
//!                    Viewer (an actor of actix-web-actors for each socket) ◀───────────┤
//!                    GET /v1/live without a socket ◀───────────────────────────────────┘
//! ```
//! A viewer that is slow gets the latest sample when it has taken the one before; those between were never its. Read
//! `entrance.rs`, `sampler.rs`, `viewer.rs`, then what they name.

mod entrance;
mod health;
mod past;
mod point;
mod process;
mod sample;
mod sampler;
mod shards;
mod socket;
mod spread;
mod tally;
mod viewer;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use actix::Addr;
use tokio::sync::{Notify, watch};

use self::{past::Past, point::Point, sampler::Sampler};

pub(super) use entrance::watch;
pub use sampler::start_sampler;
pub(super) use socket::serve;

/// Where the feed is.
pub(super) const PATH: &str = "/v1/live";
/// Between two samples: the longest one may ask for, in seconds. The shortest is one.
const LONGEST: usize = 10;
/// Sockets of viewers; beyond it a handshake gets 503.
const MOST_VIEWERS: usize = 64;

/// What the sampler and all who watch share. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Viewers by the seconds between the samples that they ask for.
    viewers: [AtomicUsize; LONGEST],
    asked: Mutex<Option<Asked>>,
    /// Somebody wants samples, perhaps sooner than anybody before.
    wanted: Notify,
    told: watch::Sender<Told>,
    past: Mutex<Past>,
    /// Keeps the actor reachable, which is what lets it be restarted.
    sampler: OnceLock<Addr<Sampler>>,
}

/// Somebody who asks by HTTP, again and again, and wants the next answer to be at hand.
#[derive(Clone, Copy, Debug)]
struct Asked {
    every: Duration,
    /// When he has asked for the last time, presumably; in microseconds of the clock.
    until: u64,
}

/// What all viewers hear.
#[derive(Clone, Debug, Default)]
struct Told {
    latest: Option<Arc<Taken>>,
    /// The node leaves.
    ended: bool,
}

/// A sample, ready to be sent.
#[derive(Debug)]
struct Taken {
    /// When, in microseconds of the clock.
    micros: u64,
    /// It tells of an interval. The first one after a pause has nothing to be compared with.
    measured: bool,
    json: String,
}

impl Live {
    /// No sample without it: tells when the next one is wanted; `None`: nobody watches.
    fn every(&self, micros: u64) -> Option<Duration> {
        let watched = self.0.viewers.iter().position(|viewers| viewers.load(Relaxed) > 0);
        let watched = watched.map(|at| Duration::from_secs(at as u64 + 1));
        let asked = lock(&self.0.asked).filter(|asked| asked.until > micros).map(|asked| asked.every);
        watched.into_iter().chain(asked).min()
    }

    /// Publishes a sample and keeps its point.
    fn tell(&self, taken: Taken, point: Point) {
        if taken.measured {
            lock(&self.0.past).push(point);
        }
        self.0.told.send_modify(|told| told.latest = Some(Arc::new(taken)));
    }

    /// The last ten minutes, as far as somebody watched.
    fn past(&self) -> Past {
        lock(&self.0.past).clone()
    }

    /// A place for a viewer; `None` when all are taken.
    fn sit_down(&self, every: usize) -> Option<Seat> {
        let taken: usize = self.0.viewers.iter().map(|viewers| viewers.load(Relaxed)).sum();
        (taken < MOST_VIEWERS).then(|| Seat::new(self.clone(), every))
    }

    /// Says that somebody will ask again within two and a half times `every`.
    fn expect(&self, every: Duration, micros: u64) {
        let until = micros + (every.as_micros() as u64) * 5 / 2;
        let mut asked = lock(&self.0.asked);
        let others = asked.filter(|asked| asked.until > micros);
        let every = others.map_or(every, |others| others.every.min(every));
        *asked = Some(Asked { every, until: others.map_or(until, |others| others.until.max(until)) });
        self.0.wanted.notify_one();
    }

    /// All that will be told from now on.
    fn listen(&self) -> watch::Receiver<Told> {
        self.0.told.subscribe()
    }

    /// Ends the feed: viewers get a close frame. Returns when they have it, at the latest after `patience`.
    pub async fn end(&self, patience: Duration) {
        self.0.told.send_modify(|told| told.ended = true);
        if tokio::time::timeout(patience, self.0.told.closed()).await.is_err() {
            tracing::debug!("leaving before every viewer of the live feed has its close frame");
        }
    }
}

/// A viewer's place, given back when it is dropped.
#[derive(Debug)]
struct Seat {
    live: Live,
    /// Seconds between two samples.
    every: usize,
}

impl Seat {
    fn new(live: Live, every: usize) -> Self {
        let seat = Self { live, every: every.clamp(1, LONGEST) };
        seat.count().fetch_add(1, Relaxed);
        seat.live.0.wanted.notify_one();
        seat
    }

    fn count(&self) -> &AtomicUsize {
        &self.live.0.viewers[self.every - 1]
    }

    fn every(&self) -> Duration {
        Duration::from_secs(self.every as u64)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Relaxed);
    }
}

/// A wish in milliseconds as the whole seconds that are granted.
fn seconds(every_ms: Option<u64>) -> usize {
    every_ms.map_or(1, |ms| usize::try_from(ms.div_ceil(1_000)).unwrap_or(LONGEST)).clamp(1, LONGEST)
}

/// Nothing that runs under these locks can panic half way, so a poisoned one holds nothing wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn the_fastest_viewer_sets_the_pace_and_nobody_sets_none() {
        let live = Live::default();
        assert_eq!(live.every(0), None);
        let slow = live.sit_down(7).expect("room");
        assert_eq!(live.every(0), Some(Duration::from_secs(7)));
        let quick = live.sit_down(1).expect("room");
        assert_eq!(live.every(0), Some(Duration::from_secs(1)));
        drop(quick);
        assert_eq!(live.every(0), Some(Duration::from_secs(7)));
        drop(slow);
        assert_eq!(live.every(0), None);
    }

    #[test]
    fn who_asks_by_http_is_expected_to_ask_again_and_forgotten_if_not() {
        let live = Live::default();
        live.expect(Duration::from_secs(2), 0);
        assert_eq!(live.every(5 * SECOND - 1), Some(Duration::from_secs(2)));
        assert_eq!(live.every(5 * SECOND), None);
        live.expect(Duration::from_secs(10), 6 * SECOND);
        live.expect(Duration::from_secs(1), 6 * SECOND);
        assert_eq!(live.every(7 * SECOND), Some(Duration::from_secs(1)));
    }

    #[test]
    fn there_are_so_many_places_and_no_more() {
        let live = Live::default();
        let seats: Vec<_> = (0..MOST_VIEWERS).map(|_| live.sit_down(1).expect("room")).collect();
        assert!(live.sit_down(1).is_none());
        drop(seats);
        assert!(live.sit_down(1).is_some());
    }

    #[test]
    fn wishes_are_granted_in_whole_seconds_from_one_to_ten() {
        for (wish, granted) in [(None, 1), (Some(0), 1), (Some(1_000), 1), (Some(1_001), 2), (Some(u64::MAX), 10)] {
            assert_eq!(seconds(wish), granted, "{wish:?}");
        }
    }
}
