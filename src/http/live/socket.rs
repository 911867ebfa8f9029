//! How an upgrade request reaches a handler of the actix-web app, although actix-http gives all of them to one service: that
//! service calls the app with the socket's bytes as the request's payload, and writes what it answers to the socket.
//!
//! What is written is waited for before more is asked for. So a peer that does not read stops its actor rather than
//! filling a buffer, and is cut after a while.

use std::{pin::pin, time::Duration};

use actix_codec::{AsyncRead, AsyncWrite, Framed};
use actix_http::{
    ConnectionType, Payload, Request, Response,
    body::{BodySize, MessageBody},
    error::PayloadError,
    h1::{Codec, Message},
};
use actix_service::Service;
use actix_web::{Error, body::BoxBody, dev::ServiceResponse};
use futures_util::{SinkExt as _, StreamExt as _, future::ready, stream};
use tokio::time::timeout;

/// One write may take this long.
const PATIENCE: Duration = Duration::from_secs(30);

type Outgoing = Message<(Response<()>, BodySize)>;

/// Serves a socket until either side ends it.
pub(in crate::http) async fn serve<T, S, B>(
    app: &S,
    mut request: Request,
    framed: Framed<T, Codec>,
) -> Result<(), Error>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let (mut to_peer, from_peer) = framed.split::<Outgoing>();
    let bytes = from_peer.map(|message| match message {
        Ok(Message::Chunk(Some(bytes))) => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(PayloadError::Io(std::io::Error::other(error)))),
    });
    let bytes = bytes.take_while(|item| ready(item.is_some())).filter_map(ready);
    *request.payload() = Payload::Stream { payload: Box::pin(bytes) };
    let response = match app.call(request).await {
        Ok(answer) => Response::from(answer).map_into_boxed_body(),
        Err(error) => Response::<BoxBody>::from(error),
    };
    let (mut head, body) = response.into_parts();
    if head.status() != actix_http::StatusCode::SWITCHING_PROTOCOLS {
        head.head_mut().set_connection_type(ConnectionType::Close);
    }
    let first = stream::once(ready(Ok(Message::Item((head, body.size())))));
    let mut body = pin!(body);
    let rest = stream::poll_fn(move |cx| body.as_mut().poll_next(cx));
    let mut answer = pin!(first.chain(rest.map(|chunk| chunk.map(|bytes| Message::Chunk(Some(bytes))))));
    while let Some(message) = answer.next().await {
        match timeout(PATIENCE, to_peer.send(message?)).await {
            Ok(sent) => sent?,
            Err(_) => {
                tracing::debug!("a peer of the live feed reads nothing, leaving it");
                return Ok(());
            }
        }
    }
    // Who has gone already needs no goodbye.
    let _ = timeout(PATIENCE, to_peer.close()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix::{Actor, AsyncContext as _, StreamHandler};
    use actix_web::{App, HttpRequest, test, web};
    use actix_web_actors::ws::{self, WebsocketContext};
    use futures_util::stream::unfold;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        sync::watch,
    };

    use super::*;

    const HANDSHAKE: &[u8] = b"GET /count HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    /// Tells every number it hears of, in a message of a kilobyte, and ends at zero.
    struct Counter(watch::Receiver<u16>);

    impl Actor for Counter {
        type Context = WebsocketContext<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.add_stream(unfold(self.0.clone(), async |mut told| {
                told.changed().await.ok()?;
                let number = *told.borrow_and_update();
                Some((number, told))
            }));
        }
    }

    impl StreamHandler<u16> for Counter {
        fn handle(&mut self, number: u16, ctx: &mut Self::Context) {
            ctx.binary(number.to_be_bytes().repeat(500));
            if number == 0 {
                ctx.close(None);
                actix::ActorContext::stop(ctx);
            }
        }
    }

    impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Counter {
        fn handle(&mut self, _: Result<ws::Message, ws::ProtocolError>, _: &mut Self::Context) {}
    }

    /// The numbers in frames of a kilobyte, up to the close frame.
    fn numbers(mut bytes: &[u8]) -> Vec<u16> {
        let mut numbers = Vec::new();
        while let [0x82, 126, 3, 232, rest @ ..] = bytes {
            numbers.push(u16::from_be_bytes([rest[0], rest[1]]));
            bytes = &rest[1_000..];
        }
        assert_eq!(bytes, [0x88, 0], "the close frame is the last");
        numbers
    }

    async fn read_head(peer: &mut DuplexStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(peer.read_u8().await.expect("a head"));
        }
        String::from_utf8(head).expect("text")
    }

    #[actix_rt::test]
    async fn a_peer_that_does_not_read_misses_what_was_told_meanwhile_and_hears_the_last() {
        let (tell, told) = watch::channel(0);
        let handler = move |request: HttpRequest, payload: web::Payload| {
            let answer = ws::start(Counter(told.clone()), &request, payload);
            async { answer }
        };
        let app = test::init_service(App::new().route("/count", web::get().to(handler))).await;
        let (mut peer, here) = duplex(2_048);
        peer.write_all(HANDSHAKE).await.expect("room");
        let mut framed = Framed::new(here, Codec::default());
        let Some(Ok(Message::Item(request))) = framed.next().await else { panic!("no request") };
        let served = actix_rt::spawn(async move { serve(&app, request, framed).await });
        let head = read_head(&mut peer).await;
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        for number in 1..=1_000 {
            tell.send_replace(number);
            tokio::task::yield_now().await;
        }
        tell.send_replace(0);
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.expect("it ends");
        let numbers = numbers(&read);
        assert!(numbers.len() < 20, "{} of 1,001 were kept for a peer that did not read", numbers.len());
        assert_eq!((numbers.first(), numbers.last()), (Some(&1), Some(&0)));
        served.await.expect("it ends").expect("well");
    }

    #[actix_rt::test]
    async fn what_the_app_refuses_is_answered_and_closed() {
        let app = test::init_service(App::new()).await;
        let (mut peer, here) = duplex(2_048);
        peer.write_all(HANDSHAKE).await.expect("room");
        let mut framed = Framed::new(here, Codec::default());
        let Some(Ok(Message::Item(request))) = framed.next().await else { panic!("no request") };
        serve(&app, request, framed).await.expect("answered");
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.expect("it ends");
        let text = String::from_utf8(read).expect("text");
        assert!(text.starts_with("HTTP/1.1 404 ") && text.contains("connection: close"), "{text}");
    }
}
