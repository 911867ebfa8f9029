//! The orderly end: clients are asked to leave in paced batches, those that stay are closed with 4003 batch by batch, and
//! the node is gone within `listen.drain`, whatever a shard is doing meanwhile.
//!
//! ```text
//! 0                     70 %   80 %    95 %  100 %
//! ├─ batches are asked ──┤      │       │     │    in a tenth less than the pace
//!        ├─ and closed ─────────┼─ end ─┤     │    each as long after it was asked as every other
//! ```
//!
//! Every batch has the same time to leave and to spread over: then nobody's way of leaving (at once, at a random moment of
//! `after_ms`, not at all until the close) brings more of them to another node in a second than were asked in one. Batches with
//! less and less time would leave upon those before them. Ends early when everybody has left.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{
    http::gateway::Gateway,
    shard::{Act, Action, Target, act_on_all},
};

/// How often the drain looks whether everybody has left.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two batches, at least.
const BATCH_EVERY: Duration = Duration::from_millis(100);
/// Clients that leave at random moments come a little unevenly: so much of the pace is asked, that the rest is enough for that.
const OF_PACE: f64 = 0.9;
/// Even a drain of no time lets the close frames out.
const SHORTEST: Duration = Duration::from_millis(500);

/// When what happens, counted from the drain's begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// No batch is asked to leave later.
    asked: Duration,
    /// Whoever is still there is closed.
    close: Duration,
    /// Nobody is waited for any more.
    leave: Duration,
    /// The process has ended.
    pub end: Duration,
}

/// In which parts clients leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batches {
    of: u32,
    /// Between two of them.
    every: Duration,
    /// Over how much time each is to spread its leaving.
    spread: Duration,
    /// From a batch's `reconnect` to its close.
    patience: Duration,
}

impl Schedule {
    /// The schedule of a drain that may take `deadline`.
    #[must_use]
    pub fn new(deadline: Duration) -> Self {
        let end = deadline.max(SHORTEST);
        Self { asked: end * 7 / 10, close: end * 4 / 5, leave: end * 19 / 20, end }
    }

    /// The batches in which `open` clients keep to `pace` clients a second, unless there is too little time for that.
    fn batches(&self, open: usize, pace: u32) -> Batches {
        let wanted = open as f64 / (f64::from(pace) * OF_PACE);
        let asking = Duration::try_from_secs_f64(wanted).map_or(self.asked, |wanted| wanted.min(self.asked));
        let most = u32::try_from(open).unwrap_or(u32::MAX).max(1);
        let of = u32::try_from(asking.as_millis() / BATCH_EVERY.as_millis()).unwrap_or(u32::MAX).clamp(1, most);
        let every = asking / of;
        let patience = self.close - every * (of - 1);
        // Whoever does as he was asked is gone before the close.
        Batches { of, every, spread: (self.end / 2).min(patience * 9 / 10), patience }
    }
}

/// Returns when nobody is connected any more, at the latest some time before the schedule's end.
pub async fn drain(gateway: &Gateway, schedule: Schedule) {
    if gateway.sockets.are_gone() {
        return;
    }
    let waves = async {
        tokio::select! {
            () = send_off(gateway, schedule) => until_gone(gateway).await,
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

/// Asks everybody in batches, so that not all of them ask another node for a connection at once, and closes those of a batch
/// that have not left in time. No batch waits for the answers to the one before.
async fn send_off(gateway: &Gateway, schedule: Schedule) {
    let batches = schedule.batches(gateway.sockets.open(), gateway.config().listen.drain_pace);
    let Batches { of, every, spread, patience } = batches;
    let at = |time, nth, action| async move {
        tokio::time::sleep(time).await;
        act(gateway, Target::Batch { nth, of }, action).await;
    };
    let ask = Action::Reconnect { after_ms: spread.as_millis() as u64 };
    let asked = (0..of).map(|nth| at(every * nth, nth, ask));
    let closed = (0..of).map(|nth| at(every * nth + patience, nth, Action::Leave));
    tokio::join!(join_all(asked), join_all(closed));
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

    const LONGEST: Duration = Duration::from_secs(3_600);

    #[test]
    fn batches_keep_the_pace_while_there_is_time() {
        let schedule = Schedule::new(DEFAULT);
        for (open, pace, of) in
            [(0, 5_000, 1), (1, 5_000, 1), (500, 5_000, 1), (1_000, 5_000, 2), (10_000, 5_000, 22), (7, 1, 7)]
        {
            assert_eq!(schedule.batches(open, pace).of, of, "{open} clients at {pace} a second");
        }
        for (open, pace) in [(500, 5_000), (10_000, 2_000), (30_000, 5_000), (65, 10), (6, 1)] {
            let Batches { of, every, .. } = schedule.batches(open, pace);
            let rate = open as f64 / (every * of).as_secs_f64();
            assert!(rate <= f64::from(pace) * 0.93, "{open} clients at {pace} a second: {rate} are asked");
        }
        let hurried = schedule.batches(1_000_000, 5_000);
        assert_eq!((hurried.of, hurried.every), (70, BATCH_EVERY), "the deadline goes before the pace");
    }

    /// Many clients leave in any of these ways; how many come to the next node in the fullest second.
    fn fullest_second(batches: Batches, open: usize, leaves_after: impl Fn(f64) -> Duration) -> usize {
        let each = open / batches.of as usize;
        let of_batch = |nth: u32| {
            let leaves_after = &leaves_after;
            (0..each).map(move |client| batches.every * nth + leaves_after((client as f64 + 0.5) / each as f64))
        };
        let mut moments: Vec<Duration> = (0..batches.of).flat_map(of_batch).collect();
        moments.sort_unstable();
        let within = |first: usize| moments.partition_point(|moment| *moment < moments[first] + Duration::from_secs(1));
        (0..moments.len()).map(|first| within(first) - first).max().unwrap_or_default()
    }

    #[test]
    fn however_clients_leave_no_second_brings_more_than_the_pace() {
        for (open, pace) in
            [(10_000, 2_000), (12_000, 2_000), (10_000, 5_000), (28_000, 5_000), (3_000, 500), (300, 50)]
        {
            let batches = Schedule::new(DEFAULT).batches(open, pace);
            let ways: [(&str, &dyn Fn(f64) -> Duration); 3] = [
                ("at once", &|_| Duration::ZERO),
                ("spread", &|share| batches.spread.mul_f64(share)),
                ("closed", &|_| batches.patience),
            ];
            for (way, leaves_after) in ways {
                let most = fullest_second(batches, open, leaves_after);
                assert!(most <= pace as usize, "{open} clients at {pace} a second, {way}: {most}");
            }
        }
    }

    #[test]
    fn who_leaves_as_asked_is_gone_before_his_close_and_nobody_is_closed_late() {
        for deadline in [Duration::ZERO, Duration::from_secs(1), DEFAULT, LONGEST] {
            let schedule = Schedule::new(deadline);
            for (open, pace) in [(0, 1), (1, 1), (10_000, 2_000), (usize::MAX, 1)] {
                let Batches { of, every, spread, patience } = schedule.batches(open, pace);
                assert!(!spread.is_zero() && spread < patience, "{open} clients in {deadline:?}");
                assert!(every * (of - 1) + patience <= schedule.close, "{open} clients in {deadline:?}");
            }
            assert!(
                schedule.asked < schedule.close && schedule.close < schedule.leave && schedule.leave < schedule.end
            );
        }
    }
}
