//! What a crash costs, and whom: a turn, a telling, a fold, a shard.

use dormouse::{app, shard::Outcome};
use serde_json::json;

use crate::{example::Counter, server::Service, stubborn::Stubborn};

#[test]
fn a_crash_costs_one_turn_and_nobody_else_notices() {
    let service = Service::start();
    let mut ann = service.visitor("kitchen", 0);
    let mut ben = service.visitor("kitchen", 0);
    ann.asks("add 5", "total 5, 5 of it yours");
    ben.hears("total 5, 0 of it yours");
    ann.asks("share 2", "2 each");
    ann.asks("share 0", "restarted, 5 of it yours");
    ann.asks("add 1", "total 6, 6 of it yours");
    ben.hears("total 6, 0 of it yours");
    ben.asks("add 4", "total 10, 4 of it yours");
    ann.hears("total 10, 6 of it yours");
    let mut late = service.visitor("kitchen", 10);
    late.asks("share 5", "2 each");
    assert_eq!(service.metric("dormouse_restarts_total"), 1.0);
    service.stop();
}

#[test]
fn a_crash_leaves_a_file_that_replays_to_the_same_panic() {
    let service = Service::start();
    let mut ann = service.visitor("kitchen", 0);
    ann.asks("add 5", "total 5, 5 of it yours");
    ann.asks("share 0", "restarted, 5 of it yours");
    let [text] = &service.crash_files(1)[..] else { panic!("one crash, one file") };
    let replayed = app::replay::<Counter>(text).expect("a counter's");
    assert_eq!(replayed.outcome(), Outcome::SamePlace);
    assert_eq!(&*replayed.file.panic, "attempt to divide by zero");
    assert_eq!(replayed.file.turn["record"]["state"], json!({"room": "xxxxxxx", "total": 5, "added": 5}));
    assert!(app::replay::<Stubborn>(text).is_err_and(|error| error.to_string().contains("\"counter\"")));
    service.stop();
}

#[test]
fn what_people_wrote_is_in_no_crash_file_and_the_turn_replays_all_the_same() {
    let service = Service::start();
    let mut ann = service.client("/stubborn/?key=Geheimnis");
    ann.hears("hello /stubborn/ none");
    for text in ["note Geheimnis", "cross", "sulk 1"] {
        ann.say(text);
    }
    ann.asks("enter Geheimnis", "entered Geheimnis at 0: ");
    ann.asks("tell Geheimnis Geheimnis", "restarted after told 1, again");
    ann.hears("1 Geheimnis");
    let [text] = &service.crash_files(1)[..] else { panic!("one crash, one file") };
    assert!(!text.contains("Geheimnis"), "{text}");
    let replayed = app::replay::<Stubborn>(text).expect("a stubborn one's");
    assert_eq!(replayed.outcome(), Outcome::SamePlace);
    let state = json!({"turns": 7, "is": "cross", "note": "xxxxxxxxx", "sulks": 1});
    assert_eq!(replayed.file.turn["record"]["state"], state, "the words of a type stay");
    assert_eq!(&*replayed.file.panic, "it does not want to hear xxxxxxxxx");
    service.stop();
}

#[test]
fn a_telling_that_crashes_is_heard_once_more_and_then_named_as_lost() {
    let service = Service::start();
    let [mut ann, mut ben] = ["a", "b"].map(|path| {
        let mut client = service.client(&format!("/stubborn/{path}"));
        client.hears(&format!("hello /stubborn/{path} none"));
        client.asks("enter hall", "entered hall at 0: ");
        client
    });
    ann.say("sulk 1");
    ann.asks("mood", "5 turns, ");
    ben.asks("tell hall one", "1 one");
    ann.hears("restarted after told 1, again");
    ann.hears("1 one");
    ann.say("sulk 2");
    ann.asks("mood", "9 turns, ");
    ben.asks("tell hall two", "2 two");
    ann.hears("restarted after told 2, again");
    ann.hears("restarted after told 2");
    ben.asks("tell hall three", "3 three");
    ann.hears("3 three");
    service.stop();
}

