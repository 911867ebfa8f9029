//! Requests that the application's backend decides: what is asked, what comes of each answer, and of a crash over one.

use serde_json::{Value, json};

use super::{Bench, failure};
use crate::{
    connection::{ConnectionActor, backend::Asked, redact},
    hooks::Hooks,
    protocol::close::Close,
    shard::{Behaviour as _, Crash, Evidence, Mail},
};

/// With hooks, whose backend nobody calls.
fn asking(hooks: Value) -> Bench {
    let mut bench = Bench::new();
    with(&mut bench, hooks);
    bench
}

fn with(bench: &mut Bench, hooks: Value) {
    let hooks: Hooks = serde_json::from_value(hooks).expect("hooks");
    let settings = serde_json::to_value(&*bench.settings).expect("settings");
    let settings: crate::connection::Settings = serde_json::from_value(settings).expect("the same");
    bench.settings = std::sync::Arc::new(settings.with_hooks(hooks));
}

fn publish_and_rpc() -> Bench {
    let mut bench = Bench::ready(&[]);
    with(&mut bench, json!([{"hook": "publish", "namespaces": ["chat"]}, {"hook": "rpc", "namespaces": []}]));
    bench
}

/// A frame with the answer to the question about it.
fn asked(bench: &Bench, frame: &str, answer: Value) -> Option<Asked> {
    let answers = json!({"request": answer, "channels": {}});
    let asked = json!({"origin": {"frame": frame}, "socket": bench.record.socket, "answers": answers});
    Some(serde_json::from_value(asked).expect("asked"))
}

const PUBLISH: &str = r#"{"op":"publish","id":3,"channel":"chat:a","data":"one"}"#;
const RPC: &str = r#"{"op":"rpc","id":4,"method":"sum","data":[1]}"#;

