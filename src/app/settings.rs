//! What all turns of an app's connections may read.

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// Also what a crash file keeps of them: everything, there is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(super) max_message_bytes: usize,
    /// Rooms of one connection.
    pub(super) rooms: usize,
    /// A client that has said nothing for so long is sent a ping; without an answer it is gone after half of that again.
    pub(super) heartbeat_ms: u32,
}

impl Settings {
    /// What a configuration says.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            max_message_bytes: config.limits.max_frame_bytes,
            rooms: config.limits.subscriptions,
            heartbeat_ms: u32::try_from(config.heartbeat.interval.as_millis()).unwrap_or(u32::MAX / 4),
        }
    }
}
