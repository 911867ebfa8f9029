//! One turn of a connection: state and mail in, state and effects out.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::choir::{Choir, Singer};
use crate::{
    app::{
        App, Connection, Effect, Effects, Failure, Message, Opening, Settings,
        notice::{Ask, Failed, Notice, Snapshot, Telling},
        record::Record,
    },
    clock::Now,
    config::Config,
    id::ConnectionId,
    protocol::close::Close,
    shard::{Behaviour, Cause, Crash, Life, Mail, Payload, Turn},
};

const NOW: Now = Now { micros: 5_000_000, unix_ms: 1_000 };

fn turn(rooms: usize) -> Turn<Connection<Choir>> {
    let mut config = Config::default();
    config.limits.subscriptions = rooms;
    let mut turn = Turn::new(Arc::new(Settings::new(&config)), [0; 32]);
    turn.begin(NOW, ConnectionId::from_bits(7), 1);
    turn
}

/// One turn, as a shard runs it.
fn play(record: Record<Choir>, mail: Mail<'_, Connection<Choir>>, turn: &mut Turn<Connection<Choir>>) -> Record<Choir> {
    let mut connection = Connection::wake(record);
    connection.receive(mail, turn);
    connection.sleep()
}

fn opened() -> Record<Choir> {
    Connection::open(&Opening::default(), NOW)
}

/// Asks in words.
fn asked(turn: &mut Turn<Connection<Choir>>) -> Vec<String> {
    let word = |ask| match ask {
        Ask::Enter(room) => format!("enter {room}"),
        Ask::Leave(room) => format!("leave {room}"),
        Ask::Tell(room, told) => format!("tell {room} {told}"),
        Ask::Fail(room, told, why) => format!("fail {room} {told:?} {why:?}"),
        Ask::Farewell(rooms) => format!("farewell {}", rooms.join(",")),
    };
    turn.take_asks().into_iter().map(word).collect()
}

fn said(turn: &mut Turn<Connection<Choir>>) -> String {
    let bytes = turn.take_output();
    String::from_utf8_lossy(bytes.get(2..).unwrap_or_default()).into_owned()
}

#[test]
fn an_apps_turn_is_one_call_in_a_test() {
    let cases = [
        (Message::Text("enter a"), vec![Effect::Enter("a".into())]),
        (Message::Text("leave a"), vec![Effect::Leave("a".into()), Effect::Text("left a".into())]),
        (Message::Text("add a 5"), vec![Effect::Tell("a".into(), 5)]),
        (Message::Text("name ann"), vec![]),
        (Message::Entered { room: "a", state: &8, number: 3 }, vec![Effect::Text("entered a 3 8".into())]),
        (
            Message::Restarted { lost: None, again: true, gave_up: false },
            vec![Effect::Text("restarted true nothing".into())],
        ),
    ];
    for (message, expected) in cases {
        let mut effects = Effects::default();
        assert_eq!(Choir::receive(Singer::default(), message, &mut effects).turns, 1);
        assert_eq!(effects.take(), expected);
    }
}

#[test]
fn what_a_turn_asks_of_rooms_is_checked_against_those_it_is_in() {
    let (mut record, mut turn) = (opened(), turn(2));
    let long = format!("enter {}", "x".repeat(256));
    let cases = [
        ("add a 5", "fail a Some(5) NotEntered", ""),
        ("enter a", "enter a", "a"),
        ("add a 5", "tell a 5", "a"),
        ("enter a", "enter a", "a"),
        ("enter b", "enter b", "a,b"),
        ("enter c", "fail c None TooMany", "a,b"),
        ("leave a", "leave a", "b"),
        ("enter c", "enter c", "b,c"),
        ("leave b", "leave b", "c"),
        ("leave b", "leave b", "c"),
        ("leave c", "leave c", ""),
        ("enter ", "fail  None BadName", ""),
        (&long, &format!("fail {} None BadName", &long[6..]), ""),
    ];
    for (text, expected, rooms) in cases {
        record = play(record, Mail::Frame(Payload::Text(text)), &mut turn);
        assert_eq!(asked(&mut turn), [expected], "{text}");
        assert_eq!(record.rooms().join(","), rooms, "{text}");
    }
    assert!(Connection::farewell(&record).is_none(), "nobody misses it");
}