#[test]
fn a_request_that_is_decided_elsewhere_waits_in_a_job() {
    let mut bench = publish_and_rpc();
    for frame in [PUBLISH, RPC] {
        let effects = bench.frame(frame);
        effects.says([]).asks(&[]);
        assert_eq!((effects.jobs, effects.hold), (1, None), "{frame}");
    }
    // Of a namespace that nobody asks about.
    let effects = bench.frame(r#"{"op":"publish","id":3,"channel":"room:a","data":"one"}"#);
    assert_eq!((effects.jobs, effects.asks.len()), (0, 1));
}

#[test]
fn each_answer_becomes_what_the_client_is_told() {
    let cases = [
        (PUBLISH, json!({"denied": "why"}), Some(failure(Some(3), "forbidden"))),
        (PUBLISH, json!({"unknown": "later"}), Some(failure(Some(3), "unavailable"))),
        (PUBLISH, json!({"allowed": {}}), None),
        (RPC, json!({"denied": "why"}), Some(failure(Some(4), "forbidden"))),
        (RPC, json!({"unknown": "later"}), Some(failure(Some(4), "unavailable"))),
        (
            RPC,
            json!({"allowed": {"data": {"sum": 1}}}),
            Some(json!({"op": "reply", "id": 4, "ok": {"data": {"sum": 1}}})),
        ),
        (RPC, json!({"allowed": {}}), Some(json!({"op": "reply", "id": 4, "ok": {"data": null}}))),
    ];
    for (frame, answer, said) in cases {
        let mut bench = publish_and_rpc();
        let asked = asked(&bench, frame, answer.clone());
        let effects = bench.run(Mail::Job(Ok(&asked)));
        assert_eq!(effects.asks.len(), usize::from(said.is_none()), "{frame} {answer}: {effects:?}");
        effects.says(said);
        assert_eq!(effects.jobs, 0, "nobody is asked twice");
    }
}

#[test]
fn a_request_pays_once() {
    let mut bench = publish_and_rpc();
    bench.frame(PUBLISH);
    let share = serde_json::to_value(bench.record.publishes).expect("a number");
    let asked = asked(&bench, PUBLISH, json!({"allowed": {}}));
    bench.run(Mail::Job(Ok(&asked)));
    assert_eq!(serde_json::to_value(bench.record.publishes).expect("a number"), share);
}

#[test]
fn an_answer_to_a_socket_that_is_gone_is_nobodys() {
    let mut bench = publish_and_rpc();
    let asked = asked(&bench, PUBLISH, json!({"allowed": {}}));
    bench.record.socket += 1;
    bench.run(Mail::Job(Ok(&asked))).says([]).asks(&[]);
}

#[test]
fn an_identify_waits_with_everything_behind_it() {
    let mut bench = asking(json!([{"hook": "connect", "namespaces": []}]));
    let effects = bench.frame(r#"{"op":"identify","token":"ann"}"#);
    effects.says([]).asks(&[]);
    assert_eq!((effects.jobs, effects.hold), (1, Some(true)));
    let identify = r#"{"op":"identify","token":"ann"}"#;
    let named = json!({"allowed": {"claims": {"user": "bob", "expires": null, "grants": null}}});
    for (answer, user, close) in [
        (json!({"allowed": {}}), Some("ann"), None),
        (named, Some("bob"), None),
        (json!({"denied": "no"}), None, Some(Close::AUTH_FAILED)),
        (json!({"unknown": "later"}), None, Some(Close::TRY_AGAIN_LATER)),
        (
            json!({"allowed": {"claims": {"user": "", "expires": null, "grants": null}}}),
            None,
            Some(Close::TRY_AGAIN_LATER),
        ),
    ] {
        let mut bench = asking(json!([{"hook": "connect", "namespaces": []}]));
        let asked = asked(&bench, identify, answer);
        let effects = bench.run(Mail::Job(Ok(&asked)));
        assert_eq!(bench.record.identity.as_ref().map(|identity| identity.user.to_string()).as_deref(), user);
        assert_eq!((effects.close, effects.hold), (close, Some(false)));
    }
}

#[test]
fn channels_of_an_identify_are_asked_about_and_the_refused_are_told() {
    let mut bench = asking(json!([{"hook": "subscribe", "namespaces": ["chat"]}]));
    let identify = r#"{"op":"identify","token":"ann","cursors":{"chat:a":{"epoch":"x","offset":1},"room:b":{"epoch":"x","offset":1}}}"#;
    assert_eq!(bench.frame(identify).jobs, 1);
    let answers = json!({"request": null, "channels": {"chat:a": {"denied": "no"}}});
    let asked = json!({"origin": {"frame": identify}, "socket": 0, "answers": answers});
    let asked = Some(serde_json::from_value::<Asked>(asked).expect("asked"));
    let effects = bench.run(Mail::Job(Ok(&asked)));
    effects.says([failure(None, "forbidden")]);
    assert_eq!(effects.asks.len(), 1, "{effects:?}");
    assert!(effects.asks[0].starts_with("subscribe room:b"), "{effects:?}");
}

#[test]
fn a_crash_over_an_answer_is_the_requests_one_reply_and_lets_the_rest_through() {
    let mut bench = publish_and_rpc();
    let lost = asked(&bench, RPC, json!({"allowed": {}}));
    let mail = Mail::Job(Ok(&lost));
    bench.generation = 2;
    let effects = bench.run(Mail::Restarted(Crash { mail: Some(&mail), retried: false, gave_up: false }));
    let restarted = json!({"op": "restarted", "generation": 2, "request": 4, "lost": 0});
    effects.says([failure(Some(4), "crashed"), restarted]).asks(&[]);
    assert_eq!(effects.hold, Some(false));
    let mut bench = asking(json!([{"hook": "connect", "namespaces": []}]));
    let lost = asked(&bench, r#"{"op":"identify","token":"ann"}"#, json!({"allowed": {}}));
    let mail = Mail::Job(Ok(&lost));
    let effects = bench.run(Mail::Restarted(Crash { mail: Some(&mail), retried: false, gave_up: false }));
    effects.says([json!({"op": "restarted", "lost": 1})]);
    assert_eq!(effects.hold, Some(false), "it may identify again");
}

#[test]
fn a_crash_file_hides_what_the_client_and_the_application_wrote_and_plays_again() {
    const WRITTEN: &str = "Zwiebelkuchen";
    let bench = publish_and_rpc();
    let frame = format!(r#"{{"op":"rpc","id":4,"method":"{WRITTEN}","data":["{WRITTEN}"]}}"#);
    for answer in [json!({"allowed": {"data": [WRITTEN]}}), json!({"denied": WRITTEN}), json!({"unknown": WRITTEN})] {
        let asked = asked(&bench, &frame, answer);
        for payloads in [false, true] {
            let mut evidence = Evidence {
                behaviour: ConnectionActor::NAME.to_owned(),
                now: bench.now,
                connection: bench.id,
                generation: 1,
                read_before: false,
                seed: None,
                settings: Value::Null,
                record: serde_json::to_value(&bench.record).expect("a record"),
                mail: serde_json::to_value(Mail::<ConnectionActor>::Job(Ok(&asked))).expect("a mail"),
            };
            redact::evidence(&mut evidence, &bench.settings, payloads);
            let text = serde_json::to_string(&evidence).expect("text");
            assert_eq!(text.contains(WRITTEN), payloads, "{text}");
            let settings: crate::connection::Settings =
                serde_json::from_value(evidence.settings.clone()).expect("settings");
            let report = evidence.replay::<ConnectionActor>(std::sync::Arc::new(settings)).expect("this behaviour's");
            assert!(report.is_none(), "it did not crash");
        }
    }
}
