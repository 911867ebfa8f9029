//! What a client hears from the next generation of its actor, for each kind of mail that crashed the one before.

use serde_json::{Value, json};

use super::{Bench, failure, subscribed};
use crate::{
    channel::{Answer, Gap, Notice, Purpose},
    connection::{ConnectionActor, Opening},
    protocol::{
        encoding::{Encoding, Payload, msgpack_from_json},
        frame::GapReason,
    },
    shard::{Cause, Crash, Fault, Mail},
};

fn restarted(generation: u32, request: Option<i64>, lost: u32) -> Value {
    let mut frame = json!({"op": "restarted", "generation": generation, "lost": lost});
    if let Some(request) = request {
        frame["request"] = request.into();
    }
    frame
}

fn crash<'a>(mail: Option<&'a Mail<'a, ConnectionActor>>) -> Crash<'a, ConnectionActor> {
    Crash { mail, retried: false, gave_up: false }
}

/// The turn after a crash by `mail`, in generation 2.
fn after(bench: &mut Bench, mail: Mail<'_, ConnectionActor>) -> super::Effects {
    bench.generation = 2;
    bench.run(Mail::Restarted(crash(Some(&mail))))
}

#[test]
fn a_request_that_crashed_gets_its_one_reply_and_counts_as_told() {
    let mut bench = Bench::ready(&[]);
    let effects = after(&mut bench, Mail::Frame(Payload::Text(r#"{"op":"whoami","id":9}"#)));
    let reply = json!({"op": "reply", "id": 9, "error": {"code": "crashed", "retry": "later"}});
    effects.says([reply, restarted(2, Some(9), 0)]).asks(&[]).closes(None);
    assert_eq!(effects.frames[1].get("request"), Some(&json!(9)));
}

#[test]
fn a_messagepack_request_that_crashed_is_answered_too() {
    let mut bench = Bench::ready(&[]);
    bench.record.encoding = Encoding::Msgpack;
    let frame = msgpack_from_json(br#"{"op":"whoami","id":9}"#);
    let effects = after(&mut bench, Mail::Frame(Payload::Binary(&frame)));
    effects.says([failure(Some(9), "crashed"), restarted(2, Some(9), 0)]);
}

#[test]
fn a_frame_without_an_id_that_crashed_is_counted_as_lost() {
    for frame in [r#"{"op":"heartbeat"}"#, "rubbish", r#"{"op":"whoami","id":"x"}"#] {
        let mut bench = Bench::ready(&[]);
        let effects = after(&mut bench, Mail::Frame(Payload::Text(frame)));
        effects.says([restarted(2, None, 1)]).closes(None);
        assert!(effects.frames[0].get("request").is_none());
    }
    let mut bench = Bench::ready(&[]);
    after(&mut bench, Mail::Frame(Payload::Binary(b"wrong kind"))).says([restarted(2, None, 1)]);
}

#[test]
fn an_event_that_crashed_twice_is_told_as_a_gap() {
    let mut bench = Bench::ready(&["a"]);
    let event = bench.event("a", 6);
    let gap = json!({"op": "gap", "channel": "a", "from": 6, "to": 6, "reason": "crash"});
    after(&mut bench, Mail::Message(&event)).says([gap, restarted(2, None, 1)]);
}

#[test]
fn a_message_that_will_be_tried_again_is_not_lost() {
    let mut bench = Bench::ready(&["a"]);
    let event = bench.event("a", 6);
    let channel = bench.directory.intern("a");
    let answer = Notice::answer(channel, bench.record.tag(Purpose::Request(Some(3))), Answer::Signalled);
    for notice in [event, answer] {
        let mail = Mail::Message(&notice);
        let effects = bench.run(Mail::Restarted(Crash { retried: true, ..crash(Some(&mail)) }));
        effects.says([restarted(1, None, 0)]);
        assert_eq!(effects.hold, None);
    }
}

#[test]
fn an_answer_that_crashed_twice_still_gets_its_request_a_reply_and_releases() {
    for (id, said) in
        [(Some(3), vec![failure(Some(3), "crashed"), restarted(2, Some(3), 0)]), (None, vec![restarted(2, None, 1)])]
    {
        let mut bench = Bench::ready(&[]);
        let channel = bench.directory.intern("a");
        let answer = Notice::answer(channel, bench.record.tag(Purpose::Subscription(id)), Answer::Signalled);
        let effects = after(&mut bench, Mail::Message(&answer));
        effects.says(said);
        assert_eq!(effects.hold, Some(false), "what waited for this answer goes on");
    }
}

#[test]
fn a_welcome_that_crashed_twice_does_not_keep_ready_back() {
    let mut bench = Bench::new();
    let subscribe = vec!["a".to_owned()];
    bench.run(Mail::Opened(&Opening { encoding: Some(Encoding::Json), token: Some("ann".to_owned()), subscribe }));
    let channel = bench.directory.intern("a");
    let answer = Notice::answer(channel, bench.record.tag(Purpose::Welcome), Answer::Signalled);
    let effects = after(&mut bench, Mail::Message(&answer));
    effects.says([json!({"op": "ready", "generation": 2, "subscriptions": []}), restarted(2, None, 1)]);
    assert_eq!(effects.hold, Some(false));
}

#[test]
fn an_opening_or_a_resume_that_crashed_is_begun_again() {
    let mut bench = Bench::new();
    let opening = Opening { encoding: Some(Encoding::Json), token: None, subscribe: Vec::new() };
    let hello = json!({"op": "hello"});
    after(&mut bench, Mail::Opened(&opening)).says([hello, restarted(2, None, 0)]);
    let mut bench = Bench::ready(&["a"]);
    bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 });
    let ticket = bench.ticket();
    let effects = after(&mut bench, Mail::Claimed(&ticket));
    effects.says([restarted(2, None, 0)]).asks(&["resume a ann Online where it was"]);
    assert_eq!(effects.hold, Some(true), "ready is on its way");
}

#[test]
fn a_gap_that_crashed_twice_is_told_all_the_same() {
    let mut bench = Bench::ready(&["a"]);
    let channel = bench.directory.intern("a");
    let gap = Gap { from: 3, to: 5, reason: GapReason::Overflow };
    let told = json!({"op": "gap", "channel": "a", "from": 3, "to": 5, "reason": "overflow"});
    after(&mut bench, Mail::Message(&Notice::gap(channel, gap))).says([told, restarted(2, None, 0)]);
}

#[test]
fn a_subscription_whose_answer_crashed_twice_is_given_up_again() {
    let mut bench = Bench::ready(&[]);
    let tag = bench.record.tag(Purpose::Subscription(Some(4)));
    let answer = Notice::answer(bench.directory.intern("a"), tag, subscribed(false));
    let effects = after(&mut bench, Mail::Message(&answer));
    effects.says([failure(Some(4), "crashed"), restarted(2, Some(4), 0)]).asks(&["unsubscribe a ann"]);
    assert!(bench.record.subscription("a").is_none());
}

#[test]
fn other_crashes_are_told_and_lose_nothing() {
    let mails = [
        Some(Mail::Silence),
        Some(Mail::Fault(Fault::Panic)),
        Some(Mail::Fault(Fault::PanicInWake)),
        Some(Mail::Reconnect { after_ms: 1 }),
        Some(Mail::Detached { cause: Cause::Cut, undelivered: 0 }),
        Some(Mail::Job(Ok(&None))),
        None,
    ];
    for mail in mails {
        let mut bench = Bench::ready(&[]);
        bench.generation = 5;
        bench.run(Mail::Restarted(crash(mail.as_ref()))).says([restarted(5, None, 0)]).asks(&[]).closes(None);
    }
}

#[test]
fn whoever_is_given_up_gets_his_reply_and_no_restarted() {
    let mut bench = Bench::ready(&["a"]);
    let mail = Mail::Frame(Payload::Text(r#"{"op":"whoami","id":9}"#));
    let effects = bench.run(Mail::Restarted(Crash { gave_up: true, ..crash(Some(&mail)) }));
    effects.says([failure(Some(9), "crashed")]).closes(None);
}
