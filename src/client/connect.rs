//! What an application chooses before it connects, and the first connection. The only place that starts the driver.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::timeout};

use crate::{
    client::{
        backoff::{Backoff, CAP},
        driver::{Driver, TokenSource},
        error::ClientError,
        event::State,
        handle::Client,
        queue::Queue,
        session::{Habits, Session},
        shared::Shared,
        socket::Address,
        subscription::Inbox,
    },
    protocol::request::Status,
};

/// Commands that may wait for the driver; whoever asks more waits.
const COMMANDS: usize = 64;

/// How to connect; made by [`Client::connect`].
#[must_use = "nothing happens before `open`"]
pub struct Connect {
    url: String,
    token: String,
    source: Option<TokenSource>,
    status: Option<Status>,
    authorities: Vec<Vec<u8>>,
    habits: Habits,
    timeout: Duration,
    longest_backoff: Duration,
    seed: Option<u64>,
    inbox: bool,
    capacity: usize,
}

impl fmt::Debug for Connect {
    /// Nothing of the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Connect {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            token: String::new(),
            source: None,
            status: None,
            authorities: Vec::new(),
            habits: Habits { retry: true, acknowledge: true },
            timeout: Duration::from_secs(30),
            longest_backoff: CAP,
            seed: None,
            inbox: false,
            capacity: 1_024,
        }
    }

    /// Who we are; with open auth this is the user name.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = token.into();
        self
    }

    /// Asked for a token when none was given, and when the server has refused the last one or its time is over.
    pub fn token_source<S, F, E>(mut self, source: S) -> Self
    where
        S: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        let source = Arc::new(source);
        self.source = Some(Arc::new(move || {
            let source = Arc::clone(&source);
            Box::pin(async move { source().await.map_err(|error| error.to_string()) })
        }));
        self
    }

    /// Shown to others; online unless set.
    pub fn status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// Also trust these certificates (PEM), beside Mozilla's roots.
    pub fn authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(pem.into());
        self
    }

    /// How long the first connection and each request may take; 30 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// False: no request is sent again after an error that would allow it.
    pub fn retry(mut self, retry: bool) -> Self {
        self.habits.retry = retry;
        self
    }

    /// False: what was taken in channels where we are a member is not acknowledged by itself.
    pub fn acknowledge(mut self, acknowledge: bool) -> Self {
        self.habits.acknowledge = acknowledge;
        self
    }

    /// Events that may wait to be taken, of all channels together, before the socket is read no more; 1,024 unless set, and
    /// 4 KiB for each. Eight times as much while a request waits for its reply.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events.max(1);
        self
    }

    /// Keep events of channels that nobody subscribes here, but a membership does, for [`Client::inbox`]. Without this they
    /// are counted as unread and not delivered. Whoever says so has to take them.
    pub fn inbox(mut self) -> Self {
        self.inbox = true;
        self
    }

    /// The longest wait between two sockets; 20 s unless set. Waits are random: they begin below 250 ms and double.
    pub fn longest_backoff(mut self, longest: Duration) -> Self {
        self.longest_backoff = longest;
        self
    }

    /// Makes waits and keys repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Connects, identifies, and stays connected until [`Client::close`] or the last handle goes. A server that is away is
    /// tried again for as long as [`timeout`](Self::timeout) says.
    ///
    /// # Errors
    /// The token was refused, the address or certificate is wrong, what answers there is no gateway, or nothing answers.
    pub async fn open(self) -> Result<Client, ClientError> {
        let address = Address::parse(&self.url, &self.authorities)?;
        let shared = Shared::new(self.capacity);
        let (asks, commands) = mpsc::channel(COMMANDS);
        let inbox = self.inbox.then(|| Queue::new(&shared.level));
        let mut backoff = Backoff::new(self.seed, self.longest_backoff);
        let keys = backoff.name();
        let mut session = Session::new(Arc::clone(&shared), self.habits, backoff, inbox.clone());
        session.ask_token = self.token.is_empty();
        session.can_ask = self.source.is_some();
        session.token = self.token;
        session.status = self.status;
        tokio::spawn(Driver { session, commands, address, source: self.source }.run());
        let inbox = inbox.map(|queue| Inbox::new(queue, asks.clone()));
        let client = Client::new(asks, Arc::clone(&shared), self.timeout, &keys, inbox);
        if timeout(self.timeout, shared.reached(State::Live)).await.is_err() {
            return Err(ClientError::Unreachable(shared.last_trouble()));
        }
        if shared.state() == State::Closed { Err(shared.why()) } else { Ok(client) }
    }
}
