//! Sees what no catch can: a turn that does not return. Each shard says through its [`Beat`] when a turn begins, whose it
//! is, and when it ends; an actor on a thread of its own looks at all beats and tells, once per turn, of one that is stuck.
//!
//! It only watches: a thread cannot be stopped from outside, so the other shards go on and an operator learns which
//! connection and which message to look at. What happens when the turn ends after all is the shard's to decide. The actor
//! is a child like any other; what it has told is kept beside the beats, so that a restart tells nothing twice. Started
//! by the node.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use actix::{Actor, Addr, AsyncContext as _, Context, Supervised};
use actix_rt::ArbiterHandle;
use serde::Serialize;

use super::{Beat, ChildSpec, Children, beat::IDLE, lock};
use crate::{clock::Clock, id::ConnectionId};

/// A turn that is stuck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stall {
    /// The name given to [`Watchdog::watch`].
    pub shard: Arc<str>,
    /// Whose turn it is.
    pub connection: ConnectionId,
    /// What it handles.
    pub kind: String,
    /// How long it has taken when it was looked at.
    #[serde(rename = "lasted_ms", serialize_with = "as_millis")]
    pub lasted: Duration,
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_millis() as u64)
}

/// See the module's text. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    /// Keeps the actor reachable, which is what lets it be restarted.
    _actor: Option<Addr<Watcher>>,
}

#[derive(Debug)]
struct Shared {
    turn_stall: Duration,
    watched: Mutex<Vec<Watched>>,
    stalled_now: Mutex<Vec<Stall>>,
    stalls: AtomicU64,
}

#[derive(Debug)]
struct Watched {
    shard: Arc<str>,
    beat: Arc<Beat>,
    /// When the turn began that was last told of.
    told: u64,
}

/// The actor that looks. Its only state is its timer, which `started` makes anew.
#[derive(Debug)]
struct Watcher {
    clock: Clock,
    every: Duration,
    shared: Arc<Shared>,
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.every, |watcher, _| drop(watcher.shared.look(watcher.clock.micros())));
    }
}

impl Supervised for Watcher {}

impl Watchdog {
    /// The name of its child in the tree.
    pub const NAME: &str = "watchdog";

    /// Starts the actor under `children`. A turn that lasts `turn_stall` is told of up to a tenth of that later, and no more
    /// often is there a look: an idle node would do little else than wake for it. Its arbiter must do nothing else that can
    /// block.
    #[must_use]
    pub fn start(children: &Children, arbiter: &ArbiterHandle, clock: Clock, turn_stall: Duration) -> Self {
        let mut watchdog = Self::unattended(turn_stall);
        let every = (turn_stall / 10).clamp(Duration::from_millis(10), Duration::from_millis(100));
        let shared = Arc::clone(&watchdog.shared);
        let spec = ChildSpec::system(Self::NAME);
        watchdog._actor = Some(children.start(arbiter, spec, move || Watcher { clock, every, shared }));
        watchdog
    }

    /// Without its actor: it sees what [`Watchdog::look`] is called for. For simulations, which choose the time.
    #[must_use]
    pub fn unattended(turn_stall: Duration) -> Self {
        let (watched, stalled_now, stalls) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { turn_stall, watched, stalled_now, stalls }), _actor: None }
    }

    /// The beat for a shard of that name; watched until the shard drops it.
    #[must_use]
    pub fn watch(&self, shard: &str) -> Arc<Beat> {
        let beat = Arc::new(Beat::default());
        let watched = Watched { shard: shard.into(), beat: Arc::clone(&beat), told: IDLE };
        lock(&self.shared.watched).push(watched);
        beat
    }

    /// Looks at all beats at `micros` of the clock: logs, counts and returns the turns found to be stuck for the first
    /// time.
    pub fn look(&self, micros: u64) -> Vec<Stall> {
        self.shared.look(micros)
    }

    /// Turns that were stuck at the last look (`dormouse_stalled_turns`).
    #[must_use]
    pub fn stalled_now(&self) -> Vec<Stall> {
        lock(&self.shared.stalled_now).clone()
    }

    /// Stuck turns since the start, each counted once.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.shared.stalls.load(Relaxed)
    }
}

