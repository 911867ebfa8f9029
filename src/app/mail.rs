//! Which message a mail of the engine is, and the word for it in metrics.

use super::{
    App, Connection, Message,
    notice::{Failed, Notice, Snapshot},
    record::Record,
};
use crate::{
    clock::Now,
    shard::{Mail, Payload, label_index},
};

/// What a mail is to the app; `None` for what is the engine's alone, or of a room that the connection has left meanwhile.
pub(super) fn message<'a, A: App>(
    mail: Mail<'a, Connection<A>>,
    record: &Record<A>,
    now: Now,
) -> Option<Message<'a, A>> {
    Some(match mail {
        Mail::Opened(opening) => Message::Opened(opening),
        Mail::Frame(Payload::Text(text)) => Message::Text(text),
        Mail::Frame(Payload::Binary(bytes)) => Message::Binary(bytes),
        Mail::Message(notice) if notice.of().is_none_or(|room| record.is_in(room)) => noticed(notice),
        Mail::Silence if is_past(record.due, now) => Message::Woken,
        Mail::Detached { cause, .. } => Message::Closed { code: cause.code() },
        Mail::Reconnect { after_ms } => Message::Leaving { after_ms },
        Mail::Message(_)
        | Mail::Silence
        | Mail::Restarted(_)
        | Mail::Claimed(_)
        | Mail::Refused(_)
        | Mail::Job(_)
        | Mail::Fault(_) => return None,
    })
}

fn noticed<A: App>(notice: &Notice<A>) -> Message<'_, A> {
    match notice {
        Notice::Entered(Snapshot { room, state, number }) => Message::Entered { room, state, number: *number },
        Notice::Skipped(Snapshot { room, state, number }) => Message::Skipped { room, state, number: *number },
        Notice::Told(telling) => Message::Told {
            room: &telling.room,
            number: telling.number,
            from: telling.from,
            told: &telling.told,
            state: &telling.state,
        },
        Notice::Failed(Failed { room, told, why }) => Message::Failed { room, told: told.as_deref(), why: *why },
    }
}

/// Wrapping, as all deadlines.
fn is_past(due: Option<u32>, now: Now) -> bool {
    due.is_some_and(|due| now.ms_since(due) < u32::MAX / 2)
}

/// As `dormouse_turns_total` has them.
pub(super) const LABELS: &[&str] = &[
    "app_other",
    "app_opened",
    "app_text",
    "app_binary",
    "app_entered",
    "app_told",
    "app_skipped",
    "app_failed",
    "app_woken",
    "app_restarted",
    "app_leaving",
    "app_closed",
    "app_ping",
];

/// Its index in [`LABELS`].
pub(super) fn label<A: App>(message: &Message<'_, A>) -> usize {
    macro_rules! label {
        ($name:literal) => {
            const { label_index(LABELS, $name) }
        };
    }
    match message {
        Message::Opened(_) => label!("app_opened"),
        Message::Text(_) => label!("app_text"),
        Message::Binary(_) => label!("app_binary"),
        Message::Entered { .. } => label!("app_entered"),
        Message::Told { .. } => label!("app_told"),
        Message::Skipped { .. } => label!("app_skipped"),
        Message::Failed { .. } => label!("app_failed"),
        Message::Woken => label!("app_woken"),
        Message::Restarted { .. } => label!("app_restarted"),
        Message::Leaving { .. } => label!("app_leaving"),
        Message::Closed { .. } => label!("app_closed"),
    }
}
