//! All that a turn was a function of, written down: record, mail, time, seed. Gathered by `execute.rs` when a turn has
//! panicked, kept in a crash file, and played again by [`Evidence::replay`] exactly as the shard would.
//!
//! Nothing here hides anything but binary from the eye: what must not be kept is taken out by [`Behaviour::redact`].

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use crate::{
    clock::Now,
    id::ConnectionId,
    shard::{
        behaviour::{Behaviour, Cause, Crash, Fault, JobFailure, Mail, Payload},
        turn::{Seed, Turn},
    },
    supervision::{self, CrashReport, Draft, Trace},
};

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`Behaviour::NAME`] of whose turn it was.
    pub behaviour: String,
    /// The turn's time.
    pub now: Now,
    /// Whose turn it was.
    pub connection: ConnectionId,
    /// The actor's.
    pub generation: u32,
    /// [`Turn::was_read_before`].
    pub read_before: bool,
    /// What everything random in it followed from, if anything was.
    #[serde(with = "hex")]
    pub seed: Option<Seed>,
    /// What of the settings it could read.
    pub settings: Value,
    /// The record before it.
    pub record: Value,
    /// What it was handling.
    pub mail: Value,
}

/// A part of the evidence is not what this behaviour has.
#[derive(Debug, thiserror::Error)]
#[error("`{part}`: {error}")]
pub struct RestoreError {
    /// Which field.
    pub part: &'static str,
    /// What is wrong with it.
    pub error: serde_json::Error,
}

/// What the shard keeps of a turn that panicked, as little work as possible: two texts.
pub(super) struct Written {
    pub(super) now: Now,
    pub(super) connection: ConnectionId,
    pub(super) generation: u32,
    pub(super) read_before: bool,
    pub(super) seed: Option<Seed>,
    pub(super) record: Vec<u8>,
    pub(super) mail: Vec<u8>,
}

impl Written {
    /// The draft of a file; the rest of the work is done by whoever writes it.
    pub(super) fn draft<B: Behaviour>(
        self,
        kind: &'static str,
        (report, trace): (CrashReport, Trace),
        settings: Arc<B::Settings>,
    ) -> Draft {
        let (at, connection) = (self.now.unix_ms, self.connection);
        let turn = move |report: &mut CrashReport, payloads: bool| {
            let mut evidence = Evidence {
                behaviour: B::NAME.to_owned(),
                now: self.now,
                connection,
                generation: self.generation,
                read_before: self.read_before,
                seed: self.seed,
                settings: Value::Null,
                record: serde_json::from_slice(&self.record)?,
                mail: serde_json::from_slice(&self.mail)?,
            };
            let before = evidence.texts();
            B::redact(&mut evidence, &settings, payloads);
            report.message = unsaid(&report.message, &before, &evidence.texts()).into();
            serde_json::to_value(evidence)
        };
        Draft { at, connection, kind, report, trace, turn: Box::new(turn) }
    }
}

impl Evidence {
    /// Runs the turn again, under the same catch as a shard; the panic, if there is one. Effects come to nothing.
    ///
    /// # Errors
    /// Record or mail are not those of this behaviour.
    pub fn replay<B: Behaviour>(&self, settings: Arc<B::Settings>) -> Result<Option<CrashReport>, RestoreError> {
        // Without it a panic has no place.
        supervision::install();
        let record: B::Record = restore("record", &self.record)?;
        let mail: OwnedMail<B> = restore("mail", &self.mail)?;
        let mut turn = Turn::<B>::new(settings, Seed::default());
        turn.begin(self.now, self.connection, self.generation);
        turn.set_read_before(self.read_before);
        if let Some(seed) = self.seed {
            turn.reseed(seed);
        }
        let lost = mail.lost().map(|lost| lost.borrow(None));
        let mail = mail.borrow(lost.as_ref());
        Ok(supervision::catch(|| play(record, mail, &mut turn)).err())
    }

    /// All texts of record and mail, also those within frames.
    fn texts(&self) -> String {
        let mut texts = String::new();
        gather(&self.record, &mut texts);
        gather(&self.mail, &mut texts);
        texts
    }

