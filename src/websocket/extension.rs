//! `Sec-WebSocket-Extensions` (RFC 6455 §9.1, RFC 7692 §7): which of a client's offers is taken, and the answer to it. Called by
//! the handshake. An offer that breaks a rule, or wants what is not done here, is passed over, as RFC 7692 §5 has it.

/// What is answered to an offer of permessage-deflate that is taken. Neither side remembers earlier messages (`deflate.rs`), and
/// both may look back over 32 KiB.
const ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// The same for a client that has named the window, which must be told that it has been heard (§7.1.2.1).
const ACCEPTED_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/// The answer to the first acceptable offer in these header values; `None`: nothing is agreed.
///
/// ```
/// use dormouse::websocket::extension::negotiate;
///
/// let browsers = ["permessage-deflate; client_max_window_bits"];
/// assert!(negotiate(browsers.into_iter()).is_some_and(|answer| answer.starts_with("permessage-deflate;")));
/// assert_eq!(negotiate(["permessage-bzip2"].into_iter()), None);
/// ```
pub fn negotiate<'a>(values: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    values.flat_map(|value| split(value, ',')).find_map(answer)
}

/// The answer to one offer.
fn answer(offer: &str) -> Option<&'static str> {
    let mut parts = split(offer, ';');
    if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut seen = Vec::new();
    let mut answer = ACCEPTED;
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        // §7.1: at most once each.
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(bits)) if window(bits).is_some() => {}
            // A smaller one would need a compression of its own for each size.
            ("server_max_window_bits", Some(bits)) if window(bits) == Some(15) => answer = ACCEPTED_WINDOW,
            _ => return None,
        }
    }
    Some(answer)
}

/// §7.1.2: a decimal number from 8 to 15 without leading zeros.
fn window(bits: &str) -> Option<u8> {
    let number = bits.parse().ok().filter(|number| (8..=15).contains(number))?;
    (bits.bytes().all(|byte| byte.is_ascii_digit()) && !bits.starts_with('0')).then_some(number)
}

/// The parts of a header value, trimmed; what stands in quotes is not looked into.
fn split(value: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = value.split(move |character: char| {
        quoted ^= character == '"';
        character == at && !quoted
    });
    parts.map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_judged_as_the_rfc_says() {
        let rows: [(&[&str], Option<&str>); 19] = [
            (&[], None),
            (&[""], None),
            (&["permessage-deflate"], Some(ACCEPTED)),
            (&["Permessage-Deflate"], Some(ACCEPTED)),
            (&["permessage-deflate; client_max_window_bits"], Some(ACCEPTED)),
            (&["permessage-deflate ;client_max_window_bits = 10"], Some(ACCEPTED)),
            (&["permessage-deflate; client_max_window_bits=\"15\""], Some(ACCEPTED)),
            (&["permessage-deflate; server_no_context_takeover; client_no_context_takeover"], Some(ACCEPTED)),
            (&["permessage-deflate; server_max_window_bits=15"], Some(ACCEPTED_WINDOW)),
            (&["permessage-deflate; server_max_window_bits=9"], None),
            (&["permessage-deflate; server_max_window_bits=9, permessage-deflate"], Some(ACCEPTED)),
            (&["x-other; mode=\"a, b; permessage-deflate\"", "permessage-deflate"], Some(ACCEPTED)),
            (&["x-other; mode=\"a, permessage-deflate\""], None),
            (&["permessage-deflate; client_max_window_bits=7"], None),
            (&["permessage-deflate; client_max_window_bits=16"], None),
            (&["permessage-deflate; client_max_window_bits=010"], None),
            (&["permessage-deflate; server_no_context_takeover=1"], None),
            (&["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], None),
            (&["permessage-deflate; unknown"], None),
        ];
        for (values, expected) in rows {
            assert_eq!(negotiate(values.iter().copied()), expected, "{values:?}");
        }
    }
}
