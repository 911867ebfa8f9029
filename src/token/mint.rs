//! Makes tokens that [`super::Verifier`] accepts, for `dormouse token` and for tests: with an HS256 secret or with a private
//! key, whose kind says the algorithm.

use std::{fmt, path::Path};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::{
    grant::Lists,
    keys::{self, KeyError},
    pem,
};

/// What signs, and with which algorithm.
pub struct SigningKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

/// The key stays out of logs and panics.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What a token is to say; times in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Minting {
    /// Whose it is.
    pub sub: String,
    /// When it is made.
    pub iat: u64,
    /// When it ends; without it, never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// Who makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// For which server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// What it opens.
    #[serde(flatten)]
    pub lists: Lists,
}

impl SigningKey {
    /// Signs with HS256.
    #[must_use]
    pub fn from_secret(secret: &str) -> Self {
        Self { algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret.as_bytes()) }
    }

    /// A private key from PEM: RS256, ES256 or `EdDSA`, as the key is.
    ///
    /// # Errors
    /// The file cannot be read, or holds no key that signs.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let place = || path.display().to_string();
        let (algorithm, key) =
            pem::private_key(&keys::text(path)?).map_err(|message| KeyError { place: place(), message })?;
        Ok(Self { algorithm, key })
    }

    /// A token; `kid` is the name by which a JWKS knows the key.
    ///
    /// # Errors
    /// The library could not sign: a sentence of its own.
    pub fn mint(&self, minting: &Minting, kid: Option<String>) -> Result<String, jsonwebtoken::errors::Error> {
        let header = Header { kid, ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, minting, &self.key)
    }
}
