//! What members of a room hear: one order, from where they entered, and no hole that they are not told of.

use crate::{client::Client, server::Service};

/// Number and text of a telling, if it is one.
fn told(heard: &str) -> Option<(u64, &str)> {
    let (number, text) = heard.split_once(' ')?;
    Some((number.parse().ok()?, text))
}

fn member(service: &Service, room: &str) -> (Client, u64) {
    let mut client = service.client("/stubborn/");
    client.hears("hello /stubborn/ none");
    client.say(format!("enter {room}"));
    let entered = client.hear();
    let at = entered.split(" at ").nth(1).and_then(|rest| rest.split(':').next()).and_then(|at| at.parse().ok());
    (client, at.unwrap_or_else(|| panic!("{entered:?} instead of a room")))
}

#[test]
fn members_on_all_shards_hear_the_same_in_the_same_order() {
    const EACH: u64 = 100;
    const MEMBERS: u64 = 6;
    let service = Service::start();
    let listen = |nth: u64| {
        let (mut client, at) = member(&service, "hall");
        let mut heard = Vec::new();
        let mut own = 0;
        while at + heard.len() as u64 != EACH * MEMBERS {
            if own < EACH {
                client.say(format!("tell hall {nth}-{own}"));
                own += 1;
            }
            let text = client.hear();
            let (number, told) = told(&text).unwrap_or_else(|| panic!("{text:?} instead of a telling"));
            heard.push(told.to_owned());
            assert_eq!(number, at + heard.len() as u64, "a hole or a double");
        }
        heard
    };
    let all: Vec<Vec<String>> = std::thread::scope(|scope| {
        let listeners: Vec<_> = (0..MEMBERS).map(|nth| scope.spawn(move || listen(nth))).collect();
        listeners.into_iter().map(|listener| listener.join().expect("it hears all")).collect()
    });
    let longest = all.iter().max_by_key(|heard| heard.len()).expect("members");
    for heard in &all {
        assert!(longest.ends_with(heard), "another order");
    }
    for nth in 0..MEMBERS {
        let own = longest.iter().filter_map(|text| text.strip_prefix(&format!("{nth}-")));
        assert!(own.map(|own| own.parse::<u64>().expect("a number")).is_sorted(), "each teller's own order");
    }
    service.stop();
}

#[test]
fn a_member_that_does_not_read_is_shown_the_room_in_place_of_what_it_missed() {
    const TOLD: u64 = 400;
    let service = Service::with(|config| (config.limits.mailbox, config.limits.outbox_bytes) = (16, 65_536));
    let (mut slow, _) = member(&service, "hall");
    let (mut quick, _) = member(&service, "hall");
    let long = "x".repeat(60_000);
    for number in 1..=TOLD {
        quick.say(format!("tell hall {long}"));
        assert_eq!(told(&quick.hear()).map(|(number, _)| number), Some(number), "nobody waits for the slow one");
    }
    quick.say("tell hall end");
    let (mut last, mut skipped) = (0, 0);
    loop {
        let heard = slow.hear();
        if let Some(to) = heard.strip_prefix("skipped hall to ") {
            let to = to.parse().expect("a number");
            assert!(to > last, "shown a room that it knows");
            (skipped, last) = (skipped + to - last, to);
        } else if let Some((number, _)) = told(&heard) {
            assert_eq!(number, last + 1, "a hole or a double");
            last = number;
        }
        if last == TOLD + 1 {
            break;
        }
    }
    assert!(skipped > 0, "its socket took everything");
    slow.asks("tell hall more", &format!("{} more", TOLD + 2));
    service.stop();
}

#[test]
fn who_leaves_hears_nothing_more_and_may_come_back() {
    let service = Service::start();
    let (mut ann, _) = member(&service, "hall");
    let (mut ben, _) = member(&service, "hall");
    ann.asks("tell hall one", "1 one");
    ben.hears("1 one");
    ben.say("leave hall");
    ben.asks("tell hall two", "failed hall two: not a member of this room");
    ann.asks("tell hall three", "2 three");
    ben.asks("enter hall", "entered hall at 2: one,three");
    ben.asks("enter hall", "entered hall at 2: one,three");
    ann.asks("tell hall four", "3 four");
    ben.hears("3 four");
    service.stop();
}

#[test]
fn a_connection_has_a_bounded_number_of_rooms_with_names_of_a_bounded_length() {
    let service = Service::with(|config| config.limits.subscriptions = 2);
    let (mut ann, _) = member(&service, "one");
    ann.asks("enter two", "entered two at 0: ");
    ann.asks("enter three", "failed three enter: in too many rooms");
    ann.asks("enter two", "entered two at 0: ");
    ann.say("leave one");
    ann.asks("enter three", "entered three at 0: ");
    let long = "x".repeat(256);
    ann.asks(&format!("enter {long}"), &format!("failed {long} enter: a room's name has 1 to 255 bytes"));
    service.stop();
}
