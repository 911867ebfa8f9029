//! Tokens that somebody without a key made. Each of these forgeries has let somebody into some server once.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::TokenError;

/// Every kind of key there is.
fn every_key() -> Verifier {
    verifier(Keys::load(&[SECRET.to_owned()], &PUBLIC.map(path)).expect("keys"))
}

#[test]
fn a_public_key_is_no_secret() {
    let claims = json!({"sub": "mallory"});
    for name in PUBLIC {
        let text = pem(name);
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(&body).expect("base64");
        let spellings: [&[u8]; 6] = [
            text.as_bytes(),
            text.trim().as_bytes(),
            body.as_bytes(),
            &der,
            &der[der.len() - 32..],
            &der[der.len() - 65.min(der.len())..],
        ];
        for secret in spellings {
            let token = forge(&Header::new(Algorithm::HS256), secret, &claims);
            assert_eq!(every_key().verify(&token, NOW), Err(TokenError::Signature), "{name}");
            let only = verifier(Keys::load(&[], &[path(name)]).expect("keys"));
            assert_eq!(only.verify(&token, NOW), Err(TokenError::Signature), "{name}");
        }
    }
}

#[test]
fn a_kid_of_another_type_does_not_change_the_algorithm() {
    let keys = || load(&jwks(&[jwk("HS256", "secret"), jwk("RS256", "rsa"), jwk("ES256", "ec"), jwk("EdDSA", "ed")]));
    let rsa = RsaPublicKey::from_public_key_pem(&pem("rsa.pub.pem")).expect("a key");
    for (kid, secret) in
        [("rsa", rsa.n().to_bytes_be()), ("rsa", pem("rsa.pub.pem").into_bytes()), ("ec", vec![]), ("ed", vec![0])]
    {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
        let token = forge(&header, &secret, &json!({"sub": "mallory"}));
        assert_eq!(verifier(keys().expect("keys")).verify(&token, NOW), Err(TokenError::Signature), "{kid}");
    }
    // A good signature does not help one that names a key of another type either.
    let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::HS256) };
    let token = forge(&header, SECRET.as_bytes(), &json!({"sub": "alice"}));
    assert_eq!(verifier(keys().expect("keys")).verify(&token, NOW), Err(TokenError::Signature));
}

#[test]
fn an_algorithm_of_no_key_is_refused_even_with_the_right_secret() {
    let claims = json!({"sub": "mallory"});
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = forge(&Header::new(algorithm), SECRET.as_bytes(), &claims);
        assert_eq!(every_key().verify(&token, NOW), Err(TokenError::Malformed));
    }
    for algorithm in ["none", "None", "NONE", "", "hs256", "RS512", "PS256", "ES384", "ES256K"] {
        let header = part(&json!({"alg": algorithm, "typ": "JWT"}));
        let body = part(&claims);
        let signature = hs256(&claims);
        let signature = signature.rsplit('.').next().expect("three parts");
        for token in [format!("{header}.{body}."), format!("{header}.{body}"), format!("{header}.{body}.{signature}")] {
            assert_eq!(every_key().verify(&token, NOW), Err(TokenError::Malformed), "{algorithm}");
        }
    }
}

#[test]
fn an_empty_signature_fits_no_key() {
    for algorithm in ["HS256", "RS256", "ES256", "EdDSA"] {
        for signature in ["".to_owned(), base64url(&[0; 32]), base64url(&[0; 64]), base64url(&[0; 256])] {
            let token =
                format!("{}.{}.{signature}", part(&json!({"alg": algorithm})), part(&json!({"sub": "mallory"})));
            assert_eq!(every_key().verify(&token, NOW), Err(TokenError::Signature), "{algorithm} {signature:?}");
        }
    }
}

