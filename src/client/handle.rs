//! The application's handle on a connection. Holds no state of the protocol; every call is a command to the driver and a wait
//! for its answer. The methods for each request are in `ops.rs`.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::client::{
    connect::Connect,
    error::ClientError,
    event::{Membership, State, Vitals},
    exchange::Command,
    notices::Notices,
    queue::Queue,
    request::{Answer, Kind, Request},
    shared::Shared,
    subscription::{Inbox, Subscribe},
};

/// One lasting connection, over as many sockets as that takes. Clones are the same connection; when the last one is gone, and
/// the last subscription, it is closed.
#[derive(Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    timeout: Duration,
    /// What no other client's keys begin with.
    keys: String,
    last_key: AtomicU64,
    inbox: Mutex<Option<Inbox>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Client {
    /// Begins with the address of a gateway: `ws://` or `wss://…/v1/gateway`.
    pub fn connect(url: impl Into<String>) -> Connect {
        Connect::new(url.into())
    }

    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        shared: Arc<Shared>,
        timeout: Duration,
        keys: &str,
        inbox: Option<Inbox>,
    ) -> Self {
        let inner =
            Inner { shared, timeout, keys: keys.to_owned(), last_key: AtomicU64::new(0), inbox: Mutex::new(inbox) };
        Self { commands, inner: Arc::new(inner) }
    }

    /// Events of one channel, each once and in order, also those of the time between two sockets.
    pub fn subscribe(&self, channel: impl Into<String>) -> Subscribe<'_> {
        Subscribe::new(self, channel.into())
    }

    /// A key that no other publish has.
    #[must_use]
    pub fn new_key(&self) -> String {
        format!("{}-{}", self.inner.keys, self.inner.last_key.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Where the user is a member, how far he got and what is unread.
    #[must_use]
    pub fn memberships(&self) -> Vec<Membership> {
        self.inner.shared.memberships().all()
    }

    /// The events of memberships, if [`Connect::inbox`] asked for them; once.
    #[must_use]
    pub fn inbox(&self) -> Option<Inbox> {
        self.inner.inbox.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Everything else that happens from now on: gaps, crashes, signals, presence, receipts, states.
    #[must_use]
    pub fn notices(&self) -> Notices {
        Notices::new(self.inner.shared.notices.subscribe())
    }

    /// Where the connection is now.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.shared.state()
    }

    /// What the connection has seen so far.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        self.inner.shared.vitals().clone()
    }

    /// Events that wait to be taken, of all subscriptions together; bounded by [`Connect::capacity`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.shared.level.waiting()
    }

    /// Waits until the connection has ended for good, and says why.
    pub async fn ended(&self) -> ClientError {
        self.inner.shared.reached(State::Closed).await;
        self.inner.shared.why()
    }

    /// Says goodbye: the session ends, whatever is unsettled fails with [`ClientError::Ended`]. Returns when all is over.
    pub async fn close(&self) {
        // A driver that has ended needs no goodbye.
        drop(self.commands.send(Command::Close).await);
        self.inner.shared.reached(State::Closed).await;
    }

    pub(super) fn queue(&self) -> Arc<Queue> {
        Queue::new(&self.inner.shared.level)
    }

    pub(super) fn commands(&self) -> &mpsc::Sender<Command> {
        &self.commands
    }

    pub(super) async fn ask<R: DeserializeOwned>(
        &self,
        op: &'static str,
        fields: &impl Serialize,
        kind: Kind,
    ) -> Result<R, ClientError> {
        self.exchange_request(Request::new(op, serde_json::to_string(fields)?, kind)).await
    }

    pub(super) async fn ask_once<R: DeserializeOwned>(
        &self,
        op: &'static str,
        fields: &impl Serialize,
    ) -> Result<R, ClientError> {
        let request = Request::new(op, serde_json::to_string(fields)?, Kind::Plain);
        self.exchange_request(request.once()).await
    }

    async fn exchange_request<R: DeserializeOwned>(&self, request: Request) -> Result<R, ClientError> {
        self.exchange(|answer| Command::Ask(request.answering(answer))).await
    }

    /// Gives the driver a command and waits for the answer.
    pub(super) async fn exchange<R: DeserializeOwned>(
        &self,
        command: impl FnOnce(Answer) -> Command,
    ) -> Result<R, ClientError> {
        let (answer, waits) = oneshot::channel();
        let command = command(answer);
        let exchange = async {
            self.commands.send(command).await.map_err(|_| self.inner.shared.why())?;
            waits.await.map_err(|_| self.inner.shared.why())?
        };
        let ok =
            timeout(self.inner.timeout, exchange).await.map_err(|_| ClientError::Timeout(self.inner.timeout))??;
        Ok(serde_json::from_str(ok.get())?)
    }
}
