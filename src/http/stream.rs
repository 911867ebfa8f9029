//! What HTTP is spoken on: a socket of the runtime, with the TLS session on it where the address has a certificate. As a
//! stream of the runtime it serves actix-http; taken apart it goes to a shard.

use std::{
    io::{self, ErrorKind, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    http::addresses::Seat,
    shard::{Extra, Transport},
    tls::Session,
};

/// A handshake's head, and more.
const ROOM: usize = 4096;

/// See the module's text.
pub(super) struct Stream {
    socket: TcpStream,
    tls: Option<Box<Session>>,
    /// Decrypted and not yet read.
    seen: Vec<u8>,
    /// Its place among the sockets of its address, where those are counted.
    seat: Option<Seat>,
}

/// A socket of the runtime as a nonblocking one.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    /// What is written is what is sent.
    pub(super) fn plain(socket: TcpStream, seat: Option<Seat>) -> Self {
        Self { socket, tls: None, seen: Vec::new(), seat }
    }

    /// Goes through the handshake of `session`.
    ///
    /// # Errors
    /// The socket's; `InvalidData` when the client speaks something else or wants what we have not.
    pub(super) async fn secure(socket: TcpStream, seat: Option<Seat>, session: Session) -> io::Result<Self> {
        let mut stream = Self { tls: Some(Box::new(session)), ..Self::plain(socket, seat) };
        while stream.tls.as_ref().is_some_and(|tls| !tls.is_established() || tls.has_outgoing()) {
            stream.ready().await?;
            if stream.read_on()? == Some(0) {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(stream)
    }

    /// Waits for the client to say something, unless that is there already.
    ///
    /// # Errors
    /// The socket's or TLS'.
    pub(super) async fn look(&mut self) -> io::Result<&[u8]> {
        while self.seen.is_empty() && self.read_on()?.is_none() {
            self.ready().await?;
        }
        Ok(&self.seen)
    }

    /// Drops so many of the bytes that [`Stream::look`] shows.
    pub(super) fn skip(&mut self, count: usize) {
        self.seen.drain(..count);
    }

    /// The bare socket with its session and what was agreed on it, and what was read of it and not yet looked at.
    ///
    /// # Errors
    /// The runtime does not let go of the socket.
    pub(super) fn into_transport(self, compressed: bool) -> io::Result<(Transport, Vec<u8>)> {
        let Self { socket, mut tls, mut seen, seat } = self;
        if let Some(tls) = &mut tls {
            seen.append(&mut tls.take_plain());
        }
        let extra = (tls.is_some() || seat.is_some()).then(|| {
            let keep = seat.map(|seat| Box::new(seat) as Box<dyn Send>);
            Box::new(Extra { tls: tls.map(|tls| *tls), keep })
        });
        Ok((Transport { socket: socket.into_std()?, extra, compressed }, seen))
    }

    /// Until a read or, where something waits for the socket, a write may get further.
    async fn ready(&self) -> io::Result<()> {
        match &self.tls {
            Some(tls) if tls.has_outgoing() => self.socket.writable().await,
            _ => self.socket.readable().await,
        }
    }

    /// Reads what is there; `None` when that is nothing, 0 at the end.
    fn read_on(&mut self) -> io::Result<Option<usize>> {
        let mut room = [0; ROOM];
        let mut socket = Now(&self.socket);
        let read = match &mut self.tls {
            Some(tls) => tls.flush(&mut socket).and_then(|()| tls.read(&mut socket, &mut room)),
            None => socket.read(&mut room),
        };
        match read {
            Ok(count) => {
                self.seen.extend_from_slice(&room[..count]);
                Ok(Some(count))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tries until the socket is ready for it or refuses.
    fn poll_tls<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Session, &mut Now<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Err(ErrorKind::Unsupported.into())) };
        loop {
            match attempt(tls, &mut Now(&self.socket)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            if tls.has_outgoing() {
                ready!(self.socket.poll_write_ready(cx))?;
            } else {
                ready!(self.socket.poll_read_ready(cx))?;
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.seen.is_empty() {
            let count = this.seen.len().min(buffer.remaining());
            buffer.put_slice(&this.seen[..count]);
            this.skip(count);
            return Poll::Ready(Ok(()));
        }
        if this.tls.is_none() {
            return Pin::new(&mut this.socket).poll_read(cx, buffer);
        }
        let room = buffer.initialize_unfilled();
        let count = ready!(this.poll_tls(cx, |tls, socket| {
            // A peer that does not read is read all the same.
            if let Err(error) = tls.flush(socket)
                && error.kind() != ErrorKind::WouldBlock
            {
                return Err(error);
            }
            tls.read(socket, room)
        }))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.tls {
            Some(_) => this.poll_tls(cx, |tls, socket| tls.write(socket, bytes)),
            None => Pin::new(&mut this.socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.tls {
            Some(_) => this.poll_tls(cx, |tls, socket| tls.flush(socket)),
            None => Pin::new(&mut this.socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.tls.is_some() {
            ready!(this.poll_tls(cx, |tls, socket| tls.say_goodbye(socket)))?;
        }
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
