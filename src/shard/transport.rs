//! A socket and what some sockets have besides, a TLS session above all: what comes to a shard, lives in its table and goes to
//! another. The table keeps the latter apart from slots, so a connection without it pays nothing for it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use crate::{shard::network::Socket, tls::Session};

/// A whole one, on its way or at its end.
pub struct Transport<S = TcpStream> {
    /// Nonblocking.
    pub socket: S,
    /// `None`: what is written is what is sent, and nobody keeps account of it.
    pub extra: Option<Box<Extra>>,
    /// Its client has agreed to compressed messages ([`crate::websocket::extension`]).
    pub compressed: bool,
}

/// What some sockets have.
#[derive(Default)]
pub struct Extra {
    /// What is written is encrypted.
    pub tls: Option<Session>,
    /// Dropped when the socket is closed.
    pub keep: Option<Box<dyn Send>>,
}

/// One whose parts stay where they are.
pub(super) struct TransportMut<'a, S> {
    pub(super) socket: &'a mut S,
    pub(super) tls: Option<&'a mut Session>,
}

impl<S> From<S> for Transport<S> {
    fn from(socket: S) -> Self {
        Self { socket, extra: None, compressed: false }
    }
}

impl<S> Transport<S> {
    pub(super) fn as_mut(&mut self) -> TransportMut<'_, S> {
        TransportMut { socket: &mut self.socket, tls: self.extra.as_mut().and_then(|extra| extra.tls.as_mut()) }
    }
}

impl<S: Socket> Transport<S> {
    /// Ends our side behind what has been written.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if let Some(tls) = self.extra.as_mut().and_then(|extra| extra.tls.as_mut())
            && let Err(error) = tls.say_goodbye(&mut self.socket)
        {
            // A peer that takes no more finds the end of the socket all the same.
            tracing::trace!(%error, "a TLS session ended without a word");
        }
        self.socket.end()
    }
}

impl<S> TransportMut<'_, S> {
    /// A read that brought less than it had room for says nothing of what follows: the end is to be read too.
    pub(super) fn has_ended(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_ended())
    }
}

impl<S: Socket> Read for TransportMut<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(self.socket, into),
            None => self.socket.read(into),
        }
    }
}

impl<S: Socket> Write for TransportMut<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.write(self.socket, bytes),
            None => self.socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
