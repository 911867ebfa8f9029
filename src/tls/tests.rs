//! Sessions on sockets that take and give what the test likes, against the client of the same library.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};

use super::{Acceptor, Session};

/// The server's end of a socket: what the client sent, and what it is sent as far as there is room.
#[derive(Default)]
struct Pipe {
    inbound: VecDeque<u8>,
    outbound: VecDeque<u8>,
    room: usize,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.inbound.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { self.inbound.read(into) }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room.saturating_sub(self.outbound.len()));
        self.outbound.extend(&bytes[..taken]);
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A certificate in two files that are gone when the test is over.
struct Files {
    folder: tempfile::TempDir,
    trusted: RootCertStore,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("written");
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        let mut trusted = RootCertStore::empty();
        trusted.add(made.cert.der().clone()).expect("a root");
        Self { folder, trusted }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn acceptor(&self) -> Acceptor {
        Acceptor::load(&self.path("cert.pem"), &self.path("key.pem")).expect("good files")
    }

    fn client(&self) -> ClientConnection {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(self.trusted.clone()).with_no_client_auth();
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").expect("a name")).expect("a client")
    }
}

/// Both ends, and what each has got.
struct Pair {
    client: ClientConnection,
    session: Session,
    pipe: Pipe,
    at_server: Vec<u8>,
    at_client: Vec<u8>,
}

impl Pair {
    /// After the handshake.
    fn new(room: usize) -> Self {
        let files = Files::new();
        let (client, session) = (files.client(), files.acceptor().begin().expect("a session"));
        let pipe = Pipe { room, ..Pipe::default() };
        let mut pair = Self { client, session, pipe, at_server: Vec::new(), at_client: Vec::new() };
        while pair.client.is_handshaking() || !pair.session.is_established() || pair.session.has_outgoing() {
            pair.client_sends();
            pair.server_reads(1000);
            // As whoever waits for the socket to take more.
            let _ = pair.session.flush(&mut pair.pipe);
            pair.client_reads(usize::MAX);
        }
        pair.client_reads(usize::MAX);
        pair
    }

