//! Decides whether a token is good. The algorithm and the key are ours to choose, never the token's: its header only picks
//! among the operator's keys, each of which is good for one algorithm.

use jsonwebtoken::{Algorithm, Header, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use super::{
    grant::{Grant, Lists},
    keys::{Key, Keys},
};

/// The longest token that is looked at, in bytes. Those of identity providers with many groups have 8 KiB; a longer one
/// would be hashed with each key before it is refused.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whose it is (`sub`); never empty.
    pub user: String,
    /// When it ends, in seconds since 1970 (`exp`); without it, never.
    pub expires: Option<u64>,
    /// What it opens, for [`super::allows`] (`channels`, `subscribe`, `publish`, `join`); without it, all channels.
    pub grants: Option<Vec<Grant>>,
}

/// Why a token is not good. Says nothing that helps to make a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64 and JSON, or another algorithm: `none` above all.
    #[error("the token is not a JWT signed with HS256, RS256, ES256 or EdDSA")]
    Malformed,
    /// Longer than anybody's.
    #[error("the token is longer than 16384 bytes")]
    TooLong,
    /// No key of ours signed it.
    #[error("the token's signature fits no key")]
    Signature,
    /// Its time has passed.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come (`nbf`).
    #[error("the token is not valid yet")]
    NotYet,
    /// Somebody else's `iss`.
    #[error("the token is of another issuer")]
    Issuer,
    /// For somebody else (`aud`).
    #[error("the token is for another audience")]
    Audience,
    /// Signed, but what it says is of no use here.
    #[error("the token needs a user in `sub`, times as numbers and channels as lists of strings")]
    Claims,
}

/// Claims as they travel; others are passed over. RFC 7519 allows fractions of seconds.
#[derive(Deserialize)]
struct Wire {
    sub: String,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<serde_json::Value>,
    aud: Option<serde_json::Value>,
    #[serde(flatten)]
    lists: Lists,
}

/// Whose tokens, and for whom; `None` asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be or hold.
    pub audience: Option<String>,
}

/// Holds the keys and verifies tokens with them.
pub struct Verifier {
    keys: Keys,
    expected: Expected,
}

impl Verifier {
    /// A verifier that accepts what one of the keys signed. Without keys it accepts nothing.
    #[must_use]
    pub fn new(keys: Keys, expected: Expected) -> Self {
        Self { keys, expected }
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
        if self.expected.issuer.as_deref().is_some_and(|issuer| !is(wire.iss.as_ref(), issuer)) {
            return Err(TokenError::Issuer);
        }
        if self.expected.audience.as_deref().is_some_and(|audience| !holds(wire.aud.as_ref(), audience)) {
            return Err(TokenError::Audience);
        }
        if wire.sub.is_empty() {
            return Err(TokenError::Claims);
        }
        // One beyond 64 bits becomes the last moment there is.
        Ok(Claims { user: wire.sub, expires: wire.exp.map(|exp| exp as u64), grants: wire.lists.grants() })
    }

    /// The claims, once a key fits.
    fn signed(&self, token: &str) -> Result<serde_json::Value, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        // RFC 7515 §4.1.11: whoever does not understand a critical header must refuse; we know none.
        if !ALGORITHMS.contains(&header.alg) || header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        for key in candidates(&self.keys, &header) {
            match jsonwebtoken::decode(token, &key.decoding, &key.validation) {
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

/// The algorithms there are keys for.
pub(super) const ALGORITHMS: [Algorithm; 4] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// The keys that may have signed a token with this header. A `kid` that we know means its keys alone; one that we do not
/// know may be that of a key without a name (secrets and PEM files have none).
fn candidates<'a>(keys: &'a Keys, header: &'a Header) -> impl Iterator<Item = &'a Key> {
    let kid = header.kid.as_deref();
    let known = kid.is_some_and(|kid| keys.iter().any(|key| key.kid.as_deref() == Some(kid)));
    keys.iter().filter(move |key| {
        let named = match &key.kid {
            Some(own) if kid.is_some() => known && kid == Some(own),
            Some(_) => true,
            None => !known,
        };
        named && key.algorithm == header.alg
    })
}

fn is(value: Option<&serde_json::Value>, expected: &str) -> bool {
    value.and_then(serde_json::Value::as_str) == Some(expected)
}

/// RFC 7519 §4.1.3: one string or several.
fn holds(value: Option<&serde_json::Value>, expected: &str) -> bool {
    match value {
        Some(serde_json::Value::Array(list)) => list.iter().any(|one| is(Some(one), expected)),
        one => is(one, expected),
    }
}
