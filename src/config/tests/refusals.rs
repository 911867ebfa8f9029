//! Tables of mistakes with the exact refusal of each: where, what is wrong, what would be right.

use std::path::PathBuf;

use super::{TempFile, from_environment, from_flags};
use crate::config::{Sources, load};

/// The refusal of a file, with its path written as `FILE`.
fn refusal(text: &str) -> String {
    let file = TempFile::new(text.as_bytes());
    let error = load(&Sources { file: Some(file.0.clone()), ..Sources::default() }).unwrap_err();
    error.to_string().replace(&file.0.display().to_string(), "FILE")
}

const API_KEYS: &str = "FILE:2:8: api.keys: (not shown) is not a list of keys, each a non-empty string or a table such as \
    {file = \"/run/secrets/backend\", scopes = [\"publish\", \"read\"]} with `key` or `file`, and scopes among publish, read, admin \
    and chaos; the default is []";

#[test]
fn each_mistake_in_a_file_is_refused_with_its_place_and_what_would_be_right() {
    let cases: &[(&str, &str)] = &[
        // Unknown names.
        ("[limits]\nmax_frames = 5", "FILE:2:1: unknown key `max_frames` in [limits]; did you mean `max_frame_bytes`?"),
        (
            "\n  [limitz]\n  mailbox = 5\n  subscriptions = 4",
            "FILE:2:4: unknown table [limitz]; did you mean `limits`?",
        ),
        ("[hartbeat]", "FILE:1:2: unknown table [hartbeat]; did you mean `heartbeat`?"),
        (
            "[zzz]\nq = 1",
            "FILE:1:2: unknown table [zzz]; known are `listen`, `shards`, `limits`, `heartbeat`, `session`, `supervision`, \
             `presence`, `channels`, `store`, `auth`, `api`, `hooks`, `chaos`, `echo`, `telemetry`",
        ),
        ("[shards]\nsize = 1", "FILE:2:1: unknown key `size` in [shards]; known are `count`, `budget`"),
        ("mailbox = 5", "FILE:1:1: `mailbox` is a key of [limits]"),
        (
            "[limits]\ninterval = \"1s\"",
            "FILE:2:1: unknown key `interval` in [limits]; it is a key of [heartbeat] and [presence]",
        ),
        (
            "[channels.chat]\nhistory = 5",
            "FILE:2:1: unknown key `history` in [channels.chat]; did you mean `history_age`?",
        ),
        (
            "[channels]\ndurable = true",
            "FILE:2:1: channels.durable is a table: write [channels.defaults] or [channels.\"NAME\"] and keys below it",
        ),
        (
            "[channels.\"chat:\"]\ndurable = true",
            "FILE:1:11: no namespace is called \"chat:\": it is what stands before the first `:`, so write \"chat\"",
        ),
        (
            "[channels.\"ä\"]\ndurable = true",
            "FILE:1:11: no namespace is called \"ä\": letters, digits and `_ . + @ -` make a name",
        ),
        ("limits = 5", "FILE:1:1: limits is a table: write [limits] and keys below it"),
        ("[[limits]]\nmailbox = 5", "FILE:1:3: limits is a table: write [limits] and keys below it"),
        ("[chaos.enabled]\nnow = true", "FILE:1:8: chaos.enabled is no table: write true or false"),
        // Wrong types.
        (
            "[limits]\nmailbox = \"many\"",
            "FILE:2:11: limits.mailbox: \"many\" is not a whole number from 1 to 1048576; the default is 1024",
        ),
        (
            "[limits]\nmailbox = 1.5",
            "FILE:2:11: limits.mailbox: 1.5 is not a whole number from 1 to 1048576; the default is 1024",
        ),
        ("[chaos]\nenabled = 1", "FILE:2:11: chaos.enabled: 1 is not true or false; the default is false"),
        (
            "[heartbeat]\ninterval = 45",
            "FILE:2:12: heartbeat.interval: 45 is not a duration with a unit from \"1ms\" to \"1day\"; the default is \"45s\"",
        ),
        (
            "[auth]\nkeys = \"hush\"",
            "FILE:2:8: auth.keys: (not shown) is not a list of non-empty strings; the default is []",
        ),
        ("[api]\nkeys = [\"\"]", API_KEYS),
        ("[api]\nkeys = [{key = \"a\", scopes = [\"write\"]}]", API_KEYS),
        ("[api]\nkeys = [{key = \"a\", scopes = []}]", API_KEYS),
        ("[api]\nkeys = [{key = \"a\", file = \"b\"}]", API_KEYS),
        ("[api]\nkeys = [{scopes = [\"read\"]}]", API_KEYS),
        ("[api]\nkeys = [{key = \"a\", name = \"b\"}]", API_KEYS),
        (
            "[listen]\norigins = [\"example.com\"]",
            "FILE:2:11: listen.origins: [\"example.com\"] is not a list of origins such as \"https://example.com\", \
             \"https://*.example.com\" or \"*\", in lower case and without a path; the default is []",
        ),
        (
            "[listen]\norigins = [\"https://example.com/chat\"]",
            "FILE:2:11: listen.origins: [\"https://example.com/chat\"] is not a list of origins such as \"https://example.com\", \
             \"https://*.example.com\" or \"*\", in lower case and without a path; the default is []",
        ),
        (
            "[channels.chat]\nsubscribe = \"subscriber\"",
            "FILE:2:13: channels.chat.subscribe: \"subscriber\" is not one of \"anyone\", \"claim\", \"nobody\"; the default is \
             \"anyone\"",
        ),
        // Impossible values.
        (
            "limits.mailbox = 0",
            "FILE:1:18: limits.mailbox: 0 is not a whole number from 1 to 1048576; the default is 1024",
        ),
        (
            "limits = { publish_burst = -1 }",
            "FILE:1:28: limits.publish_burst: -1 is not a whole number from 1 to 1000000; the default is 100",
        ),
        (
            "[limits]\npublish_burst = 0",
            "FILE:2:17: limits.publish_burst: 0 is not a whole number from 1 to 1000000; the default is 100",
        ),
        (
            "[shards]\ncount = 99999999999999999999",
            "FILE:2:9: shards.count: 99999999999999999999 is not a whole number from 0 to 1024; the default is 0",
        ),
        (
            "[presence]\ninterval = \"0s\"",
            "FILE:2:12: presence.interval: \"0s\" is not a duration with a unit from \"1ms\" to \"1h\"; the default is \"1s\"",
        ),
        (
            "[heartbeat]\ninterval = \"-1s\"",
            "FILE:2:12: heartbeat.interval: \"-1s\" is not a duration with a unit from \"1ms\" to \"1day\"; the default is \"45s\"",
        ),
        (
            "[listen]\naddr = \"127.0.0.1:99999\"",
            "FILE:2:8: listen.addr: \"127.0.0.1:99999\" is not an IP address with a port from 0 to 65535; the default is \
             \"127.0.0.1:8080\"",
        ),
        (
            "[listen]\naddr = \"localhost\"",
            "FILE:2:8: listen.addr: \"localhost\" is not an IP address with a port from 0 to 65535; the default is \
             \"127.0.0.1:8080\"",
        ),
        (
            "[store]\nengine = \"postgres\"",
            "FILE:2:10: store.engine: \"postgres\" is not one of \"embedded\", \"memory\"; the default is \"embedded\"",
        ),
        (
            "[store]\npath = \"\"",
            "FILE:2:8: store.path: \"\" is not the path of a directory; the default is \"./dormouse-data\"",
        ),
        (
            "[auth]\nmode = \"none\"",
            "FILE:2:8: auth.mode: \"none\" is not one of \"open\", \"jwt\", \"hook\"; the default is \"open\"",
        ),
        (
            "[telemetry]\nformat = \"xml\"",
            "FILE:2:10: telemetry.format: \"xml\" is not one of \"text\", \"json\"; the default is \"text\"",
        ),
        (
            "[telemetry]\nlog = \"dormouse=loud\"",
            "FILE:2:7: telemetry.log: \"dormouse=loud\" is not a log filter such as \"info,dormouse::shard=debug\"; the default is \
             \"info\"",
        ),
        (
            "[channels.x]\ncatch_up_limit = 0",
            "FILE:2:18: channels.x.catch_up_limit: 0 is not a whole number from 1 to 1000000; the default is 500",
        ),
        // Contradictions.
        (
            "[limits]\nmax_frame_bytes = 1000\noutbox_bytes = 999",
            "FILE:3:16: limits.outbox_bytes = 999 cannot hold one message of limits.max_frame_bytes = 1000: make it at least as \
             large",
        ),
        (
            "[limits]\nturn_warn = \"2s\"",
            "FILE:2:13: limits.turn_stall = \"1s\" must be longer than limits.turn_warn = \"2s\"",
        ),
        (
            "[auth]\nmode = \"jwt\"",
            "FILE:2:8: auth.mode = \"jwt\" needs keys to verify tokens with: a secret in auth.keys = [\"…\"] (or \
             DORMOUSE__AUTH__KEYS in the environment), or files in auth.key_files = [\"…\"]",
        ),
        (
            "[auth]\nmode = \"jwt\"\nkey_files = [\"/nowhere/keys.json\"]",
            "FILE:3:13: /nowhere/keys.json: cannot be read: No such file or directory (os error 2)",
        ),
        (
            "[auth]\nkey_files = [\"/dev/null\"]\nmode = \"jwt\"",
            "FILE:2:13: /dev/null: is empty: it should hold public keys as PEM, or a JWKS",
        ),
        (
            "[auth]\nmode = \"jwt\"\nkeys = [\"\"\"-----BEGIN PUBLIC KEY-----\nhush\"\"\"]",
            "FILE:3:8: auth.keys: these are secrets for HS256, and one of them looks like a PEM or JWK: put that into a file \
             and name it in auth.key_files",
        ),
        (
            "[api]\nkeys = [\"a\", {file = \"/dev/null\"}]",
            "FILE:2:8: api.keys: /dev/null: is empty: it should hold one key",
        ),
        (
            "[listen]\naddr = \"0.0.0.0:8080\"",
            "FILE:2:8: open auth on 0.0.0.0:8080 would let everybody who reaches it be any user: set auth.mode = \"jwt\" with \
             auth.keys or auth.key_files, or listen on 127.0.0.1:8080",
        ),
        // Columns count characters.
        ("\"ü\" = 1", "FILE:1:1: unknown table [ü]; known are"),
        (
            "chaos = { \"ü\" = 1, enabeld = 1 }",
            "FILE:1:11: unknown key `ü` in [chaos]; known are `enabled`\nFILE:1:20: unknown key",
        ),
    ];
    for (text, expected) in cases {
        let refusal = refusal(text);
        let complete = !expected.ends_with("known are") && !expected.ends_with("unknown key");
        assert!(
            if complete { refusal == *expected } else { refusal.starts_with(expected) },
            "for\n{text}\nexpected\n{expected}\ngot\n{refusal}"
        );
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_place() {
    for (text, place) in [
        ("[limits\nmailbox = 1", "FILE:1:8: not TOML: "),
        ("[limits]\nmailbox = ", "FILE:2:11: not TOML: "),
        ("[limits]\nmailbox = 1\nmailbox = 2", "FILE:3:1: not TOML: duplicate key"),
        ("[limits]\nmailbox 1", "FILE:2:9: not TOML: "),
    ] {
        let refusal = refusal(text);
        assert!(refusal.starts_with(place), "for\n{text}\nexpected {place}\ngot {refusal}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let file = PathBuf::from("/nowhere/dormouse.toml");
    let error = load(&Sources { file: Some(file), ..Sources::default() }).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/dormouse.toml: cannot be read: "), "{error}");
    let file = TempFile::new(b"# \xff");
    let error = load(&Sources { file: Some(file.0.clone()), ..Sources::default() }).unwrap_err();
    assert!(error.to_string().contains(": is not UTF-8: "), "{error}");
}

#[test]
fn every_mistake_is_told_at_once_in_order() {
    let refusal = refusal("[limits]\nsubscriptions = 0\nmailbox = 0\n[echo]\nenabled = 3\n[auth]\nmod = 1\n");
    let places: Vec<_> = refusal.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["FILE:2:17", "FILE:3:11", "FILE:5:11", "FILE:7:1"], "{refusal}");
}

#[test]
fn a_bad_override_names_its_variable_or_flag() {
    let cases = [
        (
            from_environment(&[("DORMOUSE__LIMITS__MAX_FRAMES", "5")]),
            "environment variable DORMOUSE__LIMITS__MAX_FRAMES: unknown key `max_frames` in [limits]; did you mean \
             `max_frame_bytes`?",
        ),
        (
            from_environment(&[("DORMOUSE__LIMITS__MAILBOX", "lots")]),
            "environment variable DORMOUSE__LIMITS__MAILBOX: limits.mailbox: lots is not a whole number from 1 to 1048576; the \
             default is 1024",
        ),
        (
            from_environment(&[("DORMOUSE__LIMITS", "5")]),
            "environment variable DORMOUSE__LIMITS: limits is a table: write [limits] and keys below it",
        ),
        (
            from_environment(&[("DORMOUSE__AUTH__MODE", "jwt")]),
            "environment variable DORMOUSE__AUTH__MODE: auth.mode = \"jwt\" needs keys",
        ),
        (from_flags(&["limits.mailbox=0"]), "--set limits.mailbox: limits.mailbox: 0 is not a whole number"),
        (from_flags(&["limits.mailbox"]), "--set limits.mailbox: write key=value, such as --set limits.mailbox=2048"),
        (from_flags(&["limits..mailbox=1"]), "--set limits..mailbox: not a dotted key, such as "),
        (from_flags(&["x\ny=1"]), "--set x\ny: not a dotted key, such as "),
        (from_flags(&["auth.keys=[\"\"]"]), "--set auth.keys: auth.keys: (not shown) is not a list"),
        (
            load(&Sources { listen: Some("0.0.0.0:80".to_owned()), ..Sources::default() }),
            "--listen: open auth on 0.0.0.0:80 would let everybody",
        ),
        (
            load(&Sources { listen: Some("80".to_owned()), ..Sources::default() }),
            "--listen: listen.addr: 80 is not an IP address with a port",
        ),
    ];
    for (result, expected) in cases {
        let refusal = result.unwrap_err().to_string();
        assert!(refusal.starts_with(expected), "expected {expected}\ngot {refusal}");
    }
}
