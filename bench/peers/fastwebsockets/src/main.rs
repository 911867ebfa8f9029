//! fastwebsockets on hyper: a task for each WebSocket; a broadcast channel carries what is published.

use bytes::Bytes;
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, upgrade};
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpSocket,
    sync::broadcast::{Sender, error::RecvError},
};

type Events = Sender<Bytes>;
type Socket = FragmentCollector<TokioIo<Upgraded>>;

fn text(bytes: &[u8]) -> Frame<'_> {
    Frame::text(Payload::Borrowed(bytes))
}

async fn subscribe(mut socket: Socket, events: Events) {
    let mut events = events.subscribe();
    if socket.write_frame(text(br#"{"op":"ready"}"#)).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => {
                    if socket.write_frame(text(&event)).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(missed)) => eprintln!("a subscriber missed {missed} events"),
                Err(RecvError::Closed) => return,
            },
            // Pings are answered in here. What a subscriber sends here is whole in one read, so nothing is lost when an
            // event interrupts the wait.
            frame = socket.read_frame() => match frame {
                Ok(frame) if frame.opcode != OpCode::Close => {}
                _ => return,
            },
        }
    }
}

async fn serve(mut socket: Socket, echo: bool, events: Events) {
    while let Ok(frame) = socket.read_frame().await {
        match frame.opcode {
            OpCode::Text if echo => {
                if socket.write_frame(Frame::text(frame.payload)).await.is_err() {
                    return;
                }
            }
            OpCode::Text => {
                let _ = events.send(Bytes::copy_from_slice(&frame.payload));
            }
            OpCode::Close => return,
            _ => {}
        }
    }
}

async fn open(
    mut request: Request<Incoming>,
    events: Events,
) -> Result<Response<Empty<Bytes>>, fastwebsockets::WebSocketError> {
    let (response, upgrading) = upgrade::upgrade(&mut request)?;
    let path = request.uri().path().to_owned();
    tokio::spawn(async move {
        let Ok(socket) = upgrading.await else { return };
        let socket = FragmentCollector::new(socket);
        match path.as_str() {
            "/subscribe" => subscribe(socket, events).await,
            path => serve(socket, path == "/echo", events).await,
        }
    });
    Ok(response)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8080);
    let events = Events::new(1024);
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let listener = socket.listen(4096)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let events = events.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| open(request, events.clone()));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}
