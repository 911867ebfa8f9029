//! The rules of RFC 6455 as a table, in the sections of the public Autobahn suite (1–7 and 10): each stream of frames is
//! read whole, byte by byte and in awkward pieces, and must give the same messages and the same end each time.

use super::ReadError;
use super::scripted::{BINARY, CLOSE, CONTINUATION, FIN, Got, PING, PONG, Reading, TEXT, frame, read};

const MAX: usize = 1 << 20;

/// Reads `stream` in pieces of many sizes; all must agree.
fn read_any_way(stream: &[u8]) -> Reading {
    let whole = read([stream], MAX);
    for size in [1, 2, 3, 5, 7, 13, 64, 997] {
        let pieces = read(stream.chunks(size), MAX);
        assert_eq!((&pieces.messages, pieces.error), (&whole.messages, whole.error), "in pieces of {size}");
        assert_eq!(pieces.idle, whole.idle, "in pieces of {size}");
    }
    whole
}

#[track_caller]
fn accepted(case: &str, frames: &[Vec<u8>], messages: &[Got]) {
    let reading = read_any_way(&frames.concat());
    assert_eq!((reading.messages.as_slice(), reading.error), (messages, None), "case {case}");
    assert!(reading.idle, "case {case} leaves nothing behind");
}

#[track_caller]
fn refused(case: &str, frames: &[Vec<u8>], messages: &[Got], error: ReadError) {
    let reading = read_any_way(&frames.concat());
    assert_eq!((reading.messages.as_slice(), reading.error), (messages, Some(error)), "case {case}");
}

fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

fn ping(payload: &[u8]) -> Got {
    Got::Ping(payload.to_vec())
}

fn pong(payload: &[u8]) -> Got {
    Got::Pong(payload.to_vec())
}

#[test]
fn section_1_messages_of_every_form_of_length() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = vec![b'*'; length];
        accepted(&format!("1.1 {length}"), &[frame(FIN | TEXT, &payload)], &[text(&"*".repeat(length))]);
        let payload = vec![0xfe; length];
        accepted(&format!("1.2 {length}"), &[frame(FIN | BINARY, &payload)], &[Got::Binary(payload)]);
    }
}

#[test]
fn section_2_pings_and_pongs() {
    let binary = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    accepted("2.1", &[frame(FIN | PING, b"")], &[ping(b"")]);
    accepted("2.2", &[frame(FIN | PING, b"Hello, world!")], &[ping(b"Hello, world!")]);
    accepted("2.3", &[frame(FIN | PING, &binary)], &[ping(&binary)]);
    accepted("2.4", &[frame(FIN | PING, &[0xfe; 125])], &[ping(&[0xfe; 125])]);
    refused("2.5", &[frame(FIN | PING, &[0xfe; 126])], &[], ReadError::LongControl);
    accepted("2.7", &[frame(FIN | PONG, b"")], &[pong(b"")]);
    accepted("2.8", &[frame(FIN | PONG, b"unsolicited")], &[pong(b"unsolicited")]);
    accepted("2.9", &[frame(FIN | PONG, b"a"), frame(FIN | PING, b"b")], &[pong(b"a"), ping(b"b")]);
    let pings: Vec<_> = (0..10).map(|i| frame(FIN | PING, &[i])).collect();
    accepted("2.10", &pings, &(0..10).map(|i| ping(&[i])).collect::<Vec<_>>());
}

#[test]
fn section_3_reserved_bits() {
    let hello = || frame(FIN | TEXT, b"Hello, world!");
    for bits in 1..=7 {
        let stream = [hello(), frame(FIN | bits << 4 | TEXT, b"Hello, world!"), frame(FIN | PING, b"")];
        refused(&format!("3.{bits}"), &stream, &[text("Hello, world!")], ReadError::ReservedBits);
        refused(&format!("3.{bits} binary"), &[frame(FIN | bits << 4 | BINARY, b"x")], &[], ReadError::ReservedBits);
        refused(&format!("3.{bits} ping"), &[frame(FIN | bits << 4 | PING, b"x")], &[], ReadError::ReservedBits);
        refused(&format!("3.{bits} close"), &[frame(FIN | bits << 4 | CLOSE, b"")], &[], ReadError::ReservedBits);
    }
}

#[test]
fn section_4_unknown_opcodes() {
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        let hello = frame(FIN | TEXT, b"Hello, world!");
        let stream = [hello, frame(FIN | opcode, b"some payload"), frame(FIN | PING, b"")];
        refused(&format!("4 opcode {opcode}"), &stream, &[text("Hello, world!")], ReadError::UnknownOpcode(opcode));
        refused(&format!("4 empty {opcode}"), &[frame(FIN | opcode, b"")], &[], ReadError::UnknownOpcode(opcode));
        refused(&format!("4 open {opcode}"), &[frame(opcode, b"")], &[], ReadError::UnknownOpcode(opcode));
    }
}

