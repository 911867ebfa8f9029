//! `GET /v1/live`: an upgrade becomes a viewer, any other request is answered with the latest sample. The middleware of
//! `auth.rs` has let it in; a socket without a key may still have to bring one as its first message, for browsers can set no
//! headers on a WebSocket, and addresses with keys in them end up in logs.

use std::time::Duration;

use actix_web::{
    Error, HttpRequest, HttpResponse,
    http::header::ContentType,
    web::{Data, Payload},
};
use actix_web_actors::ws::WsResponseBuilder;

use crate::{
    http::{
        auth,
        error::ApiError,
        gateway::Gateway,
        handshake::bearer,
        live::{LONGEST, seconds, viewer::Viewer},
        query::Query,
    },
    protocol::error::{ErrorCode, Fault},
};

/// The longest message of a viewer: a key and a wish.
const MOST_BYTES: usize = 4096;
/// Two samples, one second apart, are taken for the first who asks.
const PATIENCE: Duration = Duration::from_secs(5);

pub(in crate::http) async fn watch(
    gateway: Data<Gateway>,
    request: HttpRequest,
    query: Query,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let every = seconds(query.number("every_ms")?);
    if !request.head().upgrade() {
        return Ok(latest(&gateway, every).await?);
    }
    let scopes = auth::scopes(&gateway.keys, request.headers());
    let Some(seat) = gateway.live.sit_down(every) else {
        return Err(busy("as many watch the live feed as there is room for").into());
    };
    let key = auth::has_keys(&gateway.keys).then(|| bearer(request.headers())).flatten();
    let viewer = Viewer::new(gateway, seat, scopes, key);
    WsResponseBuilder::new(viewer, &request, payload).frame_size(MOST_BYTES).start()
}

/// The latest sample that is not older than the next one would be.
async fn latest(gateway: &Gateway, every: usize) -> Result<HttpResponse, ApiError> {
    let every = Duration::from_secs(every.min(LONGEST) as u64);
    let now = gateway.clock.micros();
    let mut told = gateway.live.listen();
    gateway.live.expect(every, now);
    let oldest = now.saturating_sub(every.as_micros() as u64);
    let fits = |told: &super::Told| told.latest.as_ref().is_some_and(|taken| taken.measured && taken.micros >= oldest);
    match tokio::time::timeout(PATIENCE, told.wait_for(fits)).await {
        Ok(Ok(told)) => {
            let json = told.latest.as_ref().map(|taken| taken.json.clone()).unwrap_or_default();
            Ok(HttpResponse::Ok().content_type(ContentType::json()).body(json))
        }
        _ => Err(busy("no sample was taken in time")),
    }
}

fn busy(message: &'static str) -> ApiError {
    Fault::new(ErrorCode::Overloaded, message).into()
}
