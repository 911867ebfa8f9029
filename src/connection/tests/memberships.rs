//! What memberships, cursors and history make of a connection's turns.

use serde_json::{Value, json};

use super::{Bench, failure};
use crate::{
    channel::{Answer, Change, Membership, Notice, Purpose},
    id::Epoch,
    protocol::{
        close::Close,
        error::{ErrorCode, Fault},
        frame::{Member, Members, MembershipState, Standing},
        request::Cursor,
    },
    shard::{Cause, Mail},
};

fn epoch() -> Epoch {
    Epoch::new(9)
}

fn member(channel: &str, delivered: u64) -> MembershipState {
    let standing = Standing { delivered, read: 1 };
    MembershipState { channel: channel.to_owned(), epoch: epoch(), offset: 5, standing, unread: 3 }
}

fn notice(bench: &Bench, user: &str, channel: &str, change: Change) -> Notice {
    Notice::Membership(Box::new(Membership { user: user.into(), channel: bench.directory.intern(channel), change }))
}

fn joined(bench: &Bench, channel: &str) -> Notice {
    notice(bench, "ann", channel, Change::Joined { epoch: epoch(), delivered: 2, new: true })
}

fn left(bench: &Bench, channel: &str) -> Notice {
    notice(bench, "ann", channel, Change::Left)
}

/// What a session is told that has not asked for it.
fn begun(channel: &str) -> Value {
    let epoch = epoch().to_string();
    json!({"op": "membership", "channel": channel, "epoch": epoch, "offset": 2, "delivered": 2, "read": 2, "unread": 0})
}

