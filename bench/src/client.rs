//! One client connection: a bare non-blocking socket, its phase, and bytes only while a frame or a write is unfinished.
//!
//! It must stay small (about a hundred bytes when quiet), because thousands live in one process beside the server that
//! is measured. It knows WebSocket frames and no protocol above them. Owned and driven by the swarm.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use memchr::memmem;
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::frame::{self, CLOSE, PING, PONG};

/// The key of the RFC's own example, and what a server must answer to it: checking the answer costs no hash.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What `connect` says on a non-blocking socket when all is well (Linux).
const EINPROGRESS: i32 = 115;

/// Mask of frames sent without being asked (pong, close).
const ROUTINE_MASK: u32 = 0x5A17_C0DE;

/// What happened on a connection.
#[derive(Debug)]
pub(crate) enum Happening<'a> {
    /// The handshake is done; on a raw line, the socket is connected.
    Opened,
    /// A text or binary message.
    Message(&'a [u8]),
    /// The answer to a ping of ours.
    Pong,
    /// It is over; nothing follows.
    Closed(Ending),
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Of the close frame, if there was one.
    pub(crate) code: Option<u16>,
    pub(crate) reason: String,
}

impl Ending {
    fn because(reason: impl ToString) -> Self {
        Self { code: None, reason: reason.to_string() }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(out, "close {code} {}", self.reason),
            None => out.write_str(&self.reason),
        }
    }
}

/// `Connecting → Handshake → Open`; a raw line skips the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting { raw: bool },
    Handshake,
    Open,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    phase: Phase,
    /// Start of a frame whose rest is still on its way; no heap when empty.
    inbound: Vec<u8>,
    /// What the socket would not take yet; no heap when empty.
    outbound: Vec<u8>,
}

impl Connection {
    /// Starts to connect. With `request` it is a WebSocket, without one a raw line of server frames.
    pub(crate) fn dial(address: SocketAddr, source: Option<IpAddr>, request: Option<&str>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // A reset at the end instead of a minute in TIME_WAIT: runs follow each other and need the ports.
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            phase: Phase::Connecting { raw: request.is_none() },
            inbound: Vec::new(),
            outbound: request.map(|text| text.as_bytes().to_vec()).unwrap_or_default(),
        })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.outbound.len()
    }

    /// Sends ready-made bytes, keeping what the socket does not take now.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = if self.outbound.is_empty() { write(&mut self.stream, bytes)? } else { 0 };
        self.outbound.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// The socket takes bytes again, or has just connected. `false` when it is over.
    pub(crate) fn writable(&mut self, heard: &mut impl FnMut(Happening<'_>)) -> bool {
        match self.try_writable() {
            Ok(opened) => {
                if opened {
                    heard(Happening::Opened);
                }
                true
            }
            Err(error) => {
                heard(Happening::Closed(Ending::because(error)));
                false
            }
        }
    }

    fn try_writable(&mut self) -> io::Result<bool> {
        let mut opened = false;
        if let Phase::Connecting { raw } = self.phase {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match self.stream.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(error),
            }
            self.phase = if raw { Phase::Open } else { Phase::Handshake };
            opened = raw;
        }
        if !self.outbound.is_empty() {
            let taken = write(&mut self.stream, &self.outbound)?;
            if taken == self.outbound.len() {
                self.outbound = Vec::new();
            } else {
                self.outbound.drain(..taken);
            }
        }
        Ok(opened)
    }

    /// The socket has bytes. `ended` says that the peer closed its side, so that the end must be looked for now: no
    /// second edge will tell. `false` when it is over.
    pub(crate) fn readable(&mut self, ended: bool, scratch: &mut [u8], heard: &mut impl FnMut(Happening<'_>)) -> bool {
        loop {
            let kept = self.inbound.len();
            scratch[..kept].copy_from_slice(&self.inbound);
            let read = match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => {
                    heard(Happening::Closed(Ending::because("end of stream without a close frame")));
                    return false;
                }
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    heard(Happening::Closed(Ending::because(error)));
                    return false;
                }
            };
            let filled = kept + read;
            match self.take(&scratch[..filled], heard) {
                Ok(used) if used == filled => self.inbound = Vec::new(),
                Ok(used) => {
                    self.inbound.clear();
                    self.inbound.extend_from_slice(&scratch[used..filled]);
                }
                Err(ending) => {
                    heard(Happening::Closed(ending));
                    return false;
                }
            }
            // A short read emptied the socket: asking again would only hear "would block".
            if filled < scratch.len() && !ended {
                return true;
            }
        }
    }

    /// Consumes whole frames and says how many bytes that were.
    fn take(&mut self, bytes: &[u8], heard: &mut impl FnMut(Happening<'_>)) -> Result<usize, Ending> {
        let mut used = 0;
        if self.phase == Phase::Handshake {
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(0) };
            used = end + 4;
            if !bytes.starts_with(b"HTTP/1.1 101") || memmem::find(&bytes[..end], ACCEPT).is_none() {
                let shown = &bytes[..bytes.len().min(400)];
                return Err(Ending::because(format!("refused: {}", String::from_utf8_lossy(shown).trim())));
            }
            self.phase = Phase::Open;
            heard(Happening::Opened);
        }
        while let Some(frame) = frame::decode(&bytes[used..]).map_err(Ending::because)? {
            used += frame.length;
            match frame.opcode {
                PING => self.routine(PONG, frame.payload).map_err(Ending::because)?,
                PONG => heard(Happening::Pong),
                CLOSE => {
                    // The answer may fail when the server is gone already; the code is known, and that is what counts.
                    let _ = self.routine(CLOSE, &frame.payload[..frame.payload.len().min(2)]);
                    return Err(closing(frame.payload));
                }
                _ => heard(Happening::Message(frame.payload)),
            }
        }
        Ok(used)
    }

    fn routine(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 6);
        frame::encode(&mut bytes, opcode, payload, ROUTINE_MASK);
        self.send(&bytes)
    }

    /// Says goodbye; the server's answer ends the connection.
    pub(crate) fn hang_up(&mut self, code: u16) -> io::Result<()> {
        self.routine(CLOSE, &code.to_be_bytes())
    }
}

fn closing(payload: &[u8]) -> Ending {
    match payload {
        [high, low, reason @ ..] => Ending {
            code: Some(u16::from_be_bytes([*high, *low])),
            reason: String::from_utf8_lossy(reason).into_owned(),
        },
        _ => Ending::because("close frame without a code"),
    }
}

/// As much as the socket takes.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match stream.write(&bytes[taken..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => taken += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
