//! Engines for the durable store, beside a raw loop of append and fdatasync on the same disk in the same run.
//!
//! Run by hand: `cargo bench -p dormouse-bench --bench store --features engines [-- FOLDER]`. Every engine keeps the same
//! events, 200 bytes of data each, in one durable commit per group; groups are of 1 (a lone writer) and 64. Then a child
//! process fills the engine and is killed with -9; the time to open again, the time to read 500 events and the bytes on disk
//! are taken, and what is served after a sector was lost. At the end the store as the server uses it, queue and thread
//! included. Without the feature: Dormouse's own store alone. A folder in memory (/dev/shm) shows what each engine costs
//! beside the disk.

#![expect(clippy::expect_used, reason = "a measurement that cannot go on says where and stops")]

mod candidate;
#[cfg(feature = "engines")]
mod engines;
mod own;
mod publishers;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use candidate::{Candidate, DATA_BYTES, Event, Raw};
use dormouse::clock::Clock;
use own::Own;

const ROUNDS: usize = 5;
const SLICE: Duration = Duration::from_millis(700);
/// Events in the store that is killed, read and weighed.
const KEPT: usize = 200_000;
const READ: usize = 500;

type Open = fn(&Path) -> Box<dyn Candidate>;

fn candidates() -> Vec<(&'static str, Open)> {
    #[cfg(not(feature = "engines"))]
    let engines: Vec<(&'static str, Open)> = Vec::new();
    #[cfg(feature = "engines")]
    let engines = engines::all();
    let own: [(&'static str, Open); 2] =
        [("raw append + fdatasync", |path| Box::new(Raw::open(path))), ("dormouse", |path| Box::new(Own::open(path)))];
    own.into_iter().chain(engines).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, name, path] = &*arguments {
        return match &**flag {
            "--fill" => fill(name, Path::new(path)),
            _ => count(name, Path::new(path)),
        };
    }
    let base = arguments.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let base = base.join(format!("dormouse-store-bench-{}", std::process::id()));
    fs::create_dir_all(&base).expect("the folder can be made");
    let candidates = candidates();
    let mut speeds = vec![[Vec::new(), Vec::new()]; candidates.len()];
    for round in 0..ROUNDS {
        for (at, (_, open)) in candidates.iter().enumerate() {
            for (group, rates) in [1, 64].into_iter().zip(&mut speeds[at]) {
                let path = base.join(format!("{at}-{group}-{round}"));
                rates.push(appends_per_second(&mut *open(&path), group));
                fs::remove_dir_all(&path).expect("the store can be removed");
            }
        }
    }
    println!(
        "\n| engine | events/s, 1 writer | 64 writers | of raw | {READ} events read | open after kill -9 | bytes per event | \
         a sector of the log lost |\n|---|--:|--:|--:|--:|--:|--:|---|"
    );
    let raw = median(&mut speeds[0][1].clone());
    for ((name, open), [one, many]) in candidates.iter().zip(&mut speeds) {
        let (one, many) = (median(one), median(many));
        if *name == candidates[0].0 {
            println!("| {name} | {one:.0} | {many:.0} | 100 % | | | {DATA_BYTES} | |");
            continue;
        }
        let path = base.join(format!("killed-{}", name.replace(' ', "-")));
        let after = after_kill(name, &path, *open);
        println!("| {name} | {one:.0} | {many:.0} | {:.0} % | {after} |", many / raw * 100.0);
        fs::remove_dir_all(&path).expect("the store can be removed");
    }
    publishers::measure(&base);
    fs::remove_dir_all(&base).expect("the folder can be removed");
}

/// Durable events a second, in groups.
fn appends_per_second(store: &mut dyn Candidate, group: usize) -> f64 {
    let (mut spent, mut offset) = (Duration::ZERO, 0);
    while spent < SLICE {
        let events = events(offset, group);
        let clock = Clock::start();
        store.append(&events);
        spent += clock.elapsed();
        offset += group as u64;
    }
    offset as f64 / spent.as_secs_f64()
}

/// A group of events over 16 channels.
fn events(from: u64, count: usize) -> Vec<Event> {
    (from..from + count as u64)
        .map(|n| Event {
            channel: format!("chat:room-{}", n % 16),
            offset: n / 16 + 1,
            at: 1_700_000_000_000 + n,
            from: format!("user-{}", n % 64),
            data: data(n),
        })
        .collect()
}

/// Something a compressor cannot make nothing of.
fn data(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..DATA_BYTES)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b' ' + (state >> 32) as u8 % 95
        })
        .collect()
}

