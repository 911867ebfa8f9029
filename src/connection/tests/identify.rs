//! From `hello` to `ready`: who may come in, and what a client brings along.

use serde_json::json;

use super::{Bench, HOUR_S, failure};
use crate::{
    channel::{Answer, Purpose},
    connection::{Opening, record::Phase},
    id::{ConnectionId, Epoch, SessionToken},
    protocol::{
        close::Close,
        encoding::{Encoding, Payload, msgpack_from_json},
        error::{ErrorCode, Fault},
    },
    shard::Mail,
};

fn opening() -> Opening {
    Opening { encoding: Some(Encoding::Json), token: None, subscribe: Vec::new() }
}

#[test]
fn hello_comes_first_and_holds_what_a_client_must_know() {
    let mut bench = Bench::new();
    let hello = json!({
        "op": "hello", "heartbeat_ms": 45_000, "identify_within_ms": 10_000, "max_frame_bytes": 65_536, "node": "n1",
        "version": env!("CARGO_PKG_VERSION"),
    });
    bench.run(Mail::Opened(&opening())).says([hello]).asks(&[]).closes(None);
    assert_eq!(bench.record.phase, Phase::Unidentified);
}

#[test]
fn only_unknown_encodings_offered_is_told_after_hello() {
    let mut bench = Bench::new();
    let effects = bench.run(Mail::Opened(&Opening { encoding: None, token: Some("ann".to_owned()), ..opening() }));
    effects.says([json!({"op": "hello"})]).closes(Some(Close::BAD_ENCODING));
}

