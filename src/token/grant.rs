//! What a token lets its user do, and in which channels: patterns with the actions they open. Small, since a connection
//! keeps them as long as its token. Knows nothing of namespaces and their rules. Asked by the connection for each request.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Something a user does with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hear its events, look at its history and at who is there.
    Subscribe = 1,
    /// Publish and signal.
    Publish = 2,
    /// Become a durable member.
    Join = 4,
}

impl Action {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Subscribe, Self::Publish, Self::Join];

    /// As claims and refusals call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Join => "join",
        }
    }
}

/// The actions that one pattern opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pattern: CompactString,
    /// Bits of [`Action`].
    actions: u8,
}

/// The claims about channels, as they travel. With none of them a token opens every channel; with any of them it opens what
/// they name and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lists {
    /// Patterns for every action that has no list of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
    /// Patterns to subscribe to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<Vec<String>>,
    /// Patterns to publish in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Vec<String>>,
    /// Patterns to join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Vec<String>>,
}

impl Lists {
    /// What the lists open together; `None`: everything.
    #[must_use]
    pub fn grants(&self) -> Option<Vec<Grant>> {
        let own = |action| match action {
            Action::Subscribe => &self.subscribe,
            Action::Publish => &self.publish,
            Action::Join => &self.join,
        };
        if self.channels.is_none() && Action::ALL.iter().all(|action| own(*action).is_none()) {
            return None;
        }
        let mut grants: Vec<Grant> = Vec::new();
        for action in Action::ALL {
            for pattern in own(action).as_ref().or(self.channels.as_ref()).into_iter().flatten() {
                match grants.iter_mut().find(|grant| grant.pattern == *pattern) {
                    Some(grant) => grant.actions |= action as u8,
                    None => grants.push(Grant { pattern: pattern.into(), actions: action as u8 }),
                }
            }
        }
        Some(grants)
    }
}

/// Whether one of the grants opens a channel for an action.
#[must_use]
pub fn allows(grants: &[Grant], action: Action, channel: &str) -> bool {
    let opens = |grant: &Grant| grant.actions & action as u8 != 0;
    grants.iter().any(|grant| opens(grant) && matches(grant.pattern.as_bytes(), channel.as_bytes()))
}

/// Whether a pattern matches a channel's whole name: `*` stands for any run of characters, also an empty one; every other
/// character for itself. Goes back to the last `*` only, so hostile patterns cost the product of the lengths at most.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // After the last star: where the pattern goes on, and the first byte the star has not swallowed.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, n));
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((after, swallowed)) = star else { return false };
                star = Some((after, swallowed + 1));
                p = after;
                n = swallowed + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(pattern: &str, channel: &str) -> bool {
        matches(pattern.as_bytes(), channel.as_bytes())
    }

    fn list(patterns: &[&str]) -> Option<Vec<String>> {
        Some(patterns.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_star_matches_any_run() {
        for (pattern, channel, expected) in [
            ("*", "anything", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("chat:lobby", "chat:lobby", true),
            ("chat:lobby", "chat:lobby2", false),
            ("chat:*", "chat:", true),
            ("chat:*", "chat:a:b", true),
            ("chat:*", "chatter", false),
            ("chat:*", "my-chat:x", false),
            ("*:lobby", "chat:lobby", true),
            ("*:lobby", "chat:lobby:x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "x", true),
            ("*a*", "bbb", false),
            ("?", "x", false),
            (".*", "xx", false),
        ] {
            assert_eq!(open(pattern, channel), expected, "{pattern} on {channel}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_decided_all_the_same() {
        assert!(!open(&("*a".repeat(1000) + "b"), &"a".repeat(255)));
    }

    #[test]
    fn a_list_of_its_own_goes_before_the_common_one() {
        let lists = Lists { channels: list(&["chat:*"]), publish: list(&["chat:lobby"]), ..Lists::default() };
        let grants = lists.grants().expect("named");
        assert!(allows(&grants, Action::Subscribe, "chat:x") && allows(&grants, Action::Join, "chat:x"));
        assert!(allows(&grants, Action::Publish, "chat:lobby") && !allows(&grants, Action::Publish, "chat:x"));
    }

    #[test]
    fn a_token_that_names_channels_opens_nothing_else() {
        assert_eq!(Lists::default().grants(), None, "no list opens everything");
        let grants = Lists { subscribe: list(&["news"]), ..Lists::default() }.grants().expect("named");
        assert!(allows(&grants, Action::Subscribe, "news"));
        assert!(!allows(&grants, Action::Publish, "news") && !allows(&grants, Action::Join, "news"));
        let nothing = Lists { channels: list(&[]), ..Lists::default() }.grants().expect("named");
        assert!(Action::ALL.iter().all(|action| !allows(&nothing, *action, "news")));
    }

    #[test]
    fn a_pattern_named_twice_is_kept_once() {
        let lists = Lists { subscribe: list(&["a", "a"]), publish: list(&["a"]), ..Lists::default() };
        assert_eq!(lists.grants().map(|grants| grants.len()), Some(1));
        assert!(size_of::<Grant>() <= 32, "a connection keeps one for each pattern of its token");
    }

    fn patterns() -> impl Strategy<Value = Option<Vec<String>>> {
        prop::option::of(prop::collection::vec("[ab*]{0,3}", 0..4))
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(pattern in "[ab*]{0,8}", name in "[ab]{0,8}") {
            fn defined(pattern: &[u8], name: &[u8]) -> bool {
                match pattern.split_first() {
                    None => name.is_empty(),
                    Some((b'*', rest)) => (0..=name.len()).any(|n| defined(rest, &name[n..])),
                    Some((byte, rest)) => name.split_first().is_some_and(|(n, left)| n == byte && defined(rest, left)),
                }
            }
            prop_assert_eq!(open(&pattern, &name), defined(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn grants_open_exactly_what_the_lists_say(
            channels in patterns(), subscribe in patterns(), publish in patterns(), join in patterns(), name in "[ab]{0,3}",
        ) {
            let lists = Lists { channels, subscribe, publish, join };
            let grants = lists.grants();
            for (action, own) in Action::ALL.into_iter().zip([&lists.subscribe, &lists.publish, &lists.join]) {
                let named = own.as_ref().or(lists.channels.as_ref());
                let expected = match named {
                    Some(patterns) => patterns.iter().any(|pattern| open(pattern, &name)),
                    None => grants.is_none(),
                };
                let got = grants.as_ref().is_none_or(|grants| allows(grants, action, &name));
                prop_assert_eq!(got, expected, "{}", action.name());
            }
        }
    }
}