#[test]
fn section_5_fragments_with_control_frames_between() {
    let first = || frame(TEXT, b"fragment1");
    let last = || frame(FIN | CONTINUATION, b"fragment2");
    let joined = || text("fragment1fragment2");
    refused("5.1", &[frame(PING, b"frag"), frame(FIN | CONTINUATION, b"ment")], &[], ReadError::FragmentedControl);
    refused("5.2", &[frame(PONG, b"frag"), frame(FIN | CONTINUATION, b"ment")], &[], ReadError::FragmentedControl);
    accepted("5.3", &[first(), last()], &[joined()]);
    accepted("5.6", &[first(), frame(FIN | PING, b"ping"), last()], &[ping(b"ping"), joined()]);
    let unexpected = ReadError::UnexpectedContinuation;
    refused("5.9", &[frame(FIN | CONTINUATION, b"non-continuation"), frame(FIN | TEXT, b"Hello")], &[], unexpected);
    refused("5.12", &[frame(CONTINUATION, b"non-continuation"), frame(FIN | TEXT, b"Hello")], &[], unexpected);
    refused("5.15", &[first(), last(), frame(CONTINUATION, b"fragment3")], &[joined()], unexpected);
    refused("5.18", &[first(), frame(FIN | TEXT, b"fragment2")], &[], ReadError::InterruptedMessage);
    refused("5.18 binary", &[first(), frame(BINARY, b"fragment2")], &[], ReadError::InterruptedMessage);
    let five = |i: u8| frame(if i == 5 { FIN | CONTINUATION } else { CONTINUATION }, &[b'0' + i]);
    let stream = [
        frame(TEXT, b"1"),
        five(2),
        frame(FIN | PING, b"pongme 1!"),
        five(3),
        five(4),
        frame(FIN | PING, b"pongme 2!"),
        frame(FIN | PONG, b""),
        five(5),
    ];
    accepted("5.19", &stream, &[ping(b"pongme 1!"), ping(b"pongme 2!"), pong(b""), text("12345")]);
    let ping_after = [first(), last(), frame(FIN | PING, b""), frame(FIN | BINARY, b"next")];
    accepted("5.20", &ping_after, &[joined(), ping(b""), Got::Binary(b"next".to_vec())]);
    let empty = [frame(TEXT, b""), frame(CONTINUATION, b""), frame(FIN | CONTINUATION, b"")];
    accepted("6.1.2", &empty, &[text("")]);
    let middle = [frame(TEXT, b""), frame(CONTINUATION, b"middle"), frame(FIN | CONTINUATION, b"")];
    accepted("6.1.3", &middle, &[text("middle")]);
    let closing = [first(), frame(FIN | CLOSE, &1000u16.to_be_bytes())];
    let reading = read_any_way(&closing.concat());
    assert_eq!((reading.messages, reading.error), (vec![Got::Close(Some((1000, String::new())))], None));
}

/// Everything that is a character somewhere: the edges of each width, and no surrogate.
const GOOD_TEXT: [&str; 12] = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\0",
    "\u{7f}",
    "\u{80}\u{7ff}",
    "\u{800}\u{ffff}",
    "\u{10000}\u{10ffff}",
    "\u{d7ff}\u{e000}",
    "\u{fffd}",
    "\u{fffe}\u{1fffe}\u{10fffe}",
    "日本語 и кириллица",
    "🐭🐁👩‍👩‍👧",
];

const BAD_TEXT: [&[u8]; 21] = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80",
    b"\xc0 \xc1 ",
    b"\xe0 \xe1 ",
    b"\xf0 \xf1 ",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\xbd\xed\xb2\xa9",
    b"\xf4\x90\x80\x80",
];

#[test]
fn section_6_text_is_utf_8_across_fragments() {
    for good in GOOD_TEXT {
        accepted(good, &[frame(FIN | TEXT, good.as_bytes())], &[text(good)]);
        for cut in 0..=good.len() {
            let (head, tail) = good.as_bytes().split_at(cut);
            let stream = [frame(TEXT, head), frame(FIN | PING, b""), frame(FIN | CONTINUATION, tail)];
            accepted(&format!("{good} cut at {cut}"), &stream, &[ping(b""), text(good)]);
        }
        // A text that ends inside its last character.
        let last = good.char_indices().last().unwrap().0;
        for cut in last + 1..good.len() {
            let cut_off = &good.as_bytes()[..cut];
            refused(good, &[frame(FIN | TEXT, cut_off)], &[], ReadError::BadText);
            refused(good, &[frame(TEXT, cut_off), frame(FIN | CONTINUATION, b"")], &[], ReadError::BadText);
        }
    }
    for bad in BAD_TEXT {
        let case = format!("{bad:x?}");
        refused(&case, &[frame(FIN | TEXT, bad)], &[], ReadError::BadText);
        for cut in 0..=bad.len() {
            let (head, tail) = bad.split_at(cut);
            refused(&case, &[frame(TEXT, head), frame(FIN | CONTINUATION, tail)], &[], ReadError::BadText);
        }
        accepted(&case, &[frame(FIN | BINARY, bad)], &[Got::Binary(bad.to_vec())]);
    }
}

