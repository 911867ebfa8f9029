//! Every crash of the node passes here: it is counted under its fingerprint, and some deserve a file.
//!
//! One for the whole node, behind one lock: crashes are rare, and at a thousand a second the lock is held for a thousandth of
//! the time. Called by shards on their own threads, so nothing here waits for a disk.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use super::{
    CrashReport, Fingerprints,
    crash_files::{Draft, Outbox},
};
use crate::{clock::Clock, id::ConnectionId};

/// Files a second of one place, once the first burst is over: a storm of one bug must not turn the folder over again and
/// again, nor keep a core busy with naming the same calls.
const FILES_PER_SECOND: u64 = 1;

/// See the module's text. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Crashes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    register: Mutex<Fingerprints>,
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    clock: Clock,
    outbox: Outbox,
    /// Files of one place at once.
    burst: u64,
    /// When each place's next file would be on schedule, in microseconds.
    schedule: Mutex<HashMap<Box<str>, u64>>,
}

/// One line of the register, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrashLine {
    /// Where: `file:line:column`, or `other` for what found the register full.
    pub place: Box<str>,
    /// What was being handled.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// The first of them, unix milliseconds.
    pub first_at: u64,
    /// The last of them.
    pub last_at: u64,
    /// Who crashed last; `None` when it was no connection.
    pub connection: Option<ConnectionId>,
    /// [`CrashReport::own_words`] of the first one.
    pub panic: Box<str>,
}

impl Crashes {
    /// A register that also has files written; `most`: what their folder holds.
    #[must_use]
    pub fn with_files(clock: Clock, outbox: Outbox, most: usize) -> Self {
        let files = Files { clock, outbox, burst: 2 * most as u64, schedule: Mutex::default() };
        Self(Arc::new(Shared { register: Mutex::default(), files: Some(files) }))
    }

    /// Counts a crash. `false`: the register is full of other places, and a label of its own would be one too many.
    pub fn record(
        &self,
        report: &CrashReport,
        kind: &'static str,
        connection: Option<ConnectionId>,
        unix_ms: u64,
    ) -> bool {
        lock(&self.0.register).record(report, kind, connection, unix_ms)
    }

    /// The register, most frequent first, what found it full last.
    #[must_use]
    pub fn list(&self) -> Vec<CrashLine> {
        lock(&self.0.register).lines()
    }

    /// Asks for a file. When those who write are behind, it is counted as skipped.
    pub fn file(&self, draft: Draft) {
        if let Some(files) = &self.0.files {
            files.outbox.offer(draft);
        }
    }

    /// A file was wanted, and what it was to hold cannot be written down.
    pub fn cannot_file(&self) {
        if let Some(files) = &self.0.files {
            files.outbox.failed();
        }
    }

    /// Whether a crash at this place deserves a file now; takes from the place's share if so.
    pub(super) fn wants_file(&self, place: &str) -> bool {
        let Some(files) = &self.0.files else { return false };
        let wants = files.outbox.has_room() && files.take_share(place);
        if !wants {
            files.outbox.skipped();
        }
        wants
    }
}

impl Files {
    fn take_share(&self, place: &str) -> bool {
        const INTERVAL: u64 = 1_000_000 / FILES_PER_SECOND;
        let now = self.clock.micros();
        let mut schedule = lock(&self.schedule);
        if schedule.len() >= Fingerprints::MOST && !schedule.contains_key(place) {
            schedule.retain(|_, scheduled| *scheduled > now);
            if schedule.len() >= Fingerprints::MOST {
                return false;
            }
        }
        let scheduled = schedule.get(place).copied().unwrap_or_default().max(now);
        if scheduled - now >= INTERVAL * self.burst {
            return false;
        }
        schedule.insert(place.into(), scheduled + INTERVAL);
        true
    }
}

/// Nothing that runs under these locks can panic half way, so a poisoned one holds nothing wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
