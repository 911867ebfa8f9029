//! Keys in PEM (RFC 7468): public ones to verify with, private ones for `dormouse token`. Parsed by the crates that will use
//! them, so that a wrong curve or a weak modulus is told at the start and not at the first token.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::VerifyingKey as EdPublic;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use p256::{PublicKey as EcPublic, SecretKey as EcPrivate, elliptic_curve::sec1::ToEncodedPoint};
use rsa::{
    RsaPrivateKey, RsaPublicKey,
    pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey, EncodeRsaPrivateKey},
    pkcs8::{
        DecodePrivateKey, DecodePublicKey, EncodePrivateKey, ObjectIdentifier, PrivateKeyInfo, SubjectPublicKeyInfoRef,
    },
    traits::PublicKeyParts,
};

use super::keys::Key;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// NIST SP 800-131A and RFC 7518 §3.3: a shorter modulus is no protection.
const MIN_RSA_BITS: usize = 2048;

/// One `-----BEGIN …-----` to its end.
struct Block<'a> {
    label: &'a str,
    der: Vec<u8>,
}

/// All blocks of a text, in order, at least one. What stands between them is passed over, as RFC 7468 §2 wants it, unless
/// it looks like the rest of a block: a key that is left out by a slip would be missed at the first token.
fn blocks(text: &str) -> Result<Vec<Block<'_>>, String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    const DASHES: &str = "-----";
    while let Some((between, begun)) = rest.split_once("-----BEGIN ") {
        if between.contains(DASHES) {
            break;
        }
        let (label, body) = begun.split_once("-----").ok_or("a `-----BEGIN` line without its end")?;
        let end = format!("-----END {label}-----");
        let (body, after) = body.split_once(&end).ok_or_else(|| format!("`{end}` is missing: the file was cut off"))?;
        let body: String = body.split_whitespace().collect();
        let der =
            STANDARD.decode(body).map_err(|_| format!("what stands under `-----BEGIN {label}-----` is not base64"))?;
        blocks.push(Block { label, der });
        rest = after;
    }
    if blocks.is_empty() || rest.contains(DASHES) {
        return Err("has a line of dashes that is neither `-----BEGIN …-----` nor its end".to_owned());
    }
    Ok(blocks)
}

/// The public keys of a file.
///
/// # Errors
/// Anything else is in it: a sentence that says what would be right.
pub(super) fn public_keys(text: &str) -> Result<Vec<Key>, String> {
    blocks(text)?.iter().map(public_key).collect()
}

fn public_key(block: &Block<'_>) -> Result<Key, String> {
    match block.label {
        "PUBLIC KEY" => of_spki(&block.der),
        "RSA PUBLIC KEY" => rsa_key(None, &RsaPublicKey::from_pkcs1_der(&block.der).map_err(|_| broken("RSA"))?),
        "CERTIFICATE" => Err("holds a certificate; the server needs the public key alone: `openssl x509 -in FILE -pubkey \
                              -noout`"
            .to_owned()),
        label if label.ends_with("PRIVATE KEY") => {
            Err("holds a private key, which a server that only verifies should not have: `openssl pkey -in FILE -pubout` gives \
                 the public one"
                .to_owned())
        }
        label => Err(format!("holds a `{label}`; a `PUBLIC KEY` is needed")),
    }
}

fn of_spki(der: &[u8]) -> Result<Key, String> {
    let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| broken("public"))?;
    match info.algorithm.oid {
        RSA => rsa_key(None, &RsaPublicKey::from_public_key_der(der).map_err(|_| too_large_or_broken())?),
        EC => Ok(ec_key(None, &EcPublic::from_public_key_der(der).map_err(|_| curve())?)),
        ED25519 => Ok(ed_key(None, &EdPublic::from_public_key_der(der).map_err(|_| broken("Ed25519"))?)),
        _ => Err(kind()),
    }
}

