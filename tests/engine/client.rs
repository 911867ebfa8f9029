//! The other end of a connection: a blocking socket that masks what it says and takes apart what it hears.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use dormouse::{id::ConnectionId, protocol::close::Close};

/// A frame that has not come by then will not come.
pub(crate) const GUARD: Duration = Duration::from_secs(20);

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    /// The socket ended.
    End,
    /// The socket was reset.
    Reset,
}

impl From<Close> for Heard {
    fn from(close: Close) -> Self {
        Self::Close(close.code, close.name.to_owned())
    }
}

/// See the module's text.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) id: ConnectionId,
    read: Vec<u8>,
}

impl Client {
    /// `socket` is the client's end; the greeting tells the connection's id.
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(GUARD)).expect("a timeout");
        socket.set_write_timeout(Some(GUARD)).expect("a timeout");
        Self { socket, id: ConnectionId::from_bits(0), read: Vec::new() }
    }

    pub(crate) fn greeted(mut self, name: &str) -> Self {
        let Heard::Text(text) = self.hear() else { panic!("no greeting") };
        let id = text.strip_prefix(&format!("hello {name} ")).unwrap_or_else(|| panic!("{text:?} is no greeting"));
        self.id = id.parse().expect("an id");
        self
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.write(&frame(text));
    }

    /// All in one write.
    pub(crate) fn say_all(&mut self, texts: &[&str]) {
        self.write(&texts.iter().flat_map(|text| frame(text)).collect::<Vec<_>>());
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the socket takes it");
    }

    /// Sends a close frame.
    pub(crate) fn close(&mut self, code: u16) {
        self.write(&masked(CLOSE, &code.to_be_bytes()));
    }

    /// Ends its own side of the socket.
    pub(crate) fn half_close(&mut self) {
        self.socket.shutdown(Shutdown::Write).expect("open");
    }

    /// The next thing the server says.
    pub(crate) fn hear(&mut self) -> Heard {
        loop {
            if let Some((first, payload, length)) = whole(&self.read) {
                let heard = match first & 0x0f {
                    TEXT => Heard::Text(String::from_utf8(payload.to_vec()).expect("utf-8")),
                    BINARY => Heard::Binary(payload.to_vec()),
                    PONG => Heard::Pong(payload.to_vec()),
                    CLOSE => {
                        let (code, reason) = payload.split_at(2);
                        let reason = String::from_utf8(reason.to_vec()).expect("utf-8");
                        Heard::Close(u16::from_be_bytes(code.try_into().expect("two bytes")), reason)
                    }
                    other => panic!("opcode {other}"),
                };
                self.read.drain(..length);
                return heard;
            }
            let mut more = vec![0; 64 * 1024];
            match self.socket.read(&mut more) {
                Ok(0) => return Heard::End,
                Ok(count) => self.read.extend_from_slice(&more[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Heard::Reset,
                Err(error) => panic!("nothing came: {error}, {} bytes of a frame", self.read.len()),
            }
        }
    }

    /// Hears exactly these texts.
    #[track_caller]
    pub(crate) fn hears<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>) {
        for text in texts {
            assert_eq!(self.hear(), Heard::Text(text.as_ref().to_owned()));
        }
    }

    /// Hears this close, then the end.
    #[track_caller]
    pub(crate) fn hears_close(&mut self, close: Close) {
        assert_eq!(self.hear(), Heard::from(close));
        assert_eq!(self.hear(), Heard::End);
    }

    /// Everything until the socket ends.
    pub(crate) fn hear_out(mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            all.push(self.hear());
            if matches!(all.last(), Some(Heard::End | Heard::Reset)) {
                return all;
            }
        }
    }
}

/// A text frame of a client.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    masked(TEXT, text.as_bytes())
}

/// Any frame of a client.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x51, 0x00, 0xc3, 0x9d];
    let mut bytes = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            bytes.push(0xfe);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The first frame in `bytes`, if all of it is there: first byte, payload, length of the whole.
fn whole(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (head, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        length => (2, usize::from(length)),
    };
    Some((first, bytes.get(head..head + length)?, head + length))
}
