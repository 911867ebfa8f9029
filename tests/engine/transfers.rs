//! A socket moves to the record it resumes, with everything its client has said so far, whichever shard holds the record.

use dormouse::{id::ConnectionId, protocol::close::Close, shard::State};

use crate::{
    client::{Client, Heard, frame},
    engine::Engine,
};

/// A parked record with a key.
async fn parked(engine: &Engine) -> ConnectionId {
    let mut client = engine.connect("old").await;
    client.say_all(&["note one", "key k"]);
    client.hears(["noted one", "locked"]);
    let id = client.id;
    drop(client);
    assert_eq!(engine.seen(), "old cut");
    id
}

/// A client that asks for `id` and goes on talking in the same write, the last frame unfinished.
fn resume(client: &mut Client, id: ConnectionId, key: &str) {
    let last = frame("note three");
    let (begun, rest) = last.split_at(last.len() / 2);
    let said = [frame(&format!("move {id} {key}")), frame("read"), frame("note two"), begun.to_vec()].concat();
    client.write(&said);
    client.write(rest);
}

async fn moves_with_unread_bytes(engine: Engine, old_shard: u16, new_shard: u16) {
    let id = parked(&engine).await;
    let mut client = engine.connect("new").await;
    assert_eq!((id.shard(), client.id.shard()), (old_shard, new_shard));
    resume(&mut client, id, "k");
    client.hears(["claimed old generation 1", "notes [one] generation 1", "noted two", "noted three"]);
    assert_eq!(engine.seen(), "new farewell", "the record that brought the socket is freed");
    assert_eq!(engine.inspect(client.id).await.map(|view| view.connection), None);
    assert_eq!(engine.inspect(id).await.map(|view| view.generation), Some(1));
    let census = engine.until("quiet", |census| census.awake == 0).await;
    assert_eq!((census.dormant, census.parked), (1, 0));
    engine.finish().await;
}

#[actix::test]
async fn a_socket_moves_to_a_record_of_another_shard_with_its_unread_bytes() {
    moves_with_unread_bytes(Engine::start(2), 0, 1).await;
}

#[actix::test]
async fn a_socket_moves_to_a_record_of_the_same_shard_with_its_unread_bytes() {
    moves_with_unread_bytes(Engine::start(1), 0, 0).await;
}

#[actix::test]
async fn a_refused_socket_gets_a_fresh_record_and_loses_nothing_it_said() {
    for shards in [1, 2] {
        let engine = Engine::start(shards);
        let id = parked(&engine).await;
        let mut client = engine.connect("new").await;
        resume(&mut client, id, "wrong");
        let Heard::Text(text) = client.hear() else { panic!("no answer") };
        let fresh: ConnectionId = text.strip_prefix("refused ").expect("refused").parse().expect("an id");
        client.hears(["notes [] generation 1", "noted two", "noted three"]);
        assert_ne!(fresh, id);
        assert_eq!(engine.seen(), "new farewell");
        assert_eq!(engine.inspect(id).await.map(|view| view.state), Some(State::Parked), "the old one still waits");
        engine.finish().await;
    }
}

#[actix::test]
async fn an_id_that_names_nobody_is_refused_on_the_spot() {
    let engine = Engine::start(2);
    let nobody = [ConnectionId::new(0, 77, 1), ConnectionId::new(1, 1_000_000, 1), ConnectionId::new(4_095, 0, 1)];
    for id in nobody {
        let mut client = engine.connect("new").await;
        resume(&mut client, id, "k");
        assert!(matches!(client.hear(), Heard::Text(text) if text.starts_with("refused c")));
        client.hears(["notes [] generation 1", "noted two", "noted three"]);
        drop(client);
        assert_eq!([engine.seen(), engine.seen()], ["new farewell", "refused with k cut"]);
    }
    engine.finish().await;
}

#[actix::test]
async fn a_socket_can_move_in_its_first_turn_and_when_a_job_has_ended() {
    for shards in [1, 2] {
        let engine = Engine::start(shards);
        let id = parked(&engine).await;
        let unread = [frame("note two"), frame("note three")[..4].to_vec()].concat();
        let mut first = engine.connect_silently(&format!("move {id} k"), unread).await;
        first.write(&[frame("note three")[4..].to_vec(), frame("read")].concat());
        first.hears(["claimed old generation 1", "noted two", "noted three", "notes [one,two,three] generation 1"]);
        assert_eq!(engine.seen(), format!("move {id} k farewell"));

        let mut second = engine.connect("new").await;
        second.say_all(&[&format!("job move {id} k"), "hold", "note four"]);
        second.hears(["held", "claimed old generation 1", "noted four"]);
        first.hears_close(Close::SESSION_TAKEN_OVER);
        engine.finish().await;
    }
}

#[actix::test]
async fn an_id_of_a_freed_slot_is_refused_even_when_the_slot_is_used_again() {
    let engine = Engine::start(1);
    let mut old = engine.connect("old").await;
    old.say_all(&["key k", "end"]);
    assert_eq!(engine.seen(), "old farewell");
    let mut other = engine.connect("other").await;
    assert_eq!(other.id.index(), old.id.index());
    other.say("key k");
    other.hears(["locked"]);
    let mut client = engine.connect("new").await;
    client.say(&format!("move {} k", old.id));
    assert!(matches!(client.hear(), Heard::Text(text) if text.starts_with("refused c")));
    other.say("read");
    other.hears(["notes [] generation 1"]);
    engine.finish().await;
}

#[actix::test]
async fn a_socket_that_is_taken_over_is_told_so() {
    for shards in [1, 2] {
        let engine = Engine::start(shards);
        let mut old = engine.connect("old").await;
        old.say_all(&["key k", "note one"]);
        old.hears(["locked", "noted one"]);
        let mut new = engine.connect("new").await;
        resume(&mut new, old.id, "k");
        new.hears(["claimed old generation 1", "notes [one] generation 1", "noted two", "noted three"]);
        old.hears_close(Close::SESSION_TAKEN_OVER);
        engine.finish().await;
    }
}

#[actix::test]
async fn a_generation_goes_on_across_a_resume() {
    let engine = Engine::start(2);
    let mut old = engine.connect("old").await;
    old.say_all(&["key k", "panic"]);
    old.hears(["locked", "restarted 2 after frame panic"]);
    let id = old.id;
    drop(old);
    assert_eq!(engine.seen(), "old cut");
    let mut new = engine.connect("new").await;
    new.say_all(&[&format!("move {id} k"), "panic"]);
    new.hears(["claimed old generation 2", "restarted 3 after frame panic"]);
    engine.finish().await;
}

#[actix::test]
async fn sockets_move_to_and_fro_for_as_long_as_they_like() {
    let engine = Engine::start(3);
    let mut at = engine.connect("old").await;
    at.say("key k");
    at.hears(["locked"]);
    let id = at.id;
    for round in 0..30 {
        let mut next = engine.connect("next").await;
        next.say_all(&[&format!("move {id} k"), &format!("note {round}")]);
        next.hears(["claimed old generation 1".to_owned(), format!("noted {round}")]);
        at.hears_close(Close::SESSION_TAKEN_OVER);
        at = next;
    }
    let census = engine.census().await;
    assert_eq!((census.awake + census.dormant, census.parked), (1, 0));
    engine.finish().await;
}
