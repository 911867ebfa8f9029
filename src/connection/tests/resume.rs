//! Coming back: who may go on with a session, and what is restored.

use serde_json::json;

use super::{Bench, failure, subscribed};
use crate::{
    channel::Purpose,
    connection::{ConnectionActor, Opening, Ticket, record::Phase},
    id::Epoch,
    protocol::{
        encoding::Encoding,
        request::{Cursor, Status},
    },
    shard::{Behaviour, Cause, Mail},
    token::Lists,
};

fn parked(channels: &[&str]) -> Bench {
    let mut bench = Bench::ready(channels);
    bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 });
    bench
}

/// The old session goes on; asks answered, up to and with `ready`.
fn resume(bench: &mut Bench, ticket: &Ticket) {
    let asks = bench.run(Mail::Claimed(ticket)).asks;
    bench.answer_all(&asks);
}

#[test]
fn only_the_right_secret_and_the_right_user_are_admitted() {
    let bench = parked(&[]);
    let right = bench.ticket();
    assert!(ConnectionActor::admits(&bench.record, &right));
    let mut wrong = bench.ticket();
    for byte in 0..16 {
        wrong.secret = right.secret;
        wrong.secret[byte] ^= 1;
        assert!(!ConnectionActor::admits(&bench.record, &wrong), "byte {byte}");
    }
    let mut other = bench.ticket();
    other.claims.user = "bob".to_owned();
    assert!(!ConnectionActor::admits(&bench.record, &other));
}

#[test]
fn nobody_is_admitted_to_a_record_that_is_not_ready() {
    let mut bench = Bench::new();
    let subscribe = vec!["a".to_owned()];
    let opening = Opening { encoding: Some(Encoding::Json), token: Some("ann".to_owned()), subscribe };
    let ticket = Bench::ready(&[]).ticket();
    assert!(!ConnectionActor::admits(&bench.record, &ticket), "unidentified");
    bench.run(Mail::Opened(&opening));
    assert!(!ConnectionActor::admits(&bench.record, &bench.ticket()), "waiting for its channels");
    bench.subscribed("a", Purpose::Welcome);
    assert!(ConnectionActor::admits(&bench.record, &bench.ticket()));
}

/// The client comes with the same token once more, so much later.
fn later(bench: &Bench, ticket: &Ticket, micros: u64) -> Ticket {
    Ticket { secret: ticket.secret, asked_at: ticket.asked_at + micros, ..bench.ticket() }
}

#[test]
fn the_old_token_is_good_until_the_client_has_spoken_after_the_new_ready() {
    let mut bench = parked(&["a"]);
    let old = bench.ticket();
    resume(&mut bench, &old);
    let new = bench.ticket();
    assert_ne!(old.secret, new.secret);
    assert!(!ConnectionActor::admits(&bench.record, &old), "asked before the socket that is here");
    let old = later(&bench, &old, 1);
    assert!(ConnectionActor::admits(&bench.record, &old), "the new ready may be lost");
    assert!(ConnectionActor::admits(&bench.record, &new));
    bench.run(Mail::Message(&bench.event("a", 6)));
    assert!(ConnectionActor::admits(&bench.record, &old), "hearing proves nothing");
    bench.frame(r#"{"op":"heartbeat"}"#);
    assert!(!ConnectionActor::admits(&bench.record, &old));
    assert!(ConnectionActor::admits(&bench.record, &new));
}

#[test]
fn a_client_that_never_gets_its_ready_can_come_back_with_the_same_token_again_and_again() {
    let mut bench = parked(&["a"]);
    let mut old = bench.ticket();
    for _ in 0..3 {
        assert!(ConnectionActor::admits(&bench.record, &old));
        resume(&mut bench, &old);
        bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 });
        old = later(&bench, &old, 1);
    }
    let cut_while_welcoming = bench.run(Mail::Claimed(&old));
    assert_eq!(cut_while_welcoming.asks.len(), 1);
    bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 });
    assert!(ConnectionActor::admits(&bench.record, &later(&bench, &old, 1)));
}

