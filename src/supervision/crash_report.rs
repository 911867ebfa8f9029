//! What is known of one panic: its message and where it happened. A value like any other, so that a crash can be counted,
//! logged, told to a client and compared in a test.
//!
//! Made by [`super::catch`]; read by whoever decides what follows.

use std::{any::Any, borrow::Cow, panic::Location};

use serde::{Deserialize, Serialize};

/// Longer messages are cut: they go into logs and tables.
const LONGEST_MESSAGE: usize = 512;

/// One panic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{} at {place}", self.own_words())]
pub struct CrashReport {
    /// The panic's text; may quote what people wrote, so it is for crash files alone: [`CrashReport::own_words`] is for
    /// logs and tables.
    pub message: Box<str>,
    /// `file:line:column` of the panic, the same on every machine; [`CrashReport::NOWHERE`] when it is not known.
    pub place: Box<str>,
}

impl CrashReport {
    /// The place of a panic that passed no hook: the hook was not installed, or the panic was resumed by other code.
    pub const NOWHERE: &str = "unknown";

    /// Of a turn that did not panic, but took so long that it counts as a crash.
    #[must_use]
    pub fn stalled() -> Self {
        Self { message: "the turn stalled".into(), place: "stalled".into() }
    }

    /// What the panic said up to its first quotation: what the program says of itself comes first, and whatever it quotes,
    /// which may be a client's text, stands in quotation marks.
    #[must_use]
    pub fn own_words(&self) -> Cow<'_, str> {
        match self.message.split_once(['"', '\'', '`']) {
            Some((own, _)) => Cow::Owned(format!("{own}…")),
            None => Cow::Borrowed(&self.message),
        }
    }

    pub(super) fn new(message: &str, location: Option<&Location<'_>>) -> Self {
        let place = location.map_or_else(|| Self::NOWHERE.into(), place);
        Self { message: message[..message.floor_char_boundary(LONGEST_MESSAGE)].into(), place }
    }
}

/// The text a panic carries, or a word for payloads that are not text (`panic_any`).
pub(super) fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic without a text")
}

fn place(location: &Location<'_>) -> Box<str> {
    format!("{}:{}:{}", portable(location.file()), location.line(), location.column()).into()
}

/// Crates and the standard library are compiled at a path that differs between machines; what follows the crate's
/// directory does not.
pub(super) fn portable(file: &str) -> &str {
    let after = |marker: &str| Some(file.split_once(marker)?.1.split_once('/')?.1);
    after("/registry/src/").or_else(|| after("/rustc/")).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_inside_this_crate_is_its_relative_path() {
        let report = CrashReport::new("boom", Some(Location::caller()));
        assert!(report.place.starts_with("src/supervision/crash_report.rs:"), "{}", report.place);
        assert_eq!(report.place.split(':').count(), 3);
        assert_eq!(report.to_string(), format!("boom at {}", report.place));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let report = CrashReport::new(&"ü".repeat(500), None);
        assert_eq!(report.message.len(), LONGEST_MESSAGE);
        let odd = format!("x{}", "ü".repeat(500));
        assert_eq!(CrashReport::new(&odd, None).message.len(), LONGEST_MESSAGE - 1);
        assert_eq!(&*report.place, CrashReport::NOWHERE);
    }

    #[test]
    fn what_a_panic_quotes_is_nobodys_business() {
        let cases = [
            ("chaos: asked to panic", "chaos: asked to panic"),
            ("end byte index 4 is out of bounds of `a diary`", "end byte index 4 is out of bounds of …"),
            ("no such name: \"a diary\", 'b'", "no such name: …"),
            ("byte 'a' of `it`", "byte …"),
            ("`a diary`", "…"),
            ("", ""),
        ];
        for (message, own) in cases {
            let report = CrashReport::new(message, None);
            assert_eq!(report.own_words(), own);
            assert_eq!(report.to_string(), format!("{own} at unknown"));
        }
    }

    #[test]
    fn payloads_of_every_kind_have_a_text() {
        assert_eq!(text(&"static"), "static");
        assert_eq!(text(&"owned".to_owned()), "owned");
        assert_eq!(text(&7_u8), "panic without a text");
    }
}
