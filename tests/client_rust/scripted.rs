//! Frame by frame: what the client says after a loss, what it repeats and what not, and when it does not come back.

use std::time::Duration;

use dormouse::client::{Client, ClientError, Connect, ErrorCode, GapReason, Notice};
use serde_json::json;

use crate::{noticed, peer::Peer, within};

fn connect(peer: &Peer) -> Connect {
    Client::connect(peer.url()).token("ann").longest_backoff(Duration::from_millis(20))
}

fn listed(offset: u64) -> serde_json::Value {
    json!([{ "channel": "c", "epoch": "e1", "offset": offset, "recovered": true }])
}

#[tokio::test]
async fn identify_carries_session_and_cursors_and_doubles_are_dropped() {
    let peer = Peer::new().await;
    let (client, (mut socket, identify)) = tokio::join!(connect(&peer).open(), peer.welcome(false, json!([])));
    let client = client.unwrap();
    assert_eq!((&identify["token"], &identify["cursors"]), (&json!("ann"), &json!({})));
    assert_eq!(identify.get("resume"), None);
    let subscribe = async {
        let asked = socket.expect("subscribe").await;
        assert_eq!((&asked["channel"], &asked["last"]), (&json!("c"), &json!(2)));
        socket.reply(&asked, json!({ "channel": "c", "epoch": "e1", "offset": 10, "recovered": true })).await;
    };
    let (lobby, ()) = tokio::join!(client.subscribe("c").last(2).into_future(), subscribe);
    let mut lobby = lobby.unwrap();
    socket.event(9).await;
    assert_eq!(within(lobby.next()).await.unwrap().offset, 9);
    drop(socket);

    let (mut socket, identify) = peer.welcome(true, listed(12)).await;
    assert_eq!(identify["resume"], "secret");
    assert_eq!(identify["cursors"], json!({ "c": { "epoch": "e1", "offset": 9 } }));
    socket.say(&json!({ "op": "gap", "channel": "c", "from": 10, "to": 11, "reason": "retention" })).await;
    for offset in [9, 12, 12, 13] {
        socket.event(offset).await;
    }
    let event = within(lobby.next()).await.unwrap();
    assert_eq!((event.offset, event.missed.len(), event.missed[0].reason), (12, 1, GapReason::Retention));
    let event = within(lobby.next()).await.unwrap();
    assert_eq!((event.offset, event.missed.len()), (13, 0));
    assert_eq!(client.vitals().doubles, 2);
    // Nothing was asked again: the server had listed the channel.
    let ((), code) = tokio::join!(client.close(), socket.left());
    assert_eq!(code, 1000);
}

#[tokio::test]
async fn what_is_not_safe_to_repeat_fails_with_the_socket_and_a_publish_keeps_its_key() {
    let peer = Peer::new().await;
    let (client, (mut socket, _)) = tokio::join!(connect(&peer).open(), peer.welcome(false, json!([])));
    let client = client.unwrap();
    let mut notices = client.notices();
    let server = async {
        let first = socket.expect("rpc").await;
        let second = socket.expect("publish").await;
        assert_ne!(first["id"], second["id"]);
        drop(socket);
        let (mut socket, _) = peer.welcome(true, json!([])).await;
        let again = socket.expect("publish").await;
        assert_eq!(again["key"], second["key"]);
        socket.reply(&again, json!({ "offset": 5, "at": 1, "duplicate": true })).await;
        socket
    };
    let (called, published, mut socket) =
        within(async { tokio::join!(client.rpc::<_, ()>("pay", &100), client.publish("c", &1), server) }).await;
    assert!(matches!(called, Err(ClientError::ConnectionLost)), "{called:?}");
    assert_eq!(published.unwrap().offset, 5);

    // What the server refuses for now is asked again, not earlier than it says, and no more than twice where it crashes.
    let server = async {
        let asked = socket.expect("whoami").await;
        let error = json!({ "code": "rate_limited", "message": "slowly", "retry": "later", "retry_after_ms": 5 });
        socket.refuse(&asked, error).await;
        for _ in 0..2 {
            let asked = socket.expect("whoami").await;
            socket.refuse(&asked, json!({ "code": "crashed", "message": "boom", "retry": "later" })).await;
        }
    };
    let (refused, ()) = within(async { tokio::join!(client.whoami(), server) }).await;
    assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::Crashed));

    // Rubbish and what belongs to no request are told, and cost nothing else.
    socket.say(&json!({ "op": "event", "channel": 1 })).await;
    socket.say(&json!({ "op": "error", "code": "bad_frame", "message": "what?", "retry": "never" })).await;
    let failed = |notice: &Notice| match notice {
        Notice::Failed(error) => Some(error.clone()),
        _ => None,
    };
    assert!(matches!(noticed(&mut notices, failed).await, ClientError::Data(_)));
    assert_eq!(noticed(&mut notices, failed).await.code(), Some(ErrorCode::BadFrame));
}

#[tokio::test]
async fn the_server_may_ask_it_to_come_back_and_the_session_goes_on() {
    let peer = Peer::new().await;
    let (client, (mut socket, _)) = tokio::join!(connect(&peer).open(), peer.welcome(false, json!([])));
    let _client = client.unwrap();
    socket.say(&json!({ "op": "reconnect", "after_ms": 1, "reason": "draining" })).await;
    assert_eq!(socket.left().await, 4003);
    assert_eq!(peer.welcome(true, json!([])).await.1["resume"], "secret");
}

#[tokio::test]
async fn close_codes_say_whether_to_come_back() {
    let peer = Peer::new().await;
    let (client, (mut socket, _)) = tokio::join!(connect(&peer).open(), peer.welcome(false, json!([])));
    let client = client.unwrap();
    for code in [4000, 4001, 4002, 4003, 4004, 4499, 1001, 1011, 1012, 1013] {
        socket.close(code).await;
        socket = peer.welcome(true, json!([])).await.0;
    }
    socket.close(4504).await;
    assert!(matches!(within(client.ended()).await, ClientError::Closed { code: 4504, .. }));
    for code in [1000, 4500, 4502, 4505, 4999] {
        let (client, (socket, _)) = tokio::join!(connect(&peer).open(), peer.welcome(false, json!([])));
        socket.close(code).await;
        let why = within(client.unwrap().ended()).await;
        assert!(matches!(why, ClientError::Closed { code: said, .. } if said == code), "{code}: {why}");
    }
}

#[tokio::test]
async fn the_last_handle_that_goes_says_goodbye() {
    let peer = Peer::new().await;
    let (client, (mut socket, _)) = tokio::join!(connect(&peer).open(), peer.welcome(false, listed(3)));
    let client = client.unwrap();
    let clone = client.clone();
    drop(client);
    let server = async {
        let asked = socket.expect("whoami").await;
        socket.reply(&asked, json!({ "user": "ann", "connection": "c", "generation": 1, "subscriptions": [] })).await;
    };
    let (me, ()) = tokio::join!(clone.whoami(), server);
    assert_eq!(me.unwrap().user, "ann");
    drop(clone);
    assert_eq!(socket.left().await, 1000);
}
