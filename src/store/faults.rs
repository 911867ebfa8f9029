//! Faults on demand: disk writes that wait or fail, for chaos tests and for the store's own. Every engine asks here before it
//! writes and before it syncs; without a fault that is one atomic load.
//!
//! Shared: whoever holds a clone can begin and end a fault. Ending one wakes a write that waits.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    shared: Arc<Shared>,
}

/// Names a fault, to end it and no later one.
#[derive(Clone, Copy, Debug)]
pub struct Begun(u64);

#[derive(Debug, Default)]
struct Shared {
    /// Whether any fault is on: the only thing a healthy write looks at.
    any: AtomicBool,
    faults: Mutex<Active>,
    ended: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Active {
    delay: Duration,
    /// Bytes that may still be written before the disk is full.
    room: Option<u64>,
    sync_fails: bool,
    panics: bool,
    /// How many changes there have been.
    changes: u64,
}

impl Faults {
    /// Every sync takes so much longer.
    pub fn delay(&self, delay: Duration) -> Begun {
        self.change(|active| active.delay = delay)
    }

    /// Every write fails after so many more bytes, as on a full disk; the last one leaves a part behind.
    pub fn disk_full_after(&self, bytes: u64) {
        self.change(|active| active.room = Some(bytes));
    }

    /// Every sync fails, as on a failing disk.
    pub fn fail(&self) -> Begun {
        self.change(|active| active.sync_fails = true)
    }

    /// The next sync panics, once: a bug in the engine.
    pub fn panic_once(&self) {
        self.change(|active| active.panics = true);
    }

    /// All is well again.
    pub fn end(&self) {
        self.change(|active| *active = Active { changes: active.changes, ..Active::default() });
        self.shared.ended.notify_all();
    }

    /// All is well again, unless another fault was begun after this one.
    pub fn end_of(&self, Begun(change): Begun) {
        let changes = self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).changes;
        if changes == change {
            self.end();
        }
    }

    /// How many of `wanted` bytes the disk takes.
    pub(super) fn room(&self, wanted: usize) -> usize {
        if !self.shared.any.load(Relaxed) {
            return wanted;
        }
        let mut active = self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(room) = &mut active.room else { return wanted };
        let taken = wanted.min(usize::try_from(*room).unwrap_or(usize::MAX));
        *room -= taken as u64;
        taken
    }

    /// Before every sync.
    pub(super) fn before_sync(&self) -> io::Result<()> {
        if !self.shared.any.load(Relaxed) {
            return Ok(());
        }
        let active = self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let delay = active.delay;
        let waited = self.shared.ended.wait_timeout_while(active, delay, |active| !active.delay.is_zero());
        let (mut active, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let panics = std::mem::take(&mut active.panics);
        let fails = active.sync_fails;
        drop(active);
        #[expect(clippy::panic, reason = "asked for, to see that a crash of the engine is survived")]
        if panics {
            panic!("a fault was asked for");
        }
        if fails { Err(io::Error::other("a fault was asked for")) } else { Ok(()) }
    }

    /// What a full disk says.
    pub(super) fn full() -> io::Error {
        io::Error::from(io::ErrorKind::StorageFull)
    }

    fn change(&self, change: impl FnOnce(&mut Active)) -> Begun {
        let mut active = self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut active);
        active.changes += 1;
        let any = !active.delay.is_zero() || active.room.is_some() || active.sync_fails || active.panics;
        self.shared.any.store(any, Relaxed);
        Begun(active.changes)
    }
}
