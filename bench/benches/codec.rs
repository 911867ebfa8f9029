//! Our frame codec beside its peers, in one run: time per message and bytes per idle connection, as Markdown.
//!
//! Run by hand: `cargo bench -p dormouse-bench --bench codec`. Every peer reads the same bytes, through one copy out of a
//! buffer (which stands for the `read` of a socket), joins fragments and ends with checked text. Samples of the peers
//! alternate, so that a slow moment of the machine hits all; ratios are taken within a round. No socket, no server.

#![expect(clippy::expect_used, reason = "a measurement that cannot go on says where and stops")]

use std::future::Future;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use actix_codec::{Decoder as _, Framed};
use actix_http::ws::{Codec, Frame as ActixFrame, Item, OpCode as ActixOpCode, Parser};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use dormouse::clock::Clock;
use dormouse::websocket::{Incoming, Reader, Terms, frame};
use fastwebsockets::{FragmentCollector, Frame as FastFrame, Payload, Role as FastRole, WebSocket as FastWebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::{Frame as TungsteniteFrame, coding};
use tungstenite::protocol::{Role, WebSocket as Tungstenite};

/// The server's allocator, for all.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 31;
const SAMPLE_BYTES: usize = 8 << 20;
const TERMS: Terms = Terms { max_message: 65_536, compressed: false };
const IDLE_CONNECTIONS: usize = 10_000;
const PEERS: [&str; 4] = ["dormouse", "tungstenite 0.30", "fastwebsockets 0.10", "actix-http 3"];

/// What a publish of the protocol looks like, padded to the length the other measurements use.
const TEXT: &[u8; 98] =
    br#"{"op":"publish","id":4711,"channel":"chat:lobby","data":{"text":"hello, this is dormouse, 98 b"}}."#;

fn main() {
    let binary = vec![0xa5; 16_384];
    let text = "Mäuse schlafen. ".repeat(1024).into_bytes();
    let text = &text[..text.len() - text.len() % 17];
    println!("\n| read, ns per message | {} |\n|---|--:|--:|--:|--:|", PEERS.join(" | "));
    reading("98-byte text, 64 KiB of them in a read", &masked(0x81, TEXT).repeat(630), 630, usize::MAX);
    reading("98-byte text, one in a read", &masked(0x81, TEXT), 1, usize::MAX);
    reading("16 KiB binary in one read", &masked(0x82, &binary), 1, usize::MAX);
    reading("16 KiB binary in reads of 1,460 bytes", &masked(0x82, &binary), 1, 1460);
    reading("17 KiB text in fragments of 1 KiB", &fragmented(text, 1024), 1, usize::MAX);
    reading("98-byte text in fragments of 10 bytes", &fragmented(TEXT, 10).repeat(100), 100, usize::MAX);
    println!("\n| write, ns per frame | {} |\n|---|--:|--:|--:|--:|", PEERS.join(" | "));
    writing("98-byte text", TEXT);
    writing("16 KiB binary", &binary);
    println!("\n| utf-8 check alone, ns | simdutf8 | std |\n|---|--:|--:|");
    checking("98 bytes, ASCII", TEXT);
    checking("98 bytes, German", &"Mäuse schlafen. ".repeat(6).as_bytes()[..98]);
    checking("17 KiB, German", text);
    println!(
        "\n| bytes per idle connection, one message read before | in the struct | all (PSS growth) |\n|---|--:|--:|"
    );
    idle_bytes();
}

/// A client's frame.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A text message in fragments of `size` bytes.
fn fragmented(text: &[u8], size: usize) -> Vec<u8> {
    let last = text.len().div_ceil(size) - 1;
    let first = |i| if i == last { 0x80 } else { 0 } | u8::from(i == 0);
    text.chunks(size).enumerate().flat_map(|(i, piece)| masked(first(i), piece)).collect()
}

/// Copies between buffers at the same place in their pages are several times slower on some processors, and the
/// allocator would put them there: hence bytes are read from elsewhere in a page than they are copied to.
const OFF_PAGE: usize = 1096;

fn off_page(bytes: &[u8]) -> Vec<u8> {
    [&[0; OFF_PAGE], bytes].concat()
}

/// Gives the same bytes again and again, at most `piece` at a time; takes whatever is written.
struct Replay<'a> {
    bytes: &'a [u8],
    at: usize,
    piece: usize,
}

