//! The WebSocket handshake, strict as RFC 6455 §4.2.1 wants it, and the way of its socket: out of actix-http, whose
//! buffers and task are freed, and as a bare descriptor to a shard.
//!
//! Every upgrade request that actix-http has read comes here, whatever its path (`upgrade.rs` sees to those of the app), so
//! what is no WebSocket is answered here too. One whose head came in one piece has been taken already, in `first_look.rs`.

use std::sync::{Arc, atomic::Ordering};

use actix_codec::Framed;
use actix_http::{
    HttpMessage as _, Method, Request, Response, StatusCode, Uri, Version,
    body::BodySize,
    h1::{self, Codec},
    header::{self, HeaderMap},
    ws::hash_key,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::SinkExt;

use crate::{
    connection::Opening,
    http::{
        gateway::{Gateway, Handshake},
        mount::{Mount, Requested},
        origin,
        stream::Stream,
    },
    protocol::encoding::Encoding,
    websocket::extension,
};

/// A handshake that fails, as the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("a WebSocket handshake is a GET request")]
    Method,
    #[error("only WebSocket upgrades are known here: send `Upgrade: websocket` and `Connection: Upgrade`")]
    NotWebSocket,
    #[error("this server speaks WebSocket version 13: send `Sec-WebSocket-Version: 13`")]
    Version,
    #[error("`Sec-WebSocket-Key` must be 16 bytes in base64")]
    Key,
    #[error("a WebSocket handshake has one `Sec-WebSocket-Key`, not several")]
    Keys,
    #[error("a WebSocket handshake has no body: leave `Content-Length` and `Transfer-Encoding` out")]
    Body,
    #[error("a WebSocket handshake needs a `Host` header")]
    Host,
    #[error("pages of this origin may not connect here: list it in listen.origins")]
    Origin,
    #[error("no WebSocket is served at this path; the gateway is at /v1/gateway")]
    Path,
    #[error("too many connections")]
    Full,
    #[error("more handshakes at once than this node takes")]
    Hurry,
    #[error("this node is being drained")]
    Draining,
}

impl HandshakeError {
    fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotWebSocket | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Key | Self::Keys | Self::Body | Self::Host => StatusCode::BAD_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Path => StatusCode::NOT_FOUND,
            Self::Full | Self::Hurry | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Full => "too_many_connections",
            Self::Hurry => "too_many_at_once",
            Self::Draining => "draining",
            Self::Origin => "foreign_origin",
            _ => "bad_handshake",
        }
    }

    fn response(self) -> (Response<()>, String) {
        let mut response = Response::build(self.status());
        response.insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"));
        match self {
            Self::NotWebSocket | Self::Version => {
                response.insert_header((header::UPGRADE, "websocket"));
                response.insert_header((header::SEC_WEBSOCKET_VERSION, "13"));
            }
            Self::Full | Self::Hurry | Self::Draining => {
                response.insert_header((header::RETRY_AFTER, "1"));
            }
            Self::Method => {
                response.insert_header((header::ALLOW, "GET"));
            }
            _ => {}
        }
        response.force_close();
        (response.finish().drop_body(), format!("{self}\n"))
    }
}

/// Which behaviour serves the socket.
enum Service {
    Gateway(Opening),
    Mount(Arc<Mount>, Requested),
}

/// Where the gateway is.
const GATEWAY: &str = "/v1/gateway";

/// The head of a request, whoever has read it.
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
}

impl<'a> From<&'a Request> for Head<'a> {
    fn from(request: &'a Request) -> Self {
        Self {
            method: request.method(),
            path: request.path(),
            query: request.uri().query().unwrap_or_default(),
            version: request.version(),
            headers: request.headers(),
        }
    }
}

/// A handshake that is taken: it has its place among the sockets.
pub(super) struct Admission {
    service: Service,
    /// The lines that answer it.
    response: Vec<u8>,
    /// Messages may be compressed.
    compressed: bool,
}

