//! A name for each call of the API: the caller's `x-request-id`, or one of ours. The answer carries it, and so does every log line
//! that the call leads to, so that both ends find the same call. Queries are not logged: tokens stand in them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
    web,
};
use tracing::Instrument as _;

use crate::http::gateway::Gateway;

const NAME: HeaderName = HeaderName::from_static("x-request-id");
/// A longer name is not taken over.
const LONGEST: usize = 64;

/// Serves a call under its name.
pub(super) async fn name<B: MessageBody>(
    gateway: web::Data<Gateway>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    static CALLS: AtomicU64 = AtomicU64::new(0);

    let given = request.headers().get(&NAME).and_then(|name| name.to_str().ok()).filter(|name| is_good(name));
    let name = match given {
        Some(name) => Arc::from(name),
        None => Arc::<str>::from(format!("{}-{}", gateway.node, CALLS.fetch_add(1, Ordering::Relaxed))),
    };
    let (began, method, path) = (gateway.clock.micros(), request.method().clone(), request.path().to_owned());
    let span = tracing::info_span!("call", request = &*name);
    async {
        let mut response = next.call(request).await?;
        let (status, took_us) = (response.status(), gateway.clock.micros() - began);
        if status.is_server_error() {
            tracing::warn!(%method, path, status = status.as_u16(), took_us, "call failed");
        } else {
            tracing::debug!(%method, path, status = status.as_u16(), took_us, "call");
        }
        if let Ok(value) = HeaderValue::from_str(&name) {
            response.headers_mut().insert(NAME, value);
        }
        Ok(response)
    }
    .instrument(span)
    .await
}

/// Whether a name may stand in logs as it is.
fn is_good(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, is_good};

    #[test]
    fn only_short_names_of_visible_characters_are_taken_over() {
        assert!(is_good("4bf92f35-77b3") && is_good(&"a".repeat(LONGEST)));
        for name in ["", "two words", "a\nb", "ä", &"a".repeat(LONGEST + 1)] {
            assert!(!is_good(name), "{name:?}");
        }
    }
}