impl<'a> Replay<'a> {
    fn new(bytes: &'a [u8], piece: usize) -> Self {
        Self { bytes, at: 0, piece }
    }

    fn next(&mut self, room: usize) -> &'a [u8] {
        let size = (self.bytes.len() - self.at).min(room).min(self.piece);
        let bytes = &self.bytes[self.at..self.at + size];
        self.at = (self.at + size) % self.bytes.len();
        bytes
    }
}

impl Read for Replay<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.next(into.len());
        into[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Replay<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Replay<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let bytes = self.next(into.remaining());
        into.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The replay is never pending, so one poll is enough.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the replay is never pending"),
    }
}

/// One table row: `stream` holds `messages` messages and is read over and over.
fn reading(name: &str, stream: &[u8], messages: usize, piece: usize) {
    let stream = &off_page(stream)[OFF_PAGE..];
    let times = SAMPLE_BYTES.div_ceil(stream.len().max(1024));
    let mut reader = Reader::default();
    let mut scratch = vec![0; 65_536];
    let mut tungstenite = Tungstenite::from_raw_socket(Replay::new(stream, piece), Role::Server, None);
    let mut fast = FragmentCollector::new(FastWebSocket::after_handshake(Replay::new(stream, piece), FastRole::Server));
    let (mut codec, mut buffer, mut joined) = (Codec::new(), BytesMut::new(), Vec::new());
    row(
        name,
        times * messages,
        [
            &mut || {
                let mut read = 0;
                for _ in 0..times {
                    for bytes in stream.chunks(piece.min(scratch.len())) {
                        let input = &mut scratch[..bytes.len()];
                        input.copy_from_slice(bytes);
                        let mut consumed = 0;
                        while let Some(message) = reader.next(input, &mut consumed, TERMS).expect("valid frames") {
                            black_box(matches!(message, Incoming::Text(_)));
                            black_box(&message);
                            read += 1;
                        }
                    }
                }
                assert_eq!(read, times * messages);
            },
            &mut || {
                for _ in 0..times * messages {
                    black_box(tungstenite.read().expect("valid frames"));
                }
            },
            &mut || {
                for _ in 0..times * messages {
                    black_box(now(fast.read_frame()).expect("valid frames").payload.len());
                }
            },
            &mut || {
                let mut read = 0;
                for _ in 0..times {
                    for bytes in stream.chunks(piece.min(65_536)) {
                        buffer.extend_from_slice(bytes);
                        while let Some(frame) = codec.decode(&mut buffer).expect("valid frames") {
                            read += usize::from(joins(&mut joined, frame));
                        }
                    }
                }
                assert_eq!(read, times * messages);
            },
        ],
    );
}

/// actix-http leaves the joining of fragments and the check of text to its user; done here as its users do it. Says
/// whether a message is whole.
fn joins(joined: &mut Vec<u8>, frame: ActixFrame) -> bool {
    match frame {
        ActixFrame::Text(text) => black_box(ByteString::try_from(text).is_ok()),
        ActixFrame::Continuation(Item::FirstText(bytes) | Item::Continue(bytes)) => {
            joined.extend_from_slice(&bytes);
            false
        }
        ActixFrame::Continuation(Item::Last(bytes)) => {
            joined.extend_from_slice(&bytes);
            black_box(String::from_utf8(std::mem::take(joined)).is_ok())
        }
        other => {
            black_box(other);
            true
        }
    }
}

fn writing(name: &str, payload: &[u8]) {
    let payload = &off_page(payload)[OFF_PAGE..];
    let text = payload.len() < 126;
    let times = SAMPLE_BYTES / payload.len().max(512);
    let shared = Bytes::from(off_page(payload)).slice(OFF_PAGE..);
    let (mut ours, mut theirs, mut fast) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = BytesMut::new();
    row(
        name,
        times,
        [
            &mut || {
                for _ in 0..times {
                    ours.clear();
                    if text {
                        frame::write_text(&mut ours, payload)
                    } else {
                        frame::write_binary(&mut ours, payload)
                    }
                    black_box(ours.as_slice());
                }
            },
            &mut || {
                let kind = coding::OpCode::Data(if text { coding::Data::Text } else { coding::Data::Binary });
                for _ in 0..times {
                    theirs.clear();
                    TungsteniteFrame::message(shared.clone(), kind, true).format(&mut theirs).expect("a Vec takes all");
                    black_box(theirs.as_slice());
                }
            },
            &mut || {
                for _ in 0..times {
                    let payload = Payload::Borrowed(payload);
                    let mut frame = if text { FastFrame::text(payload) } else { FastFrame::binary(payload) };
                    black_box(frame.write(&mut fast));
                }
            },
            &mut || {
                let kind = if text { ActixOpCode::Text } else { ActixOpCode::Binary };
                for _ in 0..times {
                    buffer.clear();
                    Parser::write_message(&mut buffer, &shared, kind, true, false);
                    black_box(&buffer[..]);
                }
            },
        ],
    );
}