#[test]
fn before_identify_only_identify_and_heartbeat_are_served() {
    let mut bench = Bench::new();
    bench.frame(r#"{"op":"heartbeat"}"#).says([json!({"op": "heartbeat_ack"})]);
    let requests = [
        r#""op":"subscribe","channel":"a""#,
        r#""op":"unsubscribe","channel":"a""#,
        r#""op":"publish","channel":"a","data":1"#,
        r#""op":"signal","channel":"a","kind":"typing""#,
        r#""op":"presence","channel":"a""#,
        r#""op":"status","status":"busy""#,
        r#""op":"whoami""#,
        r#""op":"join","channel":"a""#,
        r#""op":"chaos","fault":"panic""#,
    ];
    for request in requests {
        let with_id = bench.frame(&format!("{{{request},\"id\":4}}"));
        with_id.says([failure(Some(4), "not_identified")]).asks(&[]).closes(None);
        bench.frame(&format!("{{{request}}}")).says([failure(None, "not_identified")]).asks(&[]).closes(None);
    }
}

#[test]
fn with_open_auth_the_token_is_the_user_name() {
    let mut bench = Bench::new();
    let effects = bench.frame(r#"{"op":"identify","token":"ann"}"#);
    let ready = json!({
        "op": "ready", "user": "ann", "resumed": false, "generation": 1, "subscriptions": [], "memberships": [],
    });
    effects.says([ready]).asks(&[]).closes(None);
    let session: SessionToken = effects.frames[0]["session"].as_str().expect("text").parse().expect("a token");
    assert_eq!(session.connection, bench.id);
    assert_eq!(session.secret, bench.record.identity.as_ref().expect("identified").secret);
}

#[test]
fn a_token_that_is_no_user_name_closes_with_auth_failed() {
    for token in ["", "a\\u0007b", &"x".repeat(256)] {
        let mut bench = Bench::new();
        let effects = bench.frame(&format!(r#"{{"op":"identify","token":"{token}"}}"#));
        effects.says([json!({"op": "error", "code": "auth_failed", "retry": "never"})]).asks(&[]);
        effects.closes(Some(Close::AUTH_FAILED));
    }
}

#[test]
fn an_identify_without_a_token_is_a_bad_request_and_the_client_may_try_again() {
    let mut bench = Bench::new();
    bench.frame(r#"{"op":"identify"}"#).says([failure(None, "bad_request")]).closes(None);
    bench.frame(r#"{"op":"identify","token":"ann"}"#).says([json!({"op": "ready"})]);
}

#[test]
fn only_a_good_jwt_comes_in() {
    let bench = Bench::jwt();
    let expired = bench.jwt_of(|claims| claims.exp = Some(bench.now.unix_ms / 1_000));
    let good = bench.jwt_of(|_| {});
    let (tampered, nobody) = (format!("{good}x"), bench.jwt_of(|claims| claims.sub = String::new()));
    for token in ["ann", "", &expired, &tampered, &nobody] {
        let mut bench = Bench::jwt();
        let effects = bench.frame(&format!(r#"{{"op":"identify","token":"{token}"}}"#));
        effects.says([failure(None, "auth_failed")]).closes(Some(Close::AUTH_FAILED));
        let told = effects.frames[0]["message"].as_str().expect("text");
        assert!(token.is_empty() || !told.contains(token), "a token in an error: {told}");
    }
    let mut bench = Bench::jwt();
    bench.frame(&format!(r#"{{"op":"identify","token":"{good}"}}"#)).says([json!({"op": "ready", "user": "ann"})]);
}

#[test]
fn the_handshakes_token_identifies_and_ready_lists_its_channels_in_their_order() {
    let mut bench = Bench::new();
    let subscribe = ["chat:b", "chat:a"].map(str::to_owned).to_vec();
    let effects = bench.run(Mail::Opened(&Opening { token: Some("ann".to_owned()), subscribe, ..opening() }));
    effects.says([json!({"op": "hello"})]);
    effects.asks(&["subscribe chat:b ann Online head", "subscribe chat:a ann Online head"]);
    assert_eq!(effects.hold, Some(true), "frames wait for ready");
    bench.subscribed("chat:a", Purpose::Welcome).is_nothing();
    let effects = bench.subscribed("chat:b", Purpose::Welcome);
    let epoch = Epoch::new(9).to_string();
    let subscriptions = json!([
        {"channel": "chat:b", "epoch": epoch, "offset": 5, "recovered": true},
        {"channel": "chat:a", "epoch": epoch, "offset": 5, "recovered": true},
    ]);
    effects.says([json!({"op": "ready", "user": "ann", "resumed": false, "subscriptions": subscriptions})]);
    assert_eq!(effects.hold, Some(false));
}

#[test]
fn cursors_subscribe_from_where_the_client_was() {
    let mut bench = Bench::new();
    let epoch = Epoch::new(9);
    let effects = bench.frame(&format!(
        r#"{{"op":"identify","token":"ann","status":"busy","cursors":{{
            "b":{{"epoch":"{epoch}","offset":3}},"a":{{"epoch":"of another server","offset":4}}}}}}"#
    ));
    effects.says([]).asks(&["subscribe a ann Busy ?/4", &format!("subscribe b ann Busy {epoch}/3")]);
    let effects = effects.asks.clone();
    bench.answer_all(&effects).says([json!({"op": "ready", "subscriptions": [{"channel": "a"}, {"channel": "b"}]})]);
}

#[test]
fn a_channel_that_may_not_be_entered_is_told_and_the_others_go_on() {
    let mut bench = Bench::new();
    let effects = bench.frame(
        r#"{"op":"identify","token":"ann","cursors":{"dm:bob+carl":{"epoch":"x","offset":1},
            "no name":{"epoch":"x","offset":1},"ok":{"epoch":"x","offset":1}}}"#,
    );
    effects.says([failure(None, "forbidden"), failure(None, "bad_request")]).asks(&["subscribe ok ann Online ?/1"]);
    bench.subscribed("ok", Purpose::Welcome).says([json!({"op": "ready", "subscriptions": [{"channel": "ok"}]})]);
}

#[test]
fn more_channels_than_a_connection_may_have_are_told() {
    let mut bench = Bench::with(|config| config.limits.subscriptions = 2);
    let subscribe = ["a", "b", "c", "a"].map(str::to_owned).to_vec();
    let effects = bench.run(Mail::Opened(&Opening { token: Some("ann".to_owned()), subscribe, ..opening() }));
    effects.says([json!({"op": "hello"}), failure(None, "too_large")]);
    effects.asks(&["subscribe a ann Online head", "subscribe b ann Online head"]);
}

#[test]
fn a_channel_that_fails_is_told_and_ready_comes_without_it() {
    let mut bench = Bench::new();
    let subscribe = ["a", "b"].map(str::to_owned).to_vec();
    bench.run(Mail::Opened(&Opening { token: Some("ann".to_owned()), subscribe, ..opening() }));
    let fault = Fault::new(ErrorCode::Overloaded, "busy");
    let effects = bench.answer("a", Purpose::Welcome, Answer::Failed(fault));
    effects.says([json!({"op": "error", "code": "overloaded", "retry": "later"})]);
    bench.subscribed("b", Purpose::Welcome).says([json!({"op": "ready", "subscriptions": [{"channel": "b"}]})]);
}

#[test]
fn a_resume_token_sends_the_socket_to_the_record_it_names() {
    let token = SessionToken { connection: ConnectionId::new(3, 9, 1), secret: [7; 16] };
    let mut bench = Bench::new();
    let effects = bench.frame(&format!(r#"{{"op":"identify","token":"ann","resume":"{token}"}}"#));
    effects.says([]).asks(&[]).closes(None);
    assert_eq!(effects.transfer, Some(token.connection));
}

#[test]
fn a_resume_token_that_names_nobody_starts_a_fresh_session() {
    let own = SessionToken { connection: Bench::new().id, secret: [0; 16] }.to_string();
    for resume in ["rubbish", "", &own] {
        let mut bench = Bench::new();
        let effects = bench.frame(&format!(r#"{{"op":"identify","token":"ann","resume":"{resume}"}}"#));
        effects.says([json!({"op": "ready", "resumed": false})]).closes(None);
        assert_eq!(effects.transfer, None);
    }
}

#[test]
fn a_wrong_token_with_a_good_resume_token_goes_nowhere() {
    let token = SessionToken { connection: ConnectionId::new(3, 9, 1), secret: [7; 16] };
    let mut bench = Bench::jwt();
    let effects = bench.frame(&format!(r#"{{"op":"identify","token":"ann","resume":"{token}"}}"#));
    effects.says([failure(None, "auth_failed")]).closes(Some(Close::AUTH_FAILED));
    assert_eq!(effects.transfer, None);
}

#[test]
fn a_second_identify_with_open_auth_is_a_bad_request() {
    let mut bench = Bench::ready(&["a"]);
    bench.frame(r#"{"op":"identify","token":"ann"}"#).says([failure(None, "bad_request")]).asks(&[]).closes(None);
    let with_id = bench.frame(r#"{"op":"identify","token":"ann","id":3}"#);
    with_id.says([failure(Some(3), "bad_request")]).closes(None);
    bench.frame(r#"{"op":"whoami","id":4}"#).says([json!({"op": "reply", "id": 4, "ok": {"user": "ann"}})]);
}

#[test]
fn a_second_identify_with_a_jwt_renews_the_token_and_says_ready_again() {
    let mut bench = Bench::jwt();
    let first = bench.jwt_of(|claims| claims.lists.channels = Some(vec!["a".to_owned()]));
    bench.identify_as(&first, &["a"]);
    let (secret, expires) = (bench.record.identity.as_ref().expect("identified").secret, bench.record.expires);
    let later = bench.jwt_of(|claims| claims.exp = claims.exp.map(|exp| exp + HOUR_S));
    let effects = bench.frame(&format!(r#"{{"op":"identify","token":"{later}"}}"#));
    effects.says([]).asks(&["describe a"]).closes(None);
    assert_eq!(effects.hold, Some(true));
    let description = crate::channel::Description {
        channel: "a".to_owned(),
        epoch: Epoch::new(9),
        offset: 8,
        subscribers: 1,
        present: None,
    };
    let effects = bench.answer("a", Purpose::Welcome, Answer::Described(description));
    let subscriptions = json!([{"channel": "a", "offset": 8, "recovered": true}]);
    effects.says([json!({"op": "ready", "user": "ann", "resumed": true, "subscriptions": subscriptions})]);
    assert_eq!(u64::from(bench.record.expires), u64::from(expires) + HOUR_S);
    assert_ne!(bench.record.identity.as_ref().expect("identified").secret, secret, "session changes with every ready");
    bench.frame(r#"{"op":"presence","channel":"b","id":1}"#).asks(&["roster b #1"]);
}

#[test]
fn a_renewal_for_another_user_or_with_a_bad_token_ends_the_connection() {
    let mut bench = Bench::jwt();
    let first = bench.jwt_of(|_| {});
    bench.identify_as(&first, &[]);
    let other = bench.jwt_of(|claims| claims.sub = "bob".to_owned());
    let old = bench.jwt_of(|claims| claims.exp = Some(1));
    for token in [other, old] {
        let effects = bench.frame(&format!(r#"{{"op":"identify","token":"{token}"}}"#));
        effects.says([failure(None, "auth_failed")]).closes(Some(Close::AUTH_FAILED));
    }
}

#[test]
fn a_messagepack_client_is_answered_in_messagepack() {
    let mut bench = Bench::new();
    let effects = bench.run(Mail::Opened(&Opening { encoding: Some(Encoding::Msgpack), ..opening() }));
    effects.says([json!({"op": "hello"})]);
    bench.record.encoding = Encoding::Msgpack;
    let identify = msgpack_from_json(br#"{"op":"identify","token":"ann"}"#);
    bench.run(Mail::Frame(Payload::Binary(&identify))).says([json!({"op": "ready", "user": "ann"})]);
}

#[test]
fn a_renewal_with_a_narrower_token_ends_what_it_no_longer_opens() {
    let mut bench = Bench::jwt();
    let first = bench.jwt_of(|_| {});
    bench.identify_as(&first, &["a", "b"]);
    let narrower = bench.jwt_of(|claims| claims.lists.channels = Some(vec!["b".to_owned()]));
    let effects = bench.frame(&format!(r#"{{"op":"identify","token":"{narrower}"}}"#));
    effects.says([failure(None, "forbidden")]).asks(&["unsubscribe a ann", "describe b"]).closes(None);
}
