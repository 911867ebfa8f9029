//! The one listener: actix-http with its upgrade service for WebSocket handshakes, the actix-web app for all else.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_http::{HttpService, Request};
use actix_server::{Server, ServerHandle};
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{App, dev::AppConfig, web};

use crate::http::{gateway::Gateway, handshake, routes};

/// A client gets this long to send its request's head (a slow-loris costs a task and a buffer no longer).
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Idle HTTP connections are closed after this.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Opens the listener. Separate from [`serve`], so that a port that is taken is an error of the start.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(gateway: &crate::config::Listen) -> io::Result<TcpListener> {
    let address = gateway.addr;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(gateway.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Serves `listener` until the handle stops it.
///
/// # Errors
/// When the workers cannot be started.
pub fn serve(gateway: &Arc<Gateway>, listener: TcpListener, workers: usize) -> io::Result<(Server, ServerHandle)> {
    let gateway = Arc::clone(gateway);
    let service = move || {
        let for_upgrade = Arc::clone(&gateway);
        let app = App::new().app_data(web::Data::from(Arc::clone(&gateway))).configure(routes::configure);
        HttpService::build()
            .client_request_timeout(HEAD_WITHIN)
            .keep_alive(KEEP_ALIVE)
            .upgrade(fn_service(move |(request, framed): (Request, _)| {
                handshake::upgrade(Arc::clone(&for_upgrade), request, framed)
            }))
            .h1(map_config(app, |()| AppConfig::default()))
            .tcp()
            .map_err(|error| tracing::debug!(?error, "http connection ended"))
    };
    let server =
        Server::build().workers(workers).disable_signals().shutdown_timeout(1).listen("http", listener, service)?.run();
    let handle = server.handle();
    Ok((server, handle))
}
