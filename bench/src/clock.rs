//! The only place of the load generator that reads a clock, so that the lints that keep clocks out of other code hold
//! here too. Every module that measures time calls it.

use std::time::Instant;

/// The present moment, monotonic.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
