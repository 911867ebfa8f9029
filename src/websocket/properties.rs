//! What holds for any stream and any way to cut it, and what a hostile client cannot do to memory or time.
//!
//! The random cases print their seed when they fail and keep it in `proptest-regressions`; `PROPTEST_CASES` asks for more.

use proptest::collection::vec;
use proptest::prelude::*;

use super::scripted::{BINARY, CLOSE, CONTINUATION, FIN, Got, PING, PONG, TEXT, frame, frame_masked, read};
use super::{Incoming, ReadError, Reader, Terms, frame as server_frame};

const MAX: usize = 4096;

/// One valid message as a client may send it: in fragments, with control frames between them.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<Got>)> {
    let payload = prop_oneof![
        "\\PC{0,60}".prop_map(Ok),
        vec(any::<char>(), 0..200).prop_map(|text| Ok(text.into_iter().collect::<String>())),
        vec(any::<u8>(), 0..700).prop_map(Err),
    ];
    let control = (prop_oneof![Just(PING), Just(PONG)], vec(any::<u8>(), 0..=125));
    let fragments = vec((any::<prop::sample::Index>(), prop::option::of(control)), 0..5);
    (payload, fragments, any::<[u8; 4]>()).prop_map(|(payload, fragments, mask)| {
        let (opcode, bytes, whole) = match payload {
            Ok(text) => (TEXT, text.clone().into_bytes(), Got::Text(text)),
            Err(bytes) => (BINARY, bytes.clone(), Got::Binary(bytes)),
        };
        let mut cuts: Vec<usize> = fragments.iter().map(|(cut, _)| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut stream, mut got, mut from) = (Vec::new(), Vec::new(), 0);
        for (i, (cut, (_, control))) in cuts.iter().zip(fragments).enumerate() {
            stream.extend(frame_masked(if i == 0 { opcode } else { CONTINUATION }, &bytes[from..*cut], mask));
            from = *cut;
            if let Some((kind, payload)) = control {
                stream.extend(frame_masked(FIN | kind, &payload, mask));
                got.push(if kind == PING { Got::Ping(payload) } else { Got::Pong(payload) });
            }
        }
        stream.extend(frame_masked(FIN | if cuts.is_empty() { opcode } else { CONTINUATION }, &bytes[from..], mask));
        got.push(whole);
        (stream, got)
    })
}

/// Cuts `stream` at `cuts`, in order.
fn pieces<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.sort_unstable();
    at.push(stream.len());
    let mut from = 0;
    at.into_iter().map(|to| &stream[std::mem::replace(&mut from, to)..to]).collect()
}

