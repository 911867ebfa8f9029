//! A crash as a file keeps it: one JSON object, read by people and by `dormouse replay`. What the turn was is the shard's
//! business and passes through here unread.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CrashReport;

/// Which program this is: its version and a hash of what it was built from.
pub const BUILD: &str = env!("DORMOUSE_BUILD");

/// One crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashFile {
    /// [`CrashFile::FORMAT`].
    pub format: u32,
    /// [`BUILD`] of the program that crashed.
    pub build: String,
    /// When, unix milliseconds.
    pub at: u64,
    /// What was being handled.
    pub kind: String,
    /// [`CrashReport::place`].
    pub place: Box<str>,
    /// [`CrashReport::message`].
    pub panic: Box<str>,
    /// `false`: what people wrote was replaced by filler.
    pub payloads: bool,
    /// All that the turn was a function of.
    pub turn: Value,
    /// The calls that led to it, the innermost first; empty when there was no time to take them down.
    #[serde(default)]
    pub backtrace: Vec<String>,
}

/// Why a text is no crash file.
#[derive(Debug, thiserror::Error)]
pub enum CrashFileError {
    /// It is not JSON, or a field is missing or of another type; serde says which and where.
    #[error("not a crash file: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Of another version.
    #[error("`format` is {0}, this program reads {known}", known = CrashFile::FORMAT)]
    Format(u32),
}

impl CrashFile {
    /// Raised when an older program could not read it.
    pub const FORMAT: u32 = 1;

    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(json: &str) -> Result<Self, CrashFileError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let Head { format } = serde_json::from_str(json)?;
        if format != Self::FORMAT {
            return Err(CrashFileError::Format(format));
        }
        Ok(serde_json::from_str(json)?)
    }

    /// The panic.
    #[must_use]
    pub fn report(&self) -> CrashReport {
        CrashReport { message: self.panic.clone(), place: self.place.clone() }
    }
}
