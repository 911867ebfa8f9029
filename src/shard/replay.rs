//! From the text of a crash file to the turn played again. Called by each behaviour with its own settings, for `dormouse
//! replay` and for tests that `dormouse replay --test` has printed.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    shard::{
        behaviour::Behaviour,
        evidence::{Evidence, RestoreError},
    },
    supervision::{CrashFile, CrashFileError, CrashReport},
};

/// What came of it.
#[derive(Debug)]
pub struct Replayed {
    /// What was replayed.
    pub file: CrashFile,
    /// The panic of today, if the turn still panics.
    pub panic: Option<CrashReport>,
}

/// The outcome against the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It panicked where it had.
    SamePlace,
    /// It panicked elsewhere.
    AnotherPlace,
    /// It returned.
    NoPanic,
}

/// Why a text cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It is no crash file.
    #[error(transparent)]
    File(#[from] CrashFileError),
    /// `turn` holds no turn.
    #[error("`turn`: {0}")]
    Turn(serde_json::Error),
    /// A part of the turn is not what the behaviour has.
    #[error("`turn`: {0}")]
    Part(#[from] RestoreError),
    /// Of another behaviour.
    #[error("`turn.behaviour` is {found:?}, {known} can be replayed here")]
    Behaviour {
        /// Whose turn it was.
        found: String,
        /// Whose turns can be played.
        known: &'static str,
    },
}

impl Replayed {
    /// Whether it is the panic of the file.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match &self.panic {
            Some(report) if report.place == self.file.place => Outcome::SamePlace,
            Some(_) => Outcome::AnotherPlace,
            None => Outcome::NoPanic,
        }
    }
}

/// Plays the turn of a crash file; `settings` makes what of the settings the file holds into what turns read.
///
/// # Errors
/// It is no crash file of this behaviour: what is wrong, and where.
pub fn replay<B: Behaviour>(
    json: &str,
    settings: impl FnOnce(&Value) -> Result<B::Settings, serde_json::Error>,
) -> Result<Replayed, ReplayError> {
    let file = CrashFile::read(json)?;
    let evidence = evidence(&file)?;
    if evidence.behaviour != B::NAME {
        return Err(ReplayError::Behaviour { found: evidence.behaviour, known: B::NAME });
    }
    let settings = settings(&evidence.settings).map_err(|error| RestoreError { part: "settings", error })?;
    let panic = evidence.replay::<B>(Arc::new(settings))?;
    Ok(Replayed { file, panic })
}

/// The turn of a crash file.
///
/// # Errors
/// It holds none.
pub fn evidence(file: &CrashFile) -> Result<Evidence, ReplayError> {
    serde::Deserialize::deserialize(&file.turn).map_err(ReplayError::Turn)
}
