//! Carries a plan out: a few threads take its orders one after the other, wait until each is due, and ask the server. Open
//! loop: a slow answer delays nothing but the thread that waits for it, and what could not be asked in time is told.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::plan::{Blow, Order};
use crate::{
    cli::{Failure, api},
    clock::Clock,
};

/// Requests under way at once. Stalled shards answer late; more than a few of them are no use.
const HANDS: usize = 8;

/// Orders that came due in time may still be asked so long after the end: a moment's delay is no loss, a slow server is.
const GRACE: Duration = Duration::from_secs(2);

/// What became of all orders of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) requests: u64,
    /// Faults asked for.
    pub(super) asked: u64,
    pub(super) hits: u64,
    /// Faults whose request was refused, and what the server said to the first of them.
    pub(super) refused: u64,
    pub(super) complaint: Option<String>,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) outcomes: BTreeMap<Blow, Outcome>,
    /// Faults that came due and were not asked for any more.
    pub(super) late: u64,
    pub(super) took: Duration,
    pub(super) interrupted: bool,
    /// The server answered no more; why.
    pub(super) away: Option<String>,
}

impl Done {
    pub(super) fn sum(&self, of: impl Fn(&Outcome) -> u64) -> u64 {
        self.outcomes.values().map(of).sum()
    }
}

/// Ends an attack from another thread.
#[derive(Debug, Default)]
pub(super) struct Stop {
    stopped: Mutex<bool>,
    told: Condvar,
}

impl Stop {
    pub(super) fn stop(&self) {
        *locked(&self.stopped) = true;
        self.told.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        *locked(&self.stopped)
    }

    /// Waits so long; `false` at once when it is stopped.
    pub(super) fn rest(&self, time: Duration) -> bool {
        let waited = self.told.wait_timeout_while(locked(&self.stopped), time, |stopped| !*stopped);
        let (stopped, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !*stopped
    }
}

/// What the hands share.
struct Shared<I> {
    orders: I,
    done: Done,
}

/// Asks `server` for all of `orders` within `time`.
pub(super) fn carry_out(
    server: &api::Server,
    orders: impl Iterator<Item = Order> + Send,
    time: Duration,
    body: impl Fn(&Order) -> Value + Sync,
    stop: &Stop,
) -> Done {
    let clock = Clock::start();
    let shared = Mutex::new(Shared { orders, done: Done::default() });
    // Another stop than the user's: a server that is gone ends the attack and is no interruption.
    let over = |shared: &Shared<_>| shared.done.away.is_some() || clock.elapsed() >= time + GRACE;
    let hand = || {
        while let Some(order) = {
            let mut shared = locked(&shared);
            if stop.is_stopped() || over(&shared) { None } else { shared.orders.next() }
        } {
            if !stop.rest(order.due.saturating_sub(clock.elapsed())) {
                return;
            }
            let answer = server.post("/v1/chaos", &body(&order));
            let gone = answer.as_ref().err().and_then(|_| server.get("/v1/node").err());
            record(&mut locked(&shared).done, &order, answer, gone);
        }
    };
    thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(hand);
        }
    });
    let Shared { orders, mut done } = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.interrupted = stop.is_stopped();
    if !done.interrupted && done.away.is_none() {
        done.late = orders.map(|order| order.count).sum();
        // The last orders come due a little before the end.
        stop.rest(time.saturating_sub(clock.elapsed()));
    }
    done.took = clock.elapsed();
    done
}

fn record(done: &mut Done, order: &Order, answer: Result<Result<Value, api::Refused>, Failure>, gone: Option<Failure>) {
    let outcome = done.outcomes.entry(order.blow).or_default();
    outcome.requests += 1;
    outcome.asked += order.count;
    let complaint = match answer {
        Ok(Ok(answer)) => {
            outcome.hits += answer["hit"].as_u64().unwrap_or_default();
            return;
        }
        Ok(Err(refused)) => refused.message,
        Err(failure) => failure.message,
    };
    outcome.refused += order.count;
    outcome.complaint.get_or_insert(complaint);
    if let Some(gone) = gone {
        done.away.get_or_insert(gone.message);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
