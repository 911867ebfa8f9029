//! What the driver writes and every handle reads: state, notices, memberships, figures, and why it ended. Locks are held for
//! a copy, never across an await.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::client::{
    error::ClientError,
    event::{Notice, State, Vitals},
    memberships::Memberships,
    queue::Level,
};

/// Notices that a slow reader may leave unread; older ones are counted and gone.
const NOTICES: usize = 256;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) level: Arc<Level>,
    pub(super) notices: broadcast::Sender<Notice>,
    state: watch::Sender<State>,
    memberships: Mutex<Memberships>,
    vitals: Mutex<Vitals>,
    /// Why it ended, once it has; before that, the last trouble.
    end: Mutex<(Option<ClientError>, String)>,
}

impl Shared {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            level: Arc::new(Level::new(capacity)),
            notices: broadcast::Sender::new(NOTICES),
            state: watch::Sender::new(State::Connecting),
            memberships: Mutex::default(),
            vitals: Mutex::default(),
            end: Mutex::default(),
        })
    }

    pub(super) fn memberships(&self) -> MutexGuard<'_, Memberships> {
        self.memberships.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ending(&self) -> MutexGuard<'_, (Option<ClientError>, String)> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To whoever looks; nobody has to.
    pub(super) fn tell(&self, notice: Notice) {
        drop(self.notices.send(notice));
    }

    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    pub(super) fn become_state(&self, state: State) {
        if self.state.send_replace(state) != state {
            self.tell(Notice::State(state));
        }
    }

    /// Waits for a state, or for the end.
    pub(super) async fn reached(&self, wanted: State) {
        let mut state = self.state.subscribe();
        // The sender lives as long as we do.
        drop(state.wait_for(|state| *state == wanted || *state == State::Closed).await);
    }

    pub(super) fn trouble(&self, text: &str) {
        text.clone_into(&mut self.ending().1);
    }

    pub(super) fn last_trouble(&self) -> String {
        self.ending().1.clone()
    }

    pub(super) fn end(&self, why: ClientError) {
        self.ending().0.get_or_insert(why);
        self.become_state(State::Closed);
    }

    /// Why it ended; from this side, if it has not said.
    pub(super) fn why(&self) -> ClientError {
        self.ending().0.clone().unwrap_or(ClientError::Ended)
    }
}
