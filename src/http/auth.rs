//! Who may use the API: the bearer keys of `api.keys` and the scopes of each, and what holds while there are none
//! (CONTRACT §1, fine print).
//!
//! Stands before every route that `routes.rs` does not call public, together with the deadline of a request. Must never
//! show a key.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, header::HeaderMap},
    middleware::Next,
    web,
};

use crate::{
    config::{Api, ApiKey, AuthMode, Config, Scope},
    http::{error::ApiError, gateway::Gateway, handshake::bearer, origin},
    protocol::error::{ErrorCode, Fault},
};

/// Longest time from a request's head to its answer, the body's way included: a stalled shard or a dripping client must
/// not hold a request for ever. The commands of the CLI wait a little longer.
const DEADLINE: Duration = Duration::from_secs(8);

/// What a route asks of its callers. Whatever a route asks, to GET it takes no more than the scope `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing, ever.
    Public,
    /// A key that reads when keys are configured, else nothing: a scraper is set up before anything else.
    Scrape,
    /// A key with this scope; while no keys are configured and auth is open, a loopback address.
    Read,
    /// As `Read`; but who comes with a socket may show its key there, as its first message.
    Watch,
    /// As `Read`.
    Publish,
    /// As `Read`.
    Admin,
    /// As `Read`.
    Chaos,
}

impl Access {
    fn scope(self, method: &Method) -> Scope {
        match self {
            _ if method == Method::GET || method == Method::HEAD => Scope::Read,
            Self::Public | Self::Scrape | Self::Read | Self::Watch => Scope::Read,
            Self::Publish => Scope::Publish,
            Self::Admin => Scope::Admin,
            Self::Chaos => Scope::Chaos,
        }
    }
}

/// The keys of the API, replaced as a whole by a reload.
pub struct ApiKeys(RwLock<Arc<[Key]>>);

struct Key {
    secret: String,
    scopes: Vec<Scope>,
}

/// Only how many: secrets stay out of logs and panics.
impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKeys").field(&self.all().len()).finish()
    }
}

impl ApiKeys {
    /// The keys that a configuration names.
    ///
    /// # Errors
    /// A file cannot be read or holds no key: a sentence that names it.
    pub fn new(api: &Api) -> Result<Self, String> {
        Ok(Self(RwLock::new(read(api)?)))
    }

