//! Copies of a whole store: everything that can be asked of it is the same afterwards.

use std::{fs, io, time::Duration};

use super::{Bench, KEEP_ALL, Kind, NOW, append, append_keeping};
use crate::store::{Archive, CopyError, Counts, Keep, Kept, Log, OpenError, Range, Write, export, import};

/// Channels, keys, members who came and went, events that only their keys keep, several files.
fn filled() -> Bench {
    let mut bench = Bench::new(Kind::Embedded);
    for n in 1..=60 {
        let keep = if n % 3 == 0 { Keep { events: 5, ..KEEP_ALL } } else { KEEP_ALL };
        let (channel, key) = (format!("chat:{}", n % 3), format!("k{n}"));
        let data = format!("{{\"n\":{n}, \"text\":\"{}\"}}", "x".repeat(200));
        bench.commit(&[append_keeping(&channel, "ann", Some(&key), &data, keep)]);
    }
    for user in ["bob", "carl", "dan"] {
        bench.commit(&[Write::Join { channel: "chat:1".into(), user: user.into() }]);
    }
    bench.commit(&[
        append("chat:1", "ann", None, "\"unread\""),
        Write::Acknowledge { channel: "chat:1".into(), user: "bob".into(), delivered: 21, read: 20 },
        Write::Leave { channel: "chat:1".into(), user: "carl".into() },
    ]);
    bench
}

fn all(bench: &Bench) -> (Vec<Kept>, Counts) {
    let mut all = Vec::new();
    let counts = export(bench.folder.path(), NOW, |kept| {
        all.push(kept.clone());
        Ok(())
    });
    (all, counts.expect("exports"))
}

fn told(archive: &dyn Archive) -> String {
    let channels = archive.channels("", 100);
    let each = channels.iter().map(|channel| {
        let events = archive.read(channel, Range::After(0), usize::MAX).expect("reads");
        let members = archive.members(channel);
        let cursors = ["ann", "bob", "carl"].map(|user| archive.cursors(channel, user));
        format!("{channel} {:?} {events:?} {members:?} {cursors:?}", archive.extent(channel))
    });
    let each: Vec<String> = each.collect();
    format!("{} {:?}", each.join("\n"), archive.memberships("bob"))
}

#[test]
fn a_store_made_of_a_copy_answers_everything_as_before() {
    let mut bench = filled();
    let before = told(&*bench.archive());
    bench.engine = None;
    let (kept, counts) = all(&bench);
    assert_eq!(
        (counts.channels, counts.events, counts.members),
        (3, 61, 3),
        "keys are young, so all events are needed"
    );
    let other = tempfile::tempdir().expect("a folder");
    assert_eq!(import(other.path(), NOW, kept.iter().cloned().map(Ok)).expect("imports"), counts);
    assert!(!other.path().join("importing").exists());
    let mut copy = Bench { folder: other, ..Bench::new(Kind::Embedded) };
    copy.open();
    assert_eq!(told(&*copy.archive()), before);
    let repeated = copy.append("chat:0", "ann", Some("k3"), "another");
    assert_eq!((repeated.offset, repeated.duplicate), (1, true), "a key counts though its event is gone");
    assert_eq!(copy.append("chat:1", "ann", None, "new").offset, 22);
    copy.engine = None;
    bench.now += Duration::from_secs(3600).as_millis() as u64;
    let mut later = Vec::new();
    let counts = export(bench.folder.path(), bench.now, |kept| {
        later.push(kept.clone());
        Ok(())
    });
    assert_eq!(counts.expect("exports").events, 46, "of chat:0 only the last five");
    assert_eq!(later.len(), 52);
}

#[test]
fn a_copy_never_touches_a_store_that_is_there_or_in_use() {
    let mut bench = filled();
    assert!(matches!(export(bench.folder.path(), NOW, |_| Ok(())), Err(CopyError::Store(OpenError::Locked(_)))));
    bench.engine = None;
    let (kept, _) = all(&bench);
    let before = told(
        &*Log::open(bench.folder.path(), Default::default(), NOW)
            .map(|log| crate::store::Engine::archive(&log))
            .expect("opens"),
    );
    let refused = import(bench.folder.path(), NOW, kept.into_iter().map(Ok));
    assert!(matches!(refused, Err(CopyError::Occupied(_))), "{refused:?}");
    bench.open();
    assert_eq!(told(&*bench.archive()), before);
}

#[test]
fn half_a_copy_makes_no_store() {
    let mut bench = filled();
    bench.engine = None;
    let (kept, _) = all(&bench);
    let other = tempfile::tempdir().expect("a folder");
    let cut = import(other.path(), NOW, kept.iter().take(30).cloned().map(Ok));
    assert!(matches!(cut, Err(CopyError::Incomplete(_))), "{cut:?}");
    let broken = kept.iter().take(30).cloned().map(Ok).chain([Err(io::Error::other("line 31 is none"))]);
    let broken = import(other.path(), NOW, broken).expect_err("an item is an error");
    assert_eq!(broken.to_string(), "line 31 is none");
    let logs =
        fs::read_dir(other.path()).expect("a folder").flatten().filter(|entry| entry.path().extension().is_some());
    assert_eq!(logs.count(), 0);
    assert!(import(other.path(), NOW, kept.into_iter().map(Ok)).is_ok(), "the next one succeeds");
}
