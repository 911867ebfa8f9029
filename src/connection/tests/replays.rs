//! Turns written down and played again: every mail survives the way through a file, and what people wrote does not.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::*;
use crate::{
    channel::{Audience, Change, Gap, Membership, Whisper},
    connection::redact,
    protocol::{
        encoding::msgpack_from_json,
        error::{ErrorCode, Fault},
        frame::{GapReason, Roster, Standing},
    },
    shard::{self, Cause, Crash, Evidence, JobFailure},
};

/// Nobody's protocol has this word.
const WRITTEN: &str = "Zwiebelkuchen";

fn chat_alone() -> Lists {
    Lists { channels: Some(vec!["chat:*".into()]), ..Lists::default() }
}

/// What a shard would write down of a turn.
fn evidence(bench: &Bench, mail: Mail<'_, ConnectionActor>) -> Evidence {
    Evidence {
        behaviour: ConnectionActor::NAME.to_owned(),
        now: bench.now,
        connection: bench.id,
        generation: bench.generation,
        read_before: false,
        seed: Some([7; 32]),
        settings: Value::Null,
        record: serde_json::to_value(&bench.record).expect("a record"),
        mail: serde_json::to_value(mail).expect("a mail"),
    }
}

/// The same through the text of a file, as it would be kept.
fn kept(bench: &Bench, mail: Mail<'_, ConnectionActor>, payloads: bool) -> Evidence {
    let mut evidence = evidence(bench, mail);
    redact::evidence(&mut evidence, &bench.settings, payloads);
    let text = serde_json::to_string(&evidence).expect("text");
    serde_json::from_str(&text).expect("the same")
}

/// Message and place of the panic, if it panics.
fn replay(evidence: &Evidence) -> Option<(String, String)> {
    let settings: Settings = serde_json::from_value(evidence.settings.clone()).expect("settings");
    let report = evidence.replay::<ConnectionActor>(Arc::new(settings)).expect("this behaviour's");
    report.map(|report| (report.message.into(), report.place.into()))
}

fn event(bench: &Bench) -> Arc<Event> {
    let channel = bench.directory.intern("chat:a");
    let data = serde_json::value::to_raw_value(&json!({WRITTEN: [WRITTEN, 1.5]})).expect("data");
    let frame = Frame::Event { channel: "chat:a", offset: 3, from: "bob", at: 5, data: &data, key: Some(WRITTEN) };
    Arc::new(Event { offset: 3, at: 5, frame: SharedFrame::new(&frame), since: 0, channel })
}

fn notices(bench: &Bench) -> Vec<Notice> {
    let channel = || bench.directory.intern("chat:a");
    let data = serde_json::value::to_raw_value(WRITTEN).expect("data");
    let signal = Frame::Signal { channel: "chat:a", from: "bob", kind: WRITTEN, data: Some(&data) };
    let subscriber =
        Subscriber { user: "ann".into(), status: Status::Busy, watches: true, inherits: false, replaces: false };
    let catch_up = CatchUp {
        epoch: Epoch::new(9),
        head: 4,
        recovered: false,
        gap: None,
        missed: vec![event(bench)],
        behind: None,
    };
    let roster = Roster { count: 1, users: Vec::new() };
    let tag = Tag { socket: bench.record.socket, purpose: Purpose::Request(Some(4)) };
    let answers = [
        Answer::Subscribed { catch_up, roster: Some(roster.clone()), subscriber },
        Answer::Published(crate::channel::Published { offset: 1, at: 2, duplicate: true }),
        Answer::Signalled,
        Answer::Roster(roster),
        Answer::History { events: vec![event(bench)], more: true },
        Answer::Joined { epoch: Epoch::new(9), head: 4, standing: Standing { delivered: 4, read: 3 } },
        Answer::Left(true),
        Answer::Standing(Standing { delivered: 4, read: 3 }),
        Answer::Memberships(vec![MembershipState {
            channel: "chat:a".to_owned(),
            epoch: Epoch::new(9),
            offset: 4,
            standing: Standing { delivered: 4, read: 3 },
            unread: 1,
        }]),
        Answer::Failed(Fault::new(ErrorCode::RateLimited, "slower").after_ms(4)),
    ];
    let whisper = Whisper { channel: channel(), frame: SharedFrame::new(&signal), audience: Audience::AllBut(None) };
    let receipt = Frame::Receipt { channel: "chat:a", user: "bob", standing: Standing { delivered: 4, read: 3 } };
    let receipt = Whisper { channel: channel(), frame: SharedFrame::new(&receipt), audience: Audience::AllBut(None) };
    let membership =
        |change| Notice::Membership(Box::new(Membership { user: "ann".into(), channel: channel(), change }));
    let mut notices = vec![
        Notice::Whisper(std::rc::Rc::new(Arc::new(receipt))),
        membership(Change::Joined { epoch: Epoch::new(9), delivered: 4, new: true }),
        membership(Change::Left),
        Notice::Event(std::rc::Rc::new(event(bench))),
        Notice::Whisper(std::rc::Rc::new(Arc::new(whisper))),
        Notice::gap(channel(), Gap { from: 1, to: 2, reason: GapReason::Overflow }),
    ];
    notices.extend(answers.map(|answer| Notice::answer(channel(), tag, answer)));
    notices
}