    /// Hides every text of record and mail, keys and what the shard itself says excepted.
    pub fn hide_texts(&mut self) {
        hide(&mut self.record);
        hide_mail(&mut self.mail);
    }
}

/// The turn itself: wake → receive → sleep. The one place, for shards and replays.
#[inline]
pub(super) fn play<B: Behaviour>(record: B::Record, mail: Mail<'_, B>, turn: &mut Turn<B>) -> B::Record {
    if matches!(mail, Mail::Fault(Fault::PanicInWake)) {
        #[expect(clippy::panic, reason = "an operator asked for it")]
        {
            panic!("chaos: asked to panic while waking");
        }
    }
    let mut actor = B::wake(record);
    actor.receive(mail, turn);
    actor.sleep()
}

fn restore<T: serde::de::DeserializeOwned>(part: &'static str, value: &Value) -> Result<T, RestoreError> {
    T::deserialize(value).map_err(|error| RestoreError { part, error })
}

/// A mail that owns what it brings; the same names as [`Mail`].
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", bound = "")]
enum OwnedMail<B: Behaviour> {
    Opened(B::Opening),
    Frame(OwnedPayload),
    Message(B::Message),
    Silence,
    Detached { cause: Cause, undelivered: u64 },
    Claimed(B::Ticket),
    Refused(B::Ticket),
    Restarted(OwnedCrash<B>),
    Job(Result<B::Done, JobFailure>),
    Reconnect { after_ms: u64 },
    Fault(Fault),
}

#[derive(Deserialize)]
#[serde(bound = "")]
struct OwnedCrash<B: Behaviour> {
    mail: Option<Box<OwnedMail<B>>>,
    retried: bool,
    gave_up: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OwnedPayload {
    Text(String),
    Binary(#[serde(deserialize_with = "binary")] Vec<u8>),
}

impl<B: Behaviour> OwnedMail<B> {
    /// The mail whose crash a restart is about.
    fn lost(&self) -> Option<&Self> {
        match self {
            Self::Restarted(crash) => crash.mail.as_deref(),
            _ => None,
        }
    }

    /// The mail this is; `lost`: what [`OwnedMail::lost`] is.
    fn borrow<'a>(&'a self, lost: Option<&'a Mail<'a, B>>) -> Mail<'a, B> {
        match self {
            Self::Opened(opening) => Mail::Opened(opening),
            Self::Frame(OwnedPayload::Text(text)) => Mail::Frame(Payload::Text(text)),
            Self::Frame(OwnedPayload::Binary(bytes)) => Mail::Frame(Payload::Binary(bytes)),
            Self::Message(message) => Mail::Message(message),
            Self::Silence => Mail::Silence,
            Self::Detached { cause, undelivered } => Mail::Detached { cause: *cause, undelivered: *undelivered },
            Self::Claimed(ticket) => Mail::Claimed(ticket),
            Self::Refused(ticket) => Mail::Refused(ticket),
            Self::Restarted(crash) => {
                Mail::Restarted(Crash { mail: lost, retried: crash.retried, gave_up: crash.gave_up })
            }
            Self::Job(result) => Mail::Job(result.as_ref()),
            Self::Reconnect { after_ms } => Mail::Reconnect { after_ms: *after_ms },
            Self::Fault(fault) => Mail::Fault(*fault),
        }
    }
}

fn binary<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// A seed as text.
mod hex {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use crate::shard::turn::Seed;