#[test]
fn a_fold_that_panics_leaves_the_room_as_it_was_and_the_teller_is_told() {
    let service = Service::start();
    let mut members: Vec<_> = (0..4)
        .map(|_| {
            let mut client = service.client("/stubborn/x");
            client.hears("hello /stubborn/x none");
            client
        })
        .collect();
    // Rooms enough to have homes on both shards, tellers on both.
    for room in 0..8 {
        for (nth, client) in members.iter_mut().enumerate() {
            client.asks(&format!("enter {room}"), &format!("entered {room} at 0: "));
            client.say(format!("tell {room} never {nth}"));
            client.hears(&format!("failed {room} never {nth}: the room crashed over it"));
        }
        members[0].say(format!("tell {room} fine"));
        for client in &mut members {
            client.hears("1 fine");
        }
    }
    assert_eq!(service.metric("dormouse_restarts_total"), 0.0, "no connection is to blame");
    assert_eq!(service.metric("dormouse_crashes_total"), 32.0);
    service.stop();
}

#[test]
fn a_connection_that_crashes_too_often_is_closed_and_its_last_words_are_kept() {
    let service = Service::with(|config| config.supervision.max_restarts = 2);
    let mut witness = service.client("/stubborn/w");
    witness.hears("hello /stubborn/w none");
    witness.asks("enter farewells", "entered farewells at 0: ");
    let mut ann = service.client("/stubborn/a");
    ann.hears("hello /stubborn/a none");
    ann.asks("enter farewells", "entered farewells at 0: ");
    ann.say("note tell");
    ann.asks("what", "restarted after text what");
    ann.asks("what", "restarted after text what");
    ann.asks("what", "restarted after text what, gave up");
    assert_eq!(ann.closed(), (4000, "gave_up".to_owned()));
    witness.hears("1 closed 4000");
    service.stop();
}

#[test]
fn a_close_that_may_not_be_sent_is_a_crash_of_the_turn_that_wanted_it() {
    let service = Service::start();
    let mut ann = service.client("/stubborn/");
    ann.hears("hello /stubborn/ none");
    ann.asks("illegal", "restarted after text illegal");
    ann.say("close");
    assert_eq!(ann.closed(), (4_321, "as you wish".to_owned()));
    service.stop();
}

#[test]
fn chaos_reaches_the_apps_connections_and_shards() {
    let service = Service::start();
    let mut visitors: Vec<_> = (0..4).map(|_| service.visitor("kitchen", 0)).collect();
    for (order, hits) in [
        (json!({"fault": "panic", "app": "counter", "target": {"fraction": 1}}), 4),
        (json!({"fault": "panic", "where": "wake", "app": "counter", "target": {"count": 4}}), 4),
    ] {
        assert_eq!(service.chaos(&order), hits, "{order}");
        visitors.iter_mut().for_each(|visitor| visitor.hears("restarted, 0 of it yours"));
    }
    assert_eq!(service.chaos(&json!({"fault": "panic_shard", "app": "counter", "target": {"count": 2}})), 2);
    for actor in ["counter-0", "counter-1"] {
        assert_eq!(service.chaos(&json!({"fault": "panic_actor", "target": {"actor": actor}})), 1);
    }
    visitors[0].say("add 3");
    visitors[0].hears("total 3, 3 of it yours");
    visitors[1..].iter_mut().for_each(|visitor| visitor.hears("total 3, 0 of it yours"));
    let id = service.connections("counter")[0]["connection"].clone();
    assert_eq!(service.chaos(&json!({"fault": "drop", "app": "counter", "target": {"connection": id}})), 1);
    assert_eq!(service.get("/v1/node")["apps"][0]["connections"]["total"], 3);
    service.stop();
}
