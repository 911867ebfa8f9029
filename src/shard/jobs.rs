//! Waiting and blocking work of connections: it runs beside the turns, its result comes back as a message, it is cancelled
//! at its deadline, and it ends when its connection ends. Nothing floats.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use tokio::{sync::Notify, task::AbortHandle, time::timeout};

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
    running: HashMap<ConnectionId, Vec<AbortHandle>>,
    finished: Rc<RefCell<Vec<Finished<B::Done>>>>,
    overdue: Rc<Cell<usize>>,
    wake: Rc<Notify>,
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
        let Job { deadline, work } = job;
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
            finished.borrow_mut().push((owner, result));
            wake.notify_one();
        });
        let handles = self.running.entry(owner).or_default();
        handles.retain(|handle| !handle.is_finished());
        handles.push(task.abort_handle());
    }

    /// Results since the last call, in the order the jobs ended.
    pub(super) fn take_finished(&mut self) -> Vec<Finished<B::Done>> {
        let finished = std::mem::take(&mut *self.finished.borrow_mut());
        for (owner, _) in &finished {
            if let Some(handles) = self.running.get_mut(owner) {
                handles.retain(|handle| !handle.is_finished());
                if handles.is_empty() {
                    self.running.remove(owner);
                }
            }
        }
        finished
    }

    /// What runs now.
    pub(super) fn counts(&self) -> JobCounts {
        let running = |handles: &Vec<AbortHandle>| handles.iter().filter(|handle| !handle.is_finished()).count();
        JobCounts { in_flight: self.running.values().map(running).sum(), overdue: self.overdue.get() }
    }

    /// Ends all jobs of a connection that is gone.
    pub(super) fn abort(&mut self, owner: ConnectionId) {
        for handle in self.running.remove(&owner).into_iter().flatten() {
            handle.abort();
        }
    }
}
