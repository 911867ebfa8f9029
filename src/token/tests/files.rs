//! Which files are keys, and in which words the others are refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn several_pem_keys_stand_in_one_file() {
    let text = format!("a comment\n{}between\n{}\n{}", pem("rsa.pub.pem"), pem("p256.pub.pem"), pem("ed25519.pub.pem"));
    assert_eq!(load(&text).expect("keys").algorithms(), ["RS256", "ES256", "EdDSA"]);
    assert_eq!(load(&text.replace('\n', "\r\n")).expect("keys").len(), 3);
    assert_eq!(load(&format!("\u{feff}{}", pem("rsa.pub.pem"))).expect("keys").len(), 1);
}

#[test]
fn a_pem_file_with_anything_else_is_refused_and_told_what_would_be_right() {
    let cut_off = pem("rsa.pub.pem");
    let cut_off = &cut_off[..cut_off.len() / 2];
    let cases = [
        (String::new(), "FILE: is empty"),
        ("just a secret".to_owned(), "FILE: holds neither PEM"),
        ("<!DOCTYPE html>".to_owned(), "FILE: holds neither PEM"),
        (cut_off.to_owned(), "FILE: `-----END PUBLIC KEY-----` is missing: the file was cut off"),
        (
            pem("rsa.pub.pem").replace("MII", "M I\u{fc}"),
            "FILE: what stands under `-----BEGIN PUBLIC KEY-----` is not base64",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".to_owned(),
            "FILE: the public key in it is broken",
        ),
        (
            format!("{}{}", pem("rsa.pub.pem"), pem("p256.pub.pem").replace("BEGIN", "BEGIM")),
            "FILE: has a line of dashes",
        ),
        (pem("rsa.pem"), "FILE: holds a private key"),
        (pem("p256_sec1.pem"), "FILE: holds a `EC PARAMETERS`"),
        (pem("encrypted.pem"), "FILE: holds a private key"),
        (pem("cert.pem"), "FILE: holds a certificate; the server needs the public key alone: `openssl x509"),
        (pem("rsa1024.pub.pem"), "FILE: an RSA key of 1024 bits is too weak: at least 2048"),
        (pem("p384.pub.pem"), "FILE: the EC key in it is broken or not on the curve P-256"),
        (pem("x25519.pub.pem"), "FILE: holds a key of a kind that is not used here"),
        (format!("{}{}", pem("rsa.pub.pem"), pem("p384.pub.pem")), "FILE: the EC key in it"),
    ];
    for (text, expected) in cases {
        let refusal = load(&text).expect_err(expected);
        assert!(refusal.starts_with(expected), "expected {expected}\ngot {refusal}");
    }
    let missing = Keys::load(&[], &["/nowhere/keys.pem".into()]).expect_err("no file").to_string();
    assert!(missing.starts_with("/nowhere/keys.pem: cannot be read: "), "{missing}");
    let binary = TempFile::new("");
    std::fs::write(&binary.0, [0xff, 0xfe]).expect("written");
    let binary = Keys::load(&[], std::slice::from_ref(&binary.0)).expect_err("binary").to_string();
    assert!(binary.contains(": is not text: "), "{binary}");
}

#[test]
fn a_secret_that_is_a_key_file_is_refused() {
    for secret in [pem("rsa.pub.pem"), format!("  {}", jwk("RS256", "a"))] {
        let refusal = Keys::load(&[secret], &[]).expect_err("a key as a secret").to_string();
        assert!(refusal.starts_with("auth.keys: these are secrets for HS256") && !refusal.contains("MII"), "{refusal}");
    }
}