#[test]
fn what_comes_from_rooms_reaches_the_app() {
    let mut turn = turn(2);
    let (stranger, member) = (opened(), play(opened(), Mail::Frame(Payload::Text("enter a")), &mut turn));
    let snapshot = || Snapshot { room: "a".into(), state: Arc::new(8), number: 3 };
    let telling = Telling {
        room: "a".into(),
        number: 4,
        from: ConnectionId::from_bits(1),
        told: Arc::new(2),
        state: Arc::new(10),
    };
    let failed = |told: Option<i64>, why| Notice::Failed(Failed { room: "a".into(), told: told.map(Arc::new), why });
    let cases = [
        (Notice::Entered(snapshot()), "entered a 3 8"),
        (Notice::Skipped(snapshot()), "skipped a 3 8"),
        (Notice::Told(Rc::new(Arc::new(telling))), "told a 4 10 2"),
        (failed(Some(13), Failure::Crashed), "failed a Some(13) Crashed"),
        (failed(None, Failure::Overloaded), "failed a None Overloaded"),
    ];
    for (notice, expected) in cases {
        play(member.clone(), Mail::Message(&notice), &mut turn);
        assert_eq!(said(&mut turn), expected);
        play(stranger.clone(), Mail::Message(&notice), &mut turn);
        let of_members = !matches!(notice, Notice::Failed(_));
        assert_eq!(said(&mut turn), if of_members { "" } else { expected }, "to one that has left");
    }
}

#[test]
fn a_socket_that_is_lost_ends_the_connection_and_its_rooms_hear_of_it() {
    let mut turn = turn(2);
    let record = play(opened(), Mail::Frame(Payload::Text("enter a")), &mut turn);
    let record = play(record, Mail::Detached { cause: Cause::Cut, undelivered: 0 }, &mut turn);
    assert!(turn.asked_end());
    assert!(matches!(Connection::farewell(&record), Some(Ask::Farewell(rooms)) if rooms.join(",") == "a"));
}

#[test]
fn a_silent_client_is_sent_a_ping_and_is_gone_without_an_answer() {
    let (settings, heartbeat) = (Settings::new(&Config::default()), 45_000);
    let life = |heard_ms, ms: u64| Life { heard_ms, attached: true, now: Now { micros: ms * 1_000, unix_ms: 0 } };
    let mut turn = turn(2);
    let at = |ms: u32| Now { micros: u64::from(ms) * 1_000, unix_ms: 0 };
    let silence = |record, now, turn: &mut Turn<_>| {
        turn.begin(now, ConnectionId::from_bits(7), 1);
        play(record, Mail::Silence, turn)
    };
    let record = opened();
    assert_eq!(Connection::deadline(&record, &settings, life(100, 100)), Some(100 + heartbeat));
    let record = silence(record, at(100 + heartbeat), &mut turn);
    assert_eq!(turn.take_output(), [0x89, 0], "a ping");
    assert_eq!(Connection::deadline(&record, &settings, life(100, 50_000)), Some(100 + heartbeat + heartbeat / 2));
    let heard = 100 + heartbeat;
    for heard in [heard, heard + 20] {
        assert_eq!(
            Connection::deadline(&record, &settings, life(heard, 50_000)),
            Some(heard + heartbeat),
            "it answered"
        );
    }
    let record = silence(record, at(heard + heartbeat), &mut turn);
    assert_eq!((turn.take_output(), turn.asked_close()), (vec![0x89, 0], None));
    silence(record, at(heard + heartbeat + heartbeat / 2), &mut turn);
    assert_eq!(turn.asked_close(), Some(Close::HEARTBEAT_TIMEOUT));
}

#[test]
fn a_wake_comes_before_the_next_ping_and_once() {
    let (settings, mut turn) = (Settings::new(&Config::default()), turn(2));
    let mut record = opened();
    record.due = Some(NOW.ms());
    let life = Life { heard_ms: NOW.ms(), attached: true, now: NOW };
    assert_eq!(Connection::deadline(&record, &settings, life), Some(NOW.ms()));
    let woken = play(record.clone(), Mail::Silence, &mut turn);
    assert_eq!((&*said(&mut turn), woken.due), ("woken", None));
    let crash = Crash { mail: Some(&Mail::Silence), retried: false, gave_up: false };
    let restarted = play(record, Mail::Restarted(crash), &mut turn);
    assert_eq!((&*said(&mut turn), restarted.due), ("restarted false woken", None), "it does not come again");
    let mut effects = Effects::<Choir>::default();
    effects.wake_after(Duration::from_secs(3));
    effects.sleep_on();
    assert_eq!(effects.take(), [Effect::Wake(Some(Duration::from_secs(3))), Effect::Wake(None)]);
}

#[test]
fn a_sleeping_connection_is_forty_bytes_and_what_its_state_says() {
    assert_eq!(size_of::<Record<Choir>>(), 40);
    let mut turn = turn(2);
    let record = play(opened(), Mail::Frame(Payload::Text("name ann")), &mut turn);
    assert_eq!(Connection::heap_bytes(&record), record.state.len());
    assert_eq!(record.state.unpack(), Singer { turns: 1, name: "ann".to_owned() });
    let json = serde_json::to_value(&record).expect("json");
    assert_eq!(
        json,
        serde_json::json!({"state": {"turns": 1, "name": "ann"}, "rooms": [], "due": null, "pinged": null})
    );
    let again: Record<Choir> = serde_json::from_value(json).expect("what was written is read");
    assert_eq!(again.state.unpack(), record.state.unpack());
}