/// Bytes that look enough like frames to get past the header.
fn near_frames() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => (any::<u8>(), vec(any::<u8>(), 0..140)).prop_map(|(first, payload)| frame(first, &payload)),
        3 => (prop::sample::select(vec![0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a]), vec(any::<u8>(), 0..140))
            .prop_map(|(first, payload)| frame(first, &payload)),
        2 => (prop::sample::select(vec![0x01, 0x80, 0x81, 0x00]), "\\PC{0,20}")
            .prop_map(|(first, text)| frame(first, text.as_bytes())),
        1 => vec(any::<u8>(), 0..20),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_valid_stream_gives_its_messages_however_it_is_cut(
        messages in vec(message(), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<Got> = messages.into_iter().flat_map(|(_, got)| got).collect();
        for reading in [read([stream.as_slice()], MAX), read(pieces(&stream, &cuts), MAX), read(stream.chunks(1), MAX)] {
            prop_assert_eq!(&reading.messages, &expected);
            prop_assert_eq!(reading.error, None);
            prop_assert!(reading.idle);
        }
    }

    #[test]
    fn a_caller_that_stops_after_each_message_misses_nothing(messages in vec(message(), 1..6)) {
        let mut rest: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<Got> = messages.into_iter().flat_map(|(_, got)| got).collect();
        let (mut reader, mut got) = (Reader::default(), Vec::new());
        loop {
            let mut consumed = 0;
            let Some(incoming) = reader.next(&mut rest, &mut consumed, MAX.into()).unwrap() else { break };
            got.push(Got::from(incoming));
            rest.drain(..consumed);
        }
        prop_assert_eq!(got, expected);
        prop_assert_eq!(reader.memory(), 0);
    }

    #[test]
    fn any_bytes_give_the_same_verdict_however_they_are_cut(
        stream in prop_oneof![near_frames(), vec(any::<u8>(), 0..300)],
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = read([stream.as_slice()], 300);
        if let Some(error) = whole.error {
            prop_assert!([1002, 1007, 1009].contains(&error.close().code));
        }
        for pieces in [read(pieces(&stream, &cuts), 300), read(stream.chunks(1), 300)] {
            prop_assert_eq!(&pieces.messages, &whole.messages);
            prop_assert_eq!(pieces.error, whole.error);
        }
    }

    #[test]
    fn compressed_messages_are_read_however_they_are_fragmented_and_cut(
        texts in vec("[ab]{0,900}", 1..4),
        sizes in vec(1_usize..400, 1..5),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let terms = Terms { max_message: MAX, compressed: true };
        let stream: Vec<u8> = texts.iter().flat_map(|text| fragmented(text.as_bytes(), &sizes)).collect();
        let expected: Vec<Got> = texts.into_iter().map(Got::Text).collect();
        for reading in [read([stream.as_slice()], terms), read(pieces(&stream, &cuts), terms), read(stream.chunks(1), terms)] {
            prop_assert_eq!(&reading.messages, &expected);
            prop_assert_eq!(reading.error, None);
            prop_assert!(reading.idle);
        }
    }

    #[test]
    fn any_bytes_where_compression_was_agreed_give_the_same_verdict_however_they_are_cut(
        stream in prop_oneof![near_frames(), vec(any::<u8>(), 0..300)],
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let terms = Terms { max_message: 300, compressed: true };
        let whole = read([stream.as_slice()], terms);
        if let Some(error) = whole.error {
            prop_assert!([1002, 1007, 1009].contains(&error.close().code));
        }
        for pieces in [read(pieces(&stream, &cuts), terms), read(stream.chunks(1), terms)] {
            prop_assert_eq!(&pieces.messages, &whole.messages);
            prop_assert_eq!(pieces.error, whole.error);
        }
    }

    #[test]
    fn what_the_server_writes_is_read_back_once_masked(
        text in "\\PC{0,300}",
        length in prop_oneof![0..300_usize, 65_000..70_000_usize],
        step in any::<u8>(),
    ) {
        let bytes: Vec<u8> = (0..length).map(|i| (i as u8).wrapping_mul(step)).collect();
        let mut out = Vec::new();
        server_frame::write_text(&mut out, text.as_bytes());
        server_frame::write_ping(&mut out, &bytes[..bytes.len().min(125)]);
        server_frame::write_binary(&mut out, &bytes);
        let expected = [
            Got::Text(text),
            Got::Ping(bytes[..bytes.len().min(125)].to_vec()),
            Got::Binary(bytes),
        ];
        prop_assert_eq!(read([masked(&out).as_slice()], 1 << 17).messages, expected);
    }
}

/// A text as a compressed message in fragments of these sizes, in turn.
fn fragmented(text: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut whole = Vec::new();
    server_frame::write_compressed_text(&mut whole, text);
    let first = whole[0] & !FIN;
    let mut rest = server_frame::payload(&whole);
    let mut out = Vec::new();
    let mut sizes = sizes.iter().cycle();
    while let Some(&size) = sizes.next().filter(|_| !rest.is_empty() || out.is_empty()) {
        let (piece, more) = rest.split_at(size.min(rest.len()));
        let opcode = if out.is_empty() { first } else { CONTINUATION };
        out.extend(frame(if more.is_empty() { FIN | opcode } else { opcode }, piece));
        rest = more;
    }
    out
}

/// The server's frames as a client would send them: under the mask of zeros.
fn masked(mut frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [first, second, rest @ ..] = frames {
        let (length, size) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), 4),
            127 => (u64::from_be_bytes(*rest.first_chunk().unwrap()) as usize, 10),
            short => (usize::from(*short), 2),
        };
        out.extend([*first, 0x80 | second]);
        out.extend(&frames[2..size]);
        out.extend([0; 4]);
        out.extend(&frames[size..size + length]);
        frames = &frames[size + length..];
    }
    out
}