    pub(super) fn serialize<S: Serializer>(seed: &Option<Seed>, serializer: S) -> Result<S::Ok, S::Error> {
        seed.map(|seed| seed.map(|byte| format!("{byte:02x}")).concat()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Seed>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let bytes = text.as_bytes().chunks(2).map(|pair| {
            let digit = |at: usize| pair.get(at).and_then(|digit| char::from(*digit).to_digit(16));
            Some((digit(0)? << 4 | digit(1)?) as u8)
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        let seed = bytes.and_then(|bytes| Seed::try_from(bytes).ok());
        seed.map(Some).ok_or_else(|| D::Error::custom("a seed is 64 hexadecimal digits"))
    }
}

/// As many letters, of as many bytes each.
#[must_use]
pub fn filler(text: &str) -> String {
    let letter = |c: char| match c.len_utf8() {
        _ if c.is_ascii_control() => c,
        1 => 'x',
        2 => 'é',
        3 => '€',
        _ => '🐭',
    };
    text.chars().map(letter).collect()
}

/// What a panic said, without the words that `before` holds and `after`, which is to be shown, does not.
fn unsaid(message: &str, before: &str, after: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut said = String::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, other) = rest.split_at(end);
        let secret = !word.is_empty() && before.contains(word) && !after.contains(word);
        said.push_str(&if secret { filler(word) } else { word.to_owned() });
        let next = other.find(is_word).unwrap_or(other.len());
        said.push_str(&other[..next]);
        rest = &other[next..];
    }
    said
}

/// Adds every text and key of a value, with what frames hold in escapes or MessagePack.
fn gather(value: &Value, texts: &mut String) {
    match value {
        Value::String(text) => {
            texts.push_str(text);
            texts.push(' ');
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                gather(&inner, texts);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        Value::Object(fields) => {
            for (key, field) in fields {
                texts.push_str(key);
                texts.push(' ');
                match field {
                    Value::String(bytes) if key == "binary" => {
                        texts.push_str(&String::from_utf8_lossy(&STANDARD.decode(bytes).unwrap_or_default()));
                    }
                    _ => gather(field, texts),
                }
            }
        }
        Value::Number(number) => {
            texts.push_str(&number.to_string());
            texts.push(' ');
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Leaves what must read back as what it was and is no text of anybody: names, faults and causes. Binary keeps its length.
fn hide_mail(mail: &mut Value) {
    // A mail that brings nothing is its name.
    let Value::Object(fields) = mail else { return };
    for (kind, brought) in fields {
        match kind.as_str() {
            "detached" | "fault" => {}
            "restarted" => {
                if let Some(lost) = brought.get_mut("mail") {
                    hide_mail(lost);
                }
            }
            "job" if brought.get("Err").is_some_and(Value::is_string) => {}
            "frame" => match brought.get_mut("binary") {
                Some(Value::String(bytes)) => {
                    let length = STANDARD.decode(&*bytes).map_or(0, |bytes| bytes.len());
                    *bytes = STANDARD.encode(vec![b'x'; length]);
                }
                _ => hide(brought),
            },
            _ => hide(brought),
        }
    }
}

/// Puts filler in the place of every text in it.
pub fn hide(value: &mut Value) {
    match value {
        Value::String(text) => *text = filler(text),
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(fields) => fields.values_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hidden_mail_keeps_what_the_shard_says_and_every_length() {
        let cases = [
            (json!("silence"), json!("silence")),
            (json!({"fault": "panic_in_wake"}), json!({"fault": "panic_in_wake"})),
            (
                json!({"detached": {"cause": {"client_closed": 1000}, "undelivered": 3}}),
                json!({"detached": {"cause": {"client_closed": 1000}, "undelivered": 3}}),
            ),
            (
                json!({"detached": {"cause": "cut", "undelivered": 0}}),
                json!({"detached": {"cause": "cut", "undelivered": 0}}),
            ),
            (json!({"job": {"Err": "timeout"}}), json!({"job": {"Err": "timeout"}})),
            (json!({"job": {"Ok": "a diary"}}), json!({"job": {"Ok": "xxxxxxx"}})),
            (json!({"frame": {"text": "a diary"}}), json!({"frame": {"text": "xxxxxxx"}})),
            (
                json!({"restarted": {"mail": {"frame": {"binary": STANDARD.encode([0, 255, 7, 9])}}, "retried": true}}),
                json!({"restarted": {"mail": {"frame": {"binary": STANDARD.encode("xxxx")}}, "retried": true}}),
            ),
            (
                json!({"restarted": {"mail": "silence", "retried": false}}),
                json!({"restarted": {"mail": "silence", "retried": false}}),
            ),
        ];
        for (mut mail, expected) in cases {
            hide_mail(&mut mail);
            assert_eq!(mail, expected);
        }
    }
}