#[test]
fn keys_for_other_things_are_passed_over() {
    let mut encrypts = jwk("RS256", "enc");
    encrypts["use"] = json!("enc");
    let mut longer = jwk("RS256", "rs512");
    longer["alg"] = json!("RS512");
    let others = [
        encrypts,
        longer,
        json!({"kty": "EC", "crv": "P-384", "kid": "p384", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
        json!({"kty": "EC", "crv": "P-256", "key_ops": ["deriveKey"], "x": "AA", "y": "AA"}),
    ];
    let mut with_one = others.to_vec();
    with_one.push(jwk("EdDSA", "d"));
    assert_eq!(load(&jwks(&with_one)).expect("keys").algorithms(), ["EdDSA"]);
    let refusal = load(&jwks(&others)).expect_err("none is of use");
    assert!(refusal.starts_with("FILE: holds no key to verify tokens with: the key with kid \"enc\" is not for signatures; the key with kid \"rs512\" is for \"RS512\", not for RS256; "), "{refusal}");
}

#[test]
fn a_lone_jwk_is_a_set_of_one() {
    assert_eq!(load(&jwk("RS256", "a").to_string()).expect("keys").len(), 1);
}

#[test]
fn a_broken_jwk_is_refused_with_its_name_and_what_is_wrong() {
    let with = |algorithm, field: &str, value: Value| {
        let mut key = jwk(algorithm, "k1");
        key[field] = value;
        jwks(&[jwk("EdDSA", "good"), key])
    };
    let cases = [
        ("{".to_owned(), "FILE: is not JSON: "),
        ("{}".to_owned(), "FILE: is JSON but no JWKS"),
        (jwks(&[]), "FILE: holds no key to verify tokens with: it has none"),
        (jwks(&[json!({"kid": "x"})]), "FILE: the key with kid \"x\" is no JWK: `kty` is missing"),
        (jwks(&[json!(5)]), "FILE: key 1 of 1 is no JWK"),
        (with("RS256", "d", json!("AA")), "FILE: the key with kid \"k1\" is a private key"),
        (
            with("RS256", "n", json!(base64url(&[0xff; 128]))),
            "FILE: the key with kid \"k1\" is of no use: an RSA key of 1024 bits is too weak",
        ),
        (with("RS256", "e", json!("AA")), "FILE: the key with kid \"k1\" is a broken RSA key"),
        (with("RS256", "n", json!("!")), "FILE: the key with kid \"k1\" has a `n` that is not base64url"),
        (with("RS256", "n", Value::Null), "FILE: the key with kid \"k1\" lacks `n`"),
        (with("ES256", "x", json!("AA")), "FILE: the key with kid \"k1\" has coordinates that are not 32 bytes each"),
        (
            with("ES256", "x", json!(base64url(&[1; 32]))),
            "FILE: the key with kid \"k1\" is no point of the curve P-256",
        ),
        (with("EdDSA", "x", json!("AA")), "FILE: the key with kid \"k1\" has an `x` that is not 32 bytes"),
        (with("HS256", "k", json!("c2hvcnQ")), "FILE: the key with kid \"k1\" has a secret of 5 bytes"),
        (with("HS256", "k", json!(5)), "FILE: the key with kid \"k1\" is no JWK"),
    ];
    for (text, expected) in cases {
        let refusal = load(&text).expect_err(expected);
        assert!(refusal.starts_with(expected), "expected {expected}\ngot {refusal}");
    }
}

#[test]
fn too_many_keys_are_refused() {
    let set = |count: usize| jwks(&vec![jwk("EdDSA", "a"); count]);
    assert_eq!(load(&set(64)).expect("keys").len(), 64);
    assert!(load(&set(65)).expect_err("too many").contains("65 keys are more than the 64 that are possible"));
}

#[test]
fn files_that_do_not_sign_are_refused() {
    for (name, expected) in [
        ("rsa.pub.pem", "holds a public key; only the private one signs"),
        ("encrypted.pem", "is encrypted"),
        ("cert.pem", "holds a `CERTIFICATE`"),
    ] {
        let refusal = SigningKey::from_file(&path(name)).expect_err(expected).to_string();
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn neither_keys_nor_signers_show_what_they_hold() {
    let keys = Keys::load(&["hush".to_owned()], &PUBLIC.map(path)).expect("keys");
    assert_eq!(format!("{keys:?}"), "Keys(4)");
    let signer = format!("{:?}", SigningKey::from_secret("hush"));
    assert!(!signer.contains("hush") && signer.contains("HS256"), "{signer}");
    let broken = jwk("HS256", "k1").to_string().replace("\"kty\"", "\"kty\"x");
    assert!(!load(&broken).expect_err("not json").contains(&base64url(SECRET.as_bytes())));
}

proptest! {
    #[test]
    fn a_damaged_file_gives_the_same_keys_or_none_and_never_a_panic(
        cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), with in any::<char>(),
        whole in prop::sample::select(vec![pem("p256.pub.pem"), pem("ed25519.pub.pem"), jwks(&[jwk("EdDSA", "d"), jwk("ES256", "c")])]),
    ) {
        let count = load(&whole).expect("keys").len();
        let short = &whole[..cut.index(whole.len() - 1)];
        prop_assert!(load(short).is_err() || load(short).is_ok_and(|keys| keys.len() <= count));
        let mut changed: Vec<char> = whole.chars().collect();
        let at = at.index(changed.len());
        changed[at] = with;
        let changed: String = changed.into_iter().collect();
        prop_assert!(load(&changed).is_err() || load(&changed).is_ok_and(|keys| !keys.is_empty()));
    }
}
