//! One TLS session on one socket. Between records it holds what the protocol needs (keys, counters) and not one byte of
//! buffer: records are decrypted and encrypted in memory of the thread, and only what a socket left half way is kept.
//!
//! Nonblocking on both sides. Reads follow the rule of [`Session::read`], writes that of [`Session::write`]; the handshake
//! happens inside reads.

use std::{
    cell::RefCell,
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus},
};

/// RFC 8446 §5.2: a header of 5 bytes and at most 2¹⁴ + 256 behind it.
const MOST_RECORD: usize = 5 + 16_384 + 256;
/// RFC 8446 §5.1: what one record carries at most.
const MOST_PLAIN: usize = 16_384;
/// Bytes that a record adds to what it carries; more is made room for when rustls asks.
const OVERHEAD: usize = 64;

thread_local! {
    /// Where records are read to and decrypted.
    static RECORDS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// See the module's text.
pub struct Session {
    connection: UnbufferedServerConnection,
    /// A record that is not whole yet.
    incoming: Vec<u8>,
    /// Decrypted, and there was no room for it.
    plain: Vec<u8>,
    /// Encrypted, and the socket had no room for it.
    outgoing: Vec<u8>,
    /// The last byte that was offered is in `outgoing` and not yet called written.
    owes_byte: bool,
    /// The peer says no more.
    ended: bool,
    /// The peer knows that we say no more.
    said_goodbye: bool,
}

/// What is to be done when the protocol lets us speak.
#[derive(Clone, Copy)]
enum Say<'a> {
    Nothing,
    Bytes(&'a [u8]),
    Goodbye,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        let (incoming, plain, outgoing) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { connection, incoming, plain, outgoing, owes_byte: false, ended: false, said_goodbye: false })
    }

    /// Reads what the peer said. Less than `into` has room for means that the socket is empty (or that the peer has ended:
    /// [`Session::has_ended`]); 0 is the end.
    ///
    /// # Errors
    /// The socket's, `WouldBlock` among them; `InvalidData` when what came is not TLS or not for us.
    pub fn read(&mut self, socket: &mut (impl Read + Write), into: &mut [u8]) -> io::Result<usize> {
        let mut filled = self.take_some(into);
        while filled < into.len() && !self.ended {
            match self.receive(socket) {
                Ok(()) => filled += self.take_some(&mut into[filled..]),
                Err(error) if filled == 0 => return Err(error),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Told by the next read.
                Err(_) => self.ended = true,
            }
        }
        Ok(filled)
    }

    /// Writes some of `bytes`. Whoever calls this offers what was not taken again: a byte is called written when the socket
    /// has all of its record, so a record that is under way leaves one byte unsaid.
    ///
    /// # Errors
    /// The socket's, `WouldBlock` among them.
    pub fn write(&mut self, socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        if std::mem::take(&mut self.owes_byte) {
            return Ok(1);
        }
        let bytes = &bytes[..bytes.len().min(MOST_PLAIN)];
        if bytes.is_empty() {
            return Ok(0);
        }
        self.advance(&mut [], Say::Bytes(bytes)).map_err(invalid)?;
        match self.flush(socket) {
            Ok(()) => Ok(bytes.len()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.owes_byte = true;
                if bytes.len() == 1 { Err(error) } else { Ok(bytes.len() - 1) }
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the socket what waits for it.
    ///
    /// # Errors
    /// The socket's; at `WouldBlock` the rest stays.
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        let mut written = 0;
        let result = loop {
            if written == self.outgoing.len() {
                break Ok(());
            }
            match socket.write(&self.outgoing[written..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if written == self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..written);
        }
        result
    }

    /// Tells the peer that nothing follows, so that it knows the end from a cut.
    ///
    /// # Errors
    /// As [`Session::flush`].
    pub fn say_goodbye(&mut self, socket: &mut impl Write) -> io::Result<()> {
        if !std::mem::replace(&mut self.said_goodbye, true) {
            self.advance(&mut [], Say::Goodbye).map_err(invalid)?;
        }
        self.flush(socket)
    }

    /// The peer says no more; the next read tells how that came.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Something waits for the socket.
    #[must_use]
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Application data may be exchanged.
    #[must_use]
    pub fn is_established(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// What was decrypted and not yet read.
    pub fn take_plain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    /// Bytes of room in its buffers.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.incoming.capacity() + self.plain.capacity() + self.outgoing.capacity()
    }

    fn take_some(&mut self, into: &mut [u8]) -> usize {
        let count = self.plain.len().min(into.len());
        into[..count].copy_from_slice(&self.plain[..count]);
        if count == self.plain.len() {
            self.plain = Vec::new();
        } else {
            self.plain.drain(..count);
        }
        count
    }

    /// One read of the socket, and everything that follows from it.
    fn receive(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        RECORDS.with_borrow_mut(|records| {
            let kept = self.incoming.len();
            // Handshake messages may go over several records, which stay until the last one; rustls says how far.
            records.resize(MOST_RECORD.max(kept) + MOST_RECORD, 0);
            let read = loop {
                match socket.read(&mut records[kept..]) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            if read == 0 {
                self.ended = true;
                return Ok(());
            }
            records[..kept].copy_from_slice(&self.incoming);
            let filled = kept + read;
            let used = self.advance(&mut records[..filled], Say::Nothing);
            // Also what is said to a peer that is not understood.
            let flushed = self.flush(socket);
            let used = used.map_err(|error| {
                self.ended = true;
                invalid(error)
            })?;
            self.incoming = if used < filled { records[used..filled].to_vec() } else { Vec::new() };
            match flushed {
                Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
                _ => Ok(()),
            }
        })
    }

    /// Takes the protocol as far as `records` go, says `say` if that is possible, and returns how many bytes are done with.
    fn advance(&mut self, records: &mut [u8], mut say: Say<'_>) -> Result<usize, rustls::Error> {
        let Self { connection, plain, outgoing, ended, .. } = self;
        let mut used = 0;
        let mut failure = None;
        loop {
            let UnbufferedStatus { mut discard, state } = connection.process_tls_records(&mut records[used..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(outgoing, 0, |room| data.encode(room))?;
                }
                // It stands in `outgoing`, before everything that follows.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    match std::mem::replace(&mut say, Say::Nothing) {
                        Say::Bytes(bytes) => append(outgoing, bytes.len(), |room| traffic.encrypt(bytes, room))?,
                        Say::Goodbye => append(outgoing, 0, |room| traffic.queue_close_notify(room))?,
                        Say::Nothing => {}
                    }
                    used += discard;
                    break;
                }
                Ok(ConnectionState::PeerClosed) => *ended = true,
                Ok(ConnectionState::Closed | ConnectionState::BlockedHandshake | _) => {
                    used += discard;
                    break;
                }
                // The alert that tells the peer is what comes next; after that the same error.
                Err(error) if failure.is_none() => failure = Some(error),
                Err(_) => break,
            }
            used += discard;
        }
        match (failure, say) {
            (Some(error), _) => Err(error),
            // Only asked to before the handshake's end, or after the peer has broken it off.
            (None, Say::Bytes(_)) => Err(rustls::Error::HandshakeNotComplete),
            (None, _) => Ok(used),
        }
    }
}

/// A buffer that was too small, and how large it must be.
trait TooSmall {
    fn required(&self) -> Option<usize>;
}

impl TooSmall for EncodeError {
    fn required(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::AlreadyEncoded => None,
        }
    }
}

impl TooSmall for EncryptError {
    fn required(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::EncryptExhausted => None,
        }
    }
}

/// Puts what `encode` makes, about `length` bytes, behind what is in `out`.
fn append<E: TooSmall + ToString>(
    out: &mut Vec<u8>,
    length: usize,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), rustls::Error> {
    let start = out.len();
    let mut room = length + OVERHEAD;
    loop {
        out.resize(start + room, 0);
        match encode(&mut out[start..]) {
            Ok(count) => {
                out.truncate(start + count);
                return Ok(());
            }
            Err(error) => match error.required() {
                Some(required) if required > room => room = required,
                _ => {
                    out.truncate(start);
                    return Err(rustls::Error::General(error.to_string()));
                }
            },
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
