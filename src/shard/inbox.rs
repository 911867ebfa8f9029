//! Letters between threads: from hub to hub and from the HTTP side to a shard. A vector behind a lock that the shard
//! takes as a whole, and one wake-up of its poller per batch: what arrives together is handled together.
//!
//! Order from one sender is kept. Bounded where a sender can say no (`offer`); `send` is for what an earlier `offer`
//! has admitted (a broadcast of an accepted publish, an answer to an admitted request), so it must not be lost.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crate::shard::mailbox::Full;

/// Letters a shard may have waiting before new work is refused.
pub(super) const CAPACITY: usize = 65_536;

/// Room for so many letters outlives a burst.
pub(super) const KEEP: usize = 16;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Inbox<L> {
    letters: Mutex<Vec<L>>,
    /// How many wait, readable without the lock.
    waiting: AtomicUsize,
    /// `None`: nobody sleeps over it (a simulated shard looks whenever it is run).
    waker: Option<mio::Waker>,
}

/// The inboxes of all shards of a node, in the order of their numbers.
pub(super) type Inboxes<L> = Arc<[Arc<Inbox<L>>]>;

impl<L> Inbox<L> {
    pub(super) fn new(waker: Option<mio::Waker>) -> Self {
        Self { letters: Mutex::new(Vec::new()), waiting: AtomicUsize::new(0), waker }
    }

    /// Delivers `letter`, or gives it back when the shard is behind.
    pub(super) fn offer(&self, letter: L) -> Result<(), Full<L>> {
        let mut letters = self.lock();
        if letters.len() >= CAPACITY {
            return Err(Full(letter));
        }
        self.push(&mut letters, letter);
        Ok(())
    }

    /// Delivers `letter` in any case.
    pub(super) fn send(&self, letter: L) {
        let mut letters = self.lock();
        self.push(&mut letters, letter);
    }

    /// The shard is behind: admit nothing that would send it more.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= CAPACITY
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Exchanges all waiting letters for the empty `batch`.
    pub(super) fn take(&self, batch: &mut Vec<L>) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            let mut letters = self.lock();
            std::mem::swap(&mut *letters, batch);
            self.waiting.store(0, Ordering::Release);
        }
    }

    /// Gives the memory of a past burst back.
    pub(super) fn shrink(&self) {
        let mut letters = self.lock();
        if letters.is_empty() && letters.capacity() > KEEP {
            *letters = Vec::new();
        }
    }

    fn push(&self, letters: &mut Vec<L>, letter: L) {
        letters.push(letter);
        self.waiting.store(letters.len(), Ordering::Release);
        if letters.len() == 1
            && let Some(waker) = &self.waker
            && let Err(error) = waker.wake()
        {
            tracing::error!(%error, "cannot wake a shard");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<L>> {
        // A sender cannot panic between taking the lock and finishing its push, so a poisoned queue is still whole.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
