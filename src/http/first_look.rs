//! A first look at a new connection's bytes. A WebSocket handshake whose head is there in one piece is taken off the socket
//! and goes to its shard at once; all else is left in the socket for actix-http: requests, handshakes that come in pieces or
//! are refused. With TLS the look is at what was decrypted. Reading a handshake through actix-http costs a fifth of what a
//! client that reconnects costs in all (`bench/run storm`).

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix_http::{
    Method, Uri, Version,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use actix_rt::net::TcpStream;
use actix_service::Service;
use rustix::net::{RecvFlags, recv};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::{
    http::{
        addresses::Seat,
        gateway::{Gateway, Handshake},
        handshake::{self, Admission, Head},
        stream::Stream,
    },
    tls::Acceptor,
};

/// Who says nothing for so long is actix-http's to wait for. Only then does the time run in which it wants a head.
const PATIENCE: Duration = Duration::from_secs(1);
/// So long a client that is not let in may take to say what it wanted.
const BRIEFLY: Duration = Duration::from_millis(100);
/// The time for a TLS handshake.
const SECURE_WITHIN: Duration = Duration::from_secs(5);
/// A longer head is none of a client in a hurry.
const MOST_BYTES: usize = 4096;
const MOST_HEADERS: usize = 32;
/// RFC 8446 §5.1: the first byte of a client that speaks TLS.
const HANDSHAKE_RECORD: u8 = 22;

/// What is said before HTTP is spoken.
struct Words {
    /// Of the metric.
    label: &'static str,
    status: &'static str,
    /// More lines of the head, each with its end.
    lines: &'static str,
    sentence: &'static str,
}

/// For those who do not.
const SPEAKS_TLS: Words = Words {
    label: "bad_tls",
    status: "400 Bad Request",
    lines: "",
    sentence: "this port speaks TLS: use https:// and wss:// instead of these",
};
/// For an address that has too many sockets.
const TOO_MANY: Words = Words {
    label: "too_many_of_address",
    status: "429 Too Many Requests",
    lines: "retry-after: 5\r\n",
    sentence: "too many connections from your address",
};
/// For whoever wants TLS when this second has had enough of it: the costliest thing that somebody unknown can ask for.
const HURRY: Words = Words { label: "too_many_at_once", ..FULL };
/// For whoever comes when the process can open hardly anything more.
const FULL: Words = Words {
    label: "no_descriptors",
    status: "503 Service Unavailable",
    lines: "retry-after: 1\r\n",
    sentence: "too many connections",
};

impl Words {
    /// The answer.
    fn response(&self) -> String {
        let Self { status, lines, sentence, .. } = self;
        let length = sentence.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\n{lines}content-length: {length}\r\n\
             connection: close\r\n\r\n{sentence}\n"
        )
    }
}

/// Takes a connection, or leaves it to `http`.
pub(super) async fn serve<S>(gateway: Arc<Gateway>, http: Rc<S>, socket: TcpStream) -> Result<(), S::Error>
where
    S: Service<(Stream, Option<SocketAddr>), Response = ()>,
{
    let Some(_guest) = gateway.receive() else {
        refuse(&gateway, &socket, &FULL, Duration::ZERO).await;
        return Ok(());
    };
    let peer = socket.peer_addr().ok();
    let most = gateway.config().limits.connections_per_address;
    let seat = match peer.filter(|_| most > 0) {
        None => None,
        Some(peer) => match gateway.addresses.seat(peer.ip(), most) {
            Some(seat) => Some(seat),
            None => {
                refuse(&gateway, &socket, &TOO_MANY, BRIEFLY).await;
                return Ok(());
            }
        },
    };
    let left = match &gateway.tls {
        None => plain(&gateway, socket, seat).await,
        Some(acceptor) => secure(&gateway, acceptor, socket, seat).await,
    };
    match left {
        Some(stream) => http.call((stream, peer)).await,
        None => Ok(()),
    }
}

/// Tells a client that is not let in, in one write. What it has said is thrown away first: the kernel answers unread bytes
/// with a reset, which would take the words along.
async fn refuse(gateway: &Gateway, socket: &TcpStream, words: &Words, patience: Duration) {
    gateway.metrics.handshakes.with_label_values(&[words.label]).inc();
    if gateway.tls.is_some() {
        return;
    }
    if timeout(patience, socket.readable()).await.is_ok() {
        let _ = socket.try_read(&mut [0; MOST_BYTES]);
    }
    // A client that is gone misses nothing.
    let _ = socket.try_write(words.response().as_bytes());
}

async fn plain(gateway: &Gateway, socket: TcpStream, seat: Option<Seat>) -> Option<Stream> {
    let mut seen = look(gateway, &socket);
    if matches!(seen, Seen::Nothing) {
        // Whatever comes of it, what is there then is looked at.
        let _ = timeout(PATIENCE, socket.readable()).await;
        seen = look(gateway, &socket);
    }
    match seen {
        Seen::Handshake(admission) => {
            handshake::hand_over(gateway, admission, Stream::plain(socket, seat), Vec::new()).await;
            None
        }
        Seen::Nothing | Seen::Other => Some(Stream::plain(socket, seat)),
    }
}

