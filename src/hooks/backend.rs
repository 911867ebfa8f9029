//! The hooks that are configured, as shards hold them: whether one is asked, and the answer, whatever becomes of the backend.
//!
//! ```text
//! breaker open? ──▶ fallback          too many under way? ──▶ fallback
//!       │ no                                  │ no
//!       └───────────────────▶ call on the hooks' thread ──▶ answer, or after the last attempt the fallback
//! ```

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_rt::ArbiterHandle;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot};

use super::{
    breaker::Breaker,
    call::{Answer, Call, Hook, Question},
    caller::{self, CallError, Endpoint},
    memory::Memory,
};
use crate::{
    clock::Clock,
    config::{self, Fallback},
    telemetry::Metrics,
};

/// One hook, as far as turns know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Switch {
    hook: Hook,
    /// Empty: all.
    namespaces: Vec<String>,
}

/// One hook, as far as calls go.
struct Line {
    endpoint: Endpoint,
    fallback: Fallback,
    breaker: Breaker,
    /// Calls under way are bounded, so that a slow backend holds no more than that.
    places: Arc<Semaphore>,
    memory: Memory,
}

struct Backend {
    /// By [`Hook`].
    lines: [Option<Line>; Hook::ALL.len()],
    arbiter: ArbiterHandle,
    clock: Clock,
    metrics: Metrics,
    /// First part of the ids of calls.
    node: String,
    calls: AtomicU64,
}

/// See the module's text. Written down, for crash files, it is which hooks there are; read back, it calls nobody.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hooks {
    switches: Arc<[Switch]>,
    #[serde(skip)]
    backend: Option<Arc<Backend>>,
}

/// Which there are; no keys.
impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.switches.iter().map(|switch| switch.hook.name())).finish()
    }
}

impl Hooks {
    /// The hooks of a configuration. Calls run on `arbiter`.
    ///
    /// # Errors
    /// When the system has no TLS to call with.
    pub fn new(
        config: &config::Hooks,
        node: &str,
        arbiter: ArbiterHandle,
        clock: Clock,
        metrics: Metrics,
    ) -> reqwest::Result<Self> {
        let (switches, lines) = lines(config, &caller::client()?);
        let (node, calls) = (node.to_owned(), AtomicU64::new(0));
        let backend = Backend { lines, arbiter, clock, metrics, node, calls };
        Ok(Self { switches: switches.into(), backend: Some(Arc::new(backend)) })
    }

    /// Shows the metrics of hooks before the first call, and where there are none.
    pub fn show(metrics: &Metrics) {
        for hook in Hook::ALL {
            metrics.hook_breaker.with_label_values(&[hook.name()]).set(0);
            // Made by being named.
            let _ = metrics.hook_seconds.with_label_values(&[hook.name()]);
            for result in ["allowed", "denied", "failed"] {
                metrics.hooks.with_label_values(&[hook.name(), result]).inc_by(0);
            }
        }
    }

    /// Nobody is asked about anything.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.switches.is_empty()
    }

    /// Whether the backend is asked at all.
    #[must_use]
    pub fn asks(&self, hook: Hook) -> bool {
        self.switches.iter().any(|switch| switch.hook == hook)
    }

    /// Whether it is asked about channels of this namespace.
    #[must_use]
    pub fn asks_about(&self, hook: Hook, namespace: &str) -> bool {
        let asks =
            |switch: &Switch| switch.namespaces.is_empty() || switch.namespaces.iter().any(|own| own == namespace);
        self.switches.iter().any(|switch| switch.hook == hook && asks(switch))
    }

    /// Asks; there is always an answer, within the hook's deadline and a little.
    pub fn ask(&self, connection: String, question: Question) -> impl Future<Output = Answer> + use<> {
        let (backend, hook, topic) = (self.backend.clone(), question.hook(), question.topic());
        async move {
            let Some(backend) = backend else { return Answer::yes() };
            let Some(line) = &backend.lines[hook as usize] else { return Answer::yes() };
            let outcome = match backend.begin(connection, question) {
                Ok(answer) => {
                    answer.await.unwrap_or_else(|_| Err(CallError::Lost("the call itself crashed".to_owned())))
                }
                Err(refused) => {
                    backend.count(hook, refused);
                    return line.fall_back(topic.as_deref(), backend.clock.elapsed());
                }
            };
            match outcome {
                Ok(answer) => {
                    backend.count(hook, if matches!(answer, Answer::Denied(_)) { "denied" } else { "allowed" });
                    if let (Some(topic), Fallback::Cached) = (topic, line.fallback) {
                        line.memory.keep(topic, &answer, backend.clock.elapsed());
                    }
                    answer
                }
                Err(error) => {
                    tracing::debug!(hook = hook.name(), %error, "the backend did not answer");
                    backend.count(hook, "failed");
                    line.fall_back(topic.as_deref(), backend.clock.elapsed())
                }
            }
        }
    }

    /// Tells; nobody waits for what comes of it.
    pub fn tell(&self, connection: String, question: Question) {
        let Some(backend) = &self.backend else { return };
        let hook = question.hook();
        let result = match backend.begin(connection, question) {
            Ok(_) => "told",
            Err(refused) => refused,
        };
        backend.count(hook, result);
    }
}

