//! Everything an application does, and a crash in the middle of it.

use std::{collections::BTreeMap, time::Duration};

use dormouse::client::{ChaosFault, ClientError, ErrorCode, Notice, Range, Retry, State, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{noticed, open, server::Server, within};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Message {
    text: String,
}

fn message(text: &str) -> Message {
    Message { text: text.to_owned() }
}

#[tokio::test]
async fn two_talk_and_each_request_has_its_answer() {
    let server = Server::start(&[]);
    let (ann, bob) = (open(server.client("ann")).await, open(server.client("bob")).await);
    let mut notices = ann.notices();
    let mut lobby = within(ann.subscribe("chat:lobby").presence().into_future()).await.unwrap();
    assert_eq!(lobby.first().map(|first| (first.offset, first.recovered)), Some((0, true)));

    let first = within(bob.publish("chat:lobby", &message("hello"))).await.unwrap();
    assert!(!first.duplicate);
    let event = within(lobby.next()).await.unwrap();
    assert_eq!((event.offset, &*event.from, event.data().unwrap()), (first.offset, "bob", message("hello")));
    assert!(matches!(event.data::<u64>(), Err(ClientError::Data(_))));

    let again =
        within(bob.publish_keyed("chat:lobby", &message("hello"), event.key.as_deref().unwrap())).await.unwrap();
    assert_eq!((again.offset, again.duplicate), (first.offset, true));

    for number in 0..5 {
        within(bob.publish("chat:lobby", &number)).await.unwrap();
    }
    let page = within(ann.history("chat:lobby", Range::After(first.offset), 2)).await.unwrap();
    assert_eq!((page.events.iter().map(|event| event.json()).collect::<Vec<_>>(), page.more), (vec!["0", "1"], true));
    let newest = within(ann.history("chat:lobby", Range::Newest, 1)).await.unwrap();
    assert_eq!(newest.events[0].data::<u32>().unwrap(), 4);

    let _here = within(bob.subscribe("chat:lobby").last(3).into_future()).await.unwrap();
    let users = |users: Vec<dormouse::client::Present>| users.into_iter().map(|one| one.user).collect::<Vec<_>>();
    assert_eq!(users(within(ann.presence("chat:lobby")).await.unwrap().users), ["ann", "bob"]);
    within(bob.signal("chat:lobby", "typing", &json!({ "fast": true }))).await.unwrap();
    let signal = noticed(&mut notices, |notice| match notice {
        Notice::Signal(signal) => Some(signal.clone()),
        _ => None,
    });
    let signal = signal.await;
    assert_eq!((&*signal.from, &*signal.kind, signal.data.unwrap().get()), ("bob", "typing", r#"{"fast":true}"#));
    within(bob.status(Status::Busy)).await.unwrap();
    noticed(&mut notices, |notice| match notice {
        // Coming and changing within one interval is one change.
        Notice::Presence(change) => {
            change.changed.iter().chain(&change.joined).any(|one| one.status == Status::Busy).then_some(())
        }
        _ => None,
    })
    .await;

    let me = within(ann.whoami()).await.unwrap();
    assert_eq!((&*me.user, me.generation, me.subscriptions), ("ann", 1, vec!["chat:lobby".to_owned()]));
    let refused = within(ann.rpc::<_, Value>("sum", &[1, 2])).await.unwrap_err();
    assert_eq!((refused.code(), refused.retry()), (Some(ErrorCode::NotFound), Retry::Never));
    let refused = within(ann.subscribe("chat:lobby").into_future()).await.unwrap_err();
    assert!(matches!(refused, ClientError::AlreadySubscribed(_)), "{refused}");
    let refused = within(ann.subscribe("no such name").into_future()).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::BadRequest));
    let refused = within(ann.publish("chat:lobby", &"x".repeat(70_000))).await.unwrap_err();
    assert!(matches!(refused, ClientError::TooLarge { limit: 65_536, .. }), "{refused}");

    within(bob.close()).await;
    noticed(&mut notices, |notice| match notice {
        Notice::Presence(change) => change.left.contains(&"bob".to_owned()).then_some(()),
        _ => None,
    })
    .await;
    assert!(matches!(within(bob.publish("chat:lobby", &1)).await, Err(ClientError::Ended)));
    within(ann.close()).await;
    assert_eq!(ann.state(), State::Closed);
    assert_eq!(within(async { while lobby.next().await.is_some() {} }).await, ());
    assert!(matches!(lobby.ended(), Some(ClientError::Ended)));
}

#[tokio::test]
async fn a_crashed_actor_costs_the_request_that_crashed_it() {
    let server = Server::start(&[]);
    let (ann, bob) = (open(server.client("ann")).await, open(server.client("bob")).await);
    let mut notices = ann.notices();
    let mut lobby = within(ann.subscribe("chat:crash").into_future()).await.unwrap();
    let crash = ann.chaos(ChaosFault::Panic, None);
    let (before, crashed, published) = tokio::join!(ann.whoami(), crash, ann.publish("chat:crash", &1));
    assert_eq!(before.unwrap().generation, 1);
    assert_eq!(crashed.unwrap_err().code(), Some(ErrorCode::Crashed));
    let published = published.unwrap();
    let generation = noticed(&mut notices, |notice| match notice {
        Notice::Restarted { generation, .. } => Some(*generation),
        _ => None,
    });
    assert_eq!(generation.await, 2);
    within(bob.publish("chat:crash", &2)).await.unwrap();
    let first = within(lobby.next()).await.unwrap();
    assert_eq!((first.offset, first.data::<u32>().unwrap()), (published.offset, 1));
    assert_eq!(within(lobby.next()).await.unwrap().data::<u32>().unwrap(), 2);
    let vitals = ann.vitals();
    assert_eq!((vitals.sockets, vitals.restarts, vitals.generation), (1, 1, 2));
}

#[tokio::test]
async fn a_member_finds_what_passed_while_he_was_away_and_acknowledges_what_he_took() {
    let server = Server::start(&[]);
    let ann = open(server.client("ann")).await;
    let bob = open(server.client("bob")).await;
    within(ann.join("chat:team")).await.unwrap();
    within(bob.join("chat:team")).await.unwrap();
    within(bob.close()).await;
    for number in 1..=3 {
        within(ann.publish("chat:team", &number)).await.unwrap();
    }
    let mut notices = ann.notices();
    let bob = open(server.client("bob").inbox()).await;
    let mut inbox = bob.inbox().unwrap();
    let [membership] = &bob.memberships()[..] else { panic!("one membership") };
    assert_eq!(membership.unread, 3);
    for number in 1..=3 {
        assert_eq!(within(inbox.next()).await.unwrap().data::<u32>().unwrap(), number);
    }
    noticed(&mut notices, |notice| match notice {
        Notice::Receipt(receipt) => (receipt.user == "bob" && receipt.delivered == 3).then_some(()),
        _ => None,
    })
    .await;
    assert_eq!(within(bob.read("chat:team", 2)).await.unwrap().read, 2);
    assert_eq!(bob.memberships()[0].unread, 1);
    let members = within(ann.members("chat:team")).await.unwrap();
    assert_eq!(members.members[1].standing, dormouse::client::Standing { delivered: 3, read: 2 });
    within(bob.leave("chat:team")).await.unwrap();
    assert!(bob.memberships().is_empty());
}

#[tokio::test]
async fn a_slow_listener_costs_no_memory_and_misses_nothing() {
    const EVENTS: u32 = 4_000;
    let kept = ["channels.chat.history_events=10000", "channels.chat.catch_up_limit=10000"];
    let server = Server::start(&kept);
    let slow = open(server.client("ann").capacity(16)).await;
    let mut lobby = within(slow.subscribe("chat:flood").into_future()).await.unwrap();
    let fast = open(server.client("bob")).await;
    let text = "x".repeat(1_000);
    let publish = async |number: u32| {
        let published = within(fast.publish("chat:flood", &(number, &text))).await.unwrap();
        (published.offset, number)
    };
    // Some at once and some one by one. What is refused for a moment is published again, behind others.
    let mut numbers: BTreeMap<u64, u32> =
        futures_util::future::join_all((0..1_000).map(publish)).await.into_iter().collect();
    for number in 1_000..EVENTS {
        numbers.extend([publish(number).await]);
    }
    // Nothing was taken yet, and what waits is bounded; whoever takes asks in between, and is answered.
    assert!(slow.waiting() <= 16 * 8, "{} events wait", slow.waiting());
    for (offset, number) in numbers {
        let event = within(lobby.next()).await.unwrap();
        assert!(event.missed.is_empty(), "{:?}", event.missed);
        assert_eq!((event.offset, event.data::<(u32, String)>().unwrap().0), (offset, number));
        if offset % 500 == 0 {
            assert_eq!(within(slow.whoami()).await.unwrap().user, "ann");
        }
        assert!(slow.waiting() <= 16 * 8, "{} events wait", slow.waiting());
    }
}

#[tokio::test]
async fn whoever_drops_a_subscription_hears_no_more_and_may_subscribe_again() {
    let server = Server::start(&[]);
    let ann = open(server.client("ann")).await;
    let lobby = within(ann.subscribe("chat:again").into_future()).await.unwrap();
    within(ann.publish("chat:again", &1)).await.unwrap();
    drop(lobby);
    let mut lobby = within(ann.subscribe("chat:again").last(1).into_future()).await.unwrap();
    assert_eq!(within(lobby.next()).await.unwrap().data::<u32>().unwrap(), 1);
    // Where a cursor was kept, it goes on.
    let kept = lobby.cursor().unwrap();
    drop(lobby);
    for number in 2..=3 {
        within(ann.publish("chat:again", &number)).await.unwrap();
    }
    let mut lobby = within(ann.subscribe("chat:again").from(kept).into_future()).await.unwrap();
    for number in 2..=3 {
        assert_eq!(within(lobby.next()).await.unwrap().data::<u32>().unwrap(), number);
    }
    drop(lobby);
    let me = within(ann.whoami()).await.unwrap();
    assert!(me.subscriptions.is_empty(), "{me:?}");
    assert_eq!(ann.waiting(), 0);
}

#[tokio::test]
async fn a_request_that_nobody_answers_ends_with_its_time() {
    let server = Server::start(&["limits.turn_stall=\"30s\""]);
    let ann = open(server.client("ann").timeout(Duration::from_millis(300))).await;
    let (stalled, late) = tokio::join!(ann.chaos(ChaosFault::Stall, Some(Duration::from_secs(1))), ann.whoami());
    assert!(matches!(stalled, Err(ClientError::Timeout(_))), "{stalled:?}");
    assert!(matches!(late, Err(ClientError::Timeout(_))), "{late:?}");
}
