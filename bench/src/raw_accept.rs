//! The floor under handshakes and idle connections: a process that accepts, waits for the end of the request and writes
//! the one answer the generator's key asks for. It runs as a second copy of this program, so that its time is its own.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
};

use anyhow::{Context, Result};
use mio::{Events, Interest, Poll, Token, net::TcpListener};
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(usize::MAX);

/// What every request is answered with: the generator always sends the same key.
const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The accepting process. Whatever comes after the handshake ends a connection.
pub(crate) fn serve() -> Result<bool> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    let mut listener = TcpListener::from_std(socket.into());
    eprintln!("listening addr={}", listener.local_addr().context("no address")?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let (mut clients, mut accepted) = (HashMap::new(), 0);
    let mut scratch = [0; 4096];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                loop {
                    let (mut stream, _) = match listener.accept() {
                        Ok(accepted) => accepted,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    };
                    poll.registry().register(&mut stream, Token(accepted), Interest::READABLE)?;
                    clients.insert(Token(accepted), (stream, false));
                    accepted += 1;
                }
            } else if let Some((stream, open)) = clients.get_mut(&event.token()) {
                // A request is small and arrives whole on loopback.
                let whole = matches!(stream.read(&mut scratch), Ok(read) if scratch[..read].ends_with(b"\r\n\r\n"));
                if *open || !whole || stream.write_all(ACCEPTED).is_err() {
                    clients.remove(&event.token());
                } else {
                    *open = true;
                }
            }
        }
    }
}
