//! Tokens and keys together: what verifies (`claims`), what must not (`attacks`), and which files are keys (`files`). The
//! keys beside this file were made with openssl for these tests and are used nowhere else.

mod attacks;
mod claims;
mod files;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::VerifyingKey;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::{PublicKey, elliptic_curve::sec1::ToEncodedPoint};
use rsa::{RsaPublicKey, pkcs8::DecodePublicKey, traits::PublicKeyParts};
use serde_json::{Value, json};

use super::{Expected, Keys, Lists, Minting, SigningKey, Verifier};

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "thirty-two bytes or more of secret";
/// Private keys by the algorithm they sign with.
const SIGNERS: [(&str, &str); 3] = [("RS256", "rsa.pem"), ("ES256", "p256.pem"), ("EdDSA", "ed25519.pem")];
/// And the public ones.
const PUBLIC: [&str; 3] = ["rsa.pub.pem", "p256.pub.pem", "ed25519.pub.pem"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/token/tests/keys").join(name)
}

fn pem(name: &str) -> String {
    std::fs::read_to_string(path(name)).expect("a key beside the tests")
}

/// A file that is gone when the test is over.
struct TempFile(PathBuf);

impl TempFile {
    fn new(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dormouse-key-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The keys of a file with this text, or the refusal with the file's path written as `FILE`.
fn load(text: &str) -> Result<Keys, String> {
    let file = TempFile::new(text);
    let path = file.0.display().to_string();
    Keys::load(&[], std::slice::from_ref(&file.0)).map_err(|error| error.to_string().replace(&path, "FILE"))
}

fn verifier(keys: Keys) -> Verifier {
    Verifier::new(keys, Expected::default())
}

fn secrets(secrets: &[&str]) -> Verifier {
    verifier(Keys::from_secrets(secrets))
}

fn minting() -> Minting {
    let channels = Some(vec!["chat:*".to_owned()]);
    let lists = Lists { channels, ..Lists::default() };
    Minting { sub: "alice".to_owned(), iat: NOW, exp: Some(NOW + 60), iss: None, aud: None, lists }
}

/// A token with any header and claims, signed with a secret.
fn forge(header: &Header, secret: &[u8], claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).expect("signs")
}

fn hs256(claims: &Value) -> String {
    forge(&Header::new(Algorithm::HS256), SECRET.as_bytes(), claims)
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The public key of a signer as a JWK.
fn jwk(algorithm: &str, kid: &str) -> Value {
    match algorithm {
        "RS256" => {
            let key = RsaPublicKey::from_public_key_pem(&pem("rsa.pub.pem")).expect("a key");
            let (n, e) = (base64url(&key.n().to_bytes_be()), base64url(&key.e().to_bytes_be()));
            json!({"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": n, "e": e})
        }
        "ES256" => {
            let point = PublicKey::from_public_key_pem(&pem("p256.pub.pem")).expect("a key").to_encoded_point(false);
            let (x, y) = (point.x().expect("x"), point.y().expect("y"));
            json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": base64url(x), "y": base64url(y)})
        }
        "EdDSA" => {
            let der = pem("ed25519.pub.pem").lines().filter(|line| !line.starts_with('-')).collect::<String>();
            let der = base64::engine::general_purpose::STANDARD.decode(der).expect("base64");
            let key = VerifyingKey::from_public_key_der(&der).expect("a key");
            json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "x": base64url(key.as_bytes())})
        }
        _ => json!({"kty": "oct", "kid": kid, "alg": "HS256", "k": base64url(SECRET.as_bytes())}),
    }
}

fn jwks(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

fn signer(algorithm: &str) -> SigningKey {
    match SIGNERS.iter().find(|(name, _)| *name == algorithm) {
        Some((_, file)) => SigningKey::from_file(&path(file)).expect("a private key"),
        None => SigningKey::from_secret(SECRET),
    }
}