/// A key for RS256.
///
/// # Errors
/// It is too short.
pub(super) fn rsa_key(kid: Option<String>, key: &RsaPublicKey) -> Result<Key, String> {
    let (n, e) = (key.n().to_bytes_be(), key.e().to_bytes_be());
    if key.n().bits() < MIN_RSA_BITS {
        return Err(format!("an RSA key of {} bits is too weak: at least {MIN_RSA_BITS}", key.n().bits()));
    }
    Ok(Key::new(kid, Algorithm::RS256, DecodingKey::from_rsa_raw_components(&n, &e)))
}

/// A key for ES256.
pub(super) fn ec_key(kid: Option<String>, key: &EcPublic) -> Key {
    Key::new(kid, Algorithm::ES256, DecodingKey::from_ec_der(key.to_encoded_point(false).as_bytes()))
}

/// A key for `EdDSA`.
pub(super) fn ed_key(kid: Option<String>, key: &EdPublic) -> Key {
    Key::new(kid, Algorithm::EdDSA, DecodingKey::from_ed_der(key.as_bytes()))
}

/// The private key of a file and the algorithm it signs with.
///
/// # Errors
/// As [`public_keys`].
pub(super) fn private_key(text: &str) -> Result<(Algorithm, EncodingKey), String> {
    let blocks = blocks(text)?;
    // `openssl ecparam -genkey` writes the curve in a block of its own before the key.
    let mut keys = blocks.iter().filter(|block| block.label != "EC PARAMETERS");
    let (Some(block), None) = (keys.next(), keys.next()) else {
        return Err("one private key in PEM is needed, such as `openssl genpkey -algorithm ed25519` makes".to_owned());
    };
    let der = &block.der;
    match block.label {
        "PRIVATE KEY" => match PrivateKeyInfo::try_from(der.as_slice()).map_err(|_| broken("private"))?.algorithm.oid {
            RSA => rsa_signer(&RsaPrivateKey::from_pkcs8_der(der).map_err(|_| broken("RSA"))?),
            EC => ec_signer(&EcPrivate::from_pkcs8_der(der).map_err(|_| curve())?),
            ED25519 => {
                ed25519_dalek::SigningKey::from_pkcs8_der(der).map_err(|_| broken("Ed25519"))?;
                Ok((Algorithm::EdDSA, EncodingKey::from_ed_der(der)))
            }
            _ => Err(kind()),
        },
        "RSA PRIVATE KEY" => rsa_signer(&RsaPrivateKey::from_pkcs1_der(der).map_err(|_| broken("RSA"))?),
        "EC PRIVATE KEY" => ec_signer(&EcPrivate::from_sec1_der(der).map_err(|_| curve())?),
        "ENCRYPTED PRIVATE KEY" => {
            Err("is encrypted; `openssl pkey -in FILE` asks for the passphrase and writes it plainly".to_owned())
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Err("holds a public key; only the private one signs".to_owned()),
        label => Err(format!("holds a `{label}`; a `PRIVATE KEY` is needed")),
    }
}

fn rsa_signer(key: &RsaPrivateKey) -> Result<(Algorithm, EncodingKey), String> {
    rsa_key(None, &key.to_public_key())?;
    let der = key.to_pkcs1_der().map_err(|_| broken("RSA"))?;
    Ok((Algorithm::RS256, EncodingKey::from_rsa_der(der.as_bytes())))
}

fn ec_signer(key: &EcPrivate) -> Result<(Algorithm, EncodingKey), String> {
    let der = key.to_pkcs8_der().map_err(|_| broken("EC"))?;
    Ok((Algorithm::ES256, EncodingKey::from_ec_der(der.as_bytes())))
}

fn broken(what: &str) -> String {
    format!("the {what} key in it is broken")
}

fn too_large_or_broken() -> String {
    "the RSA key in it is broken or larger than 4096 bits".to_owned()
}

fn curve() -> String {
    "the EC key in it is broken or not on the curve P-256 (prime256v1), which ES256 needs".to_owned()
}

fn kind() -> String {
    "holds a key of a kind that is not used here: RSA (RS256), EC on P-256 (ES256) and Ed25519 (EdDSA) are".to_owned()
}
