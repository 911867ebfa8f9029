//! The books: whatever happens to events on their way, every one of them is accounted for, exactly, at any moment.

use dormouse::protocol::close::Close;
use dormouse::shard::{Action, Class, Drop, Fault, Options};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    client::{Client, Heard},
    diary::Words,
    engine::{Engine, options},
};

/// Chosen anew each time; `SEED=…` repeats a run.
fn seed() -> u64 {
    let wanted = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = wanted.unwrap_or_else(|| getrandom::u64().expect("random bits"));
    println!("seed {seed}");
    seed
}

/// Events small and large, some of which crash whoever handles them.
fn words(random: &mut StdRng) -> Vec<Words> {
    let count = random.random_range(1..20);
    let mut word = || {
        let length = if random.random_bool(0.2) { 40_000 } else { 40 };
        let crashes = if random.random_bool(0.1) { random.random_range(1..4) } else { 0 };
        let class = if random.random_bool(0.1) { Class::Ephemeral } else { Class::Event };
        let text = if class == Class::Event { format!("e{:0length$}", 0) } else { "typing".to_owned() };
        Words { class, text, crashes }
    };
    (0..count).map(|_| word()).collect()
}

fn events(heard: &[Heard]) -> u64 {
    heard.iter().filter(|heard| matches!(heard, Heard::Text(text) if text.starts_with('e'))).count() as u64
}

/// Narrow bounds, so that everything overflows now and then.
fn narrow() -> Options {
    Options { mailbox: 32, outbox_bytes: 64 * 1024, budget: 4, ..options() }
}

#[actix::test]
async fn the_books_balance_through_deliveries_cuts_closes_and_crashes() {
    let mut random = StdRng::seed_from_u64(seed());
    let engine = Engine::with(2, narrow());
    let mut clients: Vec<Client> = Vec::new();
    for n in 0..8 {
        clients.push(engine.connect(&format!("c{n}")).await);
    }
    for step in 0..600 {
        let at = random.random_range(0..clients.len());
        let id = clients[at].id;
        match random.random_range(0..20) {
            0..10 => {
                engine.offer(id, words(&mut random)).await;
            }
            10 => engine.tell(&clients[at], words(&mut random)),
            11 => drop(engine.act(id, Action::Fault(Fault::Panic)).await),
            12 => clients[at].say("panic"),
            13 => clients[at].say_all(&["hold", "panic", "read"]),
            14 => engine.tell(&clients[at], [Words::notice("release").crashing(random.random_range(0..3))]),
            15 => {
                engine.act(id, if random.random() { Action::Cut } else { Action::Close(Close::KICKED) }).await;
                clients[at] = engine.connect("again").await;
            }
            16 => {
                clients[at].close(if random.random() { 1000 } else { 4999 });
                clients[at] = engine.connect("again").await;
            }
            17 => clients[at] = engine.connect("again").await,
            18 => {
                // Two sockets, one record.
                clients[at].say_all(&["key k", "read"]);
                let mut next = engine.connect("next").await;
                next.say(&format!("move {id} k"));
                next.id = id;
                clients[at] = next;
            }
            _ => {
                let census = engine.census().await;
                assert!(census.ledger.balances(), "step {step}: {:?}", census.ledger);
            }
        }
    }
    let ledger = engine.finish().await;
    println!("{ledger:?}");
    assert!(ledger.balances(), "{ledger:?}");
    for reason in [Drop::Overflow, Drop::Disconnected, Drop::Crash] {
        assert!(ledger.dropped(reason) > 0, "the mix never met {reason:?}: {ledger:?}");
    }
}

#[actix::test]
async fn what_is_counted_as_delivered_is_what_clients_hear() {
    let mut random = StdRng::seed_from_u64(seed());
    let engine = Engine::with(2, narrow());
    let mut clients: Vec<Client> = Vec::new();
    for n in 0..6 {
        clients.push(engine.connect(&format!("c{n}")).await);
    }
    for _ in 0..300 {
        let at = random.random_range(0..clients.len());
        match random.random_range(0..8) {
            0..6 => drop(engine.offer(clients[at].id, words(&mut random)).await),
            6 => clients[at].say("panic"),
            _ => engine.tell(&clients[at], words(&mut random)),
        }
    }
    for client in &clients {
        engine.act(client.id, Action::Close(Close::KICKED)).await;
    }
    let heard: u64 = clients.into_iter().map(|client| events(&client.hear_out())).sum();
    let ledger = engine.finish().await;
    assert_eq!(heard, ledger.delivered, "{ledger:?}");
}

#[actix::test]
async fn an_event_nobody_wanted_any_more_is_accounted_for() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    engine.tell(&client, [Words::event("ignored"), Words::event("e1")]);
    client.hears(["e1"]);
    let ledger = engine.finish().await;
    assert_eq!((ledger.offered, ledger.delivered, ledger.dropped(Drop::Unsubscribed)), (2, 1, 1));
}

#[actix::test]
async fn events_that_wait_for_a_socket_while_it_moves_are_accounted_for() {
    for shards in [1, 2] {
        let engine = Engine::with(shards, Options { outbox_bytes: 64 << 20, ..options() });
        let mut old = engine.connect("old").await;
        old.say("key k");
        old.hears(["locked"]);
        let mut new = engine.connect("new").await;
        new.say("hold");
        new.hears(["held"]);
        let events = (0..400).map(|n| Words::event(format!("e{n:060000}")));
        engine.tell(&new, events.chain([Words::notice("release")]));
        new.hears(["released"]);
        engine.until("the socket takes no more", |census| census.outbox_bytes > 0).await;
        engine.tell(&new, [Words::notice(format!("move {} k", old.id))]);
        old.hears_close(Close::SESSION_TAKEN_OVER);
        loop {
            match new.hear() {
                Heard::Text(text) if text.starts_with('e') => assert_eq!(text.len(), 60_001),
                heard => {
                    assert_eq!(heard, Heard::Text("claimed old generation 1".to_owned()));
                    break;
                }
            }
        }
        let ledger = engine.finish().await;
        assert!(ledger.dropped(Drop::Disconnected) > 0, "{ledger:?}");
    }
}

#[actix::test]
async fn events_for_a_parked_record_are_dropped_as_disconnected() {
    let engine = Engine::start(1);
    let client = engine.connect("a").await;
    let id = client.id;
    drop(client);
    assert_eq!(engine.seen(), "a cut");
    assert_eq!(engine.offer(id, ["e1", "e2"].map(Words::event)).await, 0);
    let ledger = engine.finish().await;
    assert_eq!((ledger.offered, ledger.dropped(Drop::Disconnected)), (2, 2));
}
