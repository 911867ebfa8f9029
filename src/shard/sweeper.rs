//! Finds connections whose deadline has passed by walking a slice of the table each tick, so that an idle connection needs
//! no timer. A whole walk takes [`Options::walk`](super::Options), which bounds how late a deadline is noticed.

use crate::{
    shard::{
        TICK,
        behaviour::{Behaviour, Life, Mail},
        core::Core,
        network::Network,
    },
    supervision,
};

/// Where the walk is.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    next: u32,
}

impl<B: Behaviour, N: Network> Core<B, N> {
    /// Looks at one slice of the table.
    pub(super) fn sweep(&mut self) {
        let ticks = self.options.walk.as_millis().div_ceil(TICK.as_millis()).max(1) as u32;
        let span = self.table.span();
        let mut left = span.div_ceil(ticks);
        while left > 0 {
            // One catch for the slice, not one for each: a record that cannot say its deadline is left out of it.
            let found = supervision::catch(|| {
                while left > 0 {
                    left -= 1;
                    let index = self.sweeper.next;
                    self.sweeper.next = if index + 1 < span { index + 1 } else { 0 };
                    if self.is_due(index) {
                        return Some(index);
                    }
                }
                None
            });
            match found {
                Ok(Some(index)) => self.handle(index, Mail::Silence),
                Ok(None) => {}
                Err(report) => self.defective("deadline", &report),
            }
        }
    }

    fn is_due(&self, index: u32) -> bool {
        let Some(slot) = self.table.get(index) else { return false };
        let Some(record) = &slot.record else { return false };
        let life = Life { heard_ms: slot.heard_ms, attached: slot.socket.is_some(), now: self.now };
        // Wrapping: a deadline lies less than 24 days ahead or behind.
        B::deadline(record, &self.settings, life).is_some_and(|due| self.now.ms().wrapping_sub(due) < u32::MAX / 2)
    }
}