fn fill(name: &str, path: &Path) {
    let candidates = candidates();
    let (_, open) = candidates.iter().find(|(known, _)| *known == name).expect("a known engine");
    let mut store = open(path);
    for from in (0..KEPT).step_by(64) {
        store.append(&events(from as u64, 64));
    }
    println!("filled");
    // Until the parent kills: no engine gets to close its files.
    loop {
        std::thread::park();
    }
}

fn kill_filled(name: &str, path: &Path) {
    let program = std::env::current_exe().expect("this program has a path");
    let child = Command::new(program).args(["--fill", name]).arg(path).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("this program runs again");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("the child speaks");
    assert_eq!(line, "filled\n", "{name} was not filled");
    child.kill().expect("a child can be killed");
    child.wait().expect("a child ends");
}

fn after_kill(name: &str, path: &Path, open: Open) -> String {
    kill_filled(name, path);
    let bytes = bytes_under(path) as f64 / KEPT as f64;
    let clock = Clock::start();
    let store = open(path);
    let opened = clock.elapsed();
    let last = KEPT as u64 / 16 - READ as u64;
    let mut reads: Vec<f64> = (0..101)
        .map(|n| {
            let clock = Clock::start();
            let read = store.read(&format!("chat:room-{}", n % 16), n * 7919 % last, READ);
            assert_eq!(read, READ, "{name} does not have what it committed");
            clock.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    drop(store);
    let lost = after_loss(name, path);
    format!("{:.2} ms | {:.0} ms | {bytes:.0} | {lost}", median(&mut reads), opened.as_secs_f64() * 1e3)
}

/// Fills another store, kills it, zeroes one sector in the middle of the file that was written last, and looks what is
/// served.
fn after_loss(name: &str, path: &Path) -> String {
    fs::remove_dir_all(path).expect("the store can be removed");
    kill_filled(name, path);
    let mut files = Vec::new();
    files_under(path, &mut files);
    files.retain(|file| file.metadata().is_ok_and(|file| file.len() > 1 << 20));
    let file = files.iter().max_by_key(|file| file.metadata().and_then(|file| file.modified()).ok());
    let file = file.expect("a large file");
    let mut bytes = fs::read(file).expect("readable");
    // What was written, without what was only set aside.
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default();
    let sector = written / 1024 * 512;
    bytes[sector..sector + 512].fill(0);
    fs::write(file, bytes).expect("writable");
    let program = std::env::current_exe().expect("this program has a path");
    let counted = Command::new(program).args(["--count", name]).arg(path).output().expect("this program runs again");
    let text = String::from_utf8_lossy(&counted.stdout).trim().to_owned();
    match text.parse::<usize>() {
        Ok(KEPT) => "not noticed".into(),
        Ok(served) => format!("{} events gone, not a word", KEPT - served),
        Err(_) => "refused".into(),
    }
}

/// Says how many events a store serves.
fn count(name: &str, path: &Path) {
    let candidates = candidates();
    let (_, open) = candidates.iter().find(|(known, _)| *known == name).expect("a known engine");
    let store = open(path);
    println!("{}", (0..16).map(|n| store.read(&format!("chat:room-{n}"), 0, KEPT)).sum::<usize>());
}

fn bytes_under(path: &Path) -> u64 {
    let mut files = Vec::new();
    files_under(path, &mut files);
    files.iter().map(|file| file.metadata().expect("a file").blocks() * 512).sum()
}

fn files_under(path: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files_under(&path, files) } else { files.push(path) }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
