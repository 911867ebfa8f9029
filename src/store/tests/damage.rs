//! Files that are not as they were written: torn ends are healed, everything else is refused with file, place and way out.

use std::{fs, path::PathBuf};

use super::{
    super::{Faults, Log, OpenError, Range, StoreError, Write, repair, verify},
    Bench, Kind, NOW, append,
};

/// A log with one event in each of its groups; where each group begins in its one file.
fn written(events: usize) -> (Bench, PathBuf, Vec<usize>) {
    let mut bench = Bench::new(Kind::Embedded);
    let path = bench.folder.path().join("00000001.log");
    let mut ends = Vec::new();
    for n in 0..events {
        ends.push(fs::metadata(&path).unwrap().len() as usize);
        bench.append("chat:a", "alice", None, &format!("event {n} {}", "x".repeat(40)));
    }
    bench.engine = None;
    (bench, path, ends)
}

fn open(bench: &Bench) -> Result<Log, OpenError> {
    Log::open(bench.folder.path(), Faults::default(), NOW)
}

#[track_caller]
fn refused(bench: &Bench) -> String {
    match open(bench) {
        Err(error @ OpenError::Damaged { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_torn_at_any_byte_is_cut_off_and_everything_before_it_is_there() {
    let (mut bench, path, starts) = written(5);
    let whole = fs::read(&path).unwrap();
    for length in starts[4]..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        bench.open();
        assert_eq!(bench.texts("chat:a").len(), 4, "cut to {length} bytes");
        bench.append("chat:a", "alice", None, "after");
        bench.reopen();
        assert_eq!(bench.texts("chat:a").last().map(String::as_str), Some("after"));
        bench.engine = None;
    }
}

#[test]
fn a_sector_that_never_reached_the_disk_is_a_torn_write() {
    let (mut bench, path, _) = written(2);
    bench.open();
    bench.append("chat:a", "alice", None, &"y".repeat(3000));
    bench.engine = None;
    let mut bytes = fs::read(&path).unwrap();
    let sector = bytes.len() / 512 * 512 - 1024;
    bytes[sector..sector + 512].fill(0);
    fs::write(&path, &bytes).unwrap();
    bench.open();
    assert_eq!(bench.texts("chat:a").len(), 2);
}

#[test]
fn a_changed_byte_anywhere_is_refused_with_its_place_and_never_served() {
    let (bench, path, starts) = written(4);
    let whole = fs::read(&path).unwrap();
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x20;
        fs::write(&path, &bytes).unwrap();
        let sentence = refused(&bench);
        let group = starts.iter().rev().find(|start| **start <= position).copied().unwrap_or(0);
        assert!(
            sentence.contains(&format!("{} is damaged at byte {group}: ", path.display())),
            "{position}: {sentence}"
        );
        assert!(sentence.contains("dormouse check --repair"), "{sentence}");
    }
    fs::write(&path, &whole).unwrap();
    assert!(open(&bench).is_ok());
}

#[test]
fn a_byte_that_changes_while_the_store_is_open_is_an_error_of_that_read() {
    let (mut bench, path, starts) = written(4);
    bench.open();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = bench.archive().read("chat:a", Range::After(0), 10).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { position, .. } if position as usize > starts[3]), "{error}");
    assert_eq!(bench.read("chat:a", Range::After(0), 3).events.len(), 3);
}

#[test]
fn a_file_that_is_missing_short_or_strange_is_refused() {
    let mut bench = Bench::new(Kind::Embedded);
    for n in 0..60 {
        bench.append("chat:a", "alice", None, &format!("{n} {}", "x".repeat(300)));
    }
    bench.engine = None;
    let file = |n: u32| bench.folder.path().join(format!("{n:08}.log"));
    assert!(file(4).exists(), "there are several files");
    let middle = fs::read(file(2)).unwrap();
    fs::remove_file(file(2)).unwrap();
    assert!(refused(&bench).contains("00000002.log before it is missing"), "{}", refused(&bench));
    fs::write(file(2), &middle[..middle.len() - 1]).unwrap();
    assert!(refused(&bench).contains("it ends here"), "{}", refused(&bench));
    fs::write(file(2), b"something else, and longer than a header would be").unwrap();
    assert!(refused(&bench).contains("its header cannot be read"), "{}", refused(&bench));
    fs::write(file(2), &middle).unwrap();
    let first = fs::read(file(1)).unwrap();
    fs::remove_file(file(1)).unwrap();
    assert!(refused(&bench).contains("has events or members but no epoch"), "{}", refused(&bench));
    fs::write(file(1), first).unwrap();
    assert!(open(&bench).is_ok());
}

#[test]
fn a_file_that_was_just_being_made_is_removed() {
    let (mut bench, _, _) = written(3);
    let unborn = bench.folder.path().join("00000002.log");
    fs::write(&unborn, [0; 20]).unwrap();
    bench.open();
    assert!(!unborn.exists());
    assert_eq!(bench.texts("chat:a").len(), 3);
}

#[test]
fn a_second_process_is_refused_with_a_sentence() {
    let bench = Bench::new(Kind::Embedded);
    let error = open(&bench).unwrap_err();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    assert!(error.to_string().contains("is in use by another process"), "{error}");
}

#[test]
fn a_repair_keeps_what_is_whole_puts_the_rest_aside_and_begins_new_epochs() {
    let mut bench = Bench::new(Kind::Embedded);
    bench.commit(&[Write::Join { channel: "chat:a".into(), user: "bob".into() }]);
    for n in 1..=40 {
        bench.commit(&[append("chat:a", "alice", Some(&format!("k{n}")), &format!("{n} {}", "x".repeat(300)))]);
    }
    let epoch = bench.archive().extent("chat:a").unwrap().epoch;
    bench.engine = None;
    let path = bench.folder.path().join("00000002.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[2000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(verify(bench.folder.path(), NOW).is_err());
    let found = repair(bench.folder.path(), NOW).unwrap();
    assert_eq!((found.channels, found.events), (1, 39), "{found:?}");
    assert!(found.dropped > 300 && found.dropped < 500, "{found:?}");
    let aside = found.aside.unwrap();
    assert_eq!(fs::read(aside.join("00000002.log")).unwrap(), bytes);
    for _ in 0..2 {
        bench.open();
        let extent = bench.archive().extent("chat:a").unwrap();
        assert_ne!(extent.epoch, epoch);
        assert_eq!((extent.first, extent.head), (1, 40));
        assert_eq!(bench.texts("chat:a").len(), 39);
        assert!(bench.archive().is_member("chat:a", "bob"));
        assert!(bench.append("chat:a", "alice", Some("k1"), "x").duplicate);
        bench.engine = None;
    }
    bench.open();
    assert_eq!(bench.append("chat:a", "alice", None, "41").offset, 41);
    bench.engine = None;
    assert_eq!(repair(bench.folder.path(), NOW).unwrap().aside, None, "a sound store is left alone");
}
