//! Waiting and blocking work of connections: it runs beside the turns, its result comes back as a message, it is cancelled
//! at its deadline, and it ends when its connection ends. Nothing floats.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use tokio::{
    sync::{Notify, oneshot},
    task::AbortHandle,
    time::timeout,
};

use crate::{
    id::ConnectionId,
    shard::{
        behaviour::{Behaviour, JobFailure},
        turn::{Job, Work},
    },
    supervision::{catch, guard},
};

/// A job's end, for its connection.
pub(super) type Finished<T> = (ConnectionId, Result<T, JobFailure>);

/// See the module's text.
pub(super) struct Jobs<B: Behaviour> {
    running: HashMap<ConnectionId, Running>,
    finished: Rc<RefCell<Vec<Finished<B::Done>>>>,
    overdue: Rc<Cell<usize>>,
    wake: Rc<Notify>,
}

/// The jobs of one connection.
#[derive(Default)]
struct Running {
    handles: Vec<AbortHandle>,
    /// Falls when the last job that keeps its order has ended.
    last: Option<oneshot::Receiver<()>>,
}

impl Running {
    fn forget_finished(&mut self) {
        self.handles.retain(|handle| !handle.is_finished());
    }
}

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JobCounts {
    /// Under way and within their deadline.
    pub(super) in_flight: usize,
    /// Blocking ones that run on after their deadline.
    pub(super) overdue: usize,
}

impl<B: Behaviour> Jobs<B> {
    /// `wake` is told whenever a job has ended.
    pub(super) fn new(wake: Rc<Notify>) -> Self {
        Self { running: HashMap::new(), finished: Rc::default(), overdue: Rc::default(), wake }
    }

    /// Starts a job on the shard's runtime.
    pub(super) fn start(&mut self, owner: ConnectionId, job: Job<B>) {
        let Job { deadline, work, in_order } = job;
        let running = self.running.entry(owner).or_default();
        running.forget_finished();
        let (ended, next) = oneshot::channel::<()>();
        let before = if in_order { running.last.replace(next) } else { None };
        let (finished, wake) = (Rc::clone(&self.finished), Rc::clone(&self.wake));
        let overdue = Rc::clone(&self.overdue);
        let task = tokio::task::spawn_local(async move {
            let result = match work {
                Work::Async(future) => match timeout(deadline, guard(future)).await {
                    Ok(ended) => ended.map_err(JobFailure::Crashed),
                    Err(_) => Err(JobFailure::Timeout),
                },
                Work::Blocking(work) => {
                    let mut running = tokio::task::spawn_blocking(move || catch(work));
                    match timeout(deadline, &mut running).await {
                        Ok(Ok(ended)) => ended.map_err(JobFailure::Crashed),
                        // The runtime is ending.
                        Ok(Err(_)) => Err(JobFailure::Timeout),
                        Err(_) => {
                            // A thread cannot be cancelled: it is counted until it ends by itself.
                            overdue.set(overdue.get() + 1);
                            tokio::task::spawn_local(async move {
                                drop(running.await);
                                overdue.set(overdue.get() - 1);
                            });
                            Err(JobFailure::Timeout)
                        }
                    }
                }
            };
            if let Some(before) = before {
                // It falls, however the one before ended.
                let _ = before.await;
            }
            finished.borrow_mut().push((owner, result));
            wake.notify_one();
            drop(ended);
        });
        running.handles.push(task.abort_handle());
    }

    /// Results since the last call, in the order the jobs ended.
    pub(super) fn take_finished(&mut self) -> Vec<Finished<B::Done>> {
        let finished = std::mem::take(&mut *self.finished.borrow_mut());
        for (owner, _) in &finished {
            if let Some(running) = self.running.get_mut(owner) {
                running.forget_finished();
                if running.handles.is_empty() {
                    self.running.remove(owner);
                }
            }
        }
        finished
    }

    /// What runs now.
    pub(super) fn counts(&self) -> JobCounts {
        let running = |running: &Running| running.handles.iter().filter(|handle| !handle.is_finished()).count();
        JobCounts { in_flight: self.running.values().map(running).sum(), overdue: self.overdue.get() }
    }

    /// Ends all jobs of a connection that is gone.
    pub(super) fn abort(&mut self, owner: ConnectionId) {
        for handle in self.running.remove(&owner).into_iter().flat_map(|running| running.handles) {
            handle.abort();
        }
    }
}