impl Backend {
    /// Sends a call on its way, unless its line is not to be used: then why, for the metrics.
    fn begin(
        self: &Arc<Self>,
        connection: String,
        question: Question,
    ) -> Result<oneshot::Receiver<Result<Answer, CallError>>, &'static str> {
        let hook = question.hook();
        let line = self.lines[hook as usize].as_ref().ok_or("off")?;
        let place = Arc::clone(&line.places).try_acquire_owned().map_err(|_| "full")?;
        if !line.breaker.admits(self.clock.elapsed()) {
            return Err("open");
        }
        let id = format!("{}-{}", self.node, self.calls.fetch_add(1, Ordering::Relaxed));
        let call = Call { id: id.clone(), connection, question };
        let body = serde_json::to_vec(&call).map_err(|_| "failed")?;
        let (endpoint, backend) = (line.endpoint.clone(), Arc::clone(self));
        let (asked, answer) = oneshot::channel();
        let work = async move {
            let began = backend.clock.elapsed();
            let outcome = endpoint.call(&id, body).await;
            backend.finish(hook, began, &outcome);
            drop(place);
            if let Err(Err(error)) = asked.send(outcome) {
                tracing::debug!(hook = hook.name(), %error, "the backend was not told");
            }
        };
        let sent = self.arbiter.spawn(work);
        if sent { Ok(answer) } else { Err("failed") }
    }

    fn finish(&self, hook: Hook, began: Duration, outcome: &Result<Answer, CallError>) {
        let now = self.clock.elapsed();
        self.metrics.hook_seconds.with_label_values(&[hook.name()]).observe((now - began).as_secs_f64());
        let Some(line) = &self.lines[hook as usize] else { return };
        match outcome {
            Ok(_) => {
                if line.breaker.is_open() {
                    tracing::info!(hook = hook.name(), "the backend answers again");
                }
                line.breaker.succeeded();
            }
            Err(error) => {
                if line.breaker.failed(now) {
                    tracing::warn!(hook = hook.name(), %error, "the backend is not called for a while");
                }
            }
        }
        self.metrics.hook_breaker.with_label_values(&[hook.name()]).set(i64::from(line.breaker.is_open()));
    }

    fn count(&self, hook: Hook, result: &str) {
        self.metrics.hooks.with_label_values(&[hook.name(), result]).inc();
    }
}

impl Line {
    /// What counts while the backend is not there.
    fn fall_back(&self, topic: Option<&str>, now: Duration) -> Answer {
        let unknown = || Answer::Unknown("the application's backend does not answer, try again later".to_owned());
        match self.fallback {
            Fallback::Allow => Answer::yes(),
            Fallback::Deny => unknown(),
            Fallback::Cached => topic.and_then(|topic| self.memory.recall(topic, now)).unwrap_or_else(unknown),
        }
    }
}

/// The hooks that have an address: what turns and what calls know of them.
fn lines(config: &config::Hooks, client: &reqwest::Client) -> (Vec<Switch>, [Option<Line>; Hook::ALL.len()]) {
    let config::Hooks { connect, subscribe, publish, rpc, disconnect, .. } = config;
    let mut switches = Vec::new();
    let lines = Hook::ALL.map(|hook| {
        let (url, deadline, fallback, namespaces) = match hook {
            Hook::Connect => (&connect.url, connect.deadline, connect.fallback, Vec::new()),
            Hook::Subscribe => (&subscribe.url, subscribe.deadline, subscribe.fallback, subscribe.namespaces.clone()),
            Hook::Publish => (&publish.url, publish.deadline, publish.fallback, publish.namespaces.clone()),
            Hook::Rpc => (&rpc.url, rpc.deadline, Fallback::Deny, Vec::new()),
            Hook::Disconnect => (&disconnect.url, disconnect.deadline, Fallback::Deny, Vec::new()),
        };
        if url.is_empty() {
            return None;
        }
        switches.push(Switch { hook, namespaces });
        Some(Line {
            endpoint: Endpoint {
                hook,
                url: url.clone(),
                deadline,
                retries: config.retries,
                key: config.key.clone(),
                client: client.clone(),
            },
            fallback,
            breaker: Breaker::new(config.breaker_failures, config.breaker_pause),
            places: Arc::new(Semaphore::new(config.in_flight)),
            memory: Memory::new(config.cached_for),
        })
    });
    (switches, lines)
}