impl Shared {
    fn look(&self, micros: u64) -> Vec<Stall> {
        let mut watched = lock(&self.watched);
        watched.retain(|watched| Arc::strong_count(&watched.beat) > 1);
        let (mut stuck, mut found) = (Vec::new(), Vec::new());
        for watched in watched.iter_mut() {
            let Some((began, connection, kind)) = watched.beat.read() else { continue };
            let lasted = Duration::from_micros(micros.saturating_sub(began));
            if lasted < self.turn_stall {
                continue;
            }
            let connection = ConnectionId::from_bits(connection);
            let stall = Stall { shard: Arc::clone(&watched.shard), connection, kind, lasted };
            if std::mem::replace(&mut watched.told, began) != began {
                found.push(stall.clone());
            }
            stuck.push(stall);
        }
        drop(watched);
        *lock(&self.stalled_now) = stuck;
        self.stalls.fetch_add(found.len() as u64, Relaxed);
        for Stall { shard, connection, kind, lasted } in &found {
            tracing::warn!(%shard, %connection, %kind, ?lasted, "turn is stuck");
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(1);
    const SECOND: u64 = 1_000_000;

    fn connection() -> ConnectionId {
        ConnectionId::new(3, 70_000, 9)
    }

    #[test]
    fn a_stuck_turn_is_told_once_with_shard_connection_and_message() {
        let watchdog = Watchdog::unattended(STALL);
        let (beat, _idle) = (watchdog.watch("shard-0"), watchdog.watch("shard-1"));
        beat.begin(5, connection().to_bits(), "frame");
        assert_eq!(watchdog.look(SECOND + 4), []);
        assert_eq!(watchdog.stalled_now().len(), 0);
        let told = watchdog.look(SECOND + 5);
        let expected = Stall { shard: "shard-0".into(), connection: connection(), kind: "frame".into(), lasted: STALL };
        assert_eq!(told, [expected]);
        assert_eq!(watchdog.look(9 * SECOND), []);
        assert_eq!((watchdog.stalled_now().len(), watchdog.stalls()), (1, 1));
        beat.end();
        assert_eq!(watchdog.look(10 * SECOND), []);
        assert_eq!((watchdog.stalled_now().len(), watchdog.stalls()), (0, 1));
    }

    #[test]
    fn the_next_stuck_turn_is_told_again_even_for_the_same_message() {
        let watchdog = Watchdog::unattended(STALL);
        let beat = watchdog.watch("shard-0");
        for turn in 0..3 {
            let began = turn * 5 * SECOND;
            beat.begin(began, 7, "frame");
            assert_eq!(watchdog.look(began + 2 * SECOND).len(), 1);
            assert_eq!(watchdog.look(began + 3 * SECOND).len(), 0);
            beat.end();
        }
        assert_eq!(watchdog.stalls(), 3);
    }

    #[test]
    fn all_shards_can_be_stuck_at_once() {
        let watchdog = Watchdog::unattended(STALL);
        let beats = ["a", "b", "c"].map(|shard| watchdog.watch(shard));
        beats.iter().for_each(|beat| beat.begin(0, 7, "job"));
        assert_eq!(watchdog.look(SECOND).len(), 3);
        assert_eq!(watchdog.stalled_now().len(), 3);
    }

    #[test]
    fn a_shard_that_is_gone_is_no_longer_watched() {
        let watchdog = Watchdog::unattended(STALL);
        let beat = watchdog.watch("shard-0");
        beat.begin(0, 7, "frame");
        drop(beat);
        assert_eq!(watchdog.look(5 * SECOND), []);
    }

    #[test]
    fn a_turn_that_began_after_the_look_was_timed_is_not_stuck() {
        let watchdog = Watchdog::unattended(STALL);
        watchdog.watch("shard-0").begin(5 * SECOND, 7, "frame");
        assert_eq!(watchdog.look(SECOND), []);
    }

    #[actix_rt::test]
    async fn the_actor_finds_a_stuck_turn_and_goes_on_after_a_crash_without_telling_it_again() {
        super::super::install();
        let (clock, arbiter) = (Clock::start(), actix_rt::Arbiter::new());
        let children = Children::new(clock, 0);
        let watchdog = Watchdog::start(&children, &arbiter.handle(), clock, Duration::ZERO);
        let (first, second) = (watchdog.watch("shard-0"), watchdog.watch("shard-1"));
        first.begin(clock.micros(), 7, "frame");
        let told = async |turns: u64| {
            while watchdog.stalls() < turns {
                tokio::task::yield_now().await;
            }
        };
        told(1).await;
        assert!(children.crash(Watchdog::NAME));
        while children.get(Watchdog::NAME).is_none_or(|child| child.restarts == 0) {
            tokio::task::yield_now().await;
        }
        second.begin(clock.micros(), 8, "job");
        told(2).await;
        let stuck: Vec<_> = watchdog.stalled_now().into_iter().map(|stall| stall.kind).collect();
        assert_eq!((stuck, watchdog.stalls()), (vec!["frame".to_owned(), "job".to_owned()], 2));
        assert!(children.stop().await.is_empty());
        arbiter.stop();
        arbiter.join().expect("its thread ends");
    }
}