#[test]
fn a_whole_frame_is_borrowed_from_the_input_and_nothing_is_kept() {
    let mut input = [frame(FIN | TEXT, b"one"), frame(FIN | BINARY, b"two"), frame(FIN | CLOSE, b"")].concat();
    let range = input.as_ptr_range();
    let (mut reader, mut consumed) = (Reader::default(), 0);
    let Ok(Some(Incoming::Text(text))) = reader.next(&mut input, &mut consumed, MAX.into()) else { panic!("a text") };
    assert!(range.contains(&text.as_ptr()));
    assert_eq!(reader.memory(), 0);
    let Ok(Some(Incoming::Binary(bytes))) = reader.next(&mut input, &mut consumed, MAX.into()) else { panic!("bytes") };
    assert!(range.contains(&bytes.as_ptr()));
    assert_eq!((reader.memory(), size_of::<Reader>()), (0, 8));
}

#[test]
fn a_cut_header_is_forgotten_once_its_frame_has_come() {
    let bytes = frame(FIN | TEXT, b"hello");
    for cut in 1..bytes.len() {
        let (mut head, mut tail) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
        let mut reader = Reader::default();
        assert_eq!(reader.next(&mut head, &mut 0, MAX.into()), Ok(None));
        assert!(!reader.is_idle() && reader.memory() > 0);
        let mut consumed = 0;
        assert_eq!(reader.next(&mut tail, &mut consumed, MAX.into()), Ok(Some(Incoming::Text("hello"))));
        assert!(reader.is_idle(), "cut at {cut}");
        reader.release();
        assert_eq!(reader.memory(), 0, "cut at {cut}");
    }
}

#[test]
fn memory_grows_with_what_came_not_with_what_was_announced() {
    let mut reader = Reader::default();
    let mut bytes = frame(FIN | BINARY, &vec![7; 60_000]);
    assert_eq!(reader.next(&mut bytes[..8], &mut 0, 65_536.into()), Ok(None));
    let announced = reader.memory();
    assert!(announced < 256, "{announced} bytes for a promise");
    assert_eq!(reader.next(&mut bytes[8..1008], &mut 0, 65_536.into()), Ok(None));
    assert!(reader.memory() < 256 + 2 * 1000);
    assert!(reader.next(&mut bytes[1008..], &mut 0, 65_536.into()).unwrap().is_some());
    reader.release();
    assert_eq!(reader.memory(), 0);
}

#[test]
fn the_limit_holds_for_the_sum_of_fragments_and_is_known_from_the_header() {
    let too_big = |length| Err(ReadError::TooBig { length, limit: 100 });
    let mut whole = frame(FIN | BINARY, &[0; 100]);
    assert!(Reader::default().next(&mut whole, &mut 0, 100.into()).unwrap().is_some());
    let mut head_only = frame(FIN | BINARY, &[0; 101])[..2].to_vec();
    assert_eq!(Reader::default().next(&mut head_only, &mut 0, 100.into()), too_big(101));

    let mut reader = Reader::default();
    let mut stream = [frame(TEXT, &[b'a'; 60]), frame(CONTINUATION, "ä".repeat(20).as_bytes())].concat();
    assert_eq!(reader.next(&mut stream, &mut 0, 100.into()), Ok(None));
    assert_eq!(reader.next(&mut [CONTINUATION, 0x81], &mut 0, 100.into()), too_big(101));
    assert_eq!(reader.memory(), 0, "a refused message is freed");
}

#[test]
fn empty_fragments_cost_their_sender_only() {
    let mut reader = Reader::default();
    let mut flood = [frame(TEXT, b""), frame(CONTINUATION, b"").repeat(100_000)].concat();
    assert_eq!(reader.next(&mut flood, &mut 0, MAX.into()), Ok(None));
    assert!(reader.memory() < 256);
    let mut end = frame(FIN | CONTINUATION, b"end");
    assert_eq!(reader.next(&mut end, &mut 0, MAX.into()), Ok(Some(Incoming::Text("end"))));
}

#[test]
fn a_reader_fed_on_after_a_refusal_does_not_panic() {
    let mut reader = Reader::default();
    let mut bad = frame(TEXT, b"\xf4\x90\x80\x80");
    for piece in bad.chunks_mut(1) {
        let _ = reader.next(piece, &mut 0, MAX.into());
    }
    assert!(reader.next(&mut [0xff; 64], &mut 0, MAX.into()).is_err());
    assert_eq!(reader.next(&mut [], &mut 5, MAX.into()), Ok(None), "a position past the end is the end");
}
