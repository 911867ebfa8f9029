//! Every path the server knows, in one table: who may use it, with which methods, and who serves it.
//!
//! What is not here is answered with 404, a known path with another method with 405 and what is allowed. WebSocket upgrades
//! do not get here (`handshake.rs`), but for those of the live feed (`upgrade.rs`).

use actix_web::{
    HttpRequest, Route, guard,
    http::Method,
    middleware::from_fn,
    web::{self, Data},
};

use crate::http::{
    api::{channels, chaos, connections, disconnect, health, members, metrics, node, publish, users},
    auth::{self, Access},
    error::ApiError,
    gateway::Gateway,
    live, openapi, pages,
};

/// One path.
pub(super) struct Entry {
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) methods: &'static [Served],
}

/// A method and who serves it.
pub(super) type Served = (Verb, fn() -> Route);

/// Methods in use. `Get` serves HEAD as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

macro_rules! routes {
    ($($path:literal $access:ident { $($verb:ident $handler:expr),+ $(,)? })+) => {
        /// The table.
        pub(super) const ROUTES: &[Entry] = &[$(Entry {
            path: $path,
            access: Access::$access,
            methods: &[$((Verb::$verb, || Verb::$verb.route().to($handler))),+],
        }),+];
    };
}

routes! {
    "/v1/publish" Publish { Post publish::one }
    "/v1/publish/batch" Publish { Post publish::batch }
    "/v1/disconnect" Admin { Post disconnect::disconnect }
    "/v1/channels" Read { Get channels::list }
    "/v1/channels/{channel}" Read { Get channels::show }
    "/v1/channels/{channel}/history" Read { Get channels::history }
    "/v1/channels/{channel}/presence" Read { Get channels::presence }
    "/v1/channels/{channel}/members/{user}" Admin { Put members::add, Delete members::remove }
    "/v1/users/{user}" Read { Get users::show }
    "/v1/node" Read { Get node::show }
    "/v1/connections" Read { Get connections::list }
    "/v1/connections/{connection}" Admin { Get connections::show, Delete connections::kick }
    "/v1/live" Watch { Get live::watch }
    "/v1/chaos" Chaos { Post chaos::inject }
    "/metrics" Scrape { Get metrics::page }
    "/health/live" Public { Get health::live }
    "/health/ready" Public { Get health::ready }
    "/v1/openapi.json" Public { Get openapi::document }
    "/v1/gateway" Public { Get not_upgraded }
    "/v1/echo" Public { Get at_a_mount }
}

/// Adds all routes to an app.
pub(super) fn configure(app: &mut web::ServiceConfig) {
    ROUTES.iter().for_each(|entry| add(entry, app));
    pages::configure(app);
    app.default_service(web::to(at_a_mount));
}

/// Adds those that upgrade requests reach.
pub(super) fn configure_sockets(app: &mut web::ServiceConfig) {
    ROUTES.iter().filter(|entry| entry.path == live::PATH).for_each(|entry| add(entry, app));
}

fn add(entry: &Entry, app: &mut web::ServiceConfig) {
    let access = entry.access;
    let mut resource = web::resource(entry.path);
    for (_, route) in entry.methods {
        resource = resource.route(route());
    }
    let allowed = allowed(entry);
    let other = move |request: HttpRequest| {
        let error = ApiError::method_not_allowed(request.method().as_str(), request.path(), &allowed);
        async { Err::<&'static str, _>(error) }
    };
    let resource = resource.default_service(web::to(other));
    app.service(resource.wrap(from_fn(move |request, next| auth::admit(access, request, next))));
}

impl Verb {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    pub(super) fn route(self) -> Route {
        match self {
            Self::Get => web::route().guard(guard::fn_guard(|context| {
                let method = &context.head().method;
                method == Method::GET || method == Method::HEAD
            })),
            Self::Post => web::post(),
            Self::Put => web::put(),
            Self::Delete => web::delete(),
        }
    }
}

/// The value of `Allow`.
fn allowed(entry: &Entry) -> String {
    let names = entry.methods.iter().flat_map(|(verb, _)| match verb {
        Verb::Get => vec!["GET", "HEAD"],
        other => vec![other.name()],
    });
    names.collect::<Vec<_>>().join(", ")
}

async fn unknown(request: HttpRequest) -> Result<&'static str, ApiError> {
    Err(ApiError::not_found(format!("nothing is at {}; /v1/openapi.json lists what there is", request.path())))
}

async fn not_upgraded() -> Result<&'static str, ApiError> {
    Err(ApiError::upgrade_required())
}

async fn at_a_mount(gateway: Data<Gateway>, request: HttpRequest) -> Result<&'static str, ApiError> {
    if gateway.mounted_at(request.path()).is_some() { not_upgraded().await } else { unknown(request).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_needs_a_key_that_may_do_more_than_read() {
        for entry in ROUTES {
            let changes = entry.methods.iter().any(|(verb, _)| *verb != Verb::Get);
            let free = [Access::Public, Access::Scrape, Access::Read, Access::Watch].contains(&entry.access);
            assert!(!changes || !free, "{}", entry.path);
        }
    }

    #[test]
    fn allow_lists_head_with_get() {
        let kick = ROUTES.iter().find(|entry| entry.path == "/v1/connections/{connection}").expect("known");
        assert_eq!(allowed(kick), "GET, HEAD, DELETE");
    }
}
