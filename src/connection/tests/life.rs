//! Deadlines, the loss of a socket, the end of a connection, and the node's own end.

use std::time::Duration;

use serde_json::json;

use super::{Bench, HOUR_S, brief};
use crate::{
    connection::{ConnectionActor, Opening, record::Phase},
    protocol::{close::Close, encoding::Encoding},
    shard::{Behaviour, Cause, Life, Mail},
};

fn unidentified() -> Bench {
    let mut bench = Bench::new();
    bench.run(Mail::Opened(&Opening { encoding: Some(Encoding::Json), token: None, subscribe: Vec::new() }));
    bench
}

fn welcoming() -> Bench {
    let mut bench = Bench::new();
    let subscribe = vec!["a".to_owned()];
    bench.run(Mail::Opened(&Opening { encoding: Some(Encoding::Json), token: Some("ann".to_owned()), subscribe }));
    assert_eq!(bench.record.phase, Phase::Welcoming);
    bench
}

fn parked() -> Bench {
    let mut bench = Bench::ready(&["a"]);
    bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 0 });
    bench
}

fn token_until(seconds: u64) -> Bench {
    let mut bench = Bench::jwt();
    let token = bench.jwt_of(|claims| claims.exp = Some(bench.now.unix_ms / 1_000 + seconds));
    bench.identify_as(&token, &[]);
    bench
}

/// How long after the connection was opened (and last heard) its deadline is, asked at that moment.
pub(super) fn due_in(bench: &Bench, attached: bool) -> u32 {
    let life = Life { heard_ms: bench.now.ms(), attached, now: bench.now };
    let due = ConnectionActor::deadline(&bench.record, &bench.settings, life).expect("always one");
    due.wrapping_sub(bench.now.ms())
}

#[test]
fn every_phase_has_its_deadline_and_its_end() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let endless = || token_until(100 * 365 * 24 * HOUR_S);
    let table: [(&str, Bench, bool, Duration, Option<Close>); 6] = [
        ("unidentified", unidentified(), true, Duration::from_secs(10), Some(Close::NOT_IDENTIFIED)),
        ("welcoming", welcoming(), true, Duration::from_secs(90), Some(Close::HEARTBEAT_TIMEOUT)),
        ("ready", Bench::ready(&[]), true, Duration::from_secs(90), Some(Close::HEARTBEAT_TIMEOUT)),
        ("parked", parked(), false, minutes(2), None),
        ("with a token for a minute", token_until(60), true, minutes(1), Some(Close::TOKEN_EXPIRED)),
        ("with a token for a century", endless(), true, Duration::from_secs(90), Some(Close::HEARTBEAT_TIMEOUT)),
    ];
    for (name, mut bench, attached, after, close) in table {
        assert_eq!(due_in(&bench, attached), after.as_millis() as u32, "{name}");
        bench.pass(after);
        let effects = bench.run(Mail::Silence);
        effects.says([]).closes(close);
        assert_eq!(effects.end, close.is_none(), "{name}: a parked session ends, all others are closed first");
    }
}

#[test]
fn rubbish_does_not_put_the_time_to_identify_off() {
    let mut bench = unidentified();
    bench.pass(Duration::from_secs(7));
    bench.frame("rubbish");
    assert_eq!(due_in(&bench, true), 3_000);
}

#[test]
fn a_life_sign_puts_the_silence_off_but_not_the_tokens_end() {
    let mut bench = token_until(100);
    assert_eq!(due_in(&bench, true), 90_000);
    bench.pass(Duration::from_secs(60));
    assert_eq!(due_in(&bench, true), 40_000, "the token ends before the silence");
    bench.pass(Duration::from_secs(41));
    assert!((due_in(&bench, true) as i32) <= 0, "overdue");
}

#[test]
fn deadlines_hold_across_the_wrap_of_the_clock() {
    for mut bench in [Bench::ready(&[]), token_until(100)] {
        let wraps_in = Duration::from_millis(u64::from(u32::MAX)) - Duration::from_micros(bench.now.micros);
        bench.now.micros += (wraps_in - Duration::from_secs(30)).as_micros() as u64;
        assert_eq!(due_in(&bench, true), 90_000);
    }
}

#[test]
fn a_goodbye_ends_the_session_and_everything_else_parks_it() {
    let table = [
        (Cause::ClientClosed(Some(1000)), true),
        (Cause::ClientClosed(Some(1001)), true),
        (Cause::ClientClosed(Some(1002)), false),
        (Cause::ClientClosed(Some(3000)), false),
        (Cause::ClientClosed(None), false),
        (Cause::Cut, false),
        (Cause::ServerClosed(Close::HEARTBEAT_TIMEOUT), false),
        (Cause::ServerClosed(Close::GAVE_UP), false),
        (Cause::ServerClosed(Close::KICKED), false),
        (Cause::ServerClosed(Close::TOKEN_EXPIRED), false),
    ];
    for (cause, ends) in table {
        let mut bench = Bench::ready(&["a", "b"]);
        let effects = bench.run(Mail::Detached { cause, undelivered: 0 });
        effects.says([]).closes(None).asks(if ends { &[] } else { &["pause a,b 0"] });
        assert_eq!((effects.end, bench.record.phase == Phase::Parked), (ends, !ends), "{cause:?}");
    }
}

#[test]
fn nothing_of_an_unidentified_connection_is_parked() {
    for cause in [Cause::Cut, Cause::ClientClosed(None), Cause::ServerClosed(Close::NOT_IDENTIFIED)] {
        let effects = unidentified().run(Mail::Detached { cause, undelivered: 0 });
        effects.says([]).asks(&[]);
        assert!(effects.end, "{cause:?}");
    }
    assert!(ConnectionActor::farewell(&unidentified().record).is_none());
}

#[test]
fn what_was_undelivered_is_told_to_the_hub() {
    let mut bench = Bench::ready(&["a"]);
    bench.run(Mail::Detached { cause: Cause::Cut, undelivered: 3 }).asks(&["pause a 3"]);
}

#[test]
fn a_session_whose_socket_was_lost_before_its_first_ready_ends_since_nobody_knows_its_token() {
    let effects = welcoming().run(Mail::Detached { cause: Cause::Cut, undelivered: 0 });
    effects.says([]).asks(&[]);
    assert!(effects.end);
}

#[test]
fn whoever_is_gone_says_farewell_to_his_channels() {
    let farewell = ConnectionActor::farewell(&Bench::ready(&["a", "b"]).record).expect("identified");
    assert_eq!(brief(&farewell), "farewell a,b ann");
}

#[test]
fn a_leaving_node_tells_clients_to_reconnect_and_closes_them_as_their_phase_wants() {
    let mut bench = Bench::ready(&[]);
    let effects = bench.run(Mail::Reconnect { after_ms: 700 });
    effects.says([json!({"op": "reconnect", "after_ms": 700, "reason": "draining"})]).closes(None);
    assert_eq!(ConnectionActor::leave(&bench.record), Close::DRAINING);
    assert_eq!(ConnectionActor::leave(&welcoming().record), Close::DRAINING);
    assert_eq!(ConnectionActor::leave(&unidentified().record), Close::GOING_AWAY);
}

#[test]
fn operators_see_user_and_channels_and_no_secret() {
    let bench = Bench::ready(&["a", "b"]);
    let description = ConnectionActor::describe(&bench.record);
    assert_eq!((description.user.as_deref(), description.subscriptions), (Some("ann"), vec!["a".into(), "b".into()]));
    let description = ConnectionActor::describe(&unidentified().record);
    assert_eq!((description.user, description.subscriptions.len()), (None, 0));
}
