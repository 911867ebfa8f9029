//! A panic outside every turn restarts the shard's actor: table, sockets and queues are where they were.

use dormouse::shard::{CrashShard, State};

use crate::{
    diary::{Letter, Words},
    engine::Engine,
};

/// Crashes a shard and waits until it has been restarted.
async fn crash(engine: &Engine, shard: u16) {
    let name = format!("shard-{shard}");
    let restarts = || engine.children.get(&name).expect("a child").restarts;
    let before = restarts();
    engine.shards.ask(shard, CrashShard).await.expect("accepted");
    while restarts() == before {
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn a_crashed_shard_loses_no_socket_no_record_and_no_queued_message() {
    let engine = Engine::start(2);
    let mut clients = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let mut client = engine.connect(name).await;
        client.say_all(&["key k", "note one", "hold"]);
        client.hears(["locked", "noted one", "held"]);
        assert_eq!(engine.offer(client.id, ["e1", "e2"].map(Words::event)).await, 0);
        client.say("note two");
        clients.push(client);
    }
    let gone = engine.connect("gone").await;
    let parked = gone.id;
    drop(gone);
    assert_eq!(engine.seen(), "gone cut");
    crash(&engine, 0).await;
    crash(&engine, 1).await;
    assert_eq!(engine.census().await.ledger.pending, 8, "the messages still wait");
    for client in &mut clients {
        engine.tell(client, [Words::notice("release")]);
        client.hears(["released", "e1", "e2", "noted two"]);
        client.say("read");
        client.hears(["notes [one,two] generation 1"]);
    }
    assert_eq!(engine.inspect(parked).await.map(|view| view.state), Some(State::Parked));
    let ledger = engine.finish().await;
    assert_eq!((ledger.offered, ledger.delivered), (8, 8));
}

#[actix::test]
async fn what_clients_say_while_their_shard_is_down_is_served_afterwards() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    for round in 0..3 {
        client.say(&format!("note {round}"));
        engine.shards.ask(0, CrashShard).await.expect("accepted");
        client.say("read");
        client.hears([format!("noted {round}")]);
        let notes: Vec<_> = (0..=round).map(|round| round.to_string()).collect();
        client.hears([format!("notes [{}] generation 1", notes.join(","))]);
    }
    engine.finish().await;
}

#[actix::test]
async fn jobs_deadlines_and_ticks_go_on_after_a_shard_crashed() {
    let engine = Engine::start(1);
    let (mut client, mut silent) = (engine.connect("a").await, engine.connect("b").await);
    client.say("block-pending word");
    assert_eq!(engine.seen(), "job begins");
    crash(&engine, 0).await;
    engine.settings.gate.wait();
    client.hears(["job done: word"]);
    silent.say("due");
    silent.hears_close(dormouse::protocol::close::Close::HEARTBEAT_TIMEOUT);
    engine.finish().await;
}

#[actix::test]
async fn a_client_that_spoke_to_a_defective_hub_keeps_its_socket_and_its_later_frames() {
    let engine = Engine::start(1);
    let (mut client, mut bystander) = (engine.connect("a").await, engine.connect("b").await);
    bystander.say("note one");
    bystander.hears(["noted one"]);
    client.say_all(&["note one", "hub-panic", "note two", "read"]);
    client.hears(["noted one", "noted two", "notes [one,two] generation 1"]);
    bystander.say("read");
    bystander.hears(["notes [one] generation 1"]);
    assert_eq!(
        engine.children.get("shard-0").map(|shard| shard.restarts),
        Some(0),
        "no shard had to start again for it"
    );
    engine.finish().await;
}

#[actix::test]
async fn a_letter_that_crashes_the_hub_takes_no_other_letter_with_it() {
    let engine = Engine::start(1);
    let (mut staller, mut client) = (engine.connect("staller").await, engine.connect("a").await);
    // All letters are taken in one batch: they come while the shard is stuck.
    staller.say("stall");
    engine.settings.gate.wait();
    engine.tell(&client, [Words::event("e1")]);
    engine.write(0, Letter::Panic);
    engine.tell(&client, [Words::event("e2")]);
    engine.write(0, Letter::Panic);
    engine.tell(&client, [Words::event("e3")]);
    engine.settings.gate.wait();
    client.hears(["e1", "e2", "e3"]);
    engine.finish().await;
}