#[test]
fn every_mail_survives_the_way_through_a_file() {
    let bench = Bench::ready(&["chat:a"]);
    let opening = Opening { encoding: Some(Encoding::Msgpack), token: Some("bob".into()), subscribe: vec!["b".into()] };
    let ticket = Ticket {
        secret: [3; 16],
        asked_at: 7,
        claims: Claims { user: "ann".into(), expires: Some(9), grants: chat_alone().grants() },
        encoding: Encoding::Json,
        status: Some(Status::Idle),
        cursors: vec![("chat:a".into(), crate::protocol::request::Cursor { epoch: "x".into(), offset: 1 })],
        subscribe: vec!["b".into()],
    };
    let failure = json!({"crashed": {"message": "m", "place": "p"}});
    let failure: JobFailure = serde_json::from_value(failure).expect("a failure");
    let frame = Mail::Frame(Payload::Text(r#"{"op":"whoami","id":1}"#));
    let mut mails = vec![
        Mail::Opened(&opening),
        frame,
        Mail::Frame(Payload::Binary(&[0, 255, 7])),
        Mail::Silence,
        Mail::Detached { cause: Cause::ServerClosed(Close::KICKED), undelivered: 3 },
        Mail::Detached { cause: Cause::ClientClosed(Some(1000)), undelivered: 0 },
        Mail::Claimed(&ticket),
        Mail::Refused(&ticket),
        Mail::Restarted(Crash { mail: Some(&frame), retried: false, gave_up: true }),
        Mail::Restarted(Crash { mail: None, retried: true, gave_up: false }),
        Mail::Job(Ok(&None)),
        Mail::Job(Err(&failure)),
        Mail::Reconnect { after_ms: 5 },
        Mail::Fault(shard::Fault::PanicInJob),
    ];
    let notices = notices(&bench);
    mails.extend(notices.iter().map(Mail::Message));
    for mail in mails {
        let evidence = kept(&bench, mail, false);
        assert_eq!(replay(&evidence), None, "{}", evidence.mail);
        let text = evidence.mail.to_string();
        assert!(!text.contains(WRITTEN), "{text}");
        assert!(!evidence.record.to_string().contains("255"), "{}", evidence.record);
    }
}

#[test]
fn faults_panic_in_the_replay_as_they_did() {
    let bench = Bench::with(|config| config.chaos.enabled = true);
    for fault in [shard::Fault::Panic, shard::Fault::PanicInWake] {
        let (message, place) = replay(&kept(&bench, Mail::Fault(fault), false)).expect("it panics");
        assert!(message.starts_with("chaos: asked to panic"), "{message}");
        assert!(place.starts_with("src/"), "{place}");
    }
}

#[test]
fn a_token_is_replaced_by_what_it_was_good_for() {
    let bench = Bench::jwt();
    let claims = Claims { user: "ann".into(), expires: None, grants: chat_alone().grants() };
    let token = bench.jwt_of(|claims| (claims.exp, claims.lists) = (None, chat_alone()));
    for payloads in [false, true] {
        let json = format!(r#"{{"op":"identify","token":"{token}"}}"#);
        let opening = Opening { encoding: None, token: Some(token.clone()), subscribe: Vec::new() };
        let frame = Mail::Frame(Payload::Text(&json));
        let restarted = Mail::Restarted(Crash { mail: Some(&frame), retried: false, gave_up: false });
        for mail in [frame, Mail::Opened(&opening), restarted] {
            let evidence = kept(&bench, mail, payloads);
            let text = serde_json::to_string(&evidence).expect("text");
            for part in token.split('.').chain([KEY]) {
                assert!(!text.contains(part), "{part} is in {text}");
            }
            let settings: Settings = serde_json::from_value(evidence.settings.clone()).expect("settings");
            assert_eq!(settings.authenticate("anything", 0), Ok(Some(claims.clone())));
            assert_eq!(replay(&evidence), None);
        }
    }
    let wrong = kept(&bench, Mail::Frame(Payload::Text(r#"{"op":"identify","token":"a.b.c"}"#)), false);
    assert!(wrong.settings["claims"]["Err"].is_string(), "{}", wrong.settings);
}

#[test]
fn session_secrets_are_never_in_a_file() {
    let mut bench = Bench::ready(&["chat:a"]);
    let secret = [0xab; 16];
    bench.record.identity_mut().expect("identified").secret = secret;
    bench.record.identity_mut().expect("identified").rare_mut().previous = Some(secret);
    let resume = crate::id::SessionToken { connection: bench.id, secret }.to_string();
    let json = format!(r#"{{"op":"identify","token":"ann","resume":"{resume}"}}"#);
    let evidence = kept(&bench, Mail::Frame(Payload::Text(&json)), true);
    let text = serde_json::to_string(&evidence).expect("text");
    assert!(!text.contains(&resume) && !text.contains("171"), "{text}");
    assert_eq!(evidence.record["identity"]["secret"], "hidden");
    assert_eq!(evidence.record["identity"]["rare"]["previous"], "hidden");
    let frame = evidence.mail["frame"]["text"].as_str().expect("text");
    assert_eq!(frame.len(), json.len());
    let shown: Value = serde_json::from_str(frame).expect("json");
    let resume: crate::id::SessionToken = shown["resume"].as_str().expect("text").parse().expect("a token");
    assert_eq!((resume.connection, resume.secret), (bench.id, [0xff; 16]));
}

#[test]
fn what_the_protocol_knows_stays_and_the_rest_becomes_filler() {
    let bench = Bench::ready(&["chat:a"]);
    let cases = [
        (
            r#"{"op":"publish","id":7,"channel":"chat:a","data":{"tëxt" : "a\nb\u00e4\ud83d\ude00c","n":-1.50e3},"key":"k1"}"#,
            r#"{"op":"publish","id":7,"channel":"chat:a","data":{"xéxx" : "x\nx\u00e9\ud83d\udc2dx","x":-1.11e1},"key":"xx"}"#,
        ),
        (
            r#"{"op":"subscribe","id":1,"channel":"not a name","from":{"epoch":"00000000000000ff","offset":12,"more":1}}"#,
            r#"{"op":"subscribe","id":1,"channel":"xxxxxxxxxx","from":{"epoch":"00000000000000ff","offset":12,"xxxx":1}}"#,
        ),
        (
            r#"{"op":"my diary","id":"12","status":"idle","x":[true,null,"y"]}"#,
            r#"{"op":"xxxxxxxx","id":"xx","status":"idle","x":[true,null,"x"]}"#,
        ),
        (
            r#"{"op":"identify","token":"ann","cursors":{"chat:a":{"epoch":"mine","offset":3},"my name":{"offset":4}}}"#,
            r#"{"op":"identify","token":"xxx","cursors":{"chat:a":{"epoch":"xxxx","offset":3},"xxxxxxx":{"xxxxxx":1}}}"#,
        ),
        (r#"{"op":"identify","\u0074oken":"ann"}"#, r#"{"op":"identify","\u0074oken":"xxx"}"#),
        ("{\"op\": nonsense 12", "{\"xx\": xxxxxxxx xx"),
        ("", ""),
    ];
    for (json, expected) in cases {
        let evidence = kept(&bench, Mail::Frame(Payload::Text(json)), false);
        assert_eq!(evidence.mail["frame"]["text"], expected);
    }
}

/// Any JSON that people may write.
fn written() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[\"\\\\/\u{0}-\u{1f}äß€🐭]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// What of a JSON text stands outside of its strings, any digit for any other.
fn structure(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let outside = json.chars().filter(|&c| {
        let quote = c == '"' && !escaped;
        escaped = inside && c == '\\' && !escaped;
        inside ^= quote;
        quote || !inside
    });
    outside.map(|c| if c.is_ascii_digit() { '1' } else { c }).collect()
}

proptest! {
    #[test]
    fn filler_keeps_length_and_readability_and_nothing_that_was_written(data in written(), spaces in 0_usize..3) {
        let bench = Bench::ready(&["chat:a"]);
        let mut data = data;
        data = json!({"said": WRITTEN, "more": data});
        let json = format!(r#"{{"op":"publish",{}"data":{data},"{WRITTEN}":"{WRITTEN}"}}"#, " ".repeat(spaces));
        let evidence = kept(&bench, Mail::Frame(Payload::Text(&json)), false);
        let text = evidence.mail["frame"]["text"].as_str().expect("text");
        prop_assert_eq!(text.len(), json.len());
        prop_assert_eq!(text.chars().count(), json.chars().count());
        prop_assert!(!text.contains(WRITTEN), "{}", text);
        prop_assert!(serde_json::from_str::<Value>(text).is_ok(), "{}", text);
        prop_assert_eq!(structure(text), structure(&json));

        let packed = msgpack_from_json(json.as_bytes());
        let evidence = kept(&bench, Mail::Frame(Payload::Binary(&packed)), false);
        let shown = STANDARD.decode(evidence.mail["frame"]["binary"].as_str().expect("text")).expect("base64");
        prop_assert_eq!(shown.len(), packed.len());
        prop_assert!(!shown.windows(WRITTEN.len()).any(|window| window == WRITTEN.as_bytes()));
        prop_assert!(json_from_msgpack(&shown).is_ok());
        prop_assert_eq!(replay(&evidence), None);
    }

    #[test]
    fn rubbish_is_hidden_whole_and_stays_rubbish(text in "\\PC{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let bench = Bench::ready(&["chat:a"]);
        let text = format!("{{\"op\" {WRITTEN} {text}");
        let evidence = kept(&bench, Mail::Frame(Payload::Text(&text)), false);
        let shown = evidence.mail["frame"]["text"].as_str().expect("text");
        prop_assert_eq!(shown.len(), text.len());
        prop_assert!(!shown.contains(WRITTEN));
        prop_assert_eq!(replay(&evidence), None);
        // Whatever the bytes are, masking them ends and keeps their number.
        let evidence = kept(&bench, Mail::Frame(Payload::Binary(&bytes)), false);
        let shown = STANDARD.decode(evidence.mail["frame"]["binary"].as_str().expect("text")).expect("base64");
        prop_assert_eq!(shown.len(), bytes.len());
        prop_assert_eq!(json_from_msgpack(&shown).is_ok(), json_from_msgpack(&bytes).is_ok());
    }
}

#[test]
fn nesting_without_end_is_no_danger_to_whoever_masks() {
    let bench = Bench::ready(&["chat:a"]);
    let deep = format!("{{\"op\":{}", "[".repeat(60_000));
    assert_eq!(
        kept(&bench, Mail::Frame(Payload::Text(&deep)), false).mail["frame"]["text"].as_str().map(str::len),
        Some(deep.len())
    );
    kept(&bench, Mail::Frame(Payload::Binary(&[0x91; 60_000])), false);
}
