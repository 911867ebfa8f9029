//! Good tokens, and what they say.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::{Action, Claims, TokenError, allows};

fn claims() -> Claims {
    Claims { user: "alice".to_owned(), expires: Some(NOW + 60), grants: minting().lists.grants() }
}

#[test]
fn a_minted_token_verifies_until_it_expires() {
    let token = SigningKey::from_secret(SECRET).mint(&minting(), None).expect("signs");
    let verifier = secrets(&[SECRET]);
    assert_eq!(verifier.verify(&token, NOW), Ok(claims()));
    assert_eq!(verifier.verify(&token, NOW + 59), Ok(claims()));
    assert_eq!(verifier.verify(&token, NOW + 60), Err(TokenError::Expired));
    assert_eq!(verifier.verify(&token, u64::MAX), Err(TokenError::Expired));
}

#[test]
fn each_algorithm_verifies_with_its_public_key_and_with_no_other() {
    for (index, (algorithm, _)) in SIGNERS.iter().enumerate() {
        let token = signer(algorithm).mint(&minting(), None).expect("signs");
        let all = Keys::load(&[SECRET.to_owned()], &PUBLIC.map(path)).expect("keys");
        assert_eq!(all.algorithms(), ["HS256", "RS256", "ES256", "EdDSA"]);
        assert_eq!(verifier(all).verify(&token, NOW), Ok(claims()), "{algorithm}");
        let others: Vec<_> =
            PUBLIC.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, name)| path(name)).collect();
        let others = verifier(Keys::load(&[SECRET.to_owned()], &others).expect("keys"));
        assert_eq!(others.verify(&token, NOW), Err(TokenError::Signature), "{algorithm}");
    }
}

#[test]
fn private_keys_of_every_form_sign() {
    for (file, public) in [("rsa_pkcs1.pem", "rsa_pkcs1.pub.pem"), ("p256_sec1.pem", "p256.pub.pem")] {
        let token = SigningKey::from_file(&path(file)).expect("a key").mint(&minting(), None).expect("signs");
        let verifier = verifier(Keys::load(&[], &[path(public)]).expect("keys"));
        assert_eq!(verifier.verify(&token, NOW), Ok(claims()), "{file}");
    }
}

#[test]
fn a_token_without_limits_has_none() {
    let unlimited = Minting { exp: None, lists: Lists::default(), ..minting() };
    let token = SigningKey::from_secret(SECRET).mint(&unlimited, None).expect("signs");
    let claims = secrets(&[SECRET]).verify(&token, u64::MAX).expect("good");
    assert_eq!((claims.expires, claims.grants), (None, None));
}

#[test]
fn any_of_the_secrets_verifies() {
    let token = SigningKey::from_secret("old").mint(&minting(), None).expect("signs");
    assert_eq!(secrets(&["new", "old"]).verify(&token, NOW), Ok(claims()));
    assert_eq!(secrets(&["new"]).verify(&token, NOW), Err(TokenError::Signature));
    assert_eq!(secrets(&[]).verify(&token, NOW), Err(TokenError::Signature));
}

#[test]
fn keys_of_a_set_are_found_by_their_kid() {
    for algorithm in ["HS256", "RS256", "ES256", "EdDSA"] {
        let keys = || load(&jwks(&[jwk("HS256", "a"), jwk("RS256", "b"), jwk("ES256", "c"), jwk("EdDSA", "d")]));
        let own = match algorithm {
            "HS256" => "a",
            "RS256" => "b",
            "ES256" => "c",
            _ => "d",
        };
        for (kid, expected) in [
            (Some(own), Ok(claims())),
            (None, Ok(claims())),
            (Some("unknown"), Err(TokenError::Signature)),
            (Some(if own == "a" { "b" } else { "a" }), Err(TokenError::Signature)),
        ] {
            let token = signer(algorithm).mint(&minting(), kid.map(str::to_owned)).expect("signs");
            let verifier = verifier(keys().expect("keys"));
            assert_eq!(verifier.verify(&token, NOW), expected, "{algorithm} {kid:?}");
        }
    }
}

#[test]
fn a_kid_that_nobody_knows_may_be_that_of_a_key_without_one() {
    let token = SigningKey::from_secret(SECRET).mint(&minting(), Some("2026-10".to_owned())).expect("signs");
    assert_eq!(secrets(&[SECRET]).verify(&token, NOW), Ok(claims()));
}

