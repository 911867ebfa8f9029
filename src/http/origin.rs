//! Which pages may use this server from a browser. A browser names the page's origin and lets any page connect to anything,
//! also to a server on the reader's own machine; so pages of other origins are refused unless `listen.origins` lists
//! theirs. Programs send no `Origin` and are not asked for one. No replacement for tokens: outside a browser the header
//! says whatever its sender likes. Called by the handshake and, while the API needs no key, for its requests.

use std::net::{Ipv4Addr, Ipv6Addr};

use actix_http::header::{self, HeaderMap};

use crate::config::{AuthMode, Config};

/// Whether a request may come from where it says.
pub(super) fn admits(headers: &HeaderMap, config: &Config) -> bool {
    let mut origins = headers.get_all(header::ORIGIN);
    let Some(origin) = origins.next() else { return true };
    // A browser sends one.
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
    let origin = origin.to_ascii_lowercase();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    config.listen.origins.iter().any(|pattern| matches(pattern, &origin))
        || (is_same(&origin, host) && (config.auth.mode != AuthMode::Open || is_loopback(host)))
}

/// Whether `Host`, where there is one, names this machine. In open mode a page whose own name was made to point here (DNS
/// rebinding) would be of the same origin, and be let in as anybody.
pub(super) fn names_loopback(headers: &HeaderMap) -> bool {
    headers.get(header::HOST).is_none_or(|host| host.to_str().is_ok_and(is_loopback))
}

/// The page comes from the host that it connects to.
fn is_same(origin: &str, host: &str) -> bool {
    let (scheme, authority) = origin.split_once("://").unwrap_or_default();
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let host = host.to_ascii_lowercase();
    let bare = |name: &str| name.strip_suffix(default_port).unwrap_or(name).to_owned();
    !authority.is_empty() && bare(authority) == bare(&host)
}

fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
    }
    let name = host.split_once(':').map_or(&*host, |(name, _)| name);
    let is_address = name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    is_address || name == "localhost" || name.ends_with(".localhost")
}

/// A `*` stands for one or more characters of a host's name; alone, for every origin.
fn matches(pattern: &str, origin: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == origin };
    if before.is_empty() && after.is_empty() {
        return true;
    }
    let middle = origin.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    middle.is_some_and(|middle| {
        !middle.is_empty() && middle.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn admitted(mode: AuthMode, listed: &[&str], origin: Option<&str>, host: &str) -> bool {
        let mut config = Config::default();
        config.auth.mode = mode;
        config.listen.origins = listed.iter().map(ToString::to_string).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).expect("a header"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect("a header"));
        }
        admits(&headers, &config)
    }

    #[test]
    fn who_may_connect_follows_from_origin_host_mode_and_list() {
        use AuthMode::{Jwt, Open};
        let none: &[&str] = &[];
        let app: &[&str] = &["https://app.example.com", "https://*.example.org", "http://*:3000"];
        let cases = [
            // Programs send none.
            (Open, none, None, "127.0.0.1:8080", true),
            (Jwt, none, None, "chat.example.com", true),
            // Pages of this server.
            (Open, none, Some("http://127.0.0.1:8080"), "127.0.0.1:8080", true),
            (Open, none, Some("http://LOCALHOST:8080"), "localhost:8080", true),
            (Open, none, Some("http://[::1]:8080"), "[::1]:8080", true),
            (Open, none, Some("http://a.localhost:8080"), "a.localhost:8080", true),
            (Jwt, none, Some("https://chat.example.com"), "chat.example.com", true),
            (Jwt, none, Some("https://chat.example.com"), "chat.example.com:443", true),
            (Jwt, none, Some("http://chat.example.com:80"), "CHAT.example.com", true),
            // Pages of others.
            (Open, none, Some("http://localhost:3000"), "localhost:8080", false),
            (Open, none, Some("https://evil.example"), "127.0.0.1:8080", false),
            (Jwt, none, Some("https://evil.example"), "chat.example.com", false),
            (Jwt, none, Some("https://chat.example.com:80"), "chat.example.com", false),
            (Jwt, none, Some("https://chat.example.com.evil.example"), "chat.example.com", false),
            // A name of theirs that points here.
            (Open, none, Some("http://evil.example:8080"), "evil.example:8080", false),
            (Open, none, Some("http://127.0.0.1.evil.example:8080"), "127.0.0.1.evil.example:8080", false),
            // No page at all, or none that is known.
            (Jwt, none, Some("null"), "chat.example.com", false),
            (Jwt, none, Some(""), "", false),
            (Jwt, none, Some("file://"), "", false),
            (Jwt, &["null"], Some("null"), "chat.example.com", true),
            // The list.
            (Jwt, app, Some("https://app.example.com"), "x", true),
            (Jwt, app, Some("https://App.Example.com"), "x", true),
            (Jwt, app, Some("http://app.example.com"), "x", false),
            (Jwt, app, Some("https://a.b.example.org"), "x", true),
            (Jwt, app, Some("https://example.org"), "x", false),
            (Jwt, app, Some("https://evil.example/.example.org"), "x", false),
            (Open, app, Some("http://anything:3000"), "localhost:8080", true),
            (Jwt, &["*"], Some("null"), "x", true),
        ];
        for (mode, listed, origin, host, expected) in cases {
            assert_eq!(admitted(mode, listed, origin, host), expected, "{mode:?} {listed:?} {origin:?} at {host}");
        }
    }

    #[test]
    fn two_origins_are_none() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:1"));
        headers.append(header::ORIGIN, HeaderValue::from_static("http://127.0.0.1:1"));
        assert!(admits(&headers, &Config::default()));
        headers.append(header::ORIGIN, HeaderValue::from_static("http://127.0.0.1:1"));
        assert!(!admits(&headers, &Config::default()));
    }

    proptest! {
        #[test]
        fn a_pattern_never_lets_another_domain_in(name in "[a-z.:/@-]{0,11}") {
            let origin = format!("https://{name}");
            prop_assert!(!matches("https://*.example.com", &origin), "{origin}");
            let suffixed = format!("https://a{name}.example.com");
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
            prop_assert_eq!(matches("https://*.example.com", &suffixed), plain);
        }
    }
}