#[test]
fn a_resumed_session_asks_for_its_channels_where_they_were_and_says_ready_once_all_answered() {
    let mut bench = parked(&["a", "b"]);
    bench.generation = 4;
    let mut ticket = bench.ticket();
    ticket.status = Some(Status::Idle);
    let epoch = Epoch::new(9);
    let cursor = |offset| Cursor { epoch: epoch.to_string(), offset };
    ticket.cursors = vec![("b".to_owned(), cursor(3)), ("c".to_owned(), cursor(1))];
    ticket.subscribe = vec!["a".to_owned(), "d".to_owned()];
    let effects = bench.run(Mail::Claimed(&ticket));
    effects.says([]).asks(&[
        "resume a ann Idle where it was",
        &format!("resume b ann Idle {epoch}/3"),
        "subscribe d ann Idle head",
        &format!("subscribe c ann Idle {epoch}/1"),
    ]);
    assert_eq!(effects.hold, Some(true));
    let ready = bench.answer_all(&effects.asks);
    let subscriptions = json!([{"channel": "a"}, {"channel": "b"}, {"channel": "d"}, {"channel": "c"}]);
    ready.says([json!({"op": "ready", "resumed": true, "generation": 4, "subscriptions": subscriptions})]);
    assert_eq!(ready.hold, Some(false));
    assert_eq!(bench.record.phase, Phase::Ready);
}

#[test]
fn a_resumed_session_keeps_its_status_and_takes_the_new_sockets_encoding() {
    let mut bench = parked(&[]);
    bench.record.status = Status::Busy;
    let ticket = Ticket { encoding: Encoding::Msgpack, ..bench.ticket() };
    bench.run(Mail::Claimed(&ticket)).says([json!({"op": "ready", "resumed": true})]);
    assert_eq!((bench.record.status, bench.record.encoding), (Status::Busy, Encoding::Msgpack));
}

#[test]
fn a_refused_resume_is_a_fresh_session_whose_cursors_count() {
    let ticket = Ticket {
        cursors: vec![("a".to_owned(), Cursor { epoch: "x".to_owned(), offset: 4 })],
        subscribe: vec!["dm:bob+carl".to_owned()],
        ..Bench::ready(&[]).ticket()
    };
    let mut bench = Bench::new();
    bench.record = ConnectionActor::refused(&ticket, bench.now);
    let effects = bench.run(Mail::Refused(&ticket));
    effects.says([failure(None, "forbidden")]).asks(&["subscribe a ann Online ?/4"]).closes(None);
    bench.subscribed("a", Purpose::Welcome).says([json!({"op": "ready", "user": "ann", "resumed": false})]);
}

#[test]
fn a_resume_whose_socket_dies_before_its_ready_can_be_tried_again() {
    let mut bench = Bench::ready(&["a"]);
    bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 }).asks(&["pause a 0"]);
    let ticket = bench.ticket();
    bench.run(Mail::Claimed(&ticket)).asks(&["resume a ann Online where it was"]);
    let second = later(&bench, &ticket, 1);
    assert!(ConnectionActor::admits(&bench.record, &second));
    bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 }).asks(&["pause a 0 untold"]);
    bench.run(Mail::Claimed(&second));
    assert!(!ConnectionActor::admits(&bench.record, &ticket), "the client has left that socket for a later one");
    bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 });
    let last = later(&bench, &ticket, 2);
    bench.run(Mail::Claimed(&last)).asks(&["resume a ann Online where it was"]);
    bench.subscribed("a", Purpose::Welcome).asks(&["resumed"]).says([json!({"op": "ready", "resumed": true})]);
}

#[test]
fn answers_to_an_earlier_socket_are_no_answers_on_this_one() {
    let mut bench = Bench::ready(&["a"]);
    let earlier = [Purpose::Welcome, Purpose::Request(Some(1))].map(|purpose| bench.record.tag(purpose));
    bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 });
    let ticket = bench.ticket();
    bench.run(Mail::Claimed(&ticket)).asks(&["resume a ann Online where it was"]);
    for tag in earlier {
        let effects = bench.answer_tagged("a", tag, subscribed(true));
        effects.is_nothing();
        assert_eq!(effects.hold, None, "ready still waits");
    }
    bench.subscribed("a", Purpose::Welcome).says([json!({"op": "ready", "resumed": true})]);
}

#[test]
fn a_resume_with_a_narrower_token_ends_what_it_no_longer_opens() {
    let mut bench = parked(&["a", "b"]);
    let mut ticket = bench.ticket();
    ticket.claims.grants = Lists { channels: Some(vec!["b".to_owned()]), ..Lists::default() }.grants();
    let effects = bench.run(Mail::Claimed(&ticket));
    effects.says([failure(None, "forbidden")]).asks(&["unsubscribe a ann", "resume b ann Online where it was"]);
    bench.answer_all(&effects.asks).says([json!({"op": "ready", "subscriptions": [{"channel": "b"}]})]);
}
