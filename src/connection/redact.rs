//! What a crash file keeps of a turn of the gateway: everything that decides how the turn runs, nothing that people wrote.
//! Names of users and channels stay, as operators see them anyway; `data`, keys, kinds and fields that the protocol does
//! not know become filler of the same shape and length. Tokens and session secrets always do.
//!
//! Called outside of the shards, through [`crate::shard::Behaviour::redact`].

use serde_json::{Map, Value};

use crate::{
    connection::{
        mask::{self, Sender},
        settings::Settings,
    },
    id::Epoch,
    protocol::{
        name::ChannelName,
        request::{Request, decode},
    },
    shard::{Evidence, filler},
};

/// Which settings the turn could read, and the evidence without what is nobody's business.
pub(crate) fn evidence(evidence: &mut Evidence, settings: &Settings, payloads: bool) {
    evidence.settings = serde_json::to_value(settings).unwrap_or_default();
    let token = token(&evidence.mail);
    if let Some(token) = token
        && let Some(shown) = evidence.settings.as_object_mut()
    {
        let known = settings.authenticate(&token, evidence.now.unix_ms).transpose();
        shown.insert("claims".to_owned(), serde_json::to_value(known).unwrap_or_default());
    }
    mail(&mut evidence.mail, payloads);
}

/// The token that the turn authenticated, or the one before it that crashed, if its mail brought one.
fn token(mail: &Value) -> Option<String> {
    if let Some(opening) = mail.get("opened") {
        return opening.get("token")?.as_str().map(str::to_owned);
    }
    if let Some(lost) = mail.pointer("/restarted/mail") {
        return token(lost);
    }
    if let Some(origin) = mail.pointer("/job/Ok/origin") {
        return match origin.get("frame") {
            Some(frame) => identifies_with(frame.as_str()?),
            None => origin.pointer("/opening/token")?.as_str().map(str::to_owned),
        };
    }
    let frame = mask::with_payload(mail.get("frame")?, |payload| {
        identifies_with(&crate::protocol::encoding::json_of(payload).ok()?)
    });
    frame.flatten()
}

fn identifies_with(json: &str) -> Option<String> {
    match decode(json).ok()?.request {
        Request::Identify(identify) => Some(identify.token),
        _ => None,
    }
}

fn mail(mail: &mut Value, payloads: bool) {
    let Some((kind, inner)) = mail.as_object_mut().and_then(|mail| mail.iter_mut().next()) else { return };
    match kind.as_str() {
        "opened" => {
            secret_text(inner.get_mut("token"));
            wishes(inner, payloads);
        }
        "claimed" | "refused" => wishes(inner, payloads),
        "frame" => mask::payload(inner, payloads),
        "message" if !payloads => message(inner),
        "job" => {
            if let Some(asked) = inner.get_mut("Ok") {
                self::asked(asked, payloads);
            }
        }
        "restarted" => {
            if let Some(lost) = inner.get_mut("mail") {
                self::mail(lost, payloads);
            }
        }
        _ => {}
    }
}

/// A request that has come by the backend: what the client sent, and what the application said to it.
fn asked(asked: &mut Value, payloads: bool) {
    if let Some(Value::String(json)) = asked.pointer_mut("/origin/frame") {
        *json = mask::json(json, Sender::Client, payloads);
    }
    if let Some(opening) = asked.pointer_mut("/origin/opening") {
        secret_text(opening.get_mut("token"));
        wishes(opening, payloads);
    }
    if let Some(answers) = asked.get_mut("answers").filter(|_| !payloads) {
        said(answers);
    }
}

/// The application's own words and data within its answers; whom it names stays.
fn said(answers: &mut Value) {
    let Value::Object(fields) = answers else { return };
    for (name, value) in fields.iter_mut() {
        match name.as_str() {
            "data" | "denied" | "unknown" => hide(value),
            "claims" => {}
            _ => said(value),
        }
    }
}

/// Every text of a value.
fn hide(value: &mut Value) {
    match value {
        Value::String(text) => *text = filler(text),
        Value::Array(list) => list.iter_mut().for_each(hide),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, value)| hide(value)),
        _ => {}
    }
}

/// Names that a client chose, where nothing has checked them yet.
fn wishes(wishes: &mut Value, payloads: bool) {
    if payloads {
        return;
    }
    for channel in wishes.get_mut("subscribe").and_then(Value::as_array_mut).into_iter().flatten() {
        checked(channel, is_channel);
    }
    for cursor in wishes.get_mut("cursors").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(channel) = cursor.get_mut(0) {
            checked(channel, is_channel);
        }
        if let Some(epoch) = cursor.get_mut(1).and_then(|cursor| cursor.get_mut("epoch")) {
            checked(epoch, is_epoch);
        }
    }
}

/// What the hub said: the frames of publications and signals hold what people wrote.
fn message(message: &mut Value) {
    for kind in ["event", "whisper"] {
        if let Some(spread) = message.get_mut(kind) {
            frame(spread);
        }
    }
    let events = message.pointer_mut("/answer/answer").and_then(Value::as_object_mut).into_iter().flat_map(missed);
    events.for_each(frame);
}

/// Events within an answer; the hub has taken them out of all answers it passes on today.
fn missed(answer: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    let events = answer.values_mut().filter_map(|answer| {
        let at = if answer.get("catch_up").is_some() { "/catch_up/missed" } else { "/events" };
        answer.pointer_mut(at)?.as_array_mut()
    });
    events.flatten()
}

fn frame(spread: &mut Value) {
    if let Some(Value::String(frame)) = spread.get_mut("frame") {
        *frame = mask::json(frame, Sender::Server, false);
    }
}

fn secret_text(value: Option<&mut Value>) {
    if let Some(Value::String(text)) = value {
        *text = mask::secret(text);
    }
}

fn checked(value: &mut Value, is_known: fn(&str) -> bool) {
    if let Value::String(text) = value
        && !is_known(text)
    {
        *text = filler(text);
    }
}

pub(super) fn is_channel(text: &str) -> bool {
    ChannelName::new(text).is_ok()
}

pub(super) fn is_epoch(text: &str) -> bool {
    text.parse::<Epoch>().is_ok()
}
