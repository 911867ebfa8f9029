//! Which channels a user may enter: the patterns of his token, and the two names of a `dm:` channel.

use crate::{
    connection::record::Record,
    protocol::error::{ErrorCode, Fault},
    token,
};

/// Namespace of channels for two.
const DIRECT: &str = "dm:";

/// Whether `record`'s user may subscribe to, publish in and look into `channel`.
pub(crate) fn check(record: &Record, channel: &str) -> Result<(), Fault> {
    let Some(identity) = &record.identity else {
        return Err(Fault::new(ErrorCode::NotIdentified, "identify first"));
    };
    if let Some(patterns) = identity.patterns()
        && !token::allows(patterns, channel)
    {
        return Err(Fault::new(ErrorCode::Forbidden, format!("this token does not open {channel}")));
    }
    if let Some(pair) = channel.strip_prefix(DIRECT)
        && !names(pair, &identity.user)
    {
        let message = "a dm: channel is named after its two users in sorted order, and only they may enter";
        return Err(Fault::new(ErrorCode::Forbidden, message));
    }
    Ok(())
}

/// `pair` is `user+other` or `other+user`, whichever is sorted.
fn names(pair: &str, user: &str) -> bool {
    // Exactly one `+`: with more, the same name would mean several pairs. Users with a `+` of their own have no dm.
    match pair.split_once('+') {
        Some((first, second)) => {
            let is_pair = !first.is_empty() && first <= second && !second.contains('+');
            is_pair && (first == user || second == user)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn only_the_two_named_in_sorted_order_may_enter() {
        assert!(names("alice+bob", "alice"));
        assert!(names("alice+bob", "bob"));
        assert!(!names("bob+alice", "alice"));
        assert!(!names("alice+bob", "carol"));
        assert!(!names("alice+bob", "ali"));
        assert!(!names("alice", "alice"));
        assert!(!names("alice+", "alice"));
        assert!(!names("a+b+c", "a"));
        assert!(!names("a+b+c", "a+b"));
    }
}
