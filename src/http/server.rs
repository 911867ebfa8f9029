//! The one listener: a first look takes handshakes that came in one piece, actix-http with its upgrade service the others,
//! the actix-web app all else.

use std::{io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use actix_http::{HttpService, Request};
use actix_server::{Server, ServerHandle};
use actix_service::{ServiceFactory as _, ServiceFactoryExt as _, fn_factory, fn_service, map_config};
use actix_web::{App, dev::AppConfig, middleware::from_fn, web};

use crate::http::{first_look, gateway::Gateway, request_id, routes, upgrade};

/// A client gets this long to send its request's head (a slow-loris costs a task and a buffer no longer), and the second of
/// the first look at most before that.
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
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
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
        let data = || web::Data::from(Arc::clone(&gateway));
        let app = App::new().app_data(data()).configure(routes::configure).wrap(from_fn(request_id::name));
        let sockets = App::new().app_data(data()).configure(routes::configure_sockets);
        let sockets = map_config(sockets, |()| AppConfig::default());
        let http = HttpService::build()
            .client_request_timeout(HEAD_WITHIN)
            .keep_alive(KEEP_ALIVE)
            .upgrade(fn_factory(move || {
                let (sockets, gateway) = (sockets.new_service(()), Arc::clone(&for_upgrade));
                async move {
                    let app = Rc::new(sockets.await?);
                    Ok::<_, ()>(fn_service(move |(request, framed): (Request, _)| {
                        upgrade::serve(Arc::clone(&gateway), Rc::clone(&app), request, framed)
                    }))
                }
            }))
            .h1(map_config(app, |()| AppConfig::default()))
            .map_err(|error| tracing::debug!(?error, "http connection ended"));
        let gateway = Arc::clone(&gateway);
        fn_factory(move || {
            let (http, gateway) = (http.new_service(()), Arc::clone(&gateway));
            async move {
                let http = Rc::new(http.await?);
                Ok::<_, ()>(fn_service(move |socket| first_look::serve(Arc::clone(&gateway), Rc::clone(&http), socket)))
            }
        })
    };
    let server =
        Server::build().workers(workers).disable_signals().shutdown_timeout(1).listen("http", listener, service)?.run();
    let handle = server.handle();
    Ok((server, handle))
}
