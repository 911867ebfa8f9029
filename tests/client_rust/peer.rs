//! A scripted server: says frame by frame what a test tells it to, and shows what it received. Never answers by itself.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::within;

pub(crate) struct Peer(TcpListener);

impl Peer {
    pub(crate) async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/v1/gateway", self.0.local_addr().expect("bound"))
    }

    /// The next socket, greeted; and what it identifies with.
    pub(crate) async fn accept(&self) -> (Socket, Value) {
        let (stream, _) = within(self.0.accept()).await.expect("a connection");
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let choose = |request: &Request, mut response: Response| {
            let offered = request.headers()["sec-websocket-protocol"].clone();
            assert_eq!(offered, "dormouse.v1.json");
            response.headers_mut().insert("sec-websocket-protocol", offered);
            Ok(response)
        };
        let socket = accept_hdr_async(stream, choose).await.expect("a handshake");
        let mut socket = Socket(socket);
        let hello = json!({ "op": "hello", "heartbeat_ms": 45_000, "identify_within_ms": 10_000, "max_frame_bytes": 4096, "node": "n" });
        socket.say(&hello).await;
        let identify = socket.expect("identify").await;
        (socket, identify)
    }

    /// The same, and `ready` with these subscriptions.
    pub(crate) async fn welcome(&self, resumed: bool, subscriptions: Value) -> (Socket, Value) {
        let (mut socket, identify) = self.accept().await;
        let ready = json!({ "op": "ready", "user": "ann", "session": "secret", "resumed": resumed, "generation": 1,
            "subscriptions": subscriptions, "memberships": [] });
        socket.say(&ready).await;
        (socket, identify)
    }
}

pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn say(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.expect("the client listens");
    }

    pub(crate) async fn reply(&mut self, request: &Value, ok: Value) {
        self.say(&json!({ "op": "reply", "id": request["id"], "ok": ok })).await;
    }

    pub(crate) async fn refuse(&mut self, request: &Value, error: Value) {
        self.say(&json!({ "op": "reply", "id": request["id"], "error": error })).await;
    }

    pub(crate) async fn event(&mut self, offset: u64) {
        self.say(&json!({ "op": "event", "channel": "c", "offset": offset, "from": "bob", "at": 1, "data": offset }))
            .await;
    }

    /// The next frame, which must be of this op.
    pub(crate) async fn expect(&mut self, op: &str) -> Value {
        let message = within(self.0.next()).await.expect("a message").expect("a frame");
        let frame: Value = serde_json::from_str(message.to_text().expect("text")).expect("json");
        assert_eq!(frame["op"], op, "{frame}");
        frame
    }

    pub(crate) async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "why".into() };
        // The client may be quicker.
        drop(self.0.close(Some(frame)).await);
        while within(self.0.next()).await.is_some_and(|message| message.is_ok()) {}
    }

    /// The code that the client leaves with.
    pub(crate) async fn left(mut self) -> u16 {
        loop {
            match within(self.0.next()).await.expect("a close frame").expect("a frame") {
                Message::Close(Some(frame)) => return frame.code.into(),
                Message::Close(None) => panic!("no code"),
                _ => {}
            }
        }
    }
}
