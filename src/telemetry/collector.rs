//! How spans get to the collector: over the HTTP client that the commands use, from the SDK's own thread. What goes wrong is
//! told once, and again after it went well; an application that is served meanwhile never waits for it.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::Agent;

/// For one batch.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Collector {
    agent: Agent,
    is_failing: AtomicBool,
}

impl Default for Collector {
    fn default() -> Self {
        let config = Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build();
        Self { agent: config.into(), is_failing: AtomicBool::new(false) }
    }
}

impl Collector {
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, mut body) = self.agent.run(request.map(|body| body.to_vec()))?.into_parts();
        Ok(Response::from_parts(parts, body.read_to_vec()?.into()))
    }

    /// Tells the log when it begins or ceases to fail.
    fn note(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let why = match outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answers {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        match (self.is_failing.swap(why.is_some(), Ordering::Relaxed), why) {
            (false, Some(why)) => tracing::warn!(why, "the collector does not take traces, they are lost"),
            (true, None) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
    }
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        // The SDK's thread does nothing else, so it may as well block.
        Box::pin(async move {
            let outcome = self.send(request);
            self.note(&outcome);
            outcome
        })
    }
}
