//! actix-ws: a task for each WebSocket on its worker; a broadcast channel carries what is published.

use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, rt, web};
use actix_ws::{Message, MessageStream, Session};
use bytestring::ByteString;
use futures_util::StreamExt as _;
use tokio::sync::broadcast::{Sender, error::RecvError};

async fn subscribe(mut session: Session, mut stream: MessageStream, events: web::Data<Sender<ByteString>>) {
    let mut events = events.subscribe();
    if session.text(r#"{"op":"ready"}"#).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(text) => {
                    if session.text(text).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(missed)) => eprintln!("a subscriber missed {missed} events"),
                Err(RecvError::Closed) => return,
            },
            message = stream.next() => match message {
                Some(Ok(Message::Ping(bytes))) => {
                    if session.pong(&bytes).await.is_err() {
                        return;
                    }
                }
                Some(Ok(Message::Close(reason))) => {
                    let _ = session.close(reason).await;
                    return;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

async fn serve(mut session: Session, mut stream: MessageStream, echo: bool, events: web::Data<Sender<ByteString>>) {
    while let Some(Ok(message)) = stream.next().await {
        let sent = match message {
            Message::Text(text) if echo => session.text(text).await,
            Message::Text(text) => {
                let _ = events.send(text);
                Ok(())
            }
            Message::Ping(bytes) => session.pong(&bytes).await,
            Message::Close(reason) => {
                let _ = session.close(reason).await;
                return;
            }
            _ => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn open(
    request: HttpRequest,
    body: web::Payload,
    events: web::Data<Sender<ByteString>>,
) -> Result<HttpResponse, Error> {
    let (response, session, stream) = actix_ws::handle(&request, body)?;
    match request.path() {
        "/subscribe" => rt::spawn(subscribe(session, stream, events)),
        path => rt::spawn(serve(session, stream, path == "/echo", events)),
    };
    Ok(response)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8080);
    let events = web::Data::new(Sender::<ByteString>::new(1024));
    HttpServer::new(move || App::new().app_data(events.clone()).default_service(web::get().to(open)))
        .backlog(4096)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
