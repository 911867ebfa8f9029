//! What each request of an identified client makes: its reply at once, or an ask of the channel's home.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use serde_json::json;

use super::{Bench, failure};
use crate::{
    channel::Purpose,
    id::{Epoch, SessionToken},
    protocol::close::Close,
};

#[test]
fn requests_of_a_home_are_asked_and_answered_later() {
    let epoch = Epoch::new(9);
    let subscribe_from =
        format!(r#"{{"op":"subscribe","id":1,"channel":"a","from":{{"epoch":"{epoch}","offset":3}},"last":9}}"#);
    let table = [
        (r#"{"op":"subscribe","id":1,"channel":"a"}"#, "subscribe a ann Online head #1"),
        (r#"{"op":"subscribe","channel":"a"}"#, "subscribe a ann Online head #-"),
        (&subscribe_from, &format!("subscribe a ann Online {epoch}/3 #1")),
        (r#"{"op":"subscribe","id":1,"channel":"a","last":9}"#, "subscribe a ann Online last 9 #1"),
        (r#"{"op":"subscribe","id":1,"channel":"a","presence":true}"#, "subscribe a ann Online head watching #1"),
        (r#"{"op":"subscribe","id":1,"channel":"in"}"#, "subscribe in ann Online head again #1"),
        (&subscribe_from.replace("\"a\"", "\"in\""), &format!("subscribe in ann Online {epoch}/3 again replacing #1")),
        (r#"{"op":"publish","id":1,"channel":"a","data":{"x":1.50}}"#, r#"publish a ann {"x":1.50} #1"#),
        (r#"{"op":"publish","channel":"a","data":null,"key":"k"}"#, "publish a ann null key k #-"),
        (r#"{"op":"signal","id":1,"channel":"a","kind":"typing"}"#, "signal a ann typing #1"),
        (r#"{"op":"signal","channel":"a","kind":"typing","data":[1]}"#, "signal a ann typing [1] #-"),
        (r#"{"op":"presence","id":1,"channel":"a"}"#, "roster a #1"),
    ];
    for (request, ask) in table {
        let mut bench = Bench::ready(&["in"]);
        let effects = bench.frame(request);
        effects.says([]).asks(&[ask]).closes(None);
        assert_eq!(effects.hold, request.contains("subscribe").then_some(true), "{request}");
    }
}

#[test]
fn what_a_connection_knows_itself_is_answered_at_once() {
    let ok = |ok| json!({"op": "reply", "id": 1, "ok": ok});
    let mut bench = Bench::ready(&["a", "b"]);
    bench.generation = 3;
    let identity = bench.record.identity.clone().expect("identified");
    let session = SessionToken { connection: bench.id, secret: identity.secret }.to_string();
    let me = json!({
        "user": "ann", "session": session, "connection": bench.id.to_string(), "generation": 3,
        "subscriptions": ["a", "b"],
    });
    bench.frame(r#"{"op":"whoami","id":1}"#).says([ok(me)]).asks(&[]);
    bench.frame(r#"{"op":"whoami"}"#).is_nothing();
    bench.frame(r#"{"op":"status","id":1,"status":"busy"}"#).says([ok(json!({}))]).asks(&["status a,b ann Busy"]);
    bench.frame(r#"{"op":"status","status":"invisible"}"#).says([]).asks(&["status a,b ann Invisible"]);
    bench.frame(r#"{"op":"unsubscribe","id":1,"channel":"a"}"#).says([ok(json!({}))]).asks(&["unsubscribe a ann"]);
    bench.frame(r#"{"op":"unsubscribe","channel":"b"}"#).says([]).asks(&["unsubscribe b ann"]);
    bench.frame(r#"{"op":"subscribe","channel":"c"}"#).asks(&["subscribe c ann Invisible head #-"]);
}

#[test]
fn what_cannot_be_served_says_why_and_asks_nothing() {
    let long = "x".repeat(256);
    let table = [
        (r#""op":"unsubscribe","channel":"a""#.to_owned(), "not_found"),
        (format!(r#""op":"publish","channel":"a","data":1,"key":"{long}""#), "bad_request"),
        (r#""op":"publish","channel":"a","data":1,"key":"""#.to_owned(), "bad_request"),
        (format!(r#""op":"signal","channel":"a","kind":"{long}""#), "bad_request"),
        (r#""op":"signal","channel":"a","kind":"""#.to_owned(), "bad_request"),
        (r#""op":"join","channel":"dm:bob+carl""#.to_owned(), "forbidden"),
        (r#""op":"ack","channel":"dm:bob+carl","read":1"#.to_owned(), "forbidden"),
        (r#""op":"ack","channel":"a""#.to_owned(), "bad_request"),
        (r#""op":"history","channel":"dm:bob+carl""#.to_owned(), "forbidden"),
        (r#""op":"chaos","fault":"panic""#.to_owned(), "forbidden"),
    ];
    for (request, code) in table {
        let mut bench = Bench::ready(&[]);
        bench.frame(&format!("{{{request},\"id\":1}}")).says([failure(Some(1), code)]).asks(&[]).closes(None);
        bench.frame(&format!("{{{request}}}")).says([failure(None, code)]).asks(&[]).closes(None);
    }
}

#[test]
fn only_its_two_users_may_enter_a_dm_channel() {
    let requests =
        [r#""op":"subscribe""#, r#""op":"publish","data":1"#, r#""op":"signal","kind":"typing""#, r#""op":"presence""#];
    let table = [
        ("dm:ann+bob", true),
        ("dm:aaron+ann", true),
        ("dm:bob+ann", false),
        ("dm:bob+carl", false),
        ("dm:ann", false),
        ("dm:ann+", false),
        ("dm:annabel+bob", false),
        ("dm:ann+bob+carl", false),
    ];
    for request in requests {
        for (channel, allowed) in table {
            let mut bench = Bench::ready(&[]);
            let effects = bench.frame(&format!(r#"{{{request},"id":1,"channel":"{channel}"}}"#));
            assert_eq!(effects.asks.len(), usize::from(allowed), "{request} {channel}: {effects:?}");
            if !allowed {
                effects.says([failure(Some(1), "forbidden")]).closes(None);
            }
        }
    }
}

#[test]
fn a_tokens_patterns_decide_which_channels_it_opens() {
    let mut bench = Bench::jwt();
    let token = bench.jwt_of(|claims| claims.lists.channels = Some(vec!["chat:*".to_owned(), "dm:*".to_owned()]));
    bench.identify_as(&token, &["chat:a"]);
    let code = |bench: &mut Bench, channel: &str| {
        let effects = bench.frame(&format!(r#"{{"op":"presence","id":1,"channel":"{channel}"}}"#));
        effects.frames.first().map(|frame| frame["error"]["code"].as_str().map(str::to_owned))
    };
    assert_eq!(code(&mut bench, "chat:b"), None);
    assert_eq!(code(&mut bench, "dm:ann+bob"), None);
    assert_eq!(code(&mut bench, "dm:bob+carl"), Some(Some("forbidden".to_owned())), "a pattern opens no dm of others");
    assert_eq!(code(&mut bench, "live:x"), Some(Some("forbidden".to_owned())));
}

#[test]
fn subscriptions_are_bounded_and_subscribing_again_takes_no_place() {
    let mut bench = Bench::with(|config| config.limits.subscriptions = 2);
    bench.identify_as("ann", &["a", "b"]);
    bench.frame(r#"{"op":"subscribe","id":1,"channel":"c"}"#).says([failure(Some(1), "too_large")]).asks(&[]);
    bench.frame(r#"{"op":"subscribe","id":2,"channel":"b"}"#).asks(&["subscribe b ann Online head again #2"]);
    bench.subscribed("b", Purpose::Request(Some(2))).says([json!({"op": "reply", "id": 2})]);
    bench.frame(r#"{"op":"unsubscribe","id":3,"channel":"a"}"#).says([json!({"op": "reply", "id": 3, "ok": {}})]);
    bench.frame(r#"{"op":"subscribe","id":4,"channel":"c"}"#).asks(&["subscribe c ann Online head #4"]);
}

#[test]
fn beyond_its_burst_a_connection_is_told_when_to_publish_again() {
    let mut bench = Bench::ready(&[]);
    let publish = r#"{"op":"publish","id":1,"channel":"a","data":1}"#;
    let signal = r#"{"op":"signal","id":1,"channel":"a","kind":"typing"}"#;
    for at in 0..100 {
        assert_eq!(bench.frame(if at % 2 == 0 { publish } else { signal }).asks.len(), 1, "within the burst");
    }
    let refused = json!({
        "op": "reply", "id": 1, "error": {"code": "rate_limited", "retry": "later", "retry_after_ms": 20},
    });
    bench.frame(publish).says([refused.clone()]).asks(&[]).closes(None);
    bench.frame(signal).says([refused.clone()]).asks(&[]).closes(None);
    bench.pass(Duration::from_millis(20));
    assert_eq!(bench.frame(publish).asks.len(), 1, "what it was told is true");
    bench.frame(publish).says([refused]).asks(&[]);
}

#[test]
fn what_others_must_answer_costs_a_tenth_of_a_publish() {
    let requests = [
        r#"{"op":"presence","id":1,"channel":"a"}"#,
        r#"{"op":"subscribe","id":1,"channel":"a"}"#,
        r#"{"op":"status","id":1,"status":"busy"}"#,
    ];
    for request in requests {
        let mut bench = Bench::ready(&[]);
        let served = (0..1_100).filter(|_| bench.frame(request).asks.len() == 1).count();
        assert!((990..=1_000).contains(&served), "{served} times {request}");
        bench.frame(request).says([failure(Some(1), "rate_limited")]).asks(&[]).closes(None);
    }
}

#[test]
fn a_refused_request_costs_nothing_of_the_rate() {
    let mut bench = Bench::ready(&[]);
    for _ in 0..500 {
        bench.frame(r#"{"op":"publish","id":1,"channel":"dm:b+c","data":1}"#).says([failure(Some(1), "forbidden")]);
    }
    assert_eq!(bench.frame(r#"{"op":"publish","id":1,"channel":"a","data":1}"#).asks.len(), 1);
}

#[test]
fn going_on_far_beyond_the_limit_closes_with_rate_limited() {
    let mut bench = Bench::with(|config| config.limits.publish_burst = 2);
    bench.identify_as("ann", &[]);
    let publish = r#"{"op":"publish","channel":"a","data":1}"#;
    for _ in 0..2 {
        assert_eq!(bench.frame(publish).asks.len(), 1);
    }
    for _ in 0..40 {
        bench.frame(publish).says([failure(None, "rate_limited")]).closes(None);
    }
    bench.frame(publish).says([failure(None, "rate_limited")]).closes(Some(Close::RATE_LIMITED));
}

#[test]
fn with_chaos_enabled_the_turn_that_handles_it_panics() {
    let mut bench = Bench::with(|config| config.chaos.enabled = true);
    bench.identify_as("ann", &[]);
    let before = bench.record.clone();
    let turn = AssertUnwindSafe(|| bench.frame(r#"{"op":"chaos","id":1,"fault":"panic"}"#));
    let payload = catch_unwind(turn).expect_err("it panics");
    assert_eq!(payload.downcast_ref(), Some(&"chaos: asked to panic"));
    bench.record = before;
    let stalled = bench.frame(r#"{"op":"chaos","id":1,"fault":"stall","ms":0}"#);
    stalled.says([json!({"op": "reply", "id": 1, "ok": {}})]);
}
