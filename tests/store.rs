//! Kill -9: a child process appends to a store and says on its output what was acknowledged; it is killed at random moments,
//! the store is opened again, and every acknowledged append is there, once, in order, at its offset.
//!
//! The child is this program, running the ignored test. `DORMOUSE_KILLS` sets how many times, 12 by default; the seed of
//! the moments is printed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::sync_channel,
    time::Duration,
};

use dormouse::{
    clock::{Clock, unix_ms},
    store::{Append, Archive, Engine, Faults, Keep, Log, OpenError, Options, Outcome, Range, Store, Write},
    telemetry::Metrics,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

const PUBLISHERS: usize = 8;
const CHANNELS: usize = 3;
const FILE_BYTES: u64 = 16 << 10;
/// Small enough that old events are forgotten and files are cleaned while the child runs.
const KEEP: Keep = Keep { events: 100, age: Duration::from_secs(3600) };

#[test]
fn everything_acknowledged_is_there_once_and_in_order_after_kill_9_at_any_moment() {
    let kills = std::env::var("DORMOUSE_KILLS").map_or(12, |kills| kills.parse().unwrap());
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let (mut known, mut total) = (Known::default(), 0);
    for round in 0..kills {
        let acknowledged = run_and_kill(folder.path(), round, random.random_range(0..400));
        total += acknowledged.len();
        let log = Log::open(folder.path(), Faults::default(), unix_ms()).unwrap_or_else(|error| panic!("{error}"));
        known.check(&acknowledged, &*log.archive());
    }
    assert!(total > kills as usize * 50, "only {total} appends were acknowledged");
}

/// What the child has said: `ack CHANNEL OFFSET TEXT` or `read CHANNEL OFFSET`.
fn run_and_kill(folder: &Path, round: u32, after: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env("DORMOUSE_STORE_CHILD", folder)
        .env("DORMOUSE_STORE_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    let mut line = String::new();
    let mut killed = false;
    // After the kill: what was on its way through the pipe counts as well. A line that was cut off does not.
    while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        if line.starts_with("ack ") || line.starts_with("read ") {
            said.push(line.trim_end().to_owned());
        }
        line.clear();
        if said.len() >= after && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    let status = child.wait().unwrap();
    assert!(killed && !status.success(), "the child ended by itself: {status}");
    said
}

/// What was acknowledged in all rounds.
#[derive(Default)]
struct Known {
    /// By channel and offset.
    texts: HashMap<String, BTreeMap<u64, String>>,
    reads: HashMap<String, u64>,
    epochs: HashMap<String, String>,
}

impl Known {
    fn check(&mut self, said: &[String], archive: &dyn Archive) {
        for line in said {
            match &line.split(' ').collect::<Vec<_>>()[..] {
                ["ack", channel, offset, text] => {
                    let texts = self.texts.entry((*channel).into()).or_default();
                    let old = texts.insert(offset.parse().unwrap(), (*text).into());
                    assert_eq!(old, None, "{line}: that offset was given out before");
                }
                ["read", channel, offset] => {
                    let read = self.reads.entry((*channel).into()).or_default();
                    *read = (*read).max(offset.parse().unwrap());
                }
                _ => panic!("{line}"),
            }
        }
        for (channel, texts) in &self.texts {
            let extent = archive.extent(channel).unwrap();
            let epoch = self.epochs.entry(channel.clone()).or_insert_with(|| extent.epoch.to_string());
            assert_eq!(*epoch, extent.epoch.to_string());
            let page = archive.read(channel, Range::After(0), usize::MAX).unwrap();
            let kept: BTreeMap<u64, String> = page
                .events
                .iter()
                .map(|event| (event.offset, String::from_utf8(event.data.to_vec()).unwrap()))
                .collect();
            assert!(kept.keys().copied().eq(extent.first..=extent.head), "{channel} has holes");
            for (offset, text) in texts.range(extent.first..) {
                assert_eq!(kept.get(offset), Some(text), "{channel} {offset}");
            }
            // Each publisher waits for its answer: its events rise, and none is there twice.
            let mut newest: HashMap<&str, (u32, u64)> = HashMap::new();
            for text in kept.values() {
                let parts: Vec<&str> = text.split('-').collect();
                let number = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
                let old = newest.insert(parts[0], number);
                assert!(old.is_none_or(|old| old < number), "{channel}: {text} comes after {old:?}");
            }
        }
        for (channel, read) in &self.reads {
            assert!(archive.cursors(channel, "reader").read >= *read, "{channel}: the cursor moved back");
        }
    }
}

#[test]
#[ignore = "the child of the test above"]
fn child() {
    let Ok(folder) = std::env::var("DORMOUSE_STORE_CHILD") else { return };
    let round: u32 = std::env::var("DORMOUSE_STORE_ROUND").unwrap().parse().unwrap();
    let make = move || -> Result<Box<dyn Engine>, OpenError> {
        let log = Log::open(folder.as_ref(), Faults::default(), unix_ms())?;
        Ok(Box::new(log.with_file_bytes(FILE_BYTES)))
    };
    let (store, thread) = Store::start(Options::default(), Clock::start(), Metrics::new().unwrap(), make).unwrap();
    for publisher in 0..PUBLISHERS {
        let store = store.clone();
        std::thread::spawn(move || publish(&store, publisher, round));
    }
    // Until it is killed.
    thread.join().unwrap();
}

fn publish(store: &Store, publisher: usize, round: u32) {
    let call = |write: Write| {
        let (answered, answer) = sync_channel(1);
        store.offer(write, Box::new(move |outcome| answered.send(outcome).unwrap())).unwrap();
        answer.recv().unwrap().unwrap()
    };
    for n in 0_u64.. {
        let channel = format!("chat:{}", (publisher as u64 + n) % CHANNELS as u64);
        let text = format!("p{publisher}-{round}-{n}");
        let append = Append {
            channel: channel.as_str().into(),
            from: format!("user-{publisher}").into(),
            // A file with young keys is not cleaned: the first rounds have none.
            key: (round % 4 == 3).then(|| text.as_str().into()),
            data: text.as_bytes().into(),
            keep: KEEP,
        };
        let Outcome::Appended(appended) = call(Write::Append(append)) else { panic!("no append") };
        let mut line = format!("ack {channel} {} {text}\n", appended.offset);
        if n % 10 == 0 {
            let (channel, read) = (channel.as_str().into(), appended.offset);
            call(Write::Acknowledge { channel, user: "reader".into(), delivered: 0, read });
            line += &format!("read chat:{} {read}\n", (publisher as u64 + n) % CHANNELS as u64);
        }
        // One write: a line is said as a whole or not at all.
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn check_refuses_a_damaged_store_with_a_way_out_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::open(folder.path(), Faults::default(), unix_ms()).unwrap();
    for n in 1..=3 {
        let data = format!("event {n}").into_bytes().into();
        let append = Append { channel: "chat:a".into(), from: "alice".into(), key: None, data, keep: KEEP };
        log.commit(&[Write::Append(append)], unix_ms()).unwrap();
    }
    let check = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dormouse"));
        command.arg("check").args(arguments).env_clear().env("DORMOUSE__STORE__PATH", folder.path());
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let (code, text) = check(&[]);
    assert!(code == 0 && text.contains(", in use"), "{text}");
    let (code, text) = check(&["--repair"]);
    assert!(code == 1 && text.contains("is in use by another process"), "{text}");
    drop(log);
    let (code, text) = check(&[]);
    assert!(code == 0 && text.contains(": 1 channel, 3 events"), "{text}");
    let file = folder.path().join("00000001.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let second = bytes.windows(7).position(|bytes| bytes == b"event 2").unwrap();
    bytes[second] = b'E';
    std::fs::write(&file, bytes).unwrap();
    let (code, text) = check(&[]);
    assert!(code == 1 && text.contains("00000001.log is damaged at byte ") && text.contains("--repair"), "{text}");
    let (code, text) = check(&["--repair"]);
    assert!(
        code == 0 && text.contains(": 1 channel, 2 events, 0 memberships; ") && text.contains("/damaged-"),
        "{text}"
    );
    let (code, text) = check(&[]);
    assert!(code == 0 && text.ends_with('\n') && text.contains(": 1 channel, 2 events"), "{text}");
}
