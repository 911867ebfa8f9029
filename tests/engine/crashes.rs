//! A crashed turn never happened, whoever waited for it hears of it, and the budget is each connection's own.

use dormouse::{
    protocol::close::Close,
    shard::{Action, Drop, Fault, Options, State},
    supervision::Policy,
};
use std::time::Duration;

use crate::{
    client::{Client, Heard},
    diary::Words,
    engine::{Engine, options},
};

fn with_restarts(max_restarts: u32) -> Engine {
    Engine::with(1, Options { policy: Policy::new(max_restarts, Duration::from_secs(3_600)), ..options() })
}

#[actix::test]
async fn a_crashed_turn_leaves_neither_frame_nor_record_change_nor_effect() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["note one", "panic", "read", "note two", "read", "log done"]);
    client.hears([
        "noted one",
        "restarted 2 after frame panic",
        "notes [one] generation 2",
        "noted two",
        "notes [one,two] generation 2",
    ]);
    assert_eq!(engine.seen(), "a done", "the crashed turn's ask is not heard");
    engine.finish().await;
}

#[actix::test]
async fn frames_of_turns_before_the_crash_in_the_same_round_are_kept_whole() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    let mut said = Vec::new();
    let mut heard = Vec::new();
    for round in 0..40 {
        said.extend(["note x", "panic"]);
        heard.extend(["noted x".to_owned(), format!("restarted {} after frame panic", round + 2)]);
    }
    client.say_all(&said);
    client.hears(heard);
    engine.finish().await;
}

#[actix::test]
async fn a_crashed_actor_keeps_its_queued_messages_and_its_socket() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    let words = ["e1", "e2", "e3"].map(Words::event);
    engine.tell(&client, words.into_iter().chain([Words::event("e4").crashing(2), Words::event("e5")]));
    engine.tell(&client, [Words::event("e6")]);
    client.hears(["e1", "e2", "e3"]);
    client.hears(["restarted 2 after message e4, retried", "restarted 3 after message e4", "e5", "e6"]);
    client.say("read");
    client.hears(["notes [] generation 3"]);
    engine.finish().await;
}

#[actix::test]
async fn a_delivery_that_crashes_once_is_tried_again_in_its_place() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    engine.tell(&client, [Words::event("e1").crashing(1), Words::event("e2")]);
    engine.tell(&client, [Words::notice("n1").crashing(1), Words::notice("n2")]);
    let mut heard: Vec<_> = (0..6).map(|_| client.hear()).collect();
    heard.retain(|heard| !matches!(heard, Heard::Text(text) if text.starts_with("restarted")));
    let order = |first: &str, second: &str| {
        let at = |text: &str| heard.iter().position(|heard| *heard == Heard::Text(text.to_owned()));
        assert!(at(first).is_some() && at(first) < at(second), "{heard:?}");
    };
    order("e1", "e2");
    order("n1", "n2");
    let ledger = engine.finish().await;
    assert_eq!((ledger.offered, ledger.delivered, ledger.dropped(Drop::Crash)), (2, 2, 0));
}

#[actix::test]
async fn a_delivery_that_crashes_twice_is_skipped_told_and_counted() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    engine.tell(&client, [Words::event("e1").crashing(9), Words::event("e2")]);
    client.hears(["restarted 2 after message e1, retried", "restarted 3 after message e1", "e2"]);
    let ledger = engine.finish().await;
    assert_eq!((ledger.offered, ledger.delivered, ledger.dropped(Drop::Crash)), (2, 1, 1));
}

#[actix::test]
async fn a_client_frame_that_crashed_is_not_tried_again() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["panic", "read"]);
    client.hears(["restarted 2 after frame panic", "notes [] generation 2"]);
    engine.finish().await;
}

#[actix::test]
async fn a_crash_that_cannot_be_told_ends_the_socket_instead_of_going_on_in_silence() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["panic-twice", "read"]);
    client.hears(["restarted 4 after nothing, gave up"]);
    client.hears_close(Close::GAVE_UP);
    engine.finish().await;
}

#[actix::test]
async fn a_spent_budget_closes_with_gave_up_and_parks_the_record() {
    let engine = with_restarts(2);
    let mut client = engine.connect("a").await;
    client.say_all(&["note one", "panic", "panic", "panic", "note never"]);
    client.hears([
        "noted one",
        "restarted 2 after frame panic",
        "restarted 3 after frame panic",
        "restarted 4 after frame panic, gave up",
    ]);
    client.hears_close(Close::GAVE_UP);
    assert_eq!(engine.seen(), "a server closed gave_up");
    let view = engine.inspect(client.id).await.expect("the record stays");
    assert_eq!((view.state, view.generation, view.subscriptions), (State::Parked, 4, vec!["one".to_owned()]));
    engine.finish().await;
}

