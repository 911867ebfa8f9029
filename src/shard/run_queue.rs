//! Connections that have something to do, in the order they got it. Each is in the queue at most once; one that used up
//! its budget goes to the back, so a chatty client cannot starve others.

use std::collections::VecDeque;

/// Indexes of ready connections. The slot's `queued` flag, kept by the callers, holds "at most once".
#[derive(Debug, Default)]
pub(super) struct RunQueue {
    ready: VecDeque<u32>,
}

impl RunQueue {
    /// Adds a connection unless its flag says it is there already.
    pub(super) fn push(&mut self, index: u32, queued: &mut bool) {
        if !std::mem::replace(queued, true) {
            self.ready.push_back(index);
        }
    }

    /// The next one; the caller clears its flag.
    pub(super) fn pop(&mut self) -> Option<u32> {
        self.ready.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}
