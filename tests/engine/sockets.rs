//! How sockets live and end: slow ones, half-closed ones, silent ones, and a close frame that must arrive.

use dormouse::{
    protocol::close::Close,
    shard::{Act, Action, Options, State, Target},
};

use crate::{
    client::{Heard, frame, masked},
    diary::{Letter, Words},
    engine::{Engine, options},
};

const PING: u8 = 9;

#[actix::test]
async fn a_slow_socket_gets_everything_in_order_and_its_requests_wait_meanwhile() {
    let engine = Engine::with(1, Options { outbox_bytes: 128 * 1024, ..options() });
    let mut client = engine.connect("a").await;
    let (sizes, said): (Vec<usize>, Vec<String>) =
        (0..400).map(|n| 60_000 + n).map(|n| (n, format!("big {n}"))).unzip();
    client.say_all(&said.iter().map(String::as_str).collect::<Vec<_>>());
    let census = engine.until("the socket takes no more", |census| census.outbox_bytes > 0).await;
    assert!(census.outbox_bytes < 512 * 1024, "{} bytes wait though requests should", census.outbox_bytes);
    for size in sizes {
        let Heard::Text(text) = client.hear() else { panic!("no text") };
        assert_eq!(text.len(), size);
    }
    client.say("read");
    client.hears(["notes [] generation 1"]);
    engine.finish().await;
}

#[actix::test]
async fn events_for_a_slow_socket_wait_in_its_mailbox_and_come_in_order() {
    let engine = Engine::with(1, Options { outbox_bytes: 128 * 1024, mailbox: 100_000, ..options() });
    let mut client = engine.connect("a").await;
    let words: Vec<String> = (0..400).map(|n| format!("{n:060000}")).collect();
    assert_eq!(engine.offer(client.id, words.iter().map(Words::event)).await, 0);
    let census = engine.until("the socket takes no more", |census| census.outbox_bytes > 0).await;
    assert!(census.ledger.pending > 0);
    client.hears(words);
    let census = engine.until("all delivered", |census| census.ledger.pending == 0).await;
    assert_eq!(census.ledger.delivered, 400);
    engine.finish().await;
}

#[actix::test]
async fn a_close_frame_arrives_though_the_client_is_still_talking() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    let rubbish = masked(2, &vec![0; 500_000]);
    // More than the shard reads before it closes, and more than it may throw away at a time.
    let mut talker = client.socket.try_clone().expect("a second handle");
    let talking = std::thread::spawn(move || {
        use std::io::Write;
        let said = [frame("close"), rubbish.repeat(12)].concat();
        talker.write_all(&said)
    });
    client.hears(["last words"]);
    client.hears_close(Close::KICKED);
    let talked = talking.join().expect("ends");
    assert!(talked.is_ok(), "a reset could have destroyed the close frame: {talked:?}");
    engine.finish().await;
}

#[actix::test]
async fn frames_sent_before_a_half_close_are_served_and_answered() {
    let engine = Engine::start(1);
    for round in 0..20 {
        let mut client = engine.connect("a").await;
        client.say_all(&["note one", "note two", "read"]);
        client.half_close();
        client.hears(["noted one", "noted two", "notes [one,two] generation 1"]);
        assert_eq!(client.hear(), Heard::End, "round {round}");
        assert_eq!(engine.seen(), "a cut");
    }
    engine.finish().await;
}

#[actix::test]
async fn more_frames_than_a_budget_before_a_half_close_are_all_served() {
    let engine = Engine::with(1, Options { budget: 2, ..options() });
    let mut client = engine.connect("a").await;
    let said: Vec<String> = (0..500).map(|n| format!("note {n}")).collect();
    client.say_all(&said.iter().map(String::as_str).collect::<Vec<_>>());
    client.half_close();
    client.hears((0..500).map(|n| format!("noted {n}")));
    assert_eq!(client.hear(), Heard::End);
    engine.finish().await;
}

#[actix::test]
async fn a_close_of_the_client_is_answered_in_kind() {
    let engine = Engine::start(1);
    for (code, seen) in [(1000, vec!["a client closed 1000", "a farewell"]), (4321, vec!["a client closed 4321"])] {
        let mut client = engine.connect("a").await;
        client.say("note one");
        client.close(code);
        client.hears(["noted one"]);
        assert_eq!([client.hear(), client.hear()], [Heard::Close(code, String::new()), Heard::End]);
        for line in seen {
            assert_eq!(engine.seen(), line);
        }
    }
    engine.finish().await;
}

#[actix::test]
async fn what_came_behind_the_handshake_is_read_before_what_the_socket_brings() {
    let engine = Engine::start(1);
    let second = frame("note two");
    let (begun, rest) = second.split_at(3);
    let mut client = engine.connect_saying("a", [&frame("note one"), begun].concat()).await;
    client.write(&[rest, &frame("note three")].concat());
    client.hears(["noted one", "noted two", "noted three"]);
    engine.finish().await;
}

#[actix::test]
async fn a_frame_that_comes_byte_by_byte_is_one_message() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    for byte in frame("note one") {
        client.write(&[byte]);
    }
    client.hears(["noted one"]);
    engine.finish().await;
}

