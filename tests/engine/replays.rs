//! Crash files of a behaviour that this crate does not know: written by its shards, played again by its own test.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Barrier},
};

use dormouse::{
    clock::Now,
    id::ConnectionId,
    shard::{self, Outcome, ReplayError, Replayed, Turn},
    supervision::Folder,
};
use serde_json::Value;

use crate::{
    diary::{Diary, Settings, Words},
    engine::{Engine, options},
};

struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("engine-{name}-{}", std::process::id()));
        // It is only there when an earlier run of the same number was killed.
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn engine(&self, payloads: bool) -> Engine {
        let folder = Folder { path: self.0.clone(), most: 10, payloads, program: None };
        Engine::with_crash_files(1, options(), Some(folder))
    }

    /// The texts of so many files, the oldest first, once they are there.
    async fn texts(&self, count: usize) -> Vec<String> {
        loop {
            let entries = fs::read_dir(&self.0).into_iter().flatten().map(|entry| entry.expect("an entry").path());
            let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
            files.sort();
            if files.len() >= count {
                return files.iter().map(|file| fs::read_to_string(file).expect("a file")).collect();
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// All that a third behaviour needs for a replay: settings for its turns.
fn replay(json: &str) -> Result<Replayed, ReplayError> {
    shard::replay::<Diary>(json, |_| Ok(settings()))
}

#[actix::test]
async fn a_behaviour_of_ones_own_replays_its_crashes() {
    let files = Files::new("shown");
    let engine = files.engine(true);
    let mut client = engine.connect("ann").await;
    client.say("note one");
    client.hears(["noted one"]);
    client.say("panic");
    client.hears(["restarted 2 after frame panic"]);
    let texts = files.texts(1).await;
    let file: Value = serde_json::from_str(&texts[0]).expect("json");
    assert_eq!(file["turn"]["behaviour"], "diary");
    assert_eq!(file["turn"]["record"]["notes"], serde_json::json!(["one"]), "the record before the turn");
    assert_eq!(file["turn"]["mail"]["frame"]["text"], "panic");
    let replayed = replay(&texts[0]).expect("a diary's");
    assert_eq!((replayed.outcome(), &replayed.panic), (Outcome::SamePlace, &Some(replayed.file.report())));
    engine.finish().await;
}

#[actix::test]
async fn a_restart_that_crashes_and_a_record_that_cannot_be_unpacked_have_files_too() {
    let files = Files::new("restarts");
    let engine = files.engine(true);
    let mut client = engine.connect("ann").await;
    client.say("panic-twice");
    client.hears(["restarted 4 after nothing, gave up"]);
    let texts = files.texts(3).await;
    for (text, kind) in texts.iter().zip(["frame", "restarted", "restarted"]) {
        let replayed = replay(text).expect("a diary's");
        assert_eq!((&*replayed.file.kind, replayed.outcome()), (kind, Outcome::SamePlace));
    }
    let mut client = engine.connect("ben").await;
    engine.tell(&client, [Words::notice("a note").crashing(1)]);
    assert_eq!(files.texts(4).await.len(), 4);
    client.hears(["restarted 2 after message a note, retried", "a note"]);
    engine.finish().await;
}

#[actix::test]
async fn unless_it_knows_better_all_its_texts_are_hidden() {
    let files = Files::new("hidden");
    let engine = files.engine(false);
    let mut client = engine.connect("ann").await;
    client.say("note Zwiebelkuchen");
    client.hears(["noted Zwiebelkuchen"]);
    client.say("Obst Zwiebelkuchen");
    client.hears(["restarted 2 after frame Obst Zwiebelkuchen"]);
    let texts = files.texts(1).await;
    assert!(!texts[0].contains("Zwiebelkuchen") && !texts[0].contains("Obst"), "{}", texts[0]);
    let file: Value = serde_json::from_str(&texts[0]).expect("json");
    assert_eq!(file["panic"], "no such verb: xxxx");
    assert_eq!(replay(&texts[0]).expect("a diary's").outcome(), Outcome::SamePlace);
    engine.finish().await;
}

fn settings() -> Settings {
    Settings { gate: Barrier::new(1), ..Settings::new(std::sync::mpsc::sync_channel(1).0) }
}

fn turn(seed: u8) -> Turn<Diary> {
    Turn::new(Arc::new(settings()), [seed; 32])
}

fn begin(turn: &mut Turn<Diary>) {
    turn.begin(Now { micros: 0, unix_ms: 0 }, ConnectionId::from_bits(1), 1);
}

#[test]
fn a_turn_draws_the_same_from_its_seed_alone() {
    let mut first = turn(1);
    begin(&mut first);
    let drawn = (first.secret(), first.secret());
    let seed = first.seed().expect("it has drawn");
    assert_ne!(drawn.0, drawn.1);
    let mut again = turn(2);
    begin(&mut again);
    again.reseed(seed);
    assert_eq!((again.secret(), again.secret()), drawn);
}

#[test]
fn each_turn_that_draws_has_a_seed_of_its_own_and_others_have_none() {
    let mut turn = turn(1);
    let mut seeds = Vec::new();
    for _ in 0..3 {
        begin(&mut turn);
        assert_eq!(turn.seed(), None);
        let secret = turn.secret();
        let seed = turn.seed().expect("it has drawn");
        assert_ne!(secret[..], seed[..16], "a secret does not show the seed");
        assert!(!seeds.contains(&seed));
        seeds.push(seed);
    }
    begin(&mut turn);
    assert_eq!(turn.seed(), None);
}

#[test]
fn turns_that_draw_nothing_do_not_move_the_shards_generator() {
    let (mut idle, mut busy) = (turn(1), turn(1));
    for _ in 0..5 {
        begin(&mut idle);
    }
    begin(&mut busy);
    assert_eq!(idle.secret(), busy.secret());
}
