//! Keys in a JWKS (RFC 7517), as identity providers publish them: several, each with its `kid`. Keys for encryption and for
//! algorithms that are not ours are passed over, as RFC 7517 §5 wants it; broken ones are refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::VerifyingKey as EdPublic;
use p256::PublicKey as EcPublic;
use rsa::{BigUint, RsaPublicKey};
use serde::Deserialize;
use serde_json::Value;

use super::{
    keys::{Key, secret_key},
    pem::{ec_key, ed_key, rsa_key},
};

/// RFC 7518 §3.2: a shorter secret makes HS256 weaker than it looks.
const MIN_SECRET_BYTES: usize = 32;

/// What of a JWK is used. Strings everywhere else than expected make the key a broken one.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    d: Option<Value>,
}

/// All keys of a JWKS, or the one of a lone JWK, that verify signatures here.
///
/// # Errors
/// A sentence: it is no JSON, a key in it is broken or private, or none is of use.
pub(super) fn read(text: &str) -> Result<Vec<Key>, String> {
    let set: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    let listed = match (&set["keys"], set.get("kty")) {
        (Value::Array(keys), _) => keys.as_slice(),
        (_, Some(_)) => std::slice::from_ref(&set),
        _ => return Err("is JSON but no JWKS: {\"keys\":[…]} is what it should be".to_owned()),
    };
    let mut keys = Vec::new();
    let mut passed_over = Vec::new();
    for (index, jwk) in listed.iter().enumerate() {
        let name = match jwk["kid"].as_str() {
            Some(kid) => format!("the key with kid {kid:?}"),
            None => format!("key {} of {}", index + 1, listed.len()),
        };
        match key(jwk).map_err(|problem| format!("{name} {problem}"))? {
            Ok(key) => keys.push(key),
            Err(reason) => passed_over.push(format!("{name} {reason}")),
        }
    }
    if keys.is_empty() {
        let reasons = if passed_over.is_empty() { "it has none".to_owned() } else { passed_over.join("; ") };
        return Err(format!("holds no key to verify tokens with: {reasons}"));
    }
    Ok(keys)
}

/// The key; or, inside, why it is not for us.
///
/// # Errors
/// Why it is broken.
fn key(jwk: &Value) -> Result<Result<Key, String>, String> {
    let jwk = Jwk::deserialize(jwk).map_err(|_| "is no JWK: `kty` is missing, or a field is not a string")?;
    if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig")
        || jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
    {
        return Ok(Err("is not for signatures".to_owned()));
    }
    if jwk.kty != "oct" && jwk.d.is_some() {
        return Err(
            "is a private key, which a server that only verifies should not have: leave `d` and the primes out"
                .to_owned(),
        );
    }
    let algorithm = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("oct", _) => "HS256",
        ("RSA", _) => "RS256",
        ("EC", Some("P-256")) => "ES256",
        ("OKP", Some("Ed25519")) => "EdDSA",
        (kty, None) => return Ok(Err(format!("is of type {kty:?}, which is not used here"))),
        (kty, Some(crv)) => return Ok(Err(format!("is of type {kty:?} on {crv:?}, which is not used here"))),
    };
    // RFC 9864 calls it after its curve.
    if jwk.alg.as_deref().is_some_and(|alg| alg != algorithm && !(alg == "Ed25519" && algorithm == "EdDSA")) {
        return Ok(Err(format!("is for {:?}, not for {algorithm}", jwk.alg.unwrap_or_default())));
    }
    let kid = jwk.kid;
    match algorithm {
        "HS256" => {
            let secret = bytes("k", jwk.k.as_deref())?;
            if secret.len() < MIN_SECRET_BYTES {
                return Err(format!("has a secret of {} bytes; HS256 needs at least {MIN_SECRET_BYTES}", secret.len()));
            }
            Ok(Ok(secret_key(kid, &secret)))
        }
        "RS256" => {
            let n = BigUint::from_bytes_be(&bytes("n", jwk.n.as_deref())?);
            let e = BigUint::from_bytes_be(&bytes("e", jwk.e.as_deref())?);
            let key = RsaPublicKey::new(n, e).map_err(|_| "is a broken RSA key, or larger than 4096 bits")?;
            rsa_key(kid, &key).map(Ok).map_err(|problem| format!("is of no use: {problem}"))
        }
        "ES256" => {
            let (x, y) = (bytes("x", jwk.x.as_deref())?, bytes("y", jwk.y.as_deref())?);
            if x.len() != 32 || y.len() != 32 {
                return Err("has coordinates that are not 32 bytes each".to_owned());
            }
            let point = [&[4], x.as_slice(), &y].concat();
            Ok(Ok(ec_key(kid, &EcPublic::from_sec1_bytes(&point).map_err(|_| "is no point of the curve P-256")?)))
        }
        _ => {
            let x = bytes("x", jwk.x.as_deref())?;
            let x = <[u8; 32]>::try_from(x).map_err(|_| "has an `x` that is not 32 bytes")?;
            Ok(Ok(ed_key(kid, &EdPublic::from_bytes(&x).map_err(|_| "is no point of the curve Ed25519")?)))
        }
    }
}

fn bytes(field: &str, value: Option<&str>) -> Result<Vec<u8>, String> {
    let value = value.ok_or_else(|| format!("lacks `{field}`"))?;
    // Some write the padding that RFC 7515 leaves out.
    URL_SAFE_NO_PAD.decode(value.trim_end_matches('=')).map_err(|_| format!("has a `{field}` that is not base64url"))
}