#[test]
fn requests_about_memberships_cursors_and_history_are_a_homes_to_answer() {
    let table = [
        (r#"{"op":"join","id":1,"channel":"a"}"#, "join a ann #1"),
        (r#"{"op":"leave","id":1,"channel":"a"}"#, "leave a ann #1"),
        (r#"{"op":"ack","id":1,"channel":"a","delivered":7}"#, "ack a ann 7/0 #1"),
        (r#"{"op":"ack","channel":"a","delivered":7,"read":9}"#, "ack a ann 9/9 #-"),
        (r#"{"op":"ack","channel":"a","read":9}"#, "ack a ann 9/9 #-"),
        (r#"{"op":"members","id":1,"channel":"a"}"#, "members a #1"),
        (r#"{"op":"history","id":1,"channel":"a"}"#, "history a None None 100 #1"),
        (r#"{"op":"history","id":1,"channel":"a","after":3,"limit":5000}"#, "history a Some(3) None 1000 #1"),
        (r#"{"op":"history","id":1,"channel":"a","before":3,"limit":7}"#, "history a None Some(3) 7 #1"),
    ];
    for (request, ask) in table {
        let mut bench = Bench::ready(&[]);
        let effects = bench.frame(request);
        effects.says([]).asks(&[ask]).closes(None);
        assert_eq!(effects.hold, None, "{request}");
    }
}

#[test]
fn answers_about_them_become_replies() {
    let mut bench = Bench::ready(&["a"]);
    let request = Purpose::Request(Some(1));
    let ok = |ok| json!({"op": "reply", "id": 1, "ok": ok});
    let standing = Standing { delivered: 7, read: 3 };
    bench.answer("a", request, Answer::Standing(standing)).says([ok(json!({"delivered": 7, "read": 3}))]);
    let member = |user: &str, last_seen| Member { user: user.to_owned(), standing, last_seen };
    let members = Members { count: 2, members: vec![member("bob", None), member("cat", Some(5))] };
    let bob = json!({"user": "bob", "delivered": 7, "read": 3});
    let cat = json!({"user": "cat", "delivered": 7, "read": 3, "last_seen": 5});
    bench.answer("a", request, Answer::Members(members)).says([ok(json!({"count": 2, "members": [bob, cat]}))]);
    let channel = bench.directory.intern("a");
    let events = vec![std::sync::Arc::new(super::event(&channel, 4))];
    let event = json!({"channel": "a", "offset": 4, "from": "bob", "at": 1, "data": 4});
    let effects = bench.answer("a", request, Answer::History { events, more: true });
    effects.says([ok(json!({"events": [event], "more": true}))]);
    assert!(effects.frames[0]["ok"]["events"][0].get("op").is_none());
    bench.answer("a", Purpose::Request(None), Answer::Standing(standing)).is_nothing();
}

#[test]
fn ready_lists_memberships_and_subscribes_each_from_where_its_user_got() {
    let mut bench = Bench::new();
    bench.memberships = Some(vec![member("chat:a", 2), member("chat:b", 4)]);
    let cursors = r#""cursors":{"chat:b":{"epoch":"0000000000000009","offset":3},"c":{"epoch":"?","offset":1}}"#;
    let cursors = cursors.replace("0000000000000009", &epoch().to_string());
    let effects = bench.frame(&format!(r#"{{"op":"identify","token":"ann",{cursors}}}"#));
    let own = epoch();
    effects.says([]).asks(&[
        "subscribe c ann Online ?/1",
        &format!("subscribe chat:b ann Online {own}/3"),
        &format!("subscribe chat:a ann Online {own}/2"),
    ]);
    let ready = bench.answer_all(&effects.asks);
    ready.says([json!({
        "op": "ready",
        "resumed": false,
        "subscriptions": [{"channel": "c"}, {"channel": "chat:b"}, {"channel": "chat:a"}],
        "memberships": [
            {"channel": "chat:a", "epoch": own.to_string(), "offset": 5, "delivered": 2, "read": 1, "unread": 3},
            {"channel": "chat:b", "delivered": 4},
        ],
    })]);
}

#[test]
fn a_resumed_session_goes_on_from_the_cursor_that_is_kept_unless_it_brings_one() {
    let mut bench = Bench::ready(&["chat:a", "chat:b", "room"]);
    bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 });
    bench.memberships = Some(vec![member("chat:a", 2), member("chat:b", 2), member("chat:new", 2)]);
    let mut ticket = bench.ticket();
    ticket.cursors = vec![("chat:b".to_owned(), Cursor { epoch: epoch().to_string(), offset: 4 })];
    let own = epoch();
    bench.run(Mail::Claimed(&ticket)).asks(&[
        &format!("resume chat:a ann Online {own}/2"),
        &format!("resume chat:b ann Online {own}/4"),
        "resume room ann Online where it was",
        &format!("subscribe chat:new ann Online {own}/2"),
    ]);
}

#[test]
fn a_token_that_does_not_open_a_channel_hides_the_membership() {
    let mut bench = Bench::jwt();
    bench.memberships = Some(vec![member("chat:a", 2), member("news:b", 2)]);
    let token = bench.jwt_of(|claims| claims.lists.channels = Some(vec!["chat:*".to_owned()]));
    let effects = bench.frame(&format!(r#"{{"op":"identify","token":"{token}"}}"#));
    let ready = bench.answer_all(&effects.asks);
    ready.says([
        json!({"op": "ready", "memberships": [{"channel": "chat:a"}], "subscriptions": [{"channel": "chat:a"}]}),
    ]);
}

#[test]
fn more_memberships_than_subscriptions_are_told() {
    let mut bench = Bench::with(|config| config.limits.subscriptions = 1);
    bench.memberships = Some(vec![member("chat:a", 2), member("chat:b", 2)]);
    let effects = bench.frame(r#"{"op":"identify","token":"ann"}"#);
    effects.says([failure(None, "too_large")]);
    assert_eq!(effects.asks.len(), 1);
    let refused = bench_join(&mut bench, &effects.asks);
    refused.says([failure(Some(1), "too_large")]).asks(&[]);
}

fn bench_join(bench: &mut Bench, asks: &[String]) -> super::Effects {
    bench.answer_all(asks);
    bench.frame(r#"{"op":"join","id":1,"channel":"chat:b"}"#)
}

#[test]
fn who_joins_is_subscribed_on_every_session_and_the_next_request_waits_for_it() {
    let mut bench = Bench::ready(&[]);
    let answer = || Answer::Joined { epoch: epoch(), head: 5, standing: Standing { delivered: 5, read: 5 } };
    let own = epoch();
    let effects = bench.answer("chat:a", Purpose::Request(Some(1)), answer());
    effects.says([json!({"op": "reply", "id": 1, "ok": {"channel": "chat:a", "epoch": own.to_string(), "offset": 5}})]);
    effects.asks(&[&format!("subscribe chat:a ann Online {own}/5 entering")]);
    assert_eq!(effects.hold, Some(true));
    // The desk tells the same, once the answer is here.
    bench.run(Mail::Message(&joined(&bench, "chat:a"))).is_nothing();
    let seated = bench.subscribed("chat:a", Purpose::Entry);
    seated.says([begun("chat:a")]).asks(&[]);
    assert_eq!((seated.hold, bench.record.channels().len()), (Some(false), 1));
    bench.answer("chat:a", Purpose::Request(Some(2)), answer()).says([json!({"op": "reply", "id": 2})]).asks(&[]);

    let mut other = Bench::ready(&[]);
    other
        .run(Mail::Message(&joined(&other, "chat:a")))
        .says([begun("chat:a")])
        .asks(&[&format!("subscribe chat:a ann Online {own}/2 entering")]);
    other
        .run(Mail::Message(&joined(&other, "chat:b")))
        .asks(&[&format!("subscribe chat:b ann Online {own}/2 entering")]);
    assert_eq!(other.subscribed("chat:a", Purpose::Entry).hold, None, "another one is under way");
    assert_eq!(other.subscribed("chat:b", Purpose::Entry).hold, Some(false));
    assert!(other.record.identity.as_ref().is_some_and(|identity| identity.rare.is_none()));
}

#[test]
fn who_leaves_hears_no_more_whatever_was_under_way() {
    let mut bench = Bench::ready(&["chat:a"]);
    bench
        .run(Mail::Message(&left(&bench, "chat:a")))
        .says([json!({"op": "membership", "channel": "chat:a", "left": true})])
        .asks(&["unsubscribe chat:a ann"]);

    // Also a session that is not subscribed there.
    let told = json!({"op": "membership", "channel": "chat:a", "left": true});
    let mut other = Bench::ready(&[]);
    other.run(Mail::Message(&left(&other, "chat:a"))).says([told.clone()]).asks(&[]);

    // Who asked hears no more at once, and is told with all the others.
    let mut asking = Bench::ready(&["chat:a"]);
    let effects = asking.answer("chat:a", Purpose::Request(Some(1)), Answer::Left(true));
    let reply = json!({"op": "reply", "id": 1, "ok": {}});
    effects.says([reply.clone()]).asks(&["unsubscribe chat:a ann"]);
    asking.run(Mail::Message(&left(&asking, "chat:a"))).says([told]).asks(&[]);

    // Who was none of the members only hears that it is so.
    let mut stranger = Bench::ready(&["chat:a"]);
    stranger.answer("chat:a", Purpose::Request(Some(1)), Answer::Left(false)).says([reply]).asks(&[]);
    assert_eq!(stranger.record.channels().len(), 1, "its subscription goes on");

    let mut entering = Bench::ready(&[]);
    entering.run(Mail::Message(&joined(&entering, "chat:a")));
    entering.run(Mail::Message(&left(&entering, "chat:a"))).is_nothing();
    entering.subscribed("chat:a", Purpose::Entry).asks(&["unsubscribe chat:a ann"]);
    assert!(entering.record.channels().is_empty());

    let mut parked = Bench::ready(&["chat:a"]);
    parked.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 });
    parked.run(Mail::Message(&joined(&parked, "chat:b"))).is_nothing();
    parked.run(Mail::Message(&left(&parked, "chat:a"))).asks(&["unsubscribe chat:a ann"]);
}

#[test]
fn what_changes_before_ready_is_done_after_it() {
    let mut bench = Bench::new();
    bench.memberships = Some(vec![member("chat:a", 2)]);
    let effects = bench.frame(r#"{"op":"identify","token":"ann"}"#);
    bench.run(Mail::Message(&left(&bench, "chat:a"))).is_nothing();
    bench.run(Mail::Message(&joined(&bench, "chat:b"))).is_nothing();
    let ready = bench.answer_all(&effects.asks);
    ready.says([
        json!({"op": "ready", "memberships": [{"channel": "chat:a"}]}),
        json!({"op": "membership", "channel": "chat:a", "left": true}),
        begun("chat:b"),
    ]);
    ready.asks(&["unsubscribe chat:a ann", &format!("subscribe chat:b ann Online {}/2 entering", epoch())]);
    assert_eq!(ready.hold, Some(true));
}

#[test]
fn a_membership_of_somebody_else_is_none() {
    let mut bench = Bench::ready(&["chat:a"]);
    bench.run(Mail::Message(&notice(&bench, "bob", "chat:a", Change::Left))).is_nothing();
}

#[test]
fn without_its_memberships_a_session_does_not_begin() {
    let mut bench = Bench::new();
    bench.memberships = None;
    bench.frame(r#"{"op":"identify","token":"ann"}"#).asks(&["enroll ann"]);
    let failed = |code| Answer::Failed(Fault::new(code, "cannot"));
    bench.answer("", Purpose::Welcome, failed(ErrorCode::Crashed)).says([]).asks(&["enroll ann"]).closes(None);
    let effects = bench.answer("", Purpose::Welcome, failed(ErrorCode::Overloaded));
    effects.says([failure(None, "overloaded")]).closes(Some(Close::RATE_LIMITED));
}

#[test]
fn a_place_counted_twice_is_given_back() {
    let mut bench = Bench::ready(&["chat:a"]);
    bench.answer("chat:a", Purpose::Subscription(Some(1)), super::subscribed(false)).asks(&["surplus chat:a ann"]);
    assert_eq!(bench.record.channels().len(), 1);
}
