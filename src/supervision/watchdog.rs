//! Sees what no catch can: a turn that does not return. Each shard says through its [`Beat`] when a turn begins, whose it
//! is, and when it ends; a thread looks at all beats and tells, once per turn, of one that is stuck.
//!
//! It only watches: a thread cannot be stopped from outside, so the other shards go on and an operator learns which
//! connection and which message to look at. Started by the node, which reads the gauge.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Beat, beat::IDLE, catch};
use crate::{clock::Clock, id::ConnectionId};

/// A turn that is stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The name given to [`Watchdog::watch`].
    pub shard: Arc<str>,
    /// Whose turn it is.
    pub connection: ConnectionId,
    /// What it handles.
    pub kind: String,
    /// How long it has taken when it was found.
    pub lasted: Duration,
}

/// See the module's text. Cheap to clone; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    _thread: Option<Arc<Thread>>,
}

#[derive(Debug)]
struct Shared {
    turn_stall: Duration,
    watched: Mutex<Vec<Watched>>,
    stalled_now: AtomicUsize,
    stalls: AtomicU64,
}

#[derive(Debug)]
struct Watched {
    shard: Arc<str>,
    beat: Arc<Beat>,
    /// When the turn began that was last told of.
    told: u64,
}

impl Watchdog {
    /// Starts the thread. A turn that lasts `turn_stall` is told of, up to 100 ms later.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(clock: Clock, turn_warn: Duration, turn_stall: Duration) -> io::Result<Self> {
        let mut watchdog = Self::unattended(turn_stall);
        let every = turn_warn.clamp(Duration::from_millis(10), Duration::from_millis(100));
        let (shared, stopping) = (Arc::clone(&watchdog.shared), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stopping);
        let handle = thread::Builder::new().name("watchdog".into()).spawn(move || {
            while !stopped.load(Acquire) {
                if let Err(report) = catch(|| shared.look(clock.micros())) {
                    tracing::error!(place = &*report.place, panic = &*report.message, "watchdog crashed, going on");
                }
                thread::park_timeout(every);
            }
        })?;
        watchdog._thread = Some(Arc::new(Thread { stopping, handle: Some(handle) }));
        Ok(watchdog)
    }

    /// Without a thread: it sees what [`Watchdog::look`] is called for. For simulations, which choose the time.
    #[must_use]
    pub fn unattended(turn_stall: Duration) -> Self {
        let shared = Shared {
            turn_stall,
            watched: Mutex::default(),
            stalled_now: AtomicUsize::new(0),
            stalls: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), _thread: None }
    }

    /// The beat for a shard of that name; watched until the shard drops it.
    #[must_use]
    pub fn watch(&self, shard: &str) -> Arc<Beat> {
        let beat = Arc::new(Beat::default());
        let watched = Watched { shard: shard.into(), beat: Arc::clone(&beat), told: IDLE };
        self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
        beat
    }

    /// Looks at all beats at `micros` of the clock: logs, counts and returns the turns found to be stuck for the first
    /// time.
    pub fn look(&self, micros: u64) -> Vec<Stall> {
        self.shared.look(micros)
    }

    /// Turns that were stuck at the last look (`dormouse_stalled_turns`).
    #[must_use]
    pub fn stalled_now(&self) -> usize {
        self.shared.stalled_now.load(Relaxed)
    }

    /// Stuck turns since the start, each counted once.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.shared.stalls.load(Relaxed)
    }
}

impl Shared {
    fn look(&self, micros: u64) -> Vec<Stall> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|watched| Arc::strong_count(&watched.beat) > 1);
        let (mut stuck, mut found) = (0, Vec::new());
        for watched in watched.iter_mut() {
            let Some((began, connection, kind)) = watched.beat.read() else { continue };
            let lasted = Duration::from_micros(micros.saturating_sub(began));
            if lasted < self.turn_stall {
                continue;
            }
            stuck += 1;
            if watched.told != began {
                watched.told = began;
                let connection = ConnectionId::from_bits(connection);
                found.push(Stall { shard: Arc::clone(&watched.shard), connection, kind, lasted });
            }
        }
        drop(watched);
        self.stalled_now.store(stuck, Relaxed);
        self.stalls.fetch_add(found.len() as u64, Relaxed);
        for Stall { shard, connection, kind, lasted } in &found {
            tracing::warn!(%shard, %connection, %kind, ?lasted, "turn is stuck");
        }
        found
    }
}

/// Stops and joins the thread when the last handle goes. The thread holds no handle, so it never joins itself.
#[derive(Debug)]
struct Thread {
    stopping: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stopping.store(true, Release);
        if let Some(handle) = self.handle.take() {
            handle.thread().unpark();
            // It catches its own panics.
            let _ = handle.join();
        }
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
        assert_eq!(watchdog.stalled_now(), 0);
        let told = watchdog.look(SECOND + 5);
        let expected = Stall { shard: "shard-0".into(), connection: connection(), kind: "frame".into(), lasted: STALL };
        assert_eq!(told, [expected]);
        assert_eq!(watchdog.look(9 * SECOND), []);
        assert_eq!((watchdog.stalled_now(), watchdog.stalls()), (1, 1));
        beat.end();
        assert_eq!(watchdog.look(10 * SECOND), []);
        assert_eq!((watchdog.stalled_now(), watchdog.stalls()), (0, 1));
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
        assert_eq!(watchdog.stalled_now(), 3);
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

    #[test]
    fn the_thread_finds_a_stuck_turn_and_ends_with_the_last_handle() {
        let clock = Clock::start();
        let watchdog = Watchdog::start(clock, Duration::ZERO, Duration::ZERO).expect("a thread");
        let beat = watchdog.watch("shard-0");
        beat.begin(clock.micros(), 7, "frame");
        while watchdog.stalls() == 0 {
            thread::yield_now();
        }
        let last = watchdog.clone();
        drop(watchdog);
        assert_eq!(Arc::strong_count(&last.shared), 2, "a handle and the thread");
        let shared = Arc::clone(&last.shared);
        drop(last);
        assert_eq!(Arc::strong_count(&shared), 1, "the thread was joined");
    }
}
