//! Processor time of this thread. All measurements here are of one thread that never waits, so on a machine with nothing
//! else to do it is the time that passes; on one that is shared it leaves out what others were doing meanwhile. What they
//! do to its caches it cannot leave out.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The thread's processor time so far.
#[must_use]
pub fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_takes_no_time_of_the_processor() {
        let before = thread_time();
        std::thread::park_timeout(Duration::from_millis(100));
        assert!(thread_time() - before < Duration::from_millis(50));
    }
}
