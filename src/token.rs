//! Signed tokens (`auth.mode = "jwt"`): HS256 JWTs with `sub`, `exp` and `channels`, minted by `dormouse token` or by
//! whoever shares the secret, verified at `identify`. Owns the claims and the channel patterns in them.
//!
//! Reads no clock: the caller says what time it is, so that a turn can verify and a test can choose. Must never put a token
//! or a key into an error. Called by the connection (through the node's authority) and by the command line.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whose it is (`sub`); never empty.
    pub user: String,
    /// When it ends, in seconds since 1970 (`exp`); without it, never.
    pub expires: Option<u64>,
    /// The channels it opens, as patterns for [`allows`] (`channels`); without it, all.
    pub channels: Option<Vec<String>>,
}

/// Why a token is not good. Says nothing that helps to make a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64 and JSON, or another algorithm: `none` above all.
    #[error("the token is not a JWT signed with HS256")]
    Malformed,
    /// No key of ours signed it.
    #[error("the token's signature fits no key")]
    Signature,
    /// Its time has passed.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come (`nbf`).
    #[error("the token is not valid yet")]
    NotYet,
    /// Signed, but what it says is of no use here.
    #[error("the token needs a user in `sub`, times as numbers and `channels` as a list of strings")]
    Claims,
}

/// Claims as they travel; others are passed over. RFC 7519 allows fractions of seconds.
#[derive(Deserialize)]
struct Wire {
    sub: String,
    exp: Option<f64>,
    nbf: Option<f64>,
    channels: Option<Vec<String>>,
}

/// Holds the keys and verifies tokens with them.
pub struct Verifier {
    keys: Vec<DecodingKey>,
    validation: Validation,
}

impl Verifier {
    /// A verifier that accepts what any of the keys signed. Without keys it accepts nothing.
    #[must_use]
    pub fn new<K: AsRef<[u8]>>(keys: &[K]) -> Self {
        // The algorithm is ours to choose, never the token's: the classic forgery asks for another one.
        let mut validation = Validation::new(Algorithm::HS256);
        // The crate would read the clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self { keys: keys.iter().map(|key| DecodingKey::from_secret(key.as_ref())).collect(), validation }
    }

    /// Verifies a token at a moment given in seconds since 1970. No leeway: a token is good until `exp`, not at it.
    ///
    /// # Errors
    /// The form, the signature, the time or the claims are not good.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Claims, TokenError> {
        let claims = self.signed(token)?;
        let wire = Wire::deserialize(claims).map_err(|_| TokenError::Claims)?;
        let now = now_unix_s as f64;
        if wire.exp.is_some_and(|exp| now >= exp) {
            return Err(TokenError::Expired);
        }
        if wire.nbf.is_some_and(|nbf| now < nbf) {
            return Err(TokenError::NotYet);
        }
        if wire.sub.is_empty() {
            return Err(TokenError::Claims);
        }
        // One beyond 64 bits becomes the last moment there is.
        Ok(Claims { user: wire.sub, expires: wire.exp.map(|exp| exp as u64), channels: wire.channels })
    }

    /// The claims, once a key fits.
    fn signed(&self, token: &str) -> Result<serde_json::Value, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::HS256 {
            return Err(TokenError::Malformed);
        }
        for key in &self.keys {
            match jsonwebtoken::decode(token, key, &self.validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::Json(_) | ErrorKind::Utf8(_) => return Err(TokenError::Claims),
                    _ => return Err(TokenError::Malformed),
                },
            }
        }
        Err(TokenError::Signature)
    }
}

/// Makes a token that [`Verifier`] accepts until `expires`, both times in seconds since 1970.
///
/// # Errors
/// The library could not sign: a sentence of its own.
pub fn mint(key: &str, claims: &Claims, issued_unix_s: u64) -> Result<String, jsonwebtoken::errors::Error> {
    #[derive(Serialize)]
    struct Minted<'a> {
        sub: &'a str,
        iat: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        exp: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        channels: Option<&'a [String]>,
    }
    let minted =
        Minted { sub: &claims.user, iat: issued_unix_s, exp: claims.expires, channels: claims.channels.as_deref() };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &minted, &EncodingKey::from_secret(key.as_bytes()))
}

/// Whether one of the patterns matches a channel's whole name. In a pattern `*` stands for any run of characters, also an
/// empty one; every other character for itself. No patterns, no channels.
#[must_use]
pub fn allows<P: AsRef<str>>(patterns: &[P], channel: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern.as_ref().as_bytes(), channel.as_bytes()))
}

