//! A turn that takes far too long: seen while it hangs, while other shards serve on; and when it ends, its connection is
//! restarted, closed or kept, as the policy says.

use std::time::Duration;

use dormouse::{
    protocol::close::Close,
    shard::{OnStall, Options},
};

use crate::{
    client::Client,
    diary::Words,
    engine::{Engine, options},
};

/// Longer than any turn of a busy machine, short enough to wait for.
const STALL: Duration = Duration::from_millis(700);

fn engine(on_stall: OnStall) -> Engine {
    Engine::with(2, Options { turn_stall: STALL, on_stall, ..options() })
}

/// A connection of each shard.
async fn pair(engine: &Engine) -> (Client, Client) {
    let (a, b) = (engine.connect("a").await, engine.connect("b").await);
    assert_ne!(a.id.shard(), b.id.shard());
    (a, b)
}

/// Lets a turn hang at the gate until it is called stuck, and then go on.
async fn let_it_stall(engine: &Engine, bystander: &mut Client) {
    engine.settings.gate.wait();
    let found = engine.stalled().await;
    assert_eq!(found.len(), 1);
    assert!(found[0].lasted >= STALL && found[0].kind == "frame", "{found:?}");
    assert_eq!(engine.watchdog.stalled_now(), found, "it still hangs");
    bystander.say("read");
    bystander.hears(["notes [] generation 1"]);
    engine.settings.gate.wait();
}

#[actix::test]
async fn a_stalled_turn_is_seen_while_it_hangs_and_counts_as_a_crash_when_it_ends() {
    let engine = engine(OnStall::Restart);
    let (mut client, mut bystander) = pair(&engine).await;
    client.say("note one");
    client.hears(["noted one"]);
    client.say_all(&["stall", "read"]);
    let_it_stall(&engine, &mut bystander).await;
    client.hears(["restarted 2 after frame stall", "notes [one] generation 2"]);
    assert_eq!(engine.watchdog.look(engine.clock.micros()), []);
    assert_eq!(engine.watchdog.stalled_now(), []);
    engine.finish().await;
}

#[actix::test]
async fn a_stalled_turn_can_close_its_connection_at_once() {
    let engine = engine(OnStall::Close);
    let (mut client, mut bystander) = pair(&engine).await;
    client.say_all(&["stall", "read"]);
    let_it_stall(&engine, &mut bystander).await;
    client.hears(["restarted 2 after frame stall, gave up"]);
    client.hears_close(Close::GAVE_UP);
    engine.finish().await;
}

#[actix::test]
async fn a_stalled_turn_can_be_let_through() {
    let engine = engine(OnStall::Keep);
    let (mut client, mut bystander) = pair(&engine).await;
    client.say_all(&["stall", "read"]);
    let_it_stall(&engine, &mut bystander).await;
    client.hears(["notes [] generation 1"]);
    engine.finish().await;
}

#[actix::test]
async fn a_delivery_that_stalled_is_not_tried_again() {
    let engine = engine(OnStall::Restart);
    let (mut client, _bystander) = pair(&engine).await;
    engine.tell(&client, [Words::event("stall"), Words::event("e2")]);
    engine.settings.gate.wait();
    assert_eq!(engine.stalled().await.len(), 1);
    engine.settings.gate.wait();
    client.hears(["restarted 2 after message stall", "e2"]);
    let ledger = engine.finish().await;
    assert_eq!((ledger.delivered, ledger.dropped(dormouse::shard::Drop::Crash)), (1, 1));
}

#[actix::test]
async fn a_fault_that_stalls_ends_like_every_other_stall() {
    let engine = engine(OnStall::Restart);
    let (mut client, _bystander) = pair(&engine).await;
    let hanging = async {
        engine.settings.gate.wait();
        assert_eq!(engine.stalled().await[0].kind, "fault");
        engine.settings.gate.wait();
    };
    futures_util::future::join(engine.fault(client.id, "stall"), hanging).await;
    assert!(matches!(client.hear(), crate::client::Heard::Text(text) if text.starts_with("restarted 2 after fault")));
    engine.finish().await;
}
