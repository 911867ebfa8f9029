//! The bounded queue between those who write and the one thread that commits, and how that thread forms groups.
//!
//! Who offers never waits: a full queue gives the write back. The thread takes what is there at once when that is as much as
//! the last group was, so a lone writer never waits for company that does not come; else it waits for that much, at most
//! for the commit window and no longer than a commit takes. While a commit is on its way to the disk the next group gathers by itself.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Done, Refused, Write};

/// Writes in one group; beyond it a commit would keep the first of them waiting for the last.
const GROUP: usize = 4096;
/// The same in bytes of data.
const GROUP_BYTES: usize = 4 << 20;

/// A write on its way.
pub(super) struct Waiting {
    pub(super) write: Write,
    pub(super) done: Done,
    /// When it was offered, in microseconds of the clock.
    pub(super) since: u64,
}

/// See the module's text.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
    most: usize,
    most_bytes: usize,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    closed: bool,
    /// How many must wait before the thread is woken; `None` while it is busy.
    wake_at: Option<usize>,
}

impl Queue {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), most, most_bytes }
    }

    /// Never waits.
    pub(super) fn offer(&self, waiting: Waiting) -> Result<(), Refused> {
        let bytes = size(&waiting.write);
        let mut inner = self.lock();
        if inner.closed {
            return Err(Refused::Closed(waiting.write));
        }
        if inner.waiting.len() >= self.most || (inner.bytes + bytes > self.most_bytes && !inner.waiting.is_empty()) {
            return Err(Refused::Full(waiting.write));
        }
        inner.bytes += bytes;
        inner.waiting.push_back(waiting);
        let wake = inner.wake_at.is_some_and(|wake_at| inner.waiting.len() >= wake_at);
        if wake {
            inner.wake_at = None;
        }
        drop(inner);
        if wake {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for the first write, then for `company` of them, at most `window`. Empty when nobody came within `patience`;
    /// `None` once the queue is closed and empty.
    pub(super) fn take(&self, company: usize, window: Duration, patience: Option<Duration>) -> Option<Vec<Waiting>> {
        let mut inner = self.lock();
        inner.wake_at = Some(1);
        let nobody = |inner: &mut Inner| inner.waiting.is_empty() && !inner.closed;
        inner = match patience {
            None => self.changed.wait_while(inner, nobody).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.changed.wait_timeout_while(inner, patience, nobody);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        let company = company.clamp(1, GROUP.min(self.most));
        if !inner.waiting.is_empty() && inner.waiting.len() < company {
            inner.wake_at = Some(company);
            let few = |inner: &mut Inner| inner.waiting.len() < company && !inner.closed;
            let waited = self.changed.wait_timeout_while(inner, window, few);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.wake_at = None;
        if inner.waiting.is_empty() && inner.closed {
            return None;
        }
        let (mut group, mut bytes) = (Vec::new(), 0);
        while group.len() < GROUP && bytes < GROUP_BYTES {
            let Some(waiting) = inner.waiting.pop_front() else { break };
            bytes += size(&waiting.write);
            group.push(waiting);
        }
        inner.bytes -= bytes;
        Some(group)
    }

    /// Takes no more; what waits is still taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Nothing that runs under this lock can panic half way.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Roughly what a write holds in memory.
fn size(write: &Write) -> usize {
    let data = match write {
        Write::Append(append) => append.data.len(),
        _ => 0,
    };
    size_of::<Waiting>() + data
}
