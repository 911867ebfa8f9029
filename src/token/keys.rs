//! The operator's keys: secrets from the configuration, public keys and JWKs from files. Each is good for one algorithm,
//! which follows from what the key is. Read at the start and again at a reload; a file with anything wrong in it gives no
//! keys at all, so that a half-written one never takes the place of a good one.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::{jwks, pem};

/// More would make a token without `kid` expensive to refuse.
const MAX_KEYS: usize = 64;
/// A key file is small; a larger file is not one.
const MAX_FILE_BYTES: usize = 1 << 20;

/// A key and what it is good for.
pub(super) struct Key {
    /// Its name in a JWKS; secrets and PEM files give none.
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
    pub(super) validation: Validation,
}

impl Key {
    pub(super) fn new(kid: Option<String>, algorithm: Algorithm, decoding: DecodingKey) -> Self {
        // The crate would read the clock. Times, issuer and audience are looked at by the verifier.
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self { kid, algorithm, decoding, validation }
    }
}

/// All keys of a node.
#[derive(Default)]
pub struct Keys(Vec<Key>);

/// Only how many: secrets stay out of logs and panics.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.0.len()).finish()
    }
}

/// Why there are no keys: where, what is wrong there, and what would be right. Never shows what a file holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct KeyError {
    /// `auth.keys`, or a file, with the line where there is one.
    pub place: String,
    /// A sentence.
    pub message: String,
}

impl Keys {
    /// Keys from HS256 secrets alone.
    pub fn from_secrets<K: AsRef<[u8]>>(secrets: &[K]) -> Self {
        Self(secrets.iter().map(|secret| secret_key(None, secret.as_ref())).collect())
    }

    /// Secrets as they are, and everything in the files: PEM with public keys, or a JWKS.
    ///
    /// # Errors
    /// A file cannot be read, or holds anything but keys to verify with; or there are too many keys.
    pub fn load(secrets: &[String], files: &[PathBuf]) -> Result<Self, KeyError> {
        let mut keys = Self::from_secrets(secrets);
        for secret in secrets {
            // The classic confusion, made by hand: a public key would be the secret that everybody knows.
            if secret.contains("-----BEGIN") || secret.trim_start().starts_with('{') {
                let message = "these are secrets for HS256, and one of them looks like a PEM or JWK: put that into a file and \
                               name it in auth.key_files";
                return Err(KeyError { place: "auth.keys".to_owned(), message: message.to_owned() });
            }
        }
        for file in files {
            keys.0.append(&mut read(file)?);
        }
        if keys.len() > MAX_KEYS {
            let message = format!("{} keys are more than the {MAX_KEYS} that are possible", keys.len());
            return Err(KeyError { place: "auth.key_files".to_owned(), message });
        }
        Ok(keys)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none, and no token is good.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The algorithms they verify, each once, in a fixed order.
    #[must_use]
    pub fn algorithms(&self) -> Vec<&'static str> {
        let used = |(algorithm, name)| self.iter().any(|key| key.algorithm == algorithm).then_some(name);
        [
            (Algorithm::HS256, "HS256"),
            (Algorithm::RS256, "RS256"),
            (Algorithm::ES256, "ES256"),
            (Algorithm::EdDSA, "EdDSA"),
        ]
        .into_iter()
        .filter_map(used)
        .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }
}

/// A key for HS256.
pub(super) fn secret_key(kid: Option<String>, secret: &[u8]) -> Key {
    Key::new(kid, Algorithm::HS256, DecodingKey::from_secret(secret))
}

/// The text of a key file.
///
/// # Errors
/// It cannot be read, is too large or is no text.
pub(super) fn text(path: &Path) -> Result<String, KeyError> {
    let refuse = |message: String| KeyError { place: path.display().to_string(), message };
    let bytes = std::fs::read(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(refuse(format!("has {} bytes, too many for a file of keys", bytes.len())));
    }
    String::from_utf8(bytes).map_err(|_| refuse("is not text: write the key as PEM (-----BEGIN …) or JWKS".to_owned()))
}

fn read(path: &Path) -> Result<Vec<Key>, KeyError> {
    let text = text(path)?;
    let place = path.display().to_string();
    // A byte order mark is no part of what somebody wrote.
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('{') {
        return jwks::read(text).map_err(|message| KeyError { place, message });
    }
    if text.starts_with("-----BEGIN") || text.contains("\n-----BEGIN") {
        return pem::public_keys(text).map_err(|message| KeyError { place, message });
    }
    let message = if text.is_empty() {
        "is empty: it should hold public keys as PEM, or a JWKS"
    } else {
        "holds neither PEM (-----BEGIN PUBLIC KEY-----) nor a JWKS ({\"keys\":[…]}); a bare secret belongs into auth.keys or, \
         as `oct`, into a JWKS"
    };
    Err(KeyError { place, message: message.to_owned() })
}
