//! One call over HTTP: POST, deadline, retries with jittered backoff. Runs on the hooks' own thread, whose connections to
//! the backend are kept open and shared.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use reqwest::{Client, StatusCode, header, redirect};
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

/// What is called, and how.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) hook: Hook,
    pub(super) url: String,
    /// For all attempts together.
    pub(super) deadline: Duration,
    /// Attempts after the first.
    pub(super) retries: u32,
    /// Sent as a bearer; empty: none.
    pub(super) key: String,
    pub(super) client: Client,
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
        let mut request = self
            .client
            .post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-dormouse-hook", self.hook.name())
            .header("idempotency-key", id);
        if !self.key.is_empty() {
            request = request.bearer_auth(&self.key);
        }
        let sent = request.body(body.to_vec()).send().await;
        let mut response = sent.map_err(|error| {
            let words = words(&error);
            if error.is_connect() { CallError::Connect(words) } else { CallError::Lost(words) }
        })?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| CallError::Lost(words(&error)))? {
            answer.extend_from_slice(&part);
            if answer.len() > MOST_ANSWER_BYTES {
                return Err(CallError::Lie(format!("the answer has more than {MOST_ANSWER_BYTES} bytes")));
            }
        }
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

/// One for all hooks: connections of one backend are shared.
///
/// # Errors
/// When TLS cannot be set up.
pub(super) fn client() -> reqwest::Result<Client> {
    Client::builder()
        .pool_max_idle_per_host(CONNECTIONS)
        .pool_idle_timeout(KEEP_ALIVE)
        // Where it is redirected to is nobody's business, and the backend is near.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
}

/// What went wrong, with its causes: the outermost says little.
fn words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words.push_str(": ");
        words.push_str(&inner.to_string());
        cause = inner.source();
    }
    words
}
