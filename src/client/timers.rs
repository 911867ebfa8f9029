//! The timers of one connection: each either runs or does not. Reads no clock: a timer is a time from now, and the runtime
//! keeps it. Owned by the session, awaited by the driver.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Sleep, sleep};

use crate::client::request::Ticket;

/// Which timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// From the socket to `ready`: a server that takes longer is as good as gone.
    Opening,
    /// The socket has been live long enough to count as good.
    Steady,
    /// The next heartbeat.
    Beat,
    /// The answer to a heartbeat.
    HeartbeatAck,
    /// The server asked us to leave.
    Leave,
    /// What was taken is acknowledged, for all channels together.
    Acknowledge,
}

const ALL: [Timer; 6] =
    [Timer::Opening, Timer::Steady, Timer::Beat, Timer::HeartbeatAck, Timer::Leave, Timer::Acknowledge];

/// What has fallen due.
#[derive(Debug)]
pub(super) enum Due {
    /// A timer, which does not run any more.
    Timer(Timer),
    /// A request's pause is over.
    Request(Ticket),
}

/// All of them.
#[derive(Default)]
pub(super) struct Timers {
    slots: [Option<Pin<Box<Sleep>>>; ALL.len()],
    pauses: FuturesUnordered<BoxFuture<'static, Ticket>>,
}

impl Timers {
    /// From now on, also when it ran already.
    pub(super) fn start(&mut self, timer: Timer, time: Duration) {
        self.slots[timer as usize] = Some(Box::pin(sleep(time)));
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.slots[timer as usize] = None;
    }

    pub(super) fn runs(&self, timer: Timer) -> bool {
        self.slots[timer as usize].is_some()
    }

    /// The socket is gone and all that belongs to it; pauses of requests go on.
    pub(super) fn stop_all(&mut self) {
        self.slots = Default::default();
    }

    /// A request waits before it is sent again. As many as there are requests at most.
    pub(super) fn pause(&mut self, ticket: Ticket, time: Duration) {
        self.pauses.push(Box::pin(async move {
            sleep(time).await;
            ticket
        }));
    }

    /// The next one that falls due. Nothing is lost when this is given up.
    pub(super) async fn next(&mut self) -> Due {
        poll_fn(|context| {
            for timer in ALL {
                let slot = &mut self.slots[timer as usize];
                if slot.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready()) {
                    *slot = None;
                    return Poll::Ready(Due::Timer(timer));
                }
            }
            match self.pauses.poll_next_unpin(context) {
                Poll::Ready(Some(ticket)) => Poll::Ready(Due::Request(ticket)),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timer_runs_once_a_stopped_one_never_and_one_started_again_later() {
        let mut timers = Timers::default();
        timers.start(Timer::Beat, Duration::from_secs(1));
        timers.start(Timer::Leave, Duration::from_secs(2));
        timers.start(Timer::Beat, Duration::from_secs(3));
        timers.stop(Timer::Leave);
        timers.pause(7, Duration::from_secs(2));
        assert!(matches!(timers.next().await, Due::Request(7)));
        assert!(timers.runs(Timer::Beat));
        assert!(matches!(timers.next().await, Due::Timer(Timer::Beat)));
        assert!(ALL.into_iter().all(|timer| !timers.runs(timer)));
    }
}
