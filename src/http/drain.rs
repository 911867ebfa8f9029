//! The orderly end: clients are asked to leave in paced batches, those that stay are closed with 4003, and the node is
//! gone within `listen.drain`, whatever a shard is doing meanwhile.
//!
//! ```text
//! 0           50 %          80 %    95 %  100 %
//! ├─ batches ──┼─ patience ──┼ close ─┼ end ┤      each part ends early when everybody has left
//! ```

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{
    http::gateway::Gateway,
    shard::{Act, Action, Target, act_on_all},
};

/// How often the drain looks whether everybody has left.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two batches.
const BATCH_EVERY: Duration = Duration::from_millis(100);
/// Even a drain of no time lets the close frames out.
const SHORTEST: Duration = Duration::from_millis(500);

/// When what happens, counted from the drain's begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The last batch has been asked to leave.
    asked: Duration,
    /// Who is still there is closed.
    close: Duration,
    /// Nobody is waited for any more.
    leave: Duration,
    /// The process has ended.
    pub end: Duration,
}

impl Schedule {
    /// The schedule of a drain that may take `deadline`.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        let end = deadline.max(SHORTEST);
        Self { asked: end / 2, close: end * 4 / 5, leave: end * 19 / 20, end }
    }

    /// Into how many batches `open` clients go: as few as keep to `pace` clients a second, and no more than there is time
    /// for.
    fn batches(&self, open: usize, pace: u32) -> u32 {
        let each = (f64::from(pace) * BATCH_EVERY.as_secs_f64()).max(1.0);
        let wanted = (open as f64 / each).ceil();
        let most = self.asked.as_millis() / BATCH_EVERY.as_millis();
        wanted.clamp(1.0, most.max(1) as f64) as u32
    }

    /// When batch `nth` is asked, and over how much time it is to spread its leaving: at most what is left until the
    /// close.
    fn batch(&self, nth: u32) -> (Duration, Duration) {
        let at = BATCH_EVERY * nth;
        (at, self.asked.min(self.close.saturating_sub(at)))
    }
}

/// Returns when nobody is connected any more, at the latest some time before the schedule's end.
pub async fn drain(gateway: &Gateway, schedule: Schedule) {
    if gateway.sockets.are_gone() {
        return;
    }
    let waves = async {
        tokio::select! {
            () = ask_to_leave(gateway, schedule) => until_gone(gateway).await,
            () = until_gone(gateway) => {}
        }
    };
    if timeout(schedule.close, waves).await.is_ok() {
        return;
    }
    tracing::info!(connections = gateway.sockets.open(), "closing those that stayed");
    let close = async {
        act(gateway, Target::All, Action::Leave).await;
        until_gone(gateway).await;
    };
    if timeout(schedule.leave - schedule.close, close).await.is_err() {
        tracing::warn!(connections = gateway.sockets.open(), "leaving before every client has its close frame");
    }
}

/// Asks everybody in batches, so that not all of them ask another node for a connection at once. A batch does not wait for
/// the answers to the one before.
async fn ask_to_leave(gateway: &Gateway, schedule: Schedule) {
    let of = schedule.batches(gateway.sockets.open(), gateway.config().listen.drain_pace);
    let batches = (0..of).map(|nth| async move {
        let (at, spread) = schedule.batch(nth);
        tokio::time::sleep(at).await;
        act(gateway, Target::Batch { nth, of }, Action::Reconnect { after_ms: spread.as_millis() as u64 }).await;
    });
    join_all(batches).await;
}

/// All shards are asked at once: one that is stuck must not keep the others from closing.
async fn act(gateway: &Gateway, target: Target, action: Action) {
    let act = Act { target, action };
    join_all(gateway.all_shards().map(|shards| act_on_all(shards, &act))).await;
}

async fn until_gone(gateway: &Gateway) {
    while !gateway.sockets.are_gone() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Duration = Duration::from_secs(10);

    #[test]
    fn batches_keep_the_pace_and_are_all_out_within_half_of_the_deadline() {
        let schedule = Schedule::new(DEFAULT);
        for (open, pace, of) in [(0, 5_000, 1), (500, 5_000, 1), (501, 5_000, 2), (10_000, 5_000, 20), (7, 1, 7)] {
            assert_eq!(schedule.batches(open, pace), of, "{open} clients at {pace} a second");
        }
        assert_eq!(schedule.batches(1_000_000, 5_000), 50, "the deadline goes before the pace");
        assert!(schedule.batch(49).0 < schedule.asked);
    }

    #[test]
    fn nobody_is_asked_to_leave_later_than_the_close() {
        for deadline in [Duration::ZERO, Duration::from_secs(1), DEFAULT, Duration::from_secs(3_600)] {
            let schedule = Schedule::new(deadline);
            for nth in 0..schedule.batches(usize::MAX, 1) {
                let (at, spread) = schedule.batch(nth);
                assert!(at + spread <= schedule.close, "batch {nth} of a drain of {deadline:?}");
            }
            assert!(
                schedule.asked < schedule.close && schedule.close < schedule.leave && schedule.leave < schedule.end
            );
        }
    }
}
