//! From an address to a WebSocket: TCP, TLS where the address says `wss`, and the handshake. Knows no frame of the protocol.
//!
//! TLS is rustls over ring, as in the server; trusted are Mozilla's roots and what the application adds.

use std::{collections::VecDeque, sync::Arc, task::Poll, time::Duration};

use futures_util::{Sink, SinkExt as _, future::poll_fn, ready};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        Error as SocketError, Message,
        client::IntoClientRequest as _,
        error::TlsError,
        handshake::client::Request,
        http::{HeaderValue, Response, Uri, header},
        protocol::WebSocketConfig,
    },
};

use crate::client::{error::ClientError, wire::PROTOCOL};

/// A server that takes longer to be connected to is as good as gone.
pub(super) const OPENING: Duration = Duration::from_secs(10);
/// The largest frame a server can send: 1,000 events of history, of 64 KiB each, and what stands around them.
const MAX_MESSAGE_BYTES: usize = 72 << 20;
/// Enough for a round of events; the library's own choice is eight times as much for each socket.
const READ_BUFFER_BYTES: usize = 16 << 10;
/// What is shown of an answer that is no handshake.
const SHOWN_BYTES: usize = 300;

/// An open socket.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why there is none.
#[derive(Debug)]
pub(super) enum DialError {
    /// Trouble that may pass, and how long the server wants to be left alone.
    Passing(String, Option<Duration>),
    /// Wrong in a way that does not pass by itself.
    Lasting(ClientError),
}

/// Where to, and whom to trust there.
#[derive(Clone)]
pub(super) struct Address {
    request: Request,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl Address {
    /// Reads `ws://…`, `wss://…`, or the same as `http`. `authorities` are certificates in PEM.
    pub(super) fn parse(url: &str, authorities: &[Vec<u8>]) -> Result<Self, ClientError> {
        let wrong = |error: &dyn std::fmt::Display| ClientError::Address(format!("{url}: {error}"));
        let url = url.strip_prefix("http").map_or_else(|| url.to_owned(), |rest| format!("ws{rest}"));
        let uri: Uri = url.parse().map_err(|error| wrong(&error))?;
        let (secure, usual) = match uri.scheme_str() {
            Some("ws") => (false, 80),
            Some("wss") => (true, 443),
            _ => return Err(wrong(&"it begins with neither ws:// nor wss://")),
        };
        let host = uri.host().ok_or_else(|| wrong(&"it has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(usual);
        let mut request = uri.into_client_request().map_err(|error| wrong(&error))?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        let tls = secure.then(|| trust(authorities)).transpose()?;
        Ok(Self { request, host, port, tls })
    }

    /// Opens a socket.
    pub(super) async fn dial(self) -> Result<Socket, DialError> {
        match timeout(OPENING, self.open()).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) => Err(judge(error)),
            Err(_) => Err(DialError::Passing(format!("no connection within {OPENING:?}"), None)),
        }
    }

    async fn open(self) -> Result<Socket, SocketError> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        // Small frames, answered one by one: waiting for company would cost each a round trip.
        stream.set_nodelay(true)?;
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(MAX_MESSAGE_BYTES);
        config.max_frame_size = Some(MAX_MESSAGE_BYTES);
        config.read_buffer_size = READ_BUFFER_BYTES;
        let connector = self.tls.map_or(Connector::Plain, Connector::Rustls);
        let (socket, _) = client_async_tls_with_config(self.request, stream, Some(config), Some(connector)).await?;
        Ok(socket)
    }
}

fn trust(authorities: &[Vec<u8>]) -> Result<Arc<ClientConfig>, ClientError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for pem in authorities {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| ClientError::Tls(error.to_string()))?;
            roots.add(certificate).map_err(|error| ClientError::Tls(error.to_string()))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Tls(error.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn judge(error: SocketError) -> DialError {
    match error {
        SocketError::Http(response) => refused(&response),
        SocketError::Tls(error @ (TlsError::Rustls(_) | TlsError::InvalidDnsName)) => {
            DialError::Lasting(ClientError::Tls(error.to_string()))
        }
        // The handshake of TLS fails as a failed read.
        SocketError::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            DialError::Lasting(ClientError::Tls(error.to_string()))
        }
        other => DialError::Passing(other.to_string(), None),
    }
}

/// 4xx says that the request is wrong, 5xx that the server cannot serve it at present.
fn refused(response: &Response<Option<Vec<u8>>>) -> DialError {
    let status = response.status();
    let body = response.body().as_deref().unwrap_or_default();
    let message = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]).trim().to_owned();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    if status.is_client_error() && after.is_none() {
        return DialError::Lasting(ClientError::Handshake { status: status.as_u16(), message });
    }
    DialError::Passing(format!("{status}: {message}"), after.map(Duration::from_secs))
}

/// Writes frames until all are out. Nothing is lost when this is given up: a frame is taken when it can be written.
pub(super) async fn flush<S>(sink: &mut S, frames: &mut VecDeque<String>) -> Result<(), SocketError>
where
    S: Sink<Message, Error = SocketError> + Unpin,
{
    poll_fn(|context| {
        while !frames.is_empty() {
            ready!(sink.poll_ready_unpin(context))?;
            if let Some(frame) = frames.pop_front() {
                sink.start_send_unpin(Message::Text(frame.into()))?;
            }
        }
        ready!(sink.poll_flush_unpin(context))?;
        Poll::Ready(Ok(()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_mistakes_are_named() {
        let parsed = |url: &str| Address::parse(url, &[]).map(|to| (to.host, to.port, to.tls.is_some()));
        let expected: [(&str, &str, u16, bool); 4] = [
            ("ws://127.0.0.1:8080/v1/gateway", "127.0.0.1", 8080, false),
            ("https://example.org/v1/gateway", "example.org", 443, true),
            ("ws://[::1]/v1/gateway", "::1", 80, false),
            ("http://localhost:1/", "localhost", 1, false),
        ];
        for (url, host, port, secure) in expected {
            assert_eq!(parsed(url).expect(url), (host.to_owned(), port, secure));
        }
        for url in ["ftp://x/", "/v1", "ws://", "ws:///v1", ""] {
            let error = parsed(url).expect_err(url);
            assert!(matches!(error, ClientError::Address(_)), "{url}: {error}");
        }
        let no_certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
        assert!(matches!(Address::parse("wss://x/", &[no_certificate]), Err(ClientError::Tls(_))));
    }
}
