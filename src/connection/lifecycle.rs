//! Opening, silence, the loss of a socket, restarts and the end of a connection.

use std::time::Duration;

use crate::{
    channel::Ask,
    clock,
    connection::{
        actor::ConnectionActor,
        backend::Stage,
        identify, membership,
        opening::Opening,
        record::{Phase, Record},
        settings::Settings,
    },
    hooks::{Hook, Question},
    id::SessionSecret,
    protocol::{
        close::Close,
        frame::{Frame, VERSION},
    },
    shard::{self, Cause, Life, Turn, Work},
};

type ConnectionTurn = Turn<ConnectionActor>;

/// The first turn: hello, and the handshake's wishes.
pub(crate) fn opened(record: &mut Record, opening: &Opening, turn: &mut ConnectionTurn) {
    let settings = turn.settings();
    turn.send(
        record.encoding,
        &Frame::Hello {
            heartbeat_ms: millis(settings.heartbeat),
            identify_within_ms: millis(settings.identify_within),
            max_frame_bytes: settings.max_frame_bytes,
            node: &settings.node,
            version: VERSION,
        },
    );
    if opening.encoding.is_none() {
        return turn.close(Close::BAD_ENCODING);
    }
    if let Some(token) = &opening.token {
        identify::by_url(record, token, opening, Stage::Opening(opening), turn);
    }
}

/// When this connection has been silent for too long.
pub(crate) fn deadline(record: &Record, settings: &Settings, life: Life) -> u32 {
    if !life.attached {
        return life.heard_ms.wrapping_add(millis(settings.resume_window) as u32);
    }
    if record.phase == Phase::Unidentified {
        return record.since_ms.wrapping_add(millis(settings.identify_within) as u32);
    }
    let silence = life.heard_ms.wrapping_add(2 * millis(settings.heartbeat) as u32);
    if record.expires == 0 {
        return silence;
    }
    // Days ahead are cut to what the tick can tell from the past; it is asked again long before.
    let left_ms = (u64::from(record.expires) * 1000).saturating_sub(life.now.unix_ms).min(1 << 30);
    let expiry = life.now.ms().wrapping_add(left_ms as u32);
    let until = |due: u32| due.wrapping_sub(life.now.ms()) as i32;
    if until(expiry) < until(silence) { expiry } else { silence }
}

/// The deadline has passed.
pub(crate) fn silent(record: &Record, turn: &mut ConnectionTurn) {
    if record.phase == Phase::Parked {
        turn.end();
    } else if record.phase == Phase::Unidentified {
        turn.close(Close::NOT_IDENTIFIED);
    } else if record.expires != 0 && u64::from(record.expires) * 1000 <= turn.now().unix_ms {
        turn.close(Close::TOKEN_EXPIRED);
    } else {
        turn.close(Close::HEARTBEAT_TIMEOUT);
    }
}

/// The socket is gone: park, unless there is no session or the client has said goodbye.
pub(crate) fn detached(record: &mut Record, cause: Cause, undelivered: u64, turn: &mut ConnectionTurn) {
    let goodbye = matches!(cause, Cause::ClientClosed(Some(1000 | 1001)));
    // Before its first `ready` a session has no secret that anybody could come back with.
    let nameless = record.identity.as_ref().is_none_or(|identity| identity.secret == SessionSecret::default());
    if !nameless {
        tell_backend(record, cause, !goodbye, turn);
    }
    if goodbye || nameless {
        return turn.end();
    }
    let told = record.phase != Phase::Welcoming;
    record.phase = Phase::Parked;
    record.socket = record.socket.wrapping_add(1);
    membership::interrupted(record, turn);
    let Some(user) = record.identity.as_ref().map(|identity| identity.user.clone()) else { return };
    turn.ask(Ask::Pause { user, channels: record.channels(), undelivered, told });
}

fn tell_backend(record: &Record, cause: Cause, parked: bool, turn: &mut ConnectionTurn) {
    let Some(identity) = &record.identity else { return };
    if turn.settings().hooks.asks(Hook::Disconnect) {
        let disconnect = Question::Disconnect { user: identity.user.to_string(), code: cause.code(), parked };
        turn.ask(Ask::Tell { disconnect });
    }
}

/// The node leaves.
pub(crate) fn leaving(record: &Record, after_ms: u64, turn: &mut ConnectionTurn) {
    turn.send(record.encoding, &Frame::Reconnect { after_ms, reason: "draining" });
}

/// Does what an operator or a chaos request asked for.
pub(crate) fn fault(fault: shard::Fault, turn: &mut ConnectionTurn) {
    match fault {
        shard::Fault::Panic => panic(),
        shard::Fault::Stall(time) => clock::block(time),
        shard::Fault::PanicInJob => turn.job(JOB_DEADLINE, Work::Async(Box::pin(async { panic() }))),
        shard::Fault::StallInJob(time) => turn.job(
            JOB_DEADLINE,
            Work::Blocking(Box::new(move || {
                clock::block(time);
                None
            })),
        ),
        // Handled where records are unpacked.
        shard::Fault::PanicInWake => {}
    }
}

/// A chaos job that takes longer is cancelled.
const JOB_DEADLINE: Duration = Duration::from_secs(5);

#[expect(clippy::panic, reason = "somebody asked for it, with chaos enabled")]
fn panic<T>() -> T {
    panic!("chaos: asked to panic");
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
