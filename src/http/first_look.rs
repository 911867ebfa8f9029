//! A first look at a new connection's bytes. A WebSocket handshake whose head is there in one piece is taken off the socket
//! and goes to its shard at once; all else is left in the socket for actix-http: requests, handshakes that come in pieces or
//! are refused. Reading a handshake through actix-http costs a fifth of what a client that reconnects costs in all
//! (`bench/run storm`).

use std::{io, rc::Rc, sync::Arc, time::Duration};

use actix_http::{
    Method, Uri, Version,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use actix_rt::net::TcpStream;
use actix_service::Service;
use rustix::net::{RecvFlags, recv};

use crate::http::{
    gateway::Gateway,
    handshake::{self, Admission, Head},
};

/// Who says nothing for so long is actix-http's to wait for. Only then does the time run in which it wants a head.
const PATIENCE: Duration = Duration::from_secs(1);
/// A longer head is none of a client in a hurry.
const MOST_BYTES: usize = 4096;
const MOST_HEADERS: usize = 32;

/// Takes a connection, or leaves it to `http`.
pub(super) async fn serve<S>(gateway: Arc<Gateway>, http: Rc<S>, stream: TcpStream) -> Result<(), S::Error>
where
    S: Service<TcpStream, Response = ()>,
{
    let mut seen = look(&gateway, &stream);
    if matches!(seen, Seen::Nothing) {
        // Whatever comes of it, what is there then is looked at.
        let _ = tokio::time::timeout(PATIENCE, stream.readable()).await;
        seen = look(&gateway, &stream);
    }
    match seen {
        Seen::Handshake(admission) => {
            handshake::hand_over(&gateway, admission, stream, Vec::new()).await;
            Ok(())
        }
        Seen::Nothing | Seen::Other => http.call(stream).await,
    }
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
