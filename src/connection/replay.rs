//! A crashed turn of the gateway once more: the entry for `dormouse replay` and for the tests it prints.

use serde::Deserialize as _;

use crate::{
    connection::{actor::ConnectionActor, settings::Settings},
    shard::{self, ReplayError, Replayed},
};

/// Plays the turn of a crash file.
///
/// # Errors
/// It is no crash file of the gateway: what is wrong, and where.
pub fn replay(json: &str) -> Result<Replayed, ReplayError> {
    shard::replay::<ConnectionActor>(json, |settings| Settings::deserialize(settings))
}