    /// From now on the others count.
    pub fn replace(&self, others: Self) {
        let keys = others.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn all(&self) -> Arc<[Key]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(api: &Api) -> Result<Arc<[Key]>, String> {
    let key = |key: &ApiKey| Ok(Key { secret: key.read()?, scopes: key.scopes().to_vec() });
    api.keys.iter().map(key).collect()
}

/// Lets a request through to its handler, or answers for it.
pub(super) async fn admit(
    access: Access,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(gateway) = request.app_data::<web::Data<Gateway>>() {
        let scope = access.scope(request.method());
        let access = if access == Access::Watch && !request.head().upgrade() { Access::Read } else { access };
        check(access, scope, &gateway.config(), &gateway.keys, request.headers(), request.peer_addr())?;
    }
    match tokio::time::timeout(DEADLINE, next.call(request)).await {
        Ok(answer) => answer.map(ServiceResponse::map_into_boxed_body),
        Err(_) => Err(ApiError::from(Fault::new(ErrorCode::Timeout, "the node did not answer in time")).into()),
    }
}

fn check(
    access: Access,
    scope: Scope,
    config: &Config,
    keys: &ApiKeys,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
) -> Result<(), ApiError> {
    let keys = keys.all();
    if access == Access::Public || (access == Access::Scrape && keys.is_empty()) {
        return Ok(());
    }
    let key = bearer(headers);
    if !keys.is_empty() {
        if access == Access::Watch && key.is_none() {
            return Ok(());
        }
        return open_with(&keys, key.as_deref(), scope).map(drop);
    }
    let is_loopback = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    match config.auth.mode {
        AuthMode::Jwt | AuthMode::Hook => {
            let mode = if config.auth.mode == AuthMode::Jwt { "jwt" } else { "hook" };
            Err(forbidden(format!("the API is closed: with auth.mode \"{mode}\" it needs keys, and api.keys is empty")))
        }
        AuthMode::Open if !is_loopback => Err(forbidden("without api.keys the API serves loopback addresses only")),
        AuthMode::Open if key.is_some() => {
            Err(ApiError::unauthorized("no key is right: the server has no api.keys; send none from loopback"))
        }
        // A page in a browser on this machine is not the operator.
        AuthMode::Open if !origin::admits(headers, config) => {
            Err(forbidden("pages of this origin may not use the API: list it in listen.origins, or set api.keys"))
        }
        AuthMode::Open if !origin::names_loopback(headers) => {
            Err(forbidden("without api.keys the API is served under names of this machine alone: localhost, 127.0.0.1"))
        }
        AuthMode::Open => Ok(()),
    }
}

/// Whether there is any key.
pub(super) fn has_keys(keys: &ApiKeys) -> bool {
    !keys.all().is_empty()
}

/// What the key in `headers` opens, everything where no keys are configured; `None`: it must still be shown.
pub(super) fn scopes(keys: &ApiKeys, headers: &HeaderMap) -> Option<Vec<Scope>> {
    let keys = keys.all();
    if keys.is_empty() { Some(Scope::ALL.to_vec()) } else { scopes_of(&keys, &bearer(headers)?) }
}

/// What `key` opens, `scope` among it.
///
/// # Errors
/// There is none, it is unknown, or lacks the scope.
pub(super) fn open(keys: &ApiKeys, key: Option<&str>, scope: Scope) -> Result<Vec<Scope>, ApiError> {
    open_with(&keys.all(), key, scope)
}

fn open_with(keys: &[Key], key: Option<&str>, scope: Scope) -> Result<Vec<Scope>, ApiError> {
    let Some(key) = key else {
        return Err(ApiError::unauthorized("send one of the server's api.keys: `Authorization: Bearer KEY`"));
    };
    let Some(scopes) = scopes_of(keys, key) else {
        return Err(ApiError::unauthorized("this key is none of the server's api.keys"));
    };
    if scopes.contains(&scope) { Ok(scopes) } else { Err(lacks(scope, &scopes)) }
}

fn forbidden(message: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    Fault::new(ErrorCode::Forbidden, message).into()
}

fn lacks(scope: Scope, scopes: &[Scope]) -> ApiError {
    let has = scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ");
    forbidden(format!("this needs a key with the scope `{}`; the scopes of this one: {has}", scope.name()))
}

/// What a key may do, by every entry that has it; `None` when it is none of the keys. Compares with every key, each in a
/// time that depends on its length alone.
fn scopes_of(keys: &[Key], offered: &str) -> Option<Vec<Scope>> {
    let same = |key: &Key| {
        let bytes = || key.secret.bytes().zip(offered.bytes());
        key.secret.len() == offered.len() && bytes().fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    };
    let (mut known, mut opened) = (false, [false; Scope::ALL.len()]);
    for key in keys {
        let fits = same(key);
        known |= fits;
        for (opened, scope) in opened.iter_mut().zip(Scope::ALL) {
            *opened |= fits && key.scopes.contains(&scope);
        }
    }
    known.then(|| Scope::ALL.into_iter().zip(opened).filter_map(|(scope, opened)| opened.then_some(scope)).collect())
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

    /// A configuration with these `api.keys`, as TOML.
    fn config(mode: AuthMode, keys: &str) -> Config {
        let mut config: Config = toml::from_str(&format!("[api]\nkeys = {keys}")).expect("a configuration");
        config.auth.mode = mode;
        config
    }

    fn headers(lines: &[(header::HeaderName, &str)]) -> HeaderMap {
        let value = |value: &str| HeaderValue::from_str(value).expect("a header");
        lines.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }

    fn status(access: Access, scope: Scope, config: &Config, headers: &HeaderMap, peer: &str) -> (u16, String) {
        let keys = ApiKeys::new(&config.api).expect("keys");
        match check(access, scope, config, &keys, headers, peer.parse().ok()) {
            Ok(()) => (200, String::new()),
            Err(error) => (error.status_code().as_u16(), error.to_string()),
        }
    }

    #[test]
    fn who_may_enter_follows_from_keys_mode_and_address() {
        use Access::{Public, Read, Scrape};
        use AuthMode::{Jwt, Open};
        type Case = (Access, AuthMode, &'static str, Option<&'static str>, &'static str, u16);
        let cases: [Case; 16] = [
            (Read, Open, "[]", None, HERE, 200),
            (Read, Open, "[]", None, MAPPED, 200),
            (Read, Open, "[]", None, THERE, 403),
            (Read, Open, "[]", Some("x"), HERE, 401),
            (Read, Jwt, "[]", None, HERE, 403),
            (Read, Jwt, "[]", Some("x"), HERE, 403),
            (Read, Jwt, r#"["a", "b"]"#, Some("b"), THERE, 200),
            (Read, Open, r#"["a"]"#, None, HERE, 401),
            (Read, Open, r#"["a"]"#, Some("aa"), HERE, 401),
            (Read, Open, r#"["a"]"#, Some(""), HERE, 401),
            (Read, Open, r#"["a"]"#, Some("a"), HERE, 200),
            (Scrape, Open, "[]", Some("x"), HERE, 200),
            (Scrape, Jwt, "[]", None, THERE, 200),
            (Scrape, Open, r#"["a"]"#, None, HERE, 401),
            (Scrape, Open, r#"["a"]"#, Some("a"), HERE, 200),
            (Public, Jwt, r#"["a"]"#, Some("x"), THERE, 200),
        ];
        for (access, mode, keys, key, peer, expected) in cases {
            let bearer = key.map(|key| format!("Bearer {key}"));
            let lines: Vec<_> = bearer.iter().map(|bearer| (header::AUTHORIZATION, bearer.as_str())).collect();
            let (got, _) = status(access, Scope::Read, &config(mode, keys), &headers(&lines), peer);
            assert_eq!(got, expected, "{access:?} {mode:?} {keys:?} {key:?} {peer}");
        }
    }

    #[test]
    fn a_peer_without_an_address_is_not_trusted() {
        let config = Config::default();
        let keys = ApiKeys::new(&config.api).expect("none");
        assert!(check(Access::Read, Scope::Read, &config, &keys, &HeaderMap::new(), None).is_err());
    }

    #[test]
    fn a_key_opens_what_its_scopes_name_and_the_refusal_names_the_scope() {
        let keys = r#"["bare", {key = "reads", scopes = ["read"]}, {key = "posts", scopes = ["publish"]}, {key = "whole"},
                       {key = "twice", scopes = ["chaos"]}, {key = "twice", scopes = ["admin"]}]"#;
        let config = config(AuthMode::Jwt, &keys.replace('\n', " "));
        let opened = |key: &str| -> Vec<Scope> {
            let headers = headers(&[(header::AUTHORIZATION, &format!("Bearer {key}"))]);
            let open = |scope: &Scope| match status(Access::Chaos, *scope, &config, &headers, THERE) {
                (200, _) => true,
                (403, told) => {
                    assert!(told.contains(&format!("the scope `{}`", scope.name())) && !told.contains(key), "{told}");
                    false
                }
                other => panic!("{other:?}"),
            };
            Scope::ALL.into_iter().filter(open).collect()
        };
        assert_eq!(opened("bare"), Scope::ALL);
        assert_eq!(opened("whole"), Scope::ALL);
        assert_eq!(opened("reads"), [Scope::Read]);
        assert_eq!(opened("posts"), [Scope::Publish]);
        assert_eq!(opened("twice"), [Scope::Admin, Scope::Chaos]);
    }

    #[test]
    fn looking_takes_no_more_than_read() {
        for access in [Access::Scrape, Access::Read, Access::Publish, Access::Admin, Access::Chaos] {
            assert_eq!((access.scope(&Method::GET), access.scope(&Method::HEAD)), (Scope::Read, Scope::Read));
        }
        assert_eq!(Access::Admin.scope(&Method::DELETE), Scope::Admin);
        assert_eq!(Access::Publish.scope(&Method::POST), Scope::Publish);
        assert_eq!(Access::Chaos.scope(&Method::POST), Scope::Chaos);
    }

    #[test]
    fn without_keys_a_page_of_elsewhere_is_not_the_operator() {
        let open = Config::default();
        let (host, origin) = (header::HOST, header::ORIGIN);
        for (lines, expected) in [
            (vec![(host.clone(), "127.0.0.1:8080"), (origin.clone(), "http://127.0.0.1:8080")], 200),
            (vec![(host.clone(), "127.0.0.1:8080"), (origin.clone(), "https://evil.example")], 403),
            (vec![(host.clone(), "127.0.0.1:8080"), (origin.clone(), "null")], 403),
            // A name that was made to point here.
            (vec![(host.clone(), "evil.example:8080")], 403),
            (vec![(host.clone(), "evil.example:8080"), (origin, "http://evil.example:8080")], 403),
            (vec![(host, "localhost:8080")], 200),
        ] {
            let (got, told) = status(Access::Publish, Scope::Publish, &open, &headers(&lines), HERE);
            assert_eq!(got, expected, "{lines:?} {told}");
        }
    }

    #[test]
    fn keys_do_not_show() {
        let config = config(AuthMode::Jwt, r#"["hush", {key = "hush", scopes = ["read"]}]"#);
        let keys = ApiKeys::new(&config.api).expect("keys");
        assert_eq!(format!("{keys:?}"), "ApiKeys(2)");
    }
}
