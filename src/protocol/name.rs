//! Channel and user names: what characters they may have, checked where they enter the server (CONTRACT §1).

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// The longest channel or user name in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// The name breaks a rule; the text says which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all.
    #[error("{0} name is empty")]
    Empty(&'static str),
    /// Over [`MAX_NAME_BYTES`].
    #[error("{0} name has {1} bytes, at most 255 are allowed")]
    TooLong(&'static str, usize),
    /// A character outside the allowed set.
    #[error("channel name has the character {0:?}, allowed are A-Z a-z 0-9 _ . : + @ -")]
    Character(char),
    /// A control character in a user name.
    #[error("user name has a control character")]
    Control,
}

/// A checked channel name, borrowed from the frame where possible.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ChannelName<'a>(Cow<'a, str>);

impl<'a> ChannelName<'a> {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`NameError`] says which rule it breaks.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty("channel"));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong("channel", name.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '+' | '@' | '-');
        match name.chars().find(|&c| !allowed(c)) {
            Some(c) => Err(NameError::Character(c)),
            None => Ok(Self(name)),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name, free of the frame it came in.
    #[must_use]
    pub fn into_owned(self) -> ChannelName<'static> {
        ChannelName(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for ChannelName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ChannelName<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = crate::protocol::text::Text::deserialize(deserializer)?;
        Self::new(name.0).map_err(D::Error::custom)
    }
}

/// What stands before the first `:`; nothing where there is none.
#[must_use]
pub fn namespace(channel: &str) -> &str {
    channel.split_once(':').map_or("", |(namespace, _)| namespace)
}

/// What names of channels for two begin with.
const DIRECT: &str = "dm:";

/// The two users of `dm:alice+bob`. `None` for every other name; `Some(None)` for one that begins so and names no pair in
/// sorted order. One user may stand there twice.
#[must_use]
pub fn direct(channel: &str) -> Option<Option<(&str, &str)>> {
    let pair = channel.strip_prefix(DIRECT)?;
    // Exactly one `+`: with more, the same name would mean several pairs. Users with a `+` of their own have no dm.
    Some(pair.split_once('+').filter(|(first, second)| !first.is_empty() && first <= second && !second.contains('+')))
}

/// Checks a user name: 1–255 bytes without control characters.
///
/// # Errors
/// [`NameError`] says which rule it breaks.
pub fn check_user(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty("user"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong("user", name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_character_passes_and_others_are_named() {
        assert!(ChannelName::new("AZaz09_.:+@-").is_ok());
        assert_eq!(ChannelName::new("a b"), Err(NameError::Character(' ')));
        assert_eq!(ChannelName::new("caf\u{e9}"), Err(NameError::Character('\u{e9}')));
        assert_eq!(ChannelName::new(""), Err(NameError::Empty("channel")));
        assert!(ChannelName::new("x".repeat(255)).is_ok());
        assert_eq!(ChannelName::new("x".repeat(256)), Err(NameError::TooLong("channel", 256)));
    }

    #[test]
    fn a_channel_for_two_is_named_after_both_in_sorted_order() {
        assert_eq!(direct("chat:a+b"), None);
        assert_eq!(direct("dm:alice+bob"), Some(Some(("alice", "bob"))));
        assert_eq!(direct("dm:alice+alice"), Some(Some(("alice", "alice"))));
        for no_pair in ["dm:bob+alice", "dm:alice", "dm:alice+", "dm:+alice", "dm:a+b+c", "dm:"] {
            assert_eq!(direct(no_pair), Some(None), "{no_pair}");
        }
    }

    #[test]
    fn users_may_have_any_printable_name() {
        assert!(check_user("J\u{fc}rgen \u{1f42d}").is_ok());
        assert_eq!(check_user("a\nb"), Err(NameError::Control));
    }
}
