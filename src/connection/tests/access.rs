//! Who may do what in which channel: rules of namespaces, lists of tokens, and both together.

use serde_json::json;

use super::{Bench, HOUR_S, failure, life::due_in};
use crate::{
    config::{AuthMode, Config},
    protocol::close::Close,
    shard::Mail,
    token::Lists,
};

fn list(patterns: &[&str]) -> Option<Vec<String>> {
    Some(patterns.iter().map(ToString::to_string).collect())
}

/// Namespaces as a file would set them.
fn rules(config: &mut Config, text: &str) {
    config.channels = toml::from_str(text).expect("namespaces");
}

const RULES: &str = "[news]\npublish = \"nobody\"\n[team]\nsubscribe = \"claim\"\npublish = \"subscriber\"\n\
    [ghost]\nsubscribe = \"nobody\"\npublish = \"claim\"\n";

/// Whether these are let through to the channel's home: subscribe, presence, publish, signal.
fn opened(bench: &mut Bench, channel: &str) -> [bool; 4] {
    [
        format!(r#"{{"op":"subscribe","id":1,"channel":"{channel}"}}"#),
        format!(r#"{{"op":"presence","id":1,"channel":"{channel}"}}"#),
        format!(r#"{{"op":"publish","id":1,"channel":"{channel}","data":1}}"#),
        format!(r#"{{"op":"signal","id":1,"channel":"{channel}","kind":"typing"}}"#),
    ]
    .map(|frame| {
        let effects = bench.frame(&frame);
        let open = effects.asks.len() == 1;
        if !open {
            effects.says([failure(Some(1), "forbidden")]).asks(&[]).closes(None);
        }
        open
    })
}

#[test]
fn a_namespace_says_who_may_subscribe_and_publish() {
    let mut bench = Bench::with(|config| rules(config, RULES));
    bench.identify_as("ann", &[]);
    assert_eq!(opened(&mut bench, "news:today"), [true, true, false, false]);
    assert_eq!(opened(&mut bench, "team:red"), [false, false, false, false], "there are no claims in open mode");
    assert_eq!(opened(&mut bench, "ghost:x"), [false, false, false, false]);
    assert_eq!(opened(&mut bench, "chat:x"), [true; 4]);
    assert_eq!(opened(&mut bench, "news"), [true; 4], "a name without a colon has no namespace");
}

#[test]
fn a_claim_opens_what_a_namespace_leaves_to_claims() {
    let mut bench = Bench::with(|config| {
        (config.auth.mode, config.auth.keys) = (AuthMode::Jwt, vec![super::KEY.to_owned()]);
        rules(config, RULES);
    });
    let token = bench.jwt_of(|claims| claims.lists.channels = list(&["team:red", "ghost:*", "news:*"]));
    bench.identify_as(&token, &["team:red"]);
    assert_eq!(opened(&mut bench, "team:red"), [true, true, true, true], "a subscriber publishes");
    assert_eq!(opened(&mut bench, "team:blue"), [false; 4]);
    assert_eq!(opened(&mut bench, "ghost:x"), [false, false, true, true]);
    assert_eq!(opened(&mut bench, "news:x"), [true, true, false, false], "a claim does not open what nobody may");
    assert_eq!(opened(&mut bench, "chat:x"), [false; 4], "the token does not name it");
}

#[test]
fn a_token_without_lists_is_no_claim() {
    let mut bench = Bench::with(|config| {
        (config.auth.mode, config.auth.keys) = (AuthMode::Jwt, vec![super::KEY.to_owned()]);
        rules(config, RULES);
    });
    let token = bench.jwt_of(|_| {});
    bench.identify_as(&token, &[]);
    assert_eq!(opened(&mut bench, "team:red"), [false; 4]);
    assert_eq!(opened(&mut bench, "chat:x"), [true; 4]);
}

#[test]
fn lists_of_a_token_part_reading_from_writing() {
    let mut bench = Bench::jwt();
    let token = bench.jwt_of(|claims| {
        claims.lists = Lists { subscribe: list(&["chat:*"]), publish: list(&["chat:1", "log"]), ..Lists::default() };
    });
    bench.identify_as(&token, &["chat:1"]);
    assert_eq!(opened(&mut bench, "chat:1"), [true; 4]);
    assert_eq!(opened(&mut bench, "chat:2"), [true, true, false, false]);
    assert_eq!(opened(&mut bench, "log"), [false, false, true, true]);
    let effects = bench.frame(r#"{"op":"publish","id":1,"channel":"chat:2","data":1}"#);
    effects.says([json!({"error": {"message": "this token does not open chat:2 to publish"}})]);
}

#[test]
fn a_direct_channel_stays_closed_to_others_whatever_a_token_says() {
    let mut bench = Bench::jwt();
    let token = bench.jwt_of(|claims| claims.lists.channels = list(&["dm:*"]));
    bench.identify_as(&token, &[]);
    assert_eq!(opened(&mut bench, "dm:bob+carl"), [false; 4]);
    assert_eq!(opened(&mut bench, "dm:ann+bob"), [true; 4]);
}

#[test]
fn a_token_expires_under_a_client_that_never_stops_talking() {
    let mut bench = Bench::jwt();
    let token = bench.jwt_of(|_| {});
    bench.identify_as(&token, &[]);
    for _ in 0..HOUR_S - 1 {
        bench.pass(std::time::Duration::from_secs(1));
        bench.frame(r#"{"op":"heartbeat"}"#).says([json!({"op": "heartbeat_ack"})]);
        assert!(due_in(&bench, true) as i32 > 0, "the deadline is the token's, not the heartbeat's");
    }
    bench.pass(std::time::Duration::from_secs(1));
    assert!(due_in(&bench, true) as i32 <= 0, "heard a moment ago, and due all the same");
    bench.run(Mail::Silence).closes(Some(Close::TOKEN_EXPIRED));
}