#[test]
fn replaced_keys_decide_from_then_on() {
    let (old, new) = (SigningKey::from_secret("old"), SigningKey::from_secret("new"));
    let (old, new) = (old.mint(&minting(), None).expect("signs"), new.mint(&minting(), None).expect("signs"));
    let verifier = secrets(&["old"]);
    assert_eq!(verifier.verify(&new, NOW), Err(TokenError::Signature));
    // As a reload does it.
    let verifier = secrets(&["new"]);
    assert_eq!(verifier.verify(&new, NOW), Ok(claims()));
    assert_eq!(verifier.verify(&old, NOW), Err(TokenError::Signature));
}

#[test]
fn claims_of_no_use_are_refused() {
    for claims in [
        json!({}),
        json!([]),
        json!("alice"),
        json!({"sub": ""}),
        json!({"sub": 5}),
        json!({"sub": "a", "exp": "tomorrow"}),
        json!({"sub": "a", "channels": "chat:*"}),
        json!({"sub": "a", "channels": [1]}),
        json!({"sub": "a", "publish": "chat:*"}),
        json!({"sub": "a", "join": {"a": 1}}),
    ] {
        assert_eq!(secrets(&[SECRET]).verify(&hs256(&claims), NOW), Err(TokenError::Claims), "{claims}");
    }
}

#[test]
fn times_may_have_fractions_and_not_before_holds() {
    let verify = |claims| secrets(&[SECRET]).verify(&hs256(&claims), NOW);
    assert_eq!(verify(json!({"sub": "a", "exp": NOW as f64 + 0.5})).expect("good").expires, Some(NOW));
    assert_eq!(verify(json!({"sub": "a", "exp": 1e30})).expect("good").expires, Some(u64::MAX));
    assert_eq!(verify(json!({"sub": "a", "exp": -1})), Err(TokenError::Expired));
    assert_eq!(verify(json!({"sub": "a", "nbf": NOW + 1})), Err(TokenError::NotYet));
    assert!(verify(json!({"sub": "a", "nbf": NOW, "aud": "x", "iss": 7, "iat": "then"})).is_ok());
}

#[test]
fn issuer_and_audience_hold_where_they_are_expected() {
    let expected = Expected { issuer: Some("https://id".to_owned()), audience: Some("chat".to_owned()) };
    let verifier = Verifier::new(Keys::from_secrets(&[SECRET]), expected);
    let verify = |claims| verifier.verify(&hs256(&claims), NOW).map(|claims| claims.user);
    for (claims, expected) in [
        (json!({"sub": "a", "iss": "https://id", "aud": "chat"}), Ok("a".to_owned())),
        (json!({"sub": "a", "iss": "https://id", "aud": ["shop", "chat"]}), Ok("a".to_owned())),
        (json!({"sub": "a", "iss": "https://id"}), Err(TokenError::Audience)),
        (json!({"sub": "a", "iss": "https://id", "aud": ["shop"]}), Err(TokenError::Audience)),
        (json!({"sub": "a", "iss": "https://id", "aud": {"chat": 1}}), Err(TokenError::Audience)),
        (json!({"sub": "a", "aud": "chat"}), Err(TokenError::Issuer)),
        (json!({"sub": "a", "iss": ["https://id"], "aud": "chat"}), Err(TokenError::Issuer)),
    ] {
        assert_eq!(verify(claims.clone()), expected, "{claims}");
    }
}

#[test]
fn the_lists_of_a_token_become_its_grants() {
    let lists = json!({"sub": "a", "channels": ["room:*"], "publish": ["room:1"], "join": []});
    let grants = secrets(&[SECRET]).verify(&hs256(&lists), NOW).expect("good").grants.expect("named");
    let open = |action| ["room:1", "room:2"].map(|channel| allows(&grants, action, channel));
    assert_eq!(
        [open(Action::Subscribe), open(Action::Publish), open(Action::Join)],
        [[true, true], [true, false], [false, false]]
    );
}

proptest! {
    #[test]
    fn what_is_minted_is_what_verifies(user in "[a-z]{1,8}", lives in 1u64..1000, patterns in prop::option::of(
        prop::collection::vec("[ab*]{0,4}", 0..4)), publish in prop::option::of(prop::collection::vec("[ab*]{0,4}", 0..4))) {
        let lists = Lists { channels: patterns, publish, ..Lists::default() };
        let minted = Minting { sub: user.clone(), exp: Some(NOW + lives), lists: lists.clone(), ..minting() };
        let token = SigningKey::from_secret(SECRET).mint(&minted, None).expect("signs");
        let expected = Claims { user, expires: Some(NOW + lives), grants: lists.grants() };
        prop_assert_eq!(secrets(&[SECRET]).verify(&token, NOW), Ok(expected));
    }
}
