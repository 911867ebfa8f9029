//! Where an upgrade request goes that actix-http has read: to the actix-web app, if that is who serves sockets at its path,
//! else out of HTTP and to a shard (`handshake.rs`). Both ways begin with the same strict handshake.

use std::{rc::Rc, sync::Arc};

use actix_codec::Framed;
use actix_http::{Request, body::MessageBody, h1::Codec};
use actix_service::Service;
use actix_web::{Error, dev::ServiceResponse};

use crate::http::{
    gateway::Gateway,
    handshake::{self, Head},
    live,
    stream::Stream,
};

/// Takes an upgrade request with its socket.
pub(super) async fn serve<S, B>(
    gateway: Arc<Gateway>,
    app: Rc<S>,
    request: Request,
    framed: Framed<Stream, Codec>,
) -> Result<(), Error>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    if request.path() != live::PATH {
        return handshake::upgrade(gateway, request, framed).await;
    }
    match handshake::check(&gateway, &Head::from(&request)) {
        Ok(()) => live::serve(&*app, request, framed).await,
        Err(refusal) => {
            handshake::turn_away(&gateway, refusal, framed).await;
            Ok(())
        }
    }
}
