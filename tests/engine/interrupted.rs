//! A panic that escapes every turn restarts its shard; the connection it interrupted keeps its socket, what was read from
//! it, what waited for it, and is told. A record whose drop panics does that: nothing but the shard's supervisor is there
//! to catch it. Then what a behaviour must not do and does: panic where it only describes.

use dormouse::{
    protocol::close::Close,
    shard::{Act, Action, Drop, Options, State, Target},
    supervision::Policy,
};
use std::time::Duration;

use crate::{
    client::{Client, Heard},
    diary::Words,
    engine::{Engine, options},
};

fn restarts(engine: &Engine) -> u64 {
    engine.children.get("shard-0").expect("a child").restarts
}

async fn armed(engine: &Engine) -> Client {
    let mut client = engine.connect("a").await;
    client.say_all(&["note one", "arm"]);
    client.hears(["noted one", "armed"]);
    client
}

#[actix::test]
async fn the_frame_under_way_is_answered_for_and_those_behind_it_are_served() {
    let engine = Engine::start(1);
    let (mut client, mut bystander) = (armed(&engine).await, engine.connect("b").await);
    client.say_all(&["note two", "explode", "note three", "read"]);
    // What the turn before had sent goes out whole, what the turn itself had sent too: it had returned.
    client.hears(["noted two", "half", "restarted 2 after frame explode", "noted three"]);
    client.hears(["notes [one,two,three] generation 2"]);
    bystander.say("read");
    bystander.hears(["notes [] generation 1"]);
    assert_eq!(restarts(&engine), 1);
    engine.finish().await;
}

#[actix::test]
async fn a_frame_that_came_in_pieces_is_answered_for_too() {
    let engine = Engine::start(1);
    let mut client = armed(&engine).await;
    // A text of two fragments.
    let mut bytes = crate::client::masked(1, b"expl");
    bytes[0] = 1;
    bytes.extend(crate::client::masked(0, b"ode"));
    client.write(&bytes);
    client.say("read");
    client.hears(["half", "restarted 2 after frame explode", "notes [one] generation 2"]);
    engine.finish().await;
}

#[actix::test]
async fn a_delivery_under_way_is_tried_again_and_those_behind_it_keep_their_order() {
    let engine = Engine::start(1);
    let mut client = armed(&engine).await;
    let words = ["e1", "explode", "e2", "e3"].map(Words::event);
    engine.tell(&client, words);
    client.hears(["e1", "half", "restarted 2 after message explode, retried", "half", "e2", "e3"]);
    let ledger = engine.finish().await;
    assert_eq!((ledger.offered, ledger.dropped(Drop::Crash)), (4, 0), "tried again, and no bomb was left");
}

#[actix::test]
async fn a_job_under_way_is_told_and_the_results_behind_it_are_handled() {
    let engine = Engine::start(1);
    let mut client = armed(&engine).await;
    client.say_all(&["job explode", "job word"]);
    client.hears(["half", "restarted 2 after something", "job done: word"]);
    engine.finish().await;
}

#[actix::test]
async fn an_interrupted_connection_pays_with_its_own_budget_and_nobody_else() {
    let policy = Policy::new(1, Duration::from_secs(3_600));
    let engine = Engine::with(1, Options { policy, ..options() });
    let (mut client, mut bystander) = (engine.connect("a").await, engine.connect("b").await);
    client.say_all(&["arm", "explode", "arm", "explode", "read"]);
    client.hears(["armed", "half", "restarted 2 after frame explode", "armed", "half"]);
    client.hears(["restarted 3 after frame explode, gave up"]);
    client.hears_close(Close::GAVE_UP);
    assert_eq!(engine.seen(), "a server closed gave_up");
    assert_eq!(engine.inspect(client.id).await.map(|view| view.state), Some(State::Parked));
    bystander.say("read");
    bystander.hears(["notes [] generation 1"]);
    engine.finish().await;
}

#[actix::test]
async fn a_defect_in_what_only_describes_costs_nobody_a_restart() {
    let engine = Engine::start(1);
    for defect in ["deadline", "describe", "leave", "farewell"] {
        let (mut client, mut bystander) = (engine.connect("a").await, engine.connect("b").await);
        client.say_all(&[&format!("defect {defect}"), "read"]);
        client.hears(["defective", "notes [] generation 1"]);
        assert!(engine.inspect(client.id).await.is_some(), "{defect}");
        let of_user = Act { target: Target::User("b".to_owned()), action: Action::Reconnect { after_ms: 7 } };
        assert_eq!(engine.shards.ask(0, of_user).await, Ok(1), "{defect}");
        bystander.hears(["reconnect 7"]);
        // Whoever is behind it in the table still meets his deadline.
        bystander.say("due");
        bystander.hears_close(Close::HEARTBEAT_TIMEOUT);
        assert_eq!(engine.act(client.id, Action::Leave).await, 1);
        assert_eq!(client.hear(), Heard::from(Close::GOING_AWAY), "{defect}");
        assert_eq!(restarts(&engine), 0, "{defect}");
    }
    engine.finish().await;
}

#[actix::test]
async fn a_session_whose_parking_crashes_once_is_parked_all_the_same() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["key k", "note one", "defect detached once"]);
    client.hears(["locked", "noted one", "defective"]);
    let id = client.id;
    drop(client);
    assert_eq!(engine.seen(), "a cut");
    let mut next = engine.connect("b").await;
    next.say_all(&[&format!("move {id} k"), "read"]);
    next.hears(["claimed a generation 2", "notes [one] generation 2"]);
    engine.finish().await;
}

#[actix::test]
async fn a_session_that_can_never_park_is_freed() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say("defect detached");
    client.hears(["defective"]);
    let id = client.id;
    drop(client);
    assert_eq!(engine.seen(), "a farewell");
    assert!(engine.inspect(id).await.is_none());
    engine.finish().await;
}
