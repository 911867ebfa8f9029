//! What a connection weighs, structure by structure, exactly as it is today: a byte more, times a million connections, is
//! to be somebody's decision. Who makes one smaller lowers its bound here.

use std::collections::BTreeMap;

use crate::{
    channel::Notice,
    connection::{
        ConnectionActor, Record,
        rate::Rate,
        record::{Identity, Rare, Subscription, Welcome},
    },
    id::SessionSecret,
    shard::{Behaviour, anatomy},
};

/// Bytes of each, at most.
const BOUNDS: [(&str, usize); 19] = [
    // Of a dormant connection.
    ("slot", 64),
    ("record, in the slot", 32),
    ("socket, in the slot", 4),
    ("connection id", 8),
    ("rate, in the record", 8),
    ("identity, shared", 80),
    ("identity", 72),
    ("secret, in the identity", 16),
    ("subscription, in the identity", 16),
    ("heap of a session with one subscription", 80),
    // While something is going on.
    ("awake", 160),
    ("mailbox, in awake", 64),
    ("outbox, in awake", 56),
    ("reader, in awake", 8),
    ("waiting message", 24),
    ("message", 16),
    // For a moment, or for some.
    ("rare", 208),
    ("welcome, in rare", 112),
    ("budget entry", 32),
];

#[test]
fn nothing_that_each_connection_has_has_grown() {
    let mut sizes: BTreeMap<&str, usize> =
        anatomy::<ConnectionActor>().into_iter().map(|piece| (piece.name, piece.bytes)).collect();
    let bench = super::Bench::ready(&["chat:lobby"]);
    sizes.extend([
        ("rate, in the record", size_of::<Rate>()),
        ("identity", size_of::<Identity>()),
        // With the one reference count that `triomphe` puts before it.
        ("identity, shared", size_of::<Identity>() + size_of::<usize>()),
        ("secret, in the identity", size_of::<SessionSecret>()),
        ("subscription, in the identity", size_of::<Subscription>()),
        ("heap of a session with one subscription", ConnectionActor::heap_bytes(&bench.record)),
        ("message", size_of::<Notice>()),
        ("rare", size_of::<Rare>()),
        ("welcome, in rare", size_of::<Welcome>()),
    ]);
    assert_eq!(sizes["record, in the slot"], size_of::<Record>());
    let mut grown = Vec::new();
    for (name, most) in BOUNDS {
        let bytes = sizes.remove(name).unwrap_or_else(|| panic!("there is no {name} any more"));
        println!("{bytes:>4} bytes: {name}");
        if bytes > most {
            grown.push(format!("{name}: {bytes} bytes, {most} are allowed"));
        }
    }
    assert!(sizes.is_empty(), "without a bound: {sizes:?}");
    assert!(grown.is_empty(), "\n  {}\n", grown.join("\n  "));
}
