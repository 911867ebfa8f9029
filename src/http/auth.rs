//! Who may use the API: the bearer keys of `api.keys`, and what holds while there are none (CONTRACT §1, fine print).
//!
//! Stands before every route that `routes.rs` does not call public, together with the deadline of a request.

use std::{net::SocketAddr, time::Duration};

use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::HeaderMap,
    middleware::Next,
    web,
};

use crate::{
    config::{AuthMode, Config},
    http::{error::ApiError, gateway::Gateway, handshake::bearer},
    protocol::error::{ErrorCode, Fault},
};

/// Longest time from a request's head to its answer, the body's way included: a stalled shard or a dripping client must
/// not hold a request for ever. The commands of the CLI wait a little longer.
const DEADLINE: Duration = Duration::from_secs(8);

/// What a route asks of its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing, ever.
    Public,
    /// A key when keys are configured, else nothing: a scraper is set up before anything else.
    Scrape,
    /// A key; while none are configured and auth is open, a loopback address.
    Operator,
}

/// Lets a request through to its handler, or answers for it.
pub(super) async fn admit(
    access: Access,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(gateway) = request.app_data::<web::Data<Gateway>>() {
        check(access, &gateway.config, request.headers(), request.peer_addr())?;
    }
    match tokio::time::timeout(DEADLINE, next.call(request)).await {
        Ok(answer) => answer.map(ServiceResponse::map_into_boxed_body),
        Err(_) => Err(ApiError::from(Fault::new(ErrorCode::Timeout, "the node did not answer in time")).into()),
    }
}

fn check(access: Access, config: &Config, headers: &HeaderMap, peer: Option<SocketAddr>) -> Result<(), ApiError> {
    let keys = &config.api.keys;
    if access == Access::Public || (access == Access::Scrape && keys.is_empty()) {
        return Ok(());
    }
    let key = bearer(headers);
    if !keys.is_empty() {
        return match key {
            Some(key) if is_one_of(keys, &key) => Ok(()),
            Some(_) => Err(ApiError::unauthorized("this key is none of the server's api.keys")),
            None => Err(ApiError::unauthorized("send one of the server's api.keys: `Authorization: Bearer KEY`")),
        };
    }
    let is_loopback = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    match config.auth.mode {
        AuthMode::Jwt => {
            Err(forbidden("the API is closed: with auth.mode \"jwt\" it needs keys, and api.keys is empty"))
        }
        AuthMode::Open if !is_loopback => Err(forbidden("without api.keys the API serves loopback addresses only")),
        AuthMode::Open if key.is_some() => {
            Err(ApiError::unauthorized("no key is right: the server has no api.keys; send none from loopback"))
        }
        AuthMode::Open => Ok(()),
    }
}

fn forbidden(message: &'static str) -> ApiError {
    Fault::new(ErrorCode::Forbidden, message).into()
}

/// Compares with every key, each in a time that depends on its length alone.
fn is_one_of(keys: &[String], offered: &str) -> bool {
    let same = |key: &String| {
        key.len() == offered.len()
            && key.bytes().zip(offered.bytes()).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    };
    keys.iter().fold(false, |found, key| found | same(key))
}

#[cfg(test)]
mod tests {
    use actix_web::{
        ResponseError as _,
        http::header::{self, HeaderValue},
    };

    use super::*;

    const HERE: &str = "127.0.0.1:9";
    const MAPPED: &str = "[::ffff:127.0.0.1]:9";
    const THERE: &str = "192.0.2.1:9";

    #[test]
    fn who_may_enter_follows_from_keys_mode_and_address() {
        use Access::{Operator, Public, Scrape};
        use AuthMode::{Jwt, Open};
        type Case = (Access, AuthMode, &'static [&'static str], Option<&'static str>, &'static str, u16);
        let cases: [Case; 16] = [
            (Operator, Open, &[], None, HERE, 200),
            (Operator, Open, &[], None, MAPPED, 200),
            (Operator, Open, &[], None, THERE, 403),
            (Operator, Open, &[], Some("x"), HERE, 401),
            (Operator, Jwt, &[], None, HERE, 403),
            (Operator, Jwt, &[], Some("x"), HERE, 403),
            (Operator, Jwt, &["a", "b"], Some("b"), THERE, 200),
            (Operator, Open, &["a"], None, HERE, 401),
            (Operator, Open, &["a"], Some("aa"), HERE, 401),
            (Operator, Open, &["a"], Some(""), HERE, 401),
            (Operator, Open, &["a"], Some("a"), HERE, 200),
            (Scrape, Open, &[], Some("x"), HERE, 200),
            (Scrape, Jwt, &[], None, THERE, 200),
            (Scrape, Open, &["a"], None, HERE, 401),
            (Scrape, Open, &["a"], Some("a"), HERE, 200),
            (Public, Jwt, &["a"], Some("x"), THERE, 200),
        ];
        for (access, mode, keys, key, peer, status) in cases {
            let mut config = Config::default();
            config.auth.mode = mode;
            config.api.keys = keys.iter().map(ToString::to_string).collect();
            let mut headers = HeaderMap::new();
            if let Some(key) = key {
                headers
                    .insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}")).expect("a header"));
            }
            let got = check(access, &config, &headers, peer.parse().ok());
            let got = got.map_or_else(|error| error.status_code().as_u16(), |()| 200);
            assert_eq!(got, status, "{access:?} {mode:?} {keys:?} {key:?} {peer}");
        }
    }

    #[test]
    fn a_peer_without_an_address_is_not_trusted() {
        assert!(check(Access::Operator, &Config::default(), &HeaderMap::new(), None).is_err());
    }
}
