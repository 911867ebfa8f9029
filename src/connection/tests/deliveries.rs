//! What homes and other clients have for a connection, and what of it reaches the client.

use std::{rc::Rc, sync::Arc};

use serde_json::json;

use super::{Bench, failure};
use crate::{
    channel::{Answer, Audience, CatchUp, Gap, Notice, Published, Purpose, SharedFrame, Subscriber, Whisper},
    connection::ConnectionActor,
    id::Epoch,
    protocol::{
        encoding::Encoding,
        error::{ErrorCode, Fault},
        frame::{Frame, GapReason, Present, Roster},
        request::Status,
    },
    shard::{Behaviour, Class, Mail},
};

fn whisper(bench: &Bench, channel: &str) -> Notice {
    let frame = SharedFrame::new(&Frame::Signal { channel, from: "bob", kind: "typing", data: None });
    let channel = bench.directory.intern(channel);
    Notice::Whisper(Rc::new(Arc::new(Whisper { channel, frame, audience: Audience::AllBut(None) })))
}

fn gap(bench: &Bench, channel: &str) -> Notice {
    let gap = Gap { from: 3, to: 5, reason: GapReason::Overflow };
    Notice::gap(bench.directory.intern(channel), gap)
}

fn roster() -> Roster {
    Roster { count: 1, users: vec![Present { user: "bob".to_owned(), status: Status::Idle, last_seen: Some(7) }] }
}

#[test]
fn events_whispers_and_gaps_of_subscribed_channels_are_passed_on() {
    for encoding in Encoding::ALL {
        let mut bench = Bench::ready(&["a"]);
        bench.record.encoding = encoding;
        let event = json!({"op": "event", "channel": "a", "offset": 6, "from": "bob", "at": 1, "data": 6});
        bench.run(Mail::Message(&bench.event("a", 6))).says([event]);
        let signal = json!({"op": "signal", "channel": "a", "from": "bob", "kind": "typing"});
        bench.run(Mail::Message(&whisper(&bench, "a"))).says([signal]);
        let told = json!({"op": "gap", "channel": "a", "from": 3, "to": 5, "reason": "overflow"});
        bench.run(Mail::Message(&gap(&bench, "a"))).says([told]);
    }
}

#[test]
fn what_waited_for_a_channel_that_was_left_is_not_passed_on() {
    let mut bench = Bench::ready(&["a", "b"]);
    bench.frame(r#"{"op":"unsubscribe","id":1,"channel":"a"}"#);
    for notice in [bench.event("a", 6), whisper(&bench, "a"), gap(&bench, "a")] {
        bench.run(Mail::Message(&notice)).is_nothing();
    }
    bench.run(Mail::Message(&bench.event("b", 6))).says([json!({"op": "event", "channel": "b"})]);
}

#[test]
fn a_subscribe_is_answered_with_the_head_and_then_released() {
    let mut bench = Bench::ready(&[]);
    assert_eq!(bench.frame(r#"{"op":"subscribe","id":1,"channel":"a","presence":true}"#).hold, Some(true));
    let catch_up =
        CatchUp { epoch: Epoch::new(9), head: 5, recovered: false, gap: None, missed: Vec::new(), behind: None };
    let subscriber =
        Subscriber { user: "ann".into(), status: Status::Online, watches: true, inherits: false, replaces: false };
    let answer = Answer::Subscribed { catch_up, roster: Some(roster()), subscriber };
    let effects = bench.answer("a", Purpose::Request(Some(1)), answer);
    let ok = json!({
        "channel": "a", "epoch": Epoch::new(9).to_string(), "offset": 5, "recovered": false,
        "presence": {"count": 1, "users": [{"user": "bob", "status": "idle"}]},
    });
    effects.says([json!({"op": "reply", "id": 1, "ok": ok})]).asks(&[]);
    assert_eq!(effects.hold, Some(false));
    assert!(bench.record.subscription("a").is_some_and(|subscription| subscription.watches));
}

#[test]
fn answers_become_replies_and_only_for_requests_with_an_id() {
    let table: [(fn() -> Answer, _); 3] = [
        (
            || Answer::Published(Published { offset: 8, at: 2, duplicate: true }),
            json!({"offset": 8, "at": 2, "duplicate": true}),
        ),
        (|| Answer::Signalled, json!({})),
        (
            || Answer::Roster(roster()),
            json!({"count": 1, "users": [{"user": "bob", "status": "idle", "last_seen": 7}]}),
        ),
    ];
    for (answer, ok) in table {
        let mut bench = Bench::ready(&[]);
        let reply = json!({"op": "reply", "id": 4, "ok": ok});
        bench.answer("a", Purpose::Request(Some(4)), answer()).says([reply]).asks(&[]);
        bench.answer("a", Purpose::Request(None), answer()).is_nothing();
    }
}

#[test]
fn a_failed_request_is_told_with_or_without_its_id_and_only_a_subscription_releases() {
    for id in [Some(4), None] {
        for (purpose, hold) in [(Purpose::Request(id), None), (Purpose::Subscription(id), Some(false))] {
            let mut bench = Bench::ready(&[]);
            let fault = Fault::new(ErrorCode::Overloaded, "busy");
            let effects = bench.answer("a", purpose, Answer::Failed(fault));
            effects.says([failure(id, "overloaded")]).closes(None);
            assert_eq!(effects.hold, hold, "what a subscription holds back is not another answer's to release");
        }
    }
}

#[test]
fn each_notice_waits_in_the_queue_it_belongs_to() {
    let bench = Bench::ready(&["a"]);
    let channel = bench.directory.intern("a");
    let answer = Notice::answer(channel, bench.record.tag(Purpose::Welcome), Answer::Signalled);
    let table = [
        (bench.event("a", 1), Class::Event),
        (whisper(&bench, "a"), Class::Ephemeral),
        (gap(&bench, "a"), Class::Ephemeral),
        (answer, Class::Notice),
    ];
    for (notice, class) in table {
        assert_eq!(ConnectionActor::class(&notice), class, "{notice:?}");
    }
}
