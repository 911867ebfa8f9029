//! Waiting and blocking work of connections: it runs beside the turns, its result comes back as a message, it is cancelled
//! at its deadline, and it ends when its connection ends. Nothing floats.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use futures_util::future::Either;
use tokio::{sync::Notify, task::AbortHandle};

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
    wake: Rc<Notify>,
}

impl<B: Behaviour> Jobs<B> {
    /// `wake` is told whenever a job has ended.
    pub(super) fn new(wake: Rc<Notify>) -> Self {
        Self { running: HashMap::new(), finished: Rc::default(), wake }
    }

    /// Starts a job on the shard's runtime.
    pub(super) fn start(&mut self, owner: ConnectionId, job: Job<B>) {
        let Job { deadline, work } = job;
        let (finished, wake) = (Rc::clone(&self.finished), Rc::clone(&self.wake));
        let work = match work {
            Work::Async(future) => Either::Left(async move { guard(future).await.map_err(JobFailure::Crashed) }),
            Work::Blocking(work) => Either::Right(async move {
                match tokio::task::spawn_blocking(move || catch(work)).await {
                    Ok(result) => result.map_err(JobFailure::Crashed),
                    Err(_) => Err(JobFailure::Timeout),
                }
            }),
        };
        let task = tokio::task::spawn_local(async move {
            let result = match tokio::time::timeout(deadline, work).await {
                Ok(result) => result,
                Err(_) => Err(JobFailure::Timeout),
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

    /// Jobs under way.
    pub(super) fn in_flight(&self) -> usize {
        self.running.values().map(|handles| handles.iter().filter(|handle| !handle.is_finished()).count()).sum()
    }

    /// Ends all jobs of a connection that is gone.
    pub(super) fn abort(&mut self, owner: ConnectionId) {
        for handle in self.running.remove(&owner).into_iter().flatten() {
            handle.abort();
        }
    }
}
