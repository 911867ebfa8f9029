//! One call over HTTP: POST, deadline, retries with jittered backoff. Runs on the hooks' own thread, whose connections to
//! the backend are kept open and shared.

use std::{cell::OnceCell, time::Duration};

use awc::{
    Client,
    error::{ConnectError, PayloadError, SendRequestError},
    http::{StatusCode, header},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{sleep, timeout};

use super::call::{Answer, Hook, read};

/// A larger answer is none.
const MOST_ANSWER_BYTES: usize = 1 << 20;
/// Before the first repetition; doubled for each further one.
const BACKOFF: Duration = Duration::from_millis(50);
/// Connections kept open to one host …
const CONNECTIONS: usize = 256;
/// … for so long without a call: less than backends keep theirs (Node.js has 5 s), so that none is used while it closes.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

thread_local! {
    static CLIENT: OnceCell<Client> = const { OnceCell::new() };
}

/// What is called, and how.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) hook: Hook,
    pub(super) url: String,
    /// For all attempts together.
    pub(super) deadline: Duration,
    /// Attempts after the first.
    pub(super) retries: u32,
    /// Sent as a bearer; empty: none.
    pub(super) key: String,
}

/// Why there is no answer, for operators.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("HTTP {0}")]
    Status(StatusCode),
    #[error("{0}")]
    Lie(String),
    #[error("no answer in time")]
    Timeout,
}

impl CallError {
    /// Whether another attempt may do better, and does no harm.
    fn is_worth_another(&self, hook: Hook) -> bool {
        match self {
            // Nothing of it has reached the backend.
            Self::Connect(_) => true,
            Self::Lost(_) => hook.is_safe(),
            Self::Status(status) => {
                let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(status);
                busy || (status.is_server_error() && hook.is_safe())
            }
            Self::Lie(_) | Self::Timeout => false,
        }
    }
}

impl Endpoint {
    /// Calls, and calls again where that is safe, until the deadline.
    pub(super) async fn call(&self, id: &str, body: Vec<u8>) -> Result<Answer, CallError> {
        let attempts = async {
            let (mut pause, mut chance) = (BACKOFF, StdRng::from_os_rng());
            for _ in 0..self.retries {
                match self.attempt(id, &body).await {
                    Err(error) if error.is_worth_another(self.hook) => {
                        tracing::debug!(hook = self.hook.name(), %error, "calling again");
                        // Somewhere between half of it and all: those that failed together do not come back together.
                        sleep(pause.mul_f64(chance.random_range(0.5..=1.0))).await;
                        pause *= 2;
                    }
                    done => return done,
                }
            }
            self.attempt(id, &body).await
        };
        timeout(self.deadline, attempts).await.unwrap_or(Err(CallError::Timeout))
    }

    async fn attempt(&self, id: &str, body: &[u8]) -> Result<Answer, CallError> {
        let client = CLIENT.with(|client| client.get_or_init(client_of_this_thread).clone());
        let mut request = client
            .post(&self.url)
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .insert_header(("x-dormouse-hook", self.hook.name()))
            .insert_header(("idempotency-key", id));
        if !self.key.is_empty() {
            request = request.bearer_auth(&self.key);
        }
        let mut response = request.send_body(body.to_vec()).await.map_err(|error| match error {
            // What awc calls it when a connection was closed before the answer.
            SendRequestError::Connect(ConnectError::Disconnected) => {
                CallError::Lost("closed without an answer".to_owned())
            }
            SendRequestError::Connect(error) => CallError::Connect(error.to_string()),
            error => CallError::Lost(error.to_string()),
        })?;
        let status = response.status();
        let answer = response.body().limit(MOST_ANSWER_BYTES).await.map_err(|error| match error {
            PayloadError::Overflow => CallError::Lie(format!("the answer has more than {MOST_ANSWER_BYTES} bytes")),
            error => CallError::Lost(error.to_string()),
        })?;
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => read(self.hook, &answer).map_err(CallError::Lie),
            // What frameworks answer where somebody may not.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.hook != Hook::Disconnect => {
                Ok(read(self.hook, &answer)
                    .ok()
                    .filter(|answer| matches!(answer, Answer::Denied(_)))
                    .unwrap_or_else(|| Answer::Denied("the application refused".to_owned())))
            }
            status => Err(CallError::Status(status)),
        }
    }
}

fn client_of_this_thread() -> Client {
    let connector = awc::Connector::new().limit(CONNECTIONS).conn_keep_alive(KEEP_ALIVE);
    // Deadlines are ours; where it is redirected to is nobody's business.
    Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}
