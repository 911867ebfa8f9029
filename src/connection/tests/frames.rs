//! Frames that cannot be served are answered, counted, and at some point too many.

use std::time::Duration;

use serde_json::json;

use super::{Bench, failure};
use crate::{
    connection::Opening,
    protocol::{
        close::Close,
        encoding::{Encoding, Payload, msgpack_from_json},
    },
    shard::Mail,
};

#[test]
fn a_frame_of_the_wrong_kind_is_told_which_kind_is_right() {
    let mut bench = Bench::ready(&[]);
    let effects = bench.run(Mail::Frame(Payload::Binary(&msgpack_from_json(br#"{"op":"whoami","id":1}"#))));
    effects.says([failure(None, "bad_frame")]).closes(None);
    assert!(effects.frames[0]["message"].as_str().expect("text").contains("JSON in text frames"));

    let mut bench = Bench::new();
    bench.record.encoding = Encoding::Msgpack;
    let effects = bench.frame(r#"{"op":"heartbeat"}"#);
    effects.says([failure(None, "bad_frame")]).closes(None);
    assert!(effects.frames[0]["message"].as_str().expect("text").contains("MessagePack in binary frames"));
}

#[test]
fn what_is_wrong_with_a_frame_decides_its_code_and_whether_it_is_answered_by_its_id() {
    let table = [
        ("rubbish", None, "bad_frame"),
        ("", None, "bad_frame"),
        ("[]", None, "bad_frame"),
        (r#"{"op":"whoami","id":1"#, None, "bad_frame"),
        (r#"{"op":"publsh","id":7}"#, Some(7), "unknown_op"),
        (r#"{"op":"publsh"}"#, None, "unknown_op"),
        (r#"{"id":7}"#, Some(7), "bad_request"),
        (r#"{"op":5,"id":7}"#, Some(7), "bad_request"),
        (r#"{"op":"subscribe","id":7}"#, Some(7), "bad_request"),
        (r#"{"op":"subscribe","id":7,"channel":"a b"}"#, Some(7), "bad_request"),
        (r#"{"op":"subscribe","id":7,"channel":""}"#, Some(7), "bad_request"),
        (r#"{"op":"subscribe","channel":3}"#, None, "bad_request"),
        (r#"{"op":"publish","id":7,"channel":"a"}"#, Some(7), "bad_request"),
        (r#"{"op":"status","id":7,"status":"asleep"}"#, Some(7), "bad_request"),
        (r#"{"op":"whoami","id":"seven"}"#, None, "bad_request"),
    ];
    for (frame, id, code) in table {
        let mut bench = Bench::ready(&[]);
        let effects = bench.frame(frame);
        effects.says([failure(id, code)]).asks(&[]).closes(None);
        let counted = u16::from(code == "bad_frame");
        assert_eq!(bench.record.bad_frames, counted, "only undecodable frames are counted: {frame}");
        let told = id.map_or(&effects.frames[0]["retry"], |_| &effects.frames[0]["error"]["retry"]);
        assert_eq!(*told, "never", "{frame}");
    }
}

#[test]
fn more_bad_frames_in_a_minute_than_allowed_close_the_connection() {
    let mut bench = Bench::ready(&[]);
    for _ in 0..16 {
        bench.frame("rubbish").says([failure(None, "bad_frame")]).closes(None);
    }
    bench.frame(r#"{"op":"nonsense"}"#).closes(None);
    bench.frame("rubbish").says([failure(None, "bad_frame")]).closes(Some(Close::PROTOCOL_VIOLATION));
}

#[test]
fn a_new_minute_forgets_bad_frames() {
    let mut bench = Bench::ready(&[]);
    for _ in 0..5 {
        for _ in 0..16 {
            bench.frame("rubbish").closes(None);
        }
        bench.pass(Duration::from_secs(60));
    }
}

#[test]
fn an_unidentified_connection_has_no_more_bad_frames() {
    let mut bench = Bench::new();
    let opening = Opening { encoding: Some(Encoding::Json), token: None, subscribe: Vec::new() };
    bench.run(Mail::Opened(&opening));
    let since = bench.record.since_ms;
    for _ in 0..16 {
        bench.frame("rubbish").closes(None);
        bench.pass(Duration::from_millis(500));
    }
    assert_eq!(bench.record.since_ms, since, "rubbish does not put identify off");
    bench.frame("rubbish").closes(Some(Close::PROTOCOL_VIOLATION));
}

#[test]
fn unknown_fields_are_ignored() {
    let mut bench = Bench::ready(&[]);
    let effects = bench.frame(r#"{"op":"whoami","id":1,"colour":"blue","nested":{"a":[1]}}"#);
    effects.says([json!({"op": "reply", "id": 1, "ok": {"user": "ann"}})]);
}
