//! Sockets cut, servers killed, tokens refused: what must survive does, what must end says why.

use std::{collections::BTreeMap, time::Duration};

use dormouse::client::{Client, ClientError, Event, Notice, State, Subscription};
use futures_util::future::join_all;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{noticed, open, proxy::Proxy, server::Server, within};

/// Tests lose more sockets than users do.
const QUICK: Duration = Duration::from_millis(50);

/// From `SEED`, or a new one; printed, so that it can be repeated.
fn seed() -> u64 {
    let seed =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| StdRng::from_os_rng().random());
    println!("SEED={seed}");
    seed
}

/// Takes events until `count` have come, and holds them against what was acknowledged: each once, in order, at its offset.
async fn exactly_once(lobby: &mut Subscription, acknowledged: &BTreeMap<u64, u64>) {
    let mut heard: Vec<Event> = Vec::new();
    while heard.len() < acknowledged.len() {
        heard.push(within(lobby.next()).await.expect("an event"));
    }
    assert!(heard.windows(2).all(|pair| pair[0].offset < pair[1].offset), "out of order");
    assert!(heard.iter().all(|event| event.missed.is_empty()), "a gap");
    let heard: BTreeMap<u64, u64> = heard.iter().map(|event| (event.offset, event.data().expect("a number"))).collect();
    assert_eq!(&heard, acknowledged);
}

/// Publishes these numbers, so many at a time, and gives what was acknowledged, by offset.
async fn publish(client: &Client, channel: &str, numbers: std::ops::Range<u64>) -> BTreeMap<u64, u64> {
    let published = join_all(numbers.map(async |number| {
        let published = within(client.publish(channel, &number)).await.expect("published");
        (published.offset, number)
    }));
    published.await.into_iter().collect()
}

#[tokio::test]
async fn publishes_under_way_when_sockets_are_cut_happen_once() {
    let mut dice = StdRng::seed_from_u64(seed());
    let server = Server::start(&[]);
    let proxy = Proxy::before(server.address).await;
    let connect = |user: &str| Client::connect(proxy.url()).token(user).longest_backoff(QUICK);
    let (ann, bob) = (open(connect("ann").seed(dice.random())).await, open(connect("bob").seed(dice.random())).await);
    let mut lobby = within(ann.subscribe("chat:cuts").into_future()).await.unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..12 {
        let under_way = publish(&bob, "chat:cuts", round * 40..(round + 1) * 40);
        let cut = async {
            for _ in 0..dice.random_range(0..60) {
                tokio::task::yield_now().await;
            }
            proxy.cut();
        };
        acknowledged.extend(tokio::join!(under_way, cut).0);
    }
    assert_eq!(acknowledged.len(), 480, "every number has an offset of its own");
    assert_eq!(
        acknowledged.keys().copied().collect::<Vec<_>>(),
        (1..=480).collect::<Vec<_>>(),
        "nothing was kept twice"
    );
    exactly_once(&mut lobby, &acknowledged).await;
    assert!(bob.vitals().sockets > 1, "no cut was noticed");
}

#[tokio::test]
async fn a_killed_server_that_comes_back_has_what_it_acknowledged_and_is_found_again() {
    let mut server = Server::start(&[]);
    let (ann, bob) = (
        open(server.client("ann").longest_backoff(QUICK)).await,
        open(server.client("bob").longest_backoff(QUICK)).await,
    );
    let mut notices = ann.notices();
    let mut lobby = within(ann.subscribe("chat:killed").presence().into_future()).await.unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..3 {
        let under_way = publish(&bob, "chat:killed", round * 50..(round + 1) * 50);
        let kill = async {
            // Some are on their way by then, some acknowledged.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            server.kill();
            server.restart();
        };
        acknowledged.extend(tokio::join!(under_way, kill).0);
        let resumed = noticed(&mut notices, |notice| match notice {
            Notice::Ready { resumed, .. } => Some(*resumed),
            _ => None,
        });
        assert!(!resumed.await, "a session of a dead server");
    }
    assert_eq!(acknowledged.len(), 150);
    exactly_once(&mut lobby, &acknowledged).await;
    // The channel is subscribed with presence again.
    let _here = within(bob.subscribe("chat:killed").into_future()).await.unwrap();
    noticed(&mut notices, |notice| match notice {
        Notice::Presence(change) => change.joined.iter().any(|one| one.user == "bob").then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_server_that_drains_is_left_and_its_successor_found() {
    let mut server = Server::start(&["listen.drain=\"5s\""]);
    let ann = open(server.client("ann")).await;
    let mut notices = ann.notices();
    let mut lobby = within(ann.subscribe("chat:drained").into_future()).await.unwrap();
    server.terminate();
    noticed(&mut notices, |notice| matches!(notice, Notice::Reconnect { .. }).then_some(())).await;
    let ended = tokio::task::spawn_blocking(move || {
        assert!(server.gone(), "it did not end well");
        server.restart();
        server
    });
    let _server = within(ended).await.unwrap();
    let published = within(ann.publish("chat:drained", &1)).await.unwrap();
    assert_eq!(within(lobby.next()).await.unwrap().offset, published.offset);
}

#[tokio::test]
async fn what_nobody_serves_ends_the_opening_and_what_was_kicked_stays_away() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let connect = Client::connect(format!("ws://{nobody}/v1/gateway")).token("ann");
    let refused = within(connect.timeout(Duration::from_millis(200)).open()).await.unwrap_err();
    assert!(matches!(refused, ClientError::Unreachable(_)), "{refused}");

    let server = Server::start(&[]);
    let wrong = Client::connect(format!("ws://{}/v1/nothing", server.address)).token("ann");
    let refused = within(wrong.open()).await.unwrap_err();
    assert!(matches!(refused, ClientError::Handshake { status: 404, .. }), "{refused}");

    let ann = open(server.client("ann")).await;
    let url = format!("http://{}/v1/disconnect", server.address);
    let kicked = tokio::task::spawn_blocking(move || ureq::post(url).send_json(serde_json::json!({ "user": "ann" })));
    within(kicked).await.unwrap().unwrap();
    let why = within(ann.ended()).await;
    assert!(matches!(why, ClientError::Closed { code: 4503, .. }), "{why}");
    assert_eq!(ann.state(), State::Closed);
}