#[actix::test]
async fn a_ping_is_answered_without_a_turn() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.write(&[frame("note one"), masked(PING, b"are you there"), frame("note two")].concat());
    client.hears(["noted one"]);
    assert_eq!(client.hear(), Heard::Pong(b"are you there".to_vec()));
    client.hears(["noted two"]);
    engine.finish().await;
}

#[actix::test]
async fn a_broken_frame_closes_after_what_came_before_it_was_served() {
    let engine = Engine::start(1);
    let unmasked = vec![0x81, 1, b'x'];
    let too_big = masked(1, &vec![b'x'; (1 << 20) + 1]);
    let no_text = masked(1, &[0xff, 0xff]);
    let broken = [
        (unmasked, Close::PROTOCOL_ERROR),
        (too_big[..100].to_vec(), Close::MESSAGE_TOO_BIG),
        (no_text, Close::INVALID_PAYLOAD),
    ];
    for (bytes, close) in broken {
        let mut client = engine.connect("a").await;
        client.write(&[frame("note one"), bytes].concat());
        client.hears(["noted one"]);
        let Heard::Close(code, _) = client.hear() else { panic!("no close") };
        assert_eq!(code, close.code);
        assert_eq!(client.hear(), Heard::End);
        assert_eq!(engine.seen(), format!("a server closed {}", close.name));
    }
    engine.finish().await;
}

#[actix::test]
async fn a_turn_can_close_end_or_stop_its_connection() {
    let engine = Engine::start(1);
    let mut client = engine.connect("closes").await;
    client.say_all(&["close", "note never"]);
    client.hears(["last words"]);
    client.hears_close(Close::KICKED);
    assert_eq!(engine.seen(), "closes server closed kicked");
    assert_eq!(engine.inspect(client.id).await.map(|view| view.state), Some(State::Parked));

    let mut client = engine.connect("ends").await;
    client.say_all(&["note one", "end", "note never"]);
    client.hears(["noted one"]);
    client.hears_close(Close::BYE);
    assert_eq!(engine.seen(), "ends farewell");

    let mut client = engine.connect("stops").await;
    client.say_all(&["stop", "note never"]);
    client.hears_close(Close::BYE);
    assert_eq!([engine.seen(), engine.seen()], ["stops server closed bye", "stops farewell"]);
    engine.finish().await;
}

#[actix::test]
async fn operators_and_hubs_can_close_cut_and_warn() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    assert_eq!(engine.act(client.id, Action::Reconnect { after_ms: 7 }).await, 1);
    client.hears(["reconnect 7"]);
    assert_eq!(engine.act(client.id, Action::Close(Close::KICKED)).await, 1);
    client.hears_close(Close::KICKED);
    assert_eq!(engine.seen(), "a server closed kicked");

    let mut client = engine.connect("b").await;
    engine.write(0, Letter::Close(client.id, Close::SLOW_CONSUMER));
    client.hears_close(Close::SLOW_CONSUMER);
    assert_eq!(engine.seen(), "b server closed slow_consumer");

    let mut client = engine.connect("c").await;
    assert_eq!(engine.act(client.id, Action::Cut).await, 1);
    assert_eq!(client.hear(), Heard::End);
    assert_eq!(engine.seen(), "c cut");
    engine.finish().await;
}

#[actix::test]
async fn when_the_node_leaves_each_record_says_how_its_socket_is_closed() {
    let engine = Engine::start(2);
    let (mut keyed, mut plain) = (engine.connect("keyed").await, engine.connect("plain").await);
    keyed.say("key k");
    keyed.hears(["locked"]);
    let leave = || Act { target: Target::All, action: Action::Leave };
    assert_eq!(engine.shards.ask_all(leave).await, Ok(vec![1, 1]));
    keyed.hears_close(Close::DRAINING);
    plain.hears_close(Close::GOING_AWAY);
    engine.finish().await;
}

#[actix::test]
async fn a_deadline_is_noticed_with_and_without_a_socket() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say("due");
    client.hears_close(Close::HEARTBEAT_TIMEOUT);
    assert_eq!([engine.seen(), engine.seen()], ["a server closed heartbeat_timeout", "a farewell"]);
    assert!(engine.inspect(client.id).await.is_none(), "the parked record was freed at its deadline");
    engine.finish().await;
}

#[actix::test]
async fn beyond_the_bound_of_parked_records_a_lost_socket_ends_its_session() {
    let engine = Engine::with(1, Options { parked: 2, ..options() });
    for (name, seen) in [("a", vec!["a cut"]), ("b", vec!["b cut"]), ("c", vec!["c cut", "c farewell"])] {
        drop(engine.connect(name).await);
        for line in seen {
            assert_eq!(engine.seen(), line);
        }
    }
    assert_eq!(engine.census().await.parked, 2);
    engine.finish().await;
}

#[actix::test]
async fn a_client_that_vanishes_with_unread_answers_is_parked() {
    let engine = Engine::with(1, Options { outbox_bytes: 128 * 1024, ..options() });
    let mut client = engine.connect("a").await;
    client.say_all(&["big 900000"; 20]);
    engine.until("the socket takes no more", |census| census.outbox_bytes > 0).await;
    let id = client.id;
    drop(client);
    assert_eq!(engine.seen(), "a cut");
    let view = engine.inspect(id).await.expect("parked");
    assert_eq!((view.state, view.outbox_bytes, view.mailbox), (State::Parked, 0, 0));
    engine.finish().await;
}