    fn client_sends(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.pipe.inbound).expect("memory takes everything");
        }
    }

    /// The client takes so many bytes of what was sent.
    fn client_reads(&mut self, most: usize) {
        let most = most.min(self.pipe.outbound.len());
        let mut taken: VecDeque<u8> = self.pipe.outbound.drain(..most).collect();
        while !taken.is_empty() {
            self.client.read_tls(&mut taken).expect("reads");
            self.client.process_new_packets().expect("good records");
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = self.client.reader().read(&mut buffer) {
                self.at_client.extend_from_slice(&buffer[..count]);
            }
        }
    }

    /// One read with so much room; what it says of the socket must hold.
    fn server_reads(&mut self, room: usize) {
        let mut buffer = vec![0; room];
        match self.session.read(&mut self.pipe, &mut buffer) {
            Ok(count) => {
                assert!(count == room || self.pipe.inbound.is_empty(), "a short read has emptied the socket");
                self.at_server.extend_from_slice(&buffer[..count]);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn bytes_arrive_whole_whatever_a_socket_takes(
        said in prop::collection::vec(any::<u8>(), 0..60_000),
        answered in prop::collection::vec(any::<u8>(), 1..60_000),
        steps in prop::collection::vec((1..20_000usize, 1..20_000usize, 1..30_000usize), 1..40),
        room in 200..40_000usize,
    ) {
        let mut pair = Pair::new(room);
        let (mut saying, mut written) = (&*said, 0);
        for (chunk, reads, takes) in steps.into_iter().cycle() {
            let now = saying.len().min(chunk);
            pair.client.writer().write_all(&saying[..now]).expect("buffered");
            saying = &saying[now..];
            pair.client_sends();
            pair.server_reads(reads);
            let offered = &answered[written..answered.len().min(written + chunk)];
            match pair.session.write(&mut pair.pipe, offered) {
                Ok(count) => written += count,
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            pair.client_reads(takes);
            if pair.at_server.len() == said.len() && written == answered.len() && pair.pipe.outbound.is_empty() {
                break;
            }
        }
        prop_assert!(pair.at_server == said, "what the client said");
        prop_assert!(pair.at_client == answered, "what it was answered");
        prop_assert_eq!(pair.session.kept_bytes(), 0, "nothing is kept when nothing is under way");
    }
}

#[test]
fn a_byte_is_called_written_when_the_socket_has_all_of_its_record() {
    let mut pair = Pair::new(3_000);
    pair.pipe.room = 500;
    let bytes = [7; 1000];
    let written = pair.session.write(&mut pair.pipe, &bytes).expect("takes some");
    assert_eq!(written, 999, "its record is under way");
    let blocked = pair.session.write(&mut pair.pipe, &bytes[written..]).expect_err("no room");
    assert_eq!(blocked.kind(), ErrorKind::WouldBlock);
    pair.client_reads(usize::MAX);
    let blocked = pair.session.write(&mut pair.pipe, &bytes[written..]).expect_err("no room for the rest of it");
    assert_eq!(blocked.kind(), ErrorKind::WouldBlock);
    pair.client_reads(usize::MAX);
    assert_eq!(pair.session.write(&mut pair.pipe, &bytes[written..]).expect("all is there"), 1);
    pair.client_reads(usize::MAX);
    assert_eq!(pair.at_client, bytes);
}

#[test]
fn an_end_is_said_and_heard() {
    let mut pair = Pair::new(usize::MAX);
    pair.session.say_goodbye(&mut pair.pipe).expect("room");
    pair.session.say_goodbye(&mut pair.pipe).expect("once is enough");
    pair.client_reads(usize::MAX);
    assert_eq!(pair.client.reader().read(&mut [0; 1]).expect("an orderly end"), 0);
    pair.client.writer().write_all(b"bye").expect("buffered");
    pair.client.send_close_notify();
    pair.client_sends();
    let mut buffer = [0; 10];
    assert_eq!(pair.session.read(&mut pair.pipe, &mut buffer).expect("its last words"), 3);
    assert!(pair.session.has_ended());
    assert_eq!(pair.session.read(&mut pair.pipe, &mut buffer).expect("the end"), 0);
}

#[test]
fn whoever_is_not_understood_is_told_with_an_alert() {
    let files = Files::new();
    let mut session = files.acceptor().begin().expect("a session");
    let mut pipe =
        Pipe { inbound: b"\x16\x03\x01\x00\x04\x0e\0\0\0".iter().copied().collect(), room: 1000, ..Pipe::default() };
    let error = session.read(&mut pipe, &mut [0; 10]).expect_err("what only servers say");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(pipe.outbound.front(), Some(&21), "RFC 8446 §5.1: an alert");
}

#[test]
fn what_a_session_takes_is_what_rustls_needs() {
    let bytes = size_of::<Session>();
    println!("a TLS session: {bytes} bytes, and what rustls keeps elsewhere");
    assert!(bytes <= 1600, "{bytes} bytes for every TLS connection");
}

#[test]
fn what_comes_with_the_end_of_a_handshake_is_heard() {
    let files = Files::new();
    let (client, session) = (files.client(), files.acceptor().begin().expect("a session"));
    let pipe = Pipe { room: usize::MAX, ..Pipe::default() };
    let mut pair = Pair { client, session, pipe, at_server: Vec::new(), at_client: Vec::new() };
    pair.client_sends();
    pair.server_reads(4096);
    pair.client_reads(usize::MAX);
    pair.client.writer().write_all(b"at once").expect("buffered");
    pair.client_sends();
    pair.server_reads(4096);
    assert!(pair.session.is_established());
    assert_eq!(pair.at_server, b"at once");
}
