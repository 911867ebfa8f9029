//! What the handshake said: all that an app learns about its client before the first message.

use serde::{Deserialize, Serialize};

/// See the module's text. A text in it that must not be seen is hidden in crash files while `supervision.crash_payloads` is
/// off, and only then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The path that was asked for; more than the path of the mount when that ends with `/`.
    pub path: String,
    /// What stood behind the `?`.
    pub query: String,
    /// The one of [`App::PROTOCOLS`](super::App::PROTOCOLS) that was agreed on.
    pub protocol: Option<String>,
}

impl Opening {
    /// The first parameter of that name in the query, decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let parameters: Vec<(String, String)> = serde_urlencoded::from_str(&self.query).ok()?;
        parameters.into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}