#[actix::test]
async fn a_budget_of_none_gives_up_at_the_first_crash_and_counts_the_delivery() {
    let engine = with_restarts(0);
    let mut client = engine.connect("a").await;
    engine.tell(&client, [Words::event("e1").crashing(1), Words::event("e2")]);
    client.hears(["restarted 2 after message e1, gave up"]);
    client.hears_close(Close::GAVE_UP);
    assert_eq!(engine.seen(), "a server closed gave_up, undelivered");
    let ledger = engine.finish().await;
    assert_eq!((ledger.dropped(Drop::Crash), ledger.dropped(Drop::Disconnected)), (1, 1));
}

#[actix::test]
async fn budgets_are_not_shared_between_connections() {
    let engine = with_restarts(3);
    let mut clients = Vec::new();
    for name in ["a", "b", "c"] {
        clients.push(engine.connect(name).await);
    }
    let panics = |client: &mut Client, count: usize| {
        for generation in 0..count {
            client.say("panic");
            client.hears([format!("restarted {} after frame panic", generation + 2)]);
        }
    };
    clients.iter_mut().for_each(|client| panics(client, 3));
    clients[0].say("panic");
    clients[0].hears(["restarted 5 after frame panic, gave up"]);
    clients[0].hears_close(Close::GAVE_UP);
    for client in &mut clients[1..] {
        client.say("read");
        client.hears(["notes [] generation 4"]);
    }
    engine.finish().await;
}

#[actix::test]
async fn a_spent_budget_stays_spent_for_whoever_resumes_the_record() {
    let engine = with_restarts(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["key k", "panic", "panic"]);
    client.hears(["locked", "restarted 2 after frame panic", "restarted 3 after frame panic, gave up"]);
    client.hears_close(Close::GAVE_UP);
    assert_eq!(engine.seen(), "a server closed gave_up");
    let mut next = engine.connect("b").await;
    next.say_all(&[&format!("move {} k", client.id), "panic"]);
    next.hears(["claimed a generation 3", "restarted 4 after frame panic, gave up"]);
    next.hears_close(Close::GAVE_UP);
    engine.finish().await;
}

#[actix::test]
async fn a_slot_that_is_used_again_starts_with_a_fresh_budget() {
    let engine = with_restarts(1);
    for round in 0..3 {
        let mut client = engine.connect("a").await;
        assert_eq!(client.id.index(), 0, "round {round} uses the slot again");
        client.say("panic");
        client.hears(["restarted 2 after frame panic"]);
        client.close(1000);
        assert_eq!(client.hear(), Heard::Close(1000, String::new()));
        assert_eq!([engine.seen(), engine.seen()], ["a client closed 1000", "a farewell"]);
    }
    engine.finish().await;
}

#[actix::test]
async fn a_panic_while_waking_is_a_crash_like_any_other() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say("note one");
    client.hears(["noted one"]);
    assert_eq!(engine.act(client.id, Action::Fault(Fault::PanicInWake)).await, 1);
    client.hears(["restarted 2 after fault PanicInWake"]);
    assert_eq!(engine.act(client.id, Action::Fault(Fault::Panic)).await, 1);
    client.hears(["restarted 3 after fault Panic"]);
    client.say("read");
    client.hears(["notes [one] generation 3"]);
    engine.finish().await;
}

#[actix::test]
async fn a_record_that_can_never_wake_again_is_given_up_and_freed() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["rot", "read"]);
    client.hears(["rotten"]);
    client.hears_close(Close::GAVE_UP);
    assert_eq!(engine.seen(), "a farewell");
    assert!(engine.inspect(client.id).await.is_none());
    let mut bystander = engine.connect("b").await;
    bystander.say("read");
    bystander.hears(["notes [] generation 1"]);
    engine.finish().await;
}

#[actix::test]
async fn a_crash_leaves_other_connections_untouched() {
    let engine = Engine::start(1);
    let (mut a, mut b) = (engine.connect("a").await, engine.connect("b").await);
    for _ in 0..20 {
        a.say("panic");
        b.say("note x");
        b.hears(["noted x"]);
    }
    b.say("read");
    b.hears([format!("notes [{}] generation 1", ["x"; 20].join(","))]);
    engine.finish().await;
}
