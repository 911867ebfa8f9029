//! The only place of the load generator that reads a clock, so that the lints that keep clocks out of other code hold
//! here too. Every module that measures time calls it.

use std::{
    thread,
    time::{Duration, Instant},
};

/// The present moment, monotonic.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Lets time pass on this thread.
pub(crate) fn rest(time: Duration) {
    let until = now() + time;
    loop {
        let left = until.saturating_duration_since(now());
        if left.is_zero() {
            return;
        }
        // May wake early for no reason.
        thread::park_timeout(left);
    }
}