fn checking(name: &str, text: &[u8]) {
    let times = SAMPLE_BYTES / text.len().max(512);
    row(
        name,
        times,
        [
            &mut || {
                for _ in 0..times {
                    black_box(simdutf8::basic::from_utf8(black_box(text)).is_ok());
                }
            },
            &mut || {
                for _ in 0..times {
                    black_box(std::str::from_utf8(black_box(text)).is_ok());
                }
            },
        ],
    );
}

/// Measures the contestants in turn and prints their medians; the first is what the others are compared with.
fn row<const N: usize>(name: &str, operations: usize, mut contestants: [&mut dyn FnMut(); N]) {
    let clock = Clock::start();
    let mut samples = [const { Vec::<f64>::new() }; N];
    let mut ratios = [const { Vec::<f64>::new() }; N];
    for round in 0..=ROUNDS {
        let times: [f64; N] = std::array::from_fn(|i| {
            let start = clock.elapsed();
            contestants[i]();
            (clock.elapsed() - start).as_nanos() as f64 / operations as f64
        });
        // The first round warms caches and branch predictors.
        for i in (0..N).filter(|_| round > 0) {
            samples[i].push(times[i]);
            ratios[i].push(times[i] / times[0]);
        }
    }
    let cells: Vec<String> = (0..N)
        .map(|i| match i {
            0 => format!("**{:.1}**", median(&mut samples[i])),
            _ => format!("{:.1} ({:.1}×)", median(&mut samples[i]), median(&mut ratios[i])),
        })
        .collect();
    println!("| {name} | {} |", cells.join(" | "));
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What is left of each codec once a message has been read and nothing more comes; all are kept to the end, so that none
/// is given the memory another freed.
fn idle_bytes() {
    let stream = masked(0x81, TEXT);
    let source = || Replay::new(&stream, usize::MAX);
    let per_source = size_of::<Replay<'_>>();
    let ours = kept(PEERS[0], size_of::<Reader>(), 0, || {
        let mut reader = Reader::default();
        reader.next(&mut stream.clone(), &mut 0, TERMS).expect("a valid frame");
        reader
    });
    let tungstenite = kept(PEERS[1], size_of::<Tungstenite<Replay<'_>>>() - per_source, per_source, || {
        let mut socket = Tungstenite::from_raw_socket(source(), Role::Server, None);
        socket.read().expect("a valid frame");
        socket
    });
    let fast = kept(PEERS[2], size_of::<FragmentCollector<Replay<'_>>>() - per_source, per_source, || {
        let mut socket = FragmentCollector::new(FastWebSocket::after_handshake(source(), FastRole::Server));
        drop(now(socket.read_frame()).expect("a valid frame"));
        socket
    });
    let framed_name = format!("{} (`Framed`)", PEERS[3]);
    let framed = kept(&framed_name, size_of::<Framed<Replay<'_>, Codec>>() - per_source, per_source, || {
        let mut framed = Framed::new(source(), Codec::new());
        let _ = Pin::new(&mut framed).next_item(&mut Context::from_waker(Waker::noop()));
        framed
    });
    drop((ours, tungstenite, fast, framed));
}

fn kept<T>(name: &str, in_struct: usize, not_theirs: usize, mut connection: impl FnMut() -> T) -> Vec<T> {
    // What the first one sets up for all is not counted.
    let first = connection();
    let before = resident();
    let connections: Vec<T> = (0..IDLE_CONNECTIONS).map(|_| connection()).collect();
    let each = resident().saturating_sub(before) / IDLE_CONNECTIONS;
    drop(first);
    println!("| {name} | {in_struct} | {} |", each.saturating_sub(not_theirs));
    connections
}

/// Bytes of memory this process has to itself. (`VmRSS` is counted in steps too coarse for the smallest of them.)
fn resident() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).expect("a Pss line");
    1024 * line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number")
}
