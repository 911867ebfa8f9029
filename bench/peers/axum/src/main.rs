//! axum (tokio-tungstenite): a task for each WebSocket; a broadcast channel carries what is published.

use axum::{
    Router,
    extract::{
        State,
        ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::get,
};
use tokio::{
    net::TcpSocket,
    sync::broadcast::{Sender, error::RecvError},
};

type Events = Sender<Utf8Bytes>;

/// tungstenite's default read buffer is 128 KiB for each connection; its documentation advises a small one for many.
fn small(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade.read_buffer_size(4096).write_buffer_size(0)
}

async fn subscribe(mut socket: WebSocket, events: Events) {
    let mut events = events.subscribe();
    if socket.send(Message::Text(r#"{"op":"ready"}"#.into())).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(text) => {
                    if socket.send(Message::Text(text)).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(missed)) => eprintln!("a subscriber missed {missed} events"),
                Err(RecvError::Closed) => return,
            },
            // Pings are answered in here.
            message = socket.recv() => match message {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

async fn publish(mut socket: WebSocket, events: Events) {
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Text(text) = message {
            let _ = events.send(text);
        }
    }
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Text(_) = message
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8080);
    let app = Router::new()
        .route(
            "/subscribe",
            get(async |upgrade: WebSocketUpgrade, State(events): State<Events>| -> Response {
                small(upgrade).on_upgrade(|socket| subscribe(socket, events))
            }),
        )
        .route(
            "/publish",
            get(async |upgrade: WebSocketUpgrade, State(events): State<Events>| -> Response {
                small(upgrade).on_upgrade(|socket| publish(socket, events))
            }),
        )
        .route("/echo", get(async |upgrade: WebSocketUpgrade| -> Response { small(upgrade).on_upgrade(echo) }))
        .with_state(Events::new(1024));
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let listener = axum::serve::ListenerExt::tap_io(socket.listen(4096)?, |stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await
}
