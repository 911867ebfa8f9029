//! Queues: what is held keeps its order, what is full says so, and nobody's traffic starves a neighbour.

use dormouse::shard::{Class, Drop, Options};

use crate::{
    client::Heard,
    diary::Words,
    engine::{Engine, options},
};

#[actix::test]
async fn what_a_hold_keeps_back_comes_in_order_after_the_release() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say("hold");
    client.hears(["held"]);
    client.say_all(&["note one", "note two", "read"]);
    engine.tell(&client, ["e1", "e2"].map(Words::event));
    engine.tell(&client, [Words::notice("n1"), Words::event("e3"), Words::notice("n2"), Words::notice("release")]);
    client.hears(["n1", "n2", "released", "e1", "e2", "e3", "noted one", "noted two", "notes [one,two] generation 1"]);
    engine.finish().await;
}

#[actix::test]
async fn a_hold_takes_effect_within_one_pipelined_write() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["note one", "hold", "note two", "hold", "note three"]);
    client.hears(["noted one", "held"]);
    for (word, next) in [("noted two", "held"), ("noted three", "last")] {
        engine.tell(&client, [Words::notice("release")]);
        client.hears(["released", word]);
        if next == "held" {
            client.hears([next]);
        }
    }
    engine.finish().await;
}

#[actix::test]
async fn a_frame_that_was_read_before_the_turn_it_waited_for_says_so() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["when", "hold", "when", "when"]);
    client.hears(["read now", "held"]);
    engine.tell(&client, [Words::notice("release")]);
    client.hears(["released", "read before", "read before"]);
    client.say("when");
    client.hears(["read now"]);
    engine.finish().await;
}

#[actix::test]
async fn a_crash_while_held_does_not_release() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["hold", "read"]);
    client.hears(["held"]);
    engine.tell(&client, [Words::event("e1"), Words::notice("n1").crashing(2), Words::notice("n2")]);
    client.hears(["restarted 2 after message n1, retried", "restarted 3 after message n1", "n2"]);
    engine.tell(&client, [Words::notice("release")]);
    client.hears(["released", "e1", "notes [] generation 3"]);
    engine.finish().await;
}

#[actix::test]
async fn a_full_mailbox_gives_back_and_says_when_it_is_empty() {
    let engine = Engine::with(1, Options { mailbox: 4, ..options() });
    let mut client = engine.connect("a").await;
    client.say("hold");
    client.hears(["held"]);
    let words = |range: std::ops::Range<usize>| range.map(|n| Words::event(format!("e{n}")));
    assert_eq!(engine.offer(client.id, words(0..10)).await, 6);
    assert_eq!(engine.offer(client.id, words(10..11)).await, 1, "still full");
    let ephemeral = Words { class: Class::Ephemeral, ..Words::event("typing") };
    assert_eq!(engine.offer(client.id, [ephemeral]).await, 1, "the bound holds for all deliveries");
    engine.tell(&client, [Words::notice("n1")]);
    client.hears(["n1"]);
    assert_eq!(engine.unseen(), [""; 0], "not empty yet");
    engine.tell(&client, [Words::notice("release")]);
    client.hears(["released", "e0", "e1", "e2", "e3"]);
    assert_eq!(engine.seen(), "drained");
    assert_eq!(engine.offer(client.id, words(11..12)).await, 0, "there is room again");
    client.hears(["e11"]);
    let ledger = engine.finish().await;
    assert_eq!((ledger.offered, ledger.delivered, ledger.dropped(Drop::Overflow)), (12, 5, 7));
}

#[actix::test]
async fn a_mailbox_that_was_never_full_is_not_said_to_be_drained() {
    let engine = Engine::with(1, Options { mailbox: 4, ..options() });
    let mut client = engine.connect("a").await;
    assert_eq!(engine.offer(client.id, ["e1", "e2", "e3", "e4"].map(Words::event)).await, 0);
    client.hears(["e1", "e2", "e3", "e4"]);
    client.say("log done");
    assert_eq!(engine.seen(), "a done");
    engine.finish().await;
}

#[actix::test]
async fn what_is_told_goes_beyond_the_bound() {
    let engine = Engine::with(1, Options { mailbox: 2, ..options() });
    let mut client = engine.connect("a").await;
    let words: Vec<String> = (0..50).map(|n| format!("e{n}")).collect();
    engine.tell(&client, words.iter().map(Words::event));
    client.hears(words);
    engine.finish().await;
}

#[actix::test]
async fn a_chatty_connection_does_not_starve_a_quiet_one() {
    let engine = Engine::with(1, Options { budget: 8, ..options() });
    let (mut staller, mut chatty, mut quiet) =
        (engine.connect("staller").await, engine.connect("chatty").await, engine.connect("quiet").await);
    // While the shard is stuck, both say all they have to say: then its order is what counts.
    staller.say("stall");
    engine.settings.gate.wait();
    chatty.say_all(&["log"; 2_000]);
    quiet.say("log");
    engine.settings.gate.wait();
    let order: Vec<String> = (0..2_001).map(|_| engine.seen()).collect();
    let at = order.iter().position(|line| line.starts_with("quiet")).expect("served");
    assert!(at <= 8, "served after {at} messages of its neighbour, whose budget is 8");
    engine.finish().await;
}

#[actix::test]
async fn a_budget_used_up_loses_nothing_and_keeps_the_order() {
    let engine = Engine::with(1, Options { budget: 3, ..options() });
    let mut client = engine.connect("a").await;
    let words: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let said: Vec<String> = words.iter().map(|word| format!("note {word}")).collect();
    client.say_all(&said.iter().map(String::as_str).collect::<Vec<_>>());
    client.hears(words.iter().map(|word| format!("noted {word}")));
    client.say("read");
    client.hears([format!("notes [{}] generation 1", words.join(","))]);
    engine.finish().await;
}

#[actix::test]
async fn fresh_deliveries_go_before_the_clients_own_requests() {
    let engine = Engine::with(1, Options { budget: 2, ..options() });
    let (mut staller, mut client) = (engine.connect("staller").await, engine.connect("a").await);
    staller.say("stall");
    engine.settings.gate.wait();
    client.say("read");
    engine.tell(&client, (0..5).map(|n| Words::event(format!("e{n}"))));
    engine.settings.gate.wait();
    let heard: Vec<Heard> = (0..6).map(|_| client.hear()).collect();
    let read = heard.iter().position(|heard| matches!(heard, Heard::Text(text) if text.starts_with("notes")));
    assert_eq!(read, Some(5), "{heard:?}");
    engine.finish().await;
}

#[actix::test]
async fn a_dormant_connection_is_a_record_and_a_socket() {
    let engine = Engine::start(1);
    let mut clients = Vec::new();
    for n in 0..20 {
        clients.push(engine.connect(&format!("c{n}")).await);
    }
    for client in &mut clients {
        client.say("note x");
        client.hears(["noted x"]);
    }
    let census = engine.until("all sleep", |census| census.awake == 0).await;
    assert_eq!((census.dormant, census.parked), (20, 0));
    engine.finish().await;
}