#[test]
fn section_6_4_bad_text_is_refused_with_the_byte_that_makes_it_bad() {
    let start = "κόσμε".as_bytes();
    // 6.4.1: the fragment with the bad bytes is enough, its successor is not waited for.
    let stream = [frame(TEXT, start), frame(CONTINUATION, b"\xf4\x90\x80\x80"), frame(FIN | CONTINUATION, b"edited")];
    let reading = read(stream.iter().map(Vec::as_slice), MAX);
    assert_eq!((reading.error, reading.seen), (Some(ReadError::BadText), stream[0].len() + stream[1].len()));
    // 6.4.3: so is a piece of a frame.
    let whole = frame(FIN | TEXT, &[start, b"\xf4\x90\x80\x80edited"].concat());
    let reading = read(whole.chunks(1), MAX);
    assert_eq!((reading.error, reading.seen), (Some(ReadError::BadText), 6 + start.len() + 2));
}

#[test]
fn section_7_close_frames() {
    let close = |payload: &[u8]| [frame(FIN | CLOSE, payload)];
    let code = |code: u16| Got::Close(Some((code, String::new())));
    accepted("7.1.2", &[frame(FIN | CLOSE, b""), frame(FIN | CLOSE, b"")], &[Got::Close(None)]);
    accepted("7.1.3", &[frame(FIN | CLOSE, b""), frame(FIN | PING, b"")], &[Got::Close(None)]);
    accepted("7.3.1", &close(b""), &[Got::Close(None)]);
    refused("7.3.2", &close(b"a"), &[], ReadError::HalfCloseCode);
    accepted("7.3.3", &close(b"\x03\xe8"), &[code(1000)]);
    accepted("7.3.4", &close(b"\x03\xe8Hello"), &[Got::Close(Some((1000, "Hello".to_owned())))]);
    let longest = [b"\x03\xe8".as_slice(), &[b'*'; 123]].concat();
    accepted("7.3.5", &close(&longest), &[Got::Close(Some((1000, "*".repeat(123))))]);
    refused("7.3.6", &close(&[longest, b"*".to_vec()].concat()), &[], ReadError::LongControl);
    refused("7.5.1", &close(b"\x03\xe8\xce\xba\xed\xa0\x80"), &[], ReadError::BadCloseReason);
    refused("7.5 cut", &close(b"\x03\xe8\xce"), &[], ReadError::BadCloseReason);
    for good in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        accepted(&format!("7.7 {good}"), &close(&u16::to_be_bytes(good)), &[code(good)]);
    }
    for bad in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        refused(&format!("7.9 {bad}"), &close(&u16::to_be_bytes(bad)), &[], ReadError::BadCloseCode(bad));
    }
}

#[test]
fn section_10_a_large_message_in_many_fragments() {
    let payload = vec![b'*'; 65_536];
    let mut frames: Vec<_> = payload.chunks(1300).map(|piece| frame(CONTINUATION, piece)).collect();
    frames[0][0] = TEXT;
    frames.last_mut().unwrap()[0] = FIN | CONTINUATION;
    accepted("10.1.1", &frames, &[text(&"*".repeat(65_536))]);
}

#[test]
fn frames_without_a_mask_are_refused() {
    refused("§5.1", &[vec![FIN | TEXT, 2, b'h', b'i']], &[], ReadError::NotMasked);
    refused("§5.1 empty ping", &[vec![FIN | PING, 0]], &[], ReadError::NotMasked);
}

#[test]
fn every_refusal_names_its_close_code_and_says_why() {
    let rows = [
        (ReadError::ReservedBits, 1002, "reserved bits are set"),
        (ReadError::UnknownOpcode(11), 1002, "opcode 11 is unknown"),
        (ReadError::NotMasked, 1002, "frame is not masked"),
        (ReadError::FragmentedControl, 1002, "control frame is fragmented"),
        (ReadError::LongControl, 1002, "control frame is longer than 125 bytes"),
        (ReadError::UnexpectedContinuation, 1002, "continuation frame without a message"),
        (ReadError::InterruptedMessage, 1002, "new message begins inside a fragmented one"),
        (ReadError::LengthNotMinimal, 1002, "length is not in its shortest form"),
        (ReadError::LengthOutOfRange, 1002, "length has its highest bit set"),
        (ReadError::HalfCloseCode, 1002, "close frame has half a code"),
        (ReadError::BadCloseCode(1005), 1002, "close code 1005 is not allowed"),
        (ReadError::BadCloseReason, 1007, "close reason is not utf-8"),
        (ReadError::BadText, 1007, "text is not utf-8"),
        (ReadError::TooBig { length: 11, limit: 10 }, 1009, "message of 11 bytes or more is over the limit of 10"),
    ];
    for (error, code, says) in rows {
        assert_eq!((error.close().code, error.to_string().as_str()), (code, says));
    }
}