async fn secure(gateway: &Gateway, acceptor: &Acceptor, socket: TcpStream, seat: Option<Seat>) -> Option<Stream> {
    if !gateway.takes_handshake(Handshake::Tls, gateway.config().limits.handshakes_per_second) {
        refuse(gateway, &socket, &HURRY, Duration::ZERO).await;
        return None;
    }
    let session = acceptor.begin().inspect_err(|error| tracing::error!(%error, "cannot begin a TLS session")).ok()?;
    let begun = async {
        socket.readable().await?;
        let mut first = [0];
        let there = recv(&socket, &mut first, RecvFlags::PEEK).map_or(0, |(there, _)| there);
        if there > 0 && first[0] != HANDSHAKE_RECORD {
            return reject(socket).await.map(|()| None);
        }
        Stream::secure(socket, seat, session).await.map(Some)
    };
    let refused = || gateway.metrics.handshakes.with_label_values(&[SPEAKS_TLS.label]).inc();
    let mut stream = match timeout(SECURE_WITHIN, begun).await {
        Ok(Ok(Some(stream))) => stream,
        Ok(Ok(None)) | Err(_) => {
            refused();
            return None;
        }
        Ok(Err(error)) => {
            refused();
            tracing::debug!(%error, "a TLS handshake failed");
            return None;
        }
    };
    let Ok(Ok(seen)) = timeout(PATIENCE, stream.look()).await else { return Some(stream) };
    let Some((admission, length)) = handshake_in(gateway, seen) else { return Some(stream) };
    stream.skip(length);
    handshake::hand_over(gateway, admission, stream, Vec::new()).await;
    None
}

/// Tells a client that has not asked for TLS, in the only words it can read.
async fn reject(mut socket: TcpStream) -> io::Result<()> {
    socket.write_all(SPEAKS_TLS.response().as_bytes()).await?;
    socket.shutdown().await
}

/// What has come.
enum Seen {
    Nothing,
    Handshake(Admission),
    Other,
}

fn look(gateway: &Gateway, stream: &TcpStream) -> Seen {
    let mut buffer = [0; MOST_BYTES];
    let received = match recv(stream, &mut buffer, RecvFlags::PEEK) {
        Ok((received, _)) => &buffer[..received],
        Err(error) if io::Error::from(error).kind() == io::ErrorKind::WouldBlock => return Seen::Nothing,
        Err(_) => return Seen::Other,
    };
    let Some((admission, length)) = handshake_in(gateway, received) else { return Seen::Other };
    // What stands behind the head is frames, and stays for the shard.
    let taken = recv(stream, &mut buffer[..length], RecvFlags::empty());
    if taken.is_ok_and(|(taken, _)| taken == length) {
        return Seen::Handshake(admission);
    }
    gateway.sockets.closed();
    Seen::Other
}

/// The handshake that `received` begins with, if it is all there and can be taken; and the length of its head.
fn handshake_in(gateway: &Gateway, received: &[u8]) -> Option<(Admission, usize)> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    let Ok(httparse::Status::Complete(length)) = request.parse(received) else { return None };
    // The same rule of what may stand in a target as actix-http's.
    let uri = Uri::try_from(request.path.filter(|target| is_usual(target))?).ok()?;
    if request.method != Some("GET") || request.version != Some(1) {
        return None;
    }
    let headers = headers(request.headers)?;
    let query = uri.query().unwrap_or_default();
    let head = Head { method: &Method::GET, path: uri.path(), query, version: Version::HTTP_11, headers: &headers };
    Some((handshake::admit(gateway, &head).ok()?, length))
}

/// A path, and perhaps a query.
fn is_usual(target: &str) -> bool {
    target.starts_with('/') && !target.contains('#')
}

fn headers(lines: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let (name, value) = (HeaderName::from_bytes(line.name.as_bytes()), HeaderValue::from_bytes(line.value));
        headers.append(name.ok()?, value.ok()?);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_target_in_its_usual_form_is_taken() {
        assert!(["/v1/gateway", "/v1/gateway?token=a?b&c", "/"].into_iter().all(is_usual));
        assert!(!["http://host/v1/gateway", "*", "/v1/gateway#part", ""].into_iter().any(is_usual));
    }

    #[test]
    fn all_values_of_a_header_are_kept() {
        let line = |name, value| httparse::Header { name, value };
        let headers = headers(&[line("Host", b"a"), line("x-y", b"1"), line("X-Y", b"2")]).expect("good headers");
        let values: Vec<_> = headers.get_all("x-y").map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [b"1", b"2"]);
        assert!(super::headers(&[line("bad name", b"1")]).is_none());
    }
}