#[test]
fn a_key_that_comes_with_the_token_is_not_looked_at() {
    let claims = json!({"sub": "mallory"});
    let own = "a key of mallory's own, long enough for HS256";
    let embedded = [
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": base64url(own.as_bytes())}}),
        json!({"alg": "HS256", "jku": "https://evil.example/jwks.json"}),
        json!({"alg": "HS256", "x5u": "https://evil.example/cert.pem", "kid": "../../etc/passwd"}),
        json!({"alg": "HS256", "kid": "' UNION SELECT 'secret"}),
    ];
    for header in embedded {
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(own.as_bytes()), Algorithm::HS256);
        let token = format!("{signed}.{}", signature.expect("signs"));
        let result = every_key().verify(&token, NOW);
        assert!(matches!(result, Err(TokenError::Signature | TokenError::Malformed)), "{header} {result:?}");
    }
}

#[test]
fn a_critical_header_that_nobody_understands_is_refused() {
    let header = Header { crit: Some(vec!["exp".to_owned()]), ..Header::new(Algorithm::HS256) };
    let token = forge(&header, SECRET.as_bytes(), &json!({"sub": "alice"}));
    assert_eq!(every_key().verify(&token, NOW), Err(TokenError::Malformed));
}

#[test]
fn a_changed_token_fits_no_key() {
    for algorithm in ["HS256", "RS256", "ES256", "EdDSA"] {
        let token = signer(algorithm).mint(&minting(), None).expect("signs");
        let parts: Vec<&str> = token.split('.').collect();
        let body = part(&json!({"sub": "bob"}));
        for token in [
            format!("{}.{body}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}.{}", part(&json!({"alg": algorithm, "kid": "x"})), parts[1], parts[2]),
        ] {
            let result = every_key().verify(&token, NOW);
            assert!(matches!(result, Err(TokenError::Signature | TokenError::Malformed)), "{algorithm} {result:?}");
        }
    }
}

#[test]
fn a_huge_token_is_refused_before_anything_is_computed() {
    let claims = json!({"sub": "alice", "channels": vec!["chat:*"; 2_000]});
    let token = hs256(&claims);
    assert!(token.len() > 16 * 1024);
    assert_eq!(every_key().verify(&token, NOW), Err(TokenError::TooLong));
    let dots = ".".repeat(16 * 1024);
    assert_eq!(every_key().verify(&dots, NOW), Err(TokenError::Malformed));
    let deep = format!("{}.{}.", part(&json!({"alg": "HS256"})), "W1tb".repeat(4_000));
    assert_eq!(every_key().verify(&deep, NOW), Err(TokenError::Signature));
}

#[test]
fn a_signed_token_that_is_deeply_nested_is_refused() {
    let signed = format!("{}.{}", part(&json!({"alg": "HS256"})), base64url("[".repeat(10_000).as_bytes()));
    let signature =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256);
    let token = format!("{signed}.{}", signature.expect("signs"));
    assert_eq!(every_key().verify(&token, NOW), Err(TokenError::Claims));
}

proptest! {
    #[test]
    fn rubbish_is_refused_without_a_panic(token in "\\PC*", dotted in "[A-Za-z0-9_=-]*\\.[A-Za-z0-9_=-]*\\.[A-Za-z0-9_=-]*") {
        prop_assert!(every_key().verify(&token, NOW).is_err());
        prop_assert!(every_key().verify(&dotted, NOW).is_err());
    }

    #[test]
    fn a_flipped_bit_is_noticed(
        at in any::<prop::sample::Index>(), bit in 0u8..7,
        algorithm in prop::sample::select(vec!["HS256", "ES256", "EdDSA"]),
    ) {
        let token = signer(algorithm).mint(&minting(), None).expect("signs");
        let mut bytes = token.clone().into_bytes();
        // The last character of a part has bits that mean nothing, and may be changed without a change.
        let at = at.index(bytes.len());
        let last_of_part = at + 1 == bytes.len() || bytes[at + 1] == b'.';
        bytes[at] ^= 1 << bit;
        let changed = String::from_utf8(bytes).expect("ascii");
        prop_assume!(!last_of_part);
        prop_assert!(every_key().verify(&changed, NOW).is_err(), "{token}\n{changed}");
    }
}
