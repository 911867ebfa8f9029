//! What the shards tell the sampler. One that is stuck in a turn is not waited for: its last numbers stand, and it is not
//! asked again before it has answered, so that nothing piles up behind a hanging turn.
//!
//! Walks over tables are rationed: a shard gives at most one part in [`RATION`] of its time to them.

use std::{cmp::Reverse, pin::Pin, time::Duration};

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{
    http::{
        gateway::Gateway,
        live::sample::{ShardLine, Worst},
    },
    shard::{Census, Ledger, ShardsGone, SlowTurn, Survey, Surveyed, Walk},
};

/// A shard that needs longer for an answer is told as one that does not answer.
const PATIENCE: Duration = Duration::from_millis(400);
/// Walks take a shard at most one part in so many of its time.
const RATION: u64 = 200;

type Answer = Pin<Box<dyn Future<Output = Result<Surveyed, ShardsGone>>>>;

/// See the module's text.
pub(super) struct Shards {
    known: Vec<Known>,
    /// When walks were asked for last, in microseconds of the clock.
    walked_at: u64,
}

/// What is known of a shard.
#[derive(Default)]
struct Known {
    /// The question under way.
    asked: Option<Answer>,
    told: Option<Surveyed>,
    walk: Option<Walk>,
    answers: bool,
}

impl Known {
    fn attached(&self) -> usize {
        self.told.as_ref().map_or(0, |told| told.attached)
    }

    fn parked(&self) -> usize {
        self.told.as_ref().map_or(0, |told| told.parked)
    }

    fn census(&self) -> Census {
        self.walk.as_ref().map(|walk| walk.census).unwrap_or_default()
    }

    /// Counted by an earlier walk, of those that are here now.
    fn awake(&self) -> usize {
        self.census().awake.min(self.attached())
    }
}

impl Shards {
    pub(super) fn new(count: usize) -> Self {
        Self { known: (0..count).map(|_| Known::default()).collect(), walked_at: 0 }
    }

    /// Asks every shard that does not owe an answer already; `worst`: for how many connections of each order.
    pub(super) async fn ask(&mut self, gateway: &Gateway, worst: usize) {
        let micros = gateway.clock.micros();
        let walk = self.walked_at + self.walk_us() * RATION <= micros;
        let ask = async |(number, known): (usize, &mut Known)| {
            let answer = known.asked.get_or_insert_with(|| {
                let shards = gateway.shards.clone();
                Box::pin(async move { shards.ask(number as u16, Survey { walk, worst }).await })
            });
            let Ok(answer) = timeout(PATIENCE, answer).await else {
                known.answers = false;
                return;
            };
            known.asked = None;
            known.answers = answer.is_ok();
            if let Ok(mut told) = answer {
                known.walk = told.walk.take().or_else(|| known.walk.take());
                known.told = Some(told);
            }
        };
        join_all(self.known.iter_mut().enumerate().map(ask)).await;
        if walk {
            self.walked_at = micros;
        }
    }

    /// When tables were counted, in microseconds of the clock.
    pub(super) fn walked_at(&self) -> u64 {
        self.walked_at
    }

    /// How long the longest of those walks took, in microseconds.
    pub(super) fn walk_us(&self) -> u64 {
        self.known.iter().filter_map(|known| known.walk.as_ref()).map(|walk| walk.took_us).max().unwrap_or(0)
    }

    /// Connections with a socket.
    pub(super) fn attached(&self) -> usize {
        self.known.iter().map(Known::attached).sum()
    }

    pub(super) fn parked(&self) -> usize {
        self.known.iter().map(Known::parked).sum()
    }

    pub(super) fn awake(&self) -> usize {
        self.known.iter().map(Known::awake).sum()
    }

    pub(super) fn outbox_bytes(&self) -> usize {
        self.known.iter().map(|known| known.census().outbox_bytes).sum()
    }

    /// Exact but for what is pending, which is as old as the last walk.
    pub(super) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for known in &self.known {
            let mut told = known.told.as_ref().map(|told| told.ledger).unwrap_or_default();
            told.pending = known.census().ledger.pending;
            ledger.add(&told);
        }
        ledger
    }

    /// The slowest turns of all.
    pub(super) fn slowest(&self, most: usize) -> Vec<SlowTurn> {
        let told = self.known.iter().filter_map(|known| known.told.as_ref());
        let mut slowest: Vec<_> = told.flat_map(|told| told.slowest.iter().copied()).collect();
        slowest.sort_by_key(|turn| Reverse(turn.took_us));
        slowest.truncate(most);
        slowest
    }

    pub(super) fn worst(&self, most: usize) -> Worst<'_> {
        Worst::of(self.known.iter().filter_map(|known| known.walk.as_ref()).map(|walk| &walk.worst), most)
    }

    /// One by one; `lag`: how late each was.
    pub(super) fn lines(&self, lag: &[Option<f32>]) -> Vec<ShardLine> {
        let line = |(shard, known): (usize, &Known)| ShardLine {
            shard,
            answers: known.answers,
            awake: known.awake(),
            dormant: known.attached() - known.awake(),
            parked: known.parked(),
            restarts: known.census().restarts,
            outbox_bytes: known.census().outbox_bytes,
            lag: lag.get(shard).copied().flatten(),
        };
        self.known.iter().enumerate().map(line).collect()
    }
}