/// Goes back to the last `*` only, so hostile patterns cost the product of the lengths at most.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // After the last star: where the pattern goes on, and the first byte the star has not swallowed.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, n));
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((after, swallowed)) = star else { return false };
                star = Some((after, swallowed + 1));
                p = after;
                n = swallowed + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn claims() -> Claims {
        Claims { user: "alice".to_owned(), expires: Some(NOW + 60), channels: Some(vec!["chat:*".to_owned()]) }
    }

    /// A token with any header and claims, signed as asked.
    fn forge(algorithm: Algorithm, key: &str, claims: &serde_json::Value) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
    }

    #[test]
    fn a_minted_token_verifies_until_it_expires() {
        let token = mint("secret", &claims(), NOW).unwrap();
        let verifier = Verifier::new(&["secret"]);
        assert_eq!(verifier.verify(&token, NOW), Ok(claims()));
        assert_eq!(verifier.verify(&token, NOW + 59), Ok(claims()));
        assert_eq!(verifier.verify(&token, NOW + 60), Err(TokenError::Expired));
        assert_eq!(verifier.verify(&token, u64::MAX), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_without_limits_has_none() {
        let token = mint("secret", &Claims { expires: None, channels: None, ..claims() }, NOW).unwrap();
        let claims = Verifier::new(&["secret"]).verify(&token, u64::MAX).unwrap();
        assert_eq!((claims.expires, claims.channels), (None, None));
    }

    #[test]
    fn any_of_the_keys_verifies() {
        let token = mint("old", &claims(), NOW).unwrap();
        assert_eq!(Verifier::new(&["new", "old"]).verify(&token, NOW), Ok(claims()));
        assert_eq!(Verifier::new(&["new"]).verify(&token, NOW), Err(TokenError::Signature));
        assert_eq!(Verifier::new::<&str>(&[]).verify(&token, NOW), Err(TokenError::Signature));
    }

    #[test]
    fn another_algorithm_is_refused_even_with_the_right_key() {
        let verifier = Verifier::new(&["secret"]);
        let claims = json!({"sub": "mallory"});
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            assert_eq!(verifier.verify(&forge(algorithm, "secret", &claims), NOW), Err(TokenError::Malformed));
        }
        for algorithm in ["none", "None", "NONE", "", "RS256", "ES256"] {
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm, "typ": "JWT"}).to_string());
            let body = URL_SAFE_NO_PAD.encode(claims.to_string());
            let signature = forge(Algorithm::HS256, "secret", &claims);
            let signature = signature.rsplit('.').next().unwrap();
            for token in
                [format!("{header}.{body}."), format!("{header}.{body}"), format!("{header}.{body}.{signature}")]
            {
                assert_eq!(verifier.verify(&token, NOW), Err(TokenError::Malformed), "{algorithm}");
            }
        }
    }

    #[test]
    fn a_changed_token_fits_no_key() {
        let token = mint("secret", &claims(), NOW).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let body = URL_SAFE_NO_PAD.encode(json!({"sub": "bob"}).to_string());
        for token in [format!("{}.{body}.{}", parts[0], parts[2]), format!("{}.{}.", parts[0], parts[1])] {
            let result = Verifier::new(&["secret"]).verify(&token, NOW);
            assert!(matches!(result, Err(TokenError::Signature | TokenError::Malformed)), "{result:?}");
        }
    }

    #[test]
    fn claims_of_no_use_are_refused() {
        let verifier = Verifier::new(&["secret"]);
        for claims in [
            json!({}),
            json!([]),
            json!("alice"),
            json!({"sub": ""}),
            json!({"sub": 5}),
            json!({"sub": "a", "exp": "tomorrow"}),
            json!({"sub": "a", "channels": "chat:*"}),
            json!({"sub": "a", "channels": [1]}),
        ] {
            let result = verifier.verify(&forge(Algorithm::HS256, "secret", &claims), NOW);
            assert_eq!(result, Err(TokenError::Claims), "{claims}");
        }
    }

    #[test]
    fn times_may_have_fractions_and_not_before_holds() {
        let verifier = Verifier::new(&["secret"]);
        let verify = |claims| verifier.verify(&forge(Algorithm::HS256, "secret", &claims), NOW);
        assert_eq!(verify(json!({"sub": "a", "exp": NOW as f64 + 0.5})).unwrap().expires, Some(NOW));
        assert_eq!(verify(json!({"sub": "a", "exp": 1e30})).unwrap().expires, Some(u64::MAX));
        assert_eq!(verify(json!({"sub": "a", "exp": -1})), Err(TokenError::Expired));
        assert_eq!(verify(json!({"sub": "a", "nbf": NOW + 1})), Err(TokenError::NotYet));
        assert!(verify(json!({"sub": "a", "nbf": NOW, "aud": "x", "iss": 7, "iat": "then"})).is_ok());
    }

    #[test]
    fn a_star_matches_any_run() {
        for (pattern, channel, expected) in [
            ("*", "anything", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("chat:lobby", "chat:lobby", true),
            ("chat:lobby", "chat:lobby2", false),
            ("chat:*", "chat:", true),
            ("chat:*", "chat:a:b", true),
            ("chat:*", "chatter", false),
            ("chat:*", "my-chat:x", false),
            ("*:lobby", "chat:lobby", true),
            ("*:lobby", "chat:lobby:x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "x", true),
            ("*a*", "bbb", false),
            ("?", "x", false),
            (".*", "xx", false),
        ] {
            assert_eq!(allows(&[pattern], channel), expected, "{pattern} on {channel}");
        }
        assert!(!allows::<&str>(&[], "chat:x"));
        assert!(allows(&["a", "b*"], "bc"));
    }

    #[test]
    fn a_hostile_pattern_is_decided_all_the_same() {
        assert!(!allows(&["*a".repeat(1000) + "b"], &"a".repeat(255)));
    }

    proptest! {
        #[test]
        fn rubbish_is_refused_without_a_panic(token in "\\PC*", dotted in "[A-Za-z0-9_=-]*\\.[A-Za-z0-9_=-]*\\.[A-Za-z0-9_=-]*") {
            let verifier = Verifier::new(&["secret"]);
            prop_assert!(verifier.verify(&token, NOW).is_err());
            prop_assert!(verifier.verify(&dotted, NOW).is_err());
        }

        #[test]
        fn matching_agrees_with_the_definition(pattern in "[ab*]{0,8}", name in "[ab]{0,8}") {
            fn defined(pattern: &[u8], name: &[u8]) -> bool {
                match pattern.split_first() {
                    None => name.is_empty(),
                    Some((b'*', rest)) => (0..=name.len()).any(|n| defined(rest, &name[n..])),
                    Some((byte, rest)) => name.split_first().is_some_and(|(n, left)| n == byte && defined(rest, left)),
                }
            }
            prop_assert_eq!(allows(&[&pattern], &name), defined(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
