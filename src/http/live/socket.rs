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
