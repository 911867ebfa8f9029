//! Durations as people write them (`"45s"`, `"2ms"`, `"7d"`), for `#[serde(with = "duration")]`. A bare number is refused on
//! purpose: nobody remembers whether it was seconds or milliseconds.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*value))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = Cow::<str>::deserialize(from)?;
    humantime::parse_duration(&text).map_err(D::Error::custom)
}

/// The same for keys that may be absent.
pub(super) mod optional {
    use super::{Deserializer, Duration};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(from).map(Some)
    }
}