/// Takes an upgrade request with its socket.
pub(super) async fn upgrade(
    gateway: Arc<Gateway>,
    mut request: Request,
    framed: Framed<Stream, Codec>,
) -> Result<(), actix_web::Error> {
    let admitted = admit(&gateway, &Head::from(&request));
    forget(&mut request);
    match admitted {
        Ok(admission) => {
            // Everything HTTP about the connection is freed here.
            let parts = framed.into_parts();
            hand_over(&gateway, admission, parts.io, parts.read_buf.to_vec()).await;
        }
        Err(refusal) => turn_away(&gateway, refusal, framed).await,
    }
    Ok(())
}

/// Counts a refusal and tells the client.
pub(super) async fn turn_away(gateway: &Gateway, refusal: HandshakeError, framed: Framed<Stream, Codec>) {
    gateway.metrics.handshakes.with_label_values(&[refusal.label()]).inc();
    if refusal == HandshakeError::Origin && !gateway.has_told_origins.swap(true, Ordering::Relaxed) {
        // A browser shows its user no more than a failure.
        tracing::warn!("a page of another origin was refused: if it is yours, list it in listen.origins (told once)");
    }
    refuse(refusal, framed).await;
}

/// Whether this request is a handshake that the app may take: strict, from a page that may, to a node that stays.
pub(super) fn check(gateway: &Gateway, head: &Head<'_>) -> Result<(), HandshakeError> {
    key(head, true)?;
    if !origin::admits(head.headers, &gateway.config()) {
        return Err(HandshakeError::Origin);
    }
    if gateway.is_ready() { Ok(()) } else { Err(HandshakeError::Draining) }
}

/// Empties a request before actix-http puts it into its pool for later use: names and values point into the read buffer,
/// so the pool would keep a buffer of 8 KiB alive for each request in it.
fn forget(request: &mut Request) {
    *request.headers_mut() = HeaderMap::new();
    request.head_mut().uri = Uri::default();
}

/// Whether this request is a handshake we can take. Takes a place for the socket.
pub(super) fn admit(gateway: &Gateway, head: &Head<'_>) -> Result<Admission, HandshakeError> {
    let headers = head.headers;
    let mount = gateway.mounted_at(head.path).filter(|_| head.path != GATEWAY);
    let key = key(head, head.path == GATEWAY || mount.is_some())?;
    let config = gateway.config();
    if mount.is_none_or(|mount| !mount.place.any_origin) && !origin::admits(headers, &config) {
        return Err(HandshakeError::Origin);
    }
    if !gateway.is_ready() {
        return Err(HandshakeError::Draining);
    }
    if !gateway.takes_handshake(Handshake::WebSocket, config.limits.handshakes_per_second) {
        return Err(HandshakeError::Hurry);
    }
    if !gateway.sockets.admit(config.limits.max_connections) {
        return Err(HandshakeError::Full);
    }
    let mut response = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
        sec-websocket-accept: "
        .to_vec();
    response.extend_from_slice(&hash_key(key.as_bytes()));
    let (service, protocol) = match mount {
        None => {
            let opening = opening(head);
            let agreed = opening.encoding.filter(|_| headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL));
            (Service::Gateway(opening), agreed.map(Encoding::subprotocol))
        }
        Some(mount) => {
            let protocol =
                offered(headers).find_map(|name| mount.place.protocols.iter().copied().find(|own| *own == name));
            let requested = Requested { path: head.path.to_owned(), query: head.query.to_owned(), protocol };
            (Service::Mount(Arc::clone(mount), requested), protocol)
        }
    };
    if let Some(protocol) = protocol {
        response.extend_from_slice(b"\r\nsec-websocket-protocol: ");
        response.extend_from_slice(protocol.as_bytes());
    }
    let extension = if config.listen.compression { agree(headers) } else { None };
    if let Some(extension) = extension {
        response.extend_from_slice(b"\r\nsec-websocket-extensions: ");
        response.extend_from_slice(extension.as_bytes());
    }
    response.extend_from_slice(b"\r\n\r\n");
    Ok(Admission { service, response, compressed: extension.is_some() })
}

/// The key of a handshake as RFC 6455 §4.2.1 wants it; `known`: something is served at its path.
fn key<'a>(head: &Head<'a>, known: bool) -> Result<&'a header::HeaderValue, HandshakeError> {
    let headers = head.headers;
    if *head.method != Method::GET {
        return Err(HandshakeError::Method);
    }
    if !has_token(headers, header::UPGRADE, "websocket") || !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(HandshakeError::NotWebSocket);
    }
    if !known {
        return Err(HandshakeError::Path);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(HandshakeError::Version);
    }
    if head.version != Version::HTTP_11 || !headers.contains_key(header::HOST) {
        return Err(HandshakeError::Host);
    }
    if has_body(headers) {
        return Err(HandshakeError::Body);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
    // RFC 6455 §11.3.1: it must not appear more than once.
    if headers.get_all(header::SEC_WEBSOCKET_KEY).count() > 1 {
        return Err(HandshakeError::Keys);
    }
    if STANDARD.decode(key).is_ok_and(|key| key.len() != 16) || STANDARD.decode(key).is_err() {
        return Err(HandshakeError::Key);
    }
    Ok(key)
}

/// What the request says about the client.
fn opening(head: &Head<'_>) -> Opening {
    let parameters: Vec<(String, String)> = serde_urlencoded::from_str(head.query).unwrap_or_default();
    let parameter = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let subscribe = parameter("subscribe").unwrap_or_default();
    Opening {
        encoding: encoding(head.headers),
        token: parameter("token").or_else(|| bearer(head.headers)),
        subscribe: subscribe.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect(),
    }
}

/// The token of `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// The first offered sub-protocol that is known; JSON when none is offered; `None` when only unknown ones are.
fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut offered = offered(headers).peekable();
    if offered.peek().is_none() {
        return Some(Encoding::Json);
    }
    offered.find_map(|name| Encoding::ALL.into_iter().find(|encoding| encoding.subprotocol() == name))
}

/// The sub-protocols a client offers, in its order.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// The answer to the extensions that are offered.
fn agree(headers: &HeaderMap) -> Option<&'static str> {
    extension::negotiate(headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).filter_map(|value| value.to_str().ok()))
}

/// Whether one of the comma-separated values of `name` is `token`, whatever its case.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// Whether a body is announced, whose bytes would be taken for frames.
fn has_body(headers: &HeaderMap) -> bool {
    let length = |value: &header::HeaderValue| value.to_str().ok().and_then(|value| value.trim().parse::<u64>().ok());
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get_all(header::CONTENT_LENGTH).any(|value| length(value) != Some(0))
}

/// Gives the bare socket to a shard. `unread`: what came behind the handshake.
pub(super) async fn hand_over(gateway: &Gateway, admission: Admission, stream: Stream, unread: Vec<u8>) {
    gateway.metrics.handshakes.with_label_values(&["accepted"]).inc();
    if let Err(error) = adopt(gateway, admission, stream, unread).await {
        tracing::debug!(%error, "a socket was lost between handshake and shard");
        gateway.sockets.closed();
    }
}

async fn adopt(gateway: &Gateway, admission: Admission, stream: Stream, mut unread: Vec<u8>) -> anyhow::Result<()> {
    let Admission { service, response, compressed } = admission;
    let (transport, mut rest) = stream.into_transport(compressed)?;
    unread.append(&mut rest);
    match service {
        Service::Gateway(opening) => gateway.shards.adopt(transport, response, unread, opening).await?,
        Service::Mount(mount, requested) => mount.adopt(transport, response, unread, requested).await?,
    }
    Ok(())
}

async fn refuse(refusal: HandshakeError, mut framed: Framed<Stream, Codec>) {
    let (head, sentence) = refusal.response();
    let message = h1::Message::Item((head, BodySize::Sized(sentence.len() as u64)));
    let sent = async {
        framed.send(message).await?;
        framed.send(h1::Message::Chunk(Some(sentence.into()))).await?;
        framed.send(h1::Message::Chunk(None)).await
    };
    if let Err(error) = sent.await {
        tracing::debug!(%error, "a refused client did not wait for the answer");
    }
}
