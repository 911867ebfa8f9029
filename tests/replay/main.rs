//! Crash files from end to end: a real server's actor crashes, the file of it is found, and the turn is played again in a
//! fresh process, with its payloads and without.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod client;
mod fixed;
#[expect(dead_code, reason = "shared with the tests of the HTTP API, which need more of it")]
#[path = "../http_api/server.rs"]
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use client::Client;
use server::Server;

/// What a run of `dormouse replay` left behind.
#[derive(Debug)]
struct Replay {
    code: i32,
    said: String,
    warned: String,
}

fn replay(arguments: &[&str]) -> Replay {
    let output = Command::new(env!("CARGO_BIN_EXE_dormouse")).arg("replay").args(arguments).env_clear().output();
    let output = output.expect("the binary runs");
    Replay {
        code: output.status.code().expect("it ends by itself"),
        said: String::from_utf8(output.stdout).expect("text"),
        warned: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A folder for one test, empty at its beginning.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("replay-{name}-{}", std::process::id()));
        // It is only there when an earlier run of the same number was killed.
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn server(&self, settings: &[&str]) -> Server {
        let path = format!("store.path={:?}", self.0);
        Server::start(&[&[&*path, "chaos.enabled=true"], settings].concat())
    }

    fn crashes(&self) -> PathBuf {
        self.0.join("crashes")
    }

    /// The crash files, the oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.crashes()).into_iter().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }

    fn only_file(&self) -> PathBuf {
        let mut files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).expect("a file")).expect("json")
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a plain name")
}

/// Replays a file in a fresh process: the same panic at the same place.
#[track_caller]
fn assert_same_place(file: &Path) {
    let crash = read(file);
    let replayed = replay(&[path(file)]);
    assert_eq!(replayed.code, 0, "{replayed:?}");
    let place = crash["place"].as_str().expect("a place");
    assert!(replayed.said.contains(&format!("at: {place}")), "{replayed:?}");
    assert!(replayed.said.ends_with("same place\n"), "{replayed:?}");
    assert_eq!(replayed.warned, "", "the same build");
}

const CHAOS: &str = r#"{"op":"chaos","id":7,"fault":"panic","note":"a Secret 4711","data":{"wörd":["Secret",42]}}"#;

#[test]
fn a_crashed_request_replays_at_the_same_place_without_what_people_wrote() {
    let folder = Folder::new("hidden");
    let server = folder.server(&[]);
    let mut client = Client::open(&server.url(""), "ann", "chat:lobby");
    client.send(CHAOS);
    client.wait_for("restarted");
    server.log_line("crash file written");
    let file = folder.only_file();
    let (text, crash) = (fs::read_to_string(&file).expect("a file"), read(&file));
    for written in ["Secret", "4711", "wörd", "42]", "note"] {
        assert!(!text.contains(written), "{written} is in {text}");
    }
    assert_eq!(crash["kind"], "frame");
    assert_eq!(crash["panic"], "chaos: asked to panic");
    assert_eq!(crash["turn"]["record"]["identity"]["user"], "ann");
    let frame = crash["turn"]["mail"]["frame"]["text"].as_str().expect("a frame");
    assert_eq!(frame.len(), CHAOS.len());
    assert!(frame.starts_with(r#"{"op":"chaos","id":7,"fault":"panic","xxxx":"#), "{frame}");
    let calls = crash["backtrace"].as_array().expect("a list");
    assert!(calls.iter().any(|call| call.as_str().is_some_and(|call| call.contains("lifecycle"))), "{calls:?}");
    assert_same_place(&file);
}

#[test]
fn with_payloads_a_crash_file_shows_all_but_tokens() {
    let folder = Folder::new("shown");
    let server = folder.server(&["supervision.crash_payloads=true"]);
    let mut client = Client::open(&server.url(""), "ann", "");
    client.send(r#"{"op":"chaos","id":7,"fault":"panic","note":"a Secret 4711","token":"hush-hush"}"#);
    client.wait_for("restarted");
    server.log_line("crash file written");
    let file = folder.only_file();
    let crash = read(&file);
    assert_eq!(
        crash["turn"]["mail"]["frame"]["text"],
        r#"{"op":"chaos","id":7,"fault":"panic","note":"a Secret 4711","token":"xxxxxxxxx"}"#
    );
    assert_eq!(crash["turn"]["record"]["identity"]["secret"], "hidden");
    assert_same_place(&file);
}

#[test]
fn faults_of_operators_replay_in_turns_and_in_wakes() {
    for (place, panic) in [("turn", "chaos: asked to panic"), ("wake", "chaos: asked to panic while waking")] {
        let folder = Folder::new(place);
        let server = folder.server(&[]);
        let mut client = Client::open(&server.url(""), "ann", "");
        let order = format!(r#"{{"fault":"panic","target":{{"count":1}},"where":"{place}"}}"#);
        assert_eq!(server.post("/v1/chaos", &order)["hit"], 1);
        client.wait_for("restarted");
        server.log_line("crash file written");
        let file = folder.only_file();
        assert_eq!(read(&file)["panic"], panic);
        assert_same_place(&file);
    }
}

#[test]
fn crashes_are_listed_with_their_place_and_an_example() {
    let folder = Folder::new("listed");
    let server = folder.server(&[]);
    let mut client = Client::open(&server.url(""), "ann", "");
    for id in 1..=3 {
        client.send(&format!(r#"{{"op":"chaos","id":{id},"fault":"panic"}}"#));
        client.wait_for("restarted");
    }
    let connection = server.connection_of("ann");
    let node = server.get("/v1/node");
    let crashes = node["crashes"].as_array().expect("a list");
    let line = &crashes[0];
    assert_eq!((&line["kind"], &line["count"], &line["connection"]), (&"frame".into(), &3.into(), &connection.into()));
    assert!(line["place"].as_str().is_some_and(|place| place.starts_with("src/connection/lifecycle.rs:")), "{line}");
    assert_eq!(line["panic"], "chaos: asked to panic");
    let (first, last) = (line["first_at"].as_u64(), line["last_at"].as_u64());
    assert!(first <= last && first.is_some_and(|at| at > 1_700_000_000_000), "{line}");
}

#[test]
fn a_writer_that_crashed_writes_the_next_file() {
    let folder = Folder::new("writer");
    let server = folder.server(&[]);
    let killed = r#"{"fault":"panic_actor","target":{"actor":"crash-files"}}"#;
    assert_eq!(server.post("/v1/chaos", killed)["hit"], 1);
    server.log_line("actor=\"crash-files\"");
    let mut client = Client::open(&server.url(""), "ann", "");
    client.send(CHAOS);
    client.wait_for("restarted");
    server.log_line("crash file written");
    assert_same_place(&folder.only_file());
}

#[test]
fn without_crash_files_nothing_is_written() {
    let folder = Folder::new("none");
    let server = folder.server(&["supervision.crash_files=0"]);
    let mut client = Client::open(&server.url(""), "ann", "");
    client.send(CHAOS);
    client.wait_for("restarted");
    let node = server.get("/v1/node");
    assert_eq!(node["crashes"][0]["count"], 1, "the crash is counted all the same");
    assert!(node["actors"].as_array().expect("a list").iter().all(|actor| actor["name"] != "crash-files"), "{node}");
    drop(server);
    assert!(!folder.crashes().exists());
}

#[test]
fn a_folder_that_cannot_be_made_costs_files_and_nothing_else() {
    let folder = Folder::new("refused");
    fs::create_dir_all(&folder.0).expect("a folder");
    fs::write(folder.crashes(), "a file where the folder should be").expect("a file");
    let server = folder.server(&[]);
    let mut client = Client::open(&server.url(""), "ann", "");
    for _ in 0..3 {
        client.send(CHAOS);
        client.wait_for("restarted");
    }
    server.log_line("cannot write crash files");
    let failed = || {
        let mut page = server.request("GET", "/metrics", &[], "");
        let page = page.body_mut().read_to_string().expect("a page");
        page.contains("dormouse_crash_files_total{result=\"failed\"} 3")
    };
    while !failed() {
        std::thread::yield_now();
    }
    client.send(r#"{"op":"heartbeat"}"#);
    client.wait_for("heartbeat_ack");
}

#[test]
fn a_file_that_is_none_is_refused_with_the_reason_and_its_place() {
    let folder = Folder::new("bad");
    fs::create_dir_all(&folder.0).expect("a folder");
    let file = folder.0.join("bad.json");
    let good = include_str!("fixed.json");
    let without = |path: &str| {
        let mut crash: Value = serde_json::from_str(good).expect("json");
        let (parent, field) = path.rsplit_once('/').expect("a path");
        let parent = crash.pointer_mut(parent).and_then(Value::as_object_mut).expect("a parent");
        assert!(parent.remove(field).is_some(), "{path}");
        crash.to_string()
    };
    let cases = [
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("{\n}", "missing field `format` at line 2 column 1"),
        (&*good.replacen("\"format\": 1", "\"format\": 9", 1), "`format` is 9, this program reads 1"),
        (&*without("/turn"), "missing field `turn` at line 1"),
        (&*without("/turn/mail"), "`turn`: missing field `mail`"),
        (&*without("/turn/record/phase"), "`turn`: `record`: missing field `phase`"),
        (&*good.replacen("\"gateway\"", "\"other\"", 1), "`turn.behaviour` is \"other\", \"gateway\" and \"echo\""),
    ];
    for (text, reason) in cases {
        fs::write(&file, text).expect("written");
        let refused = replay(&[path(&file)]);
        assert_eq!((refused.code, &*refused.said), (2, ""), "{refused:?}");
        assert!(refused.warned.starts_with(path(&file)), "{refused:?}");
        assert!(refused.warned.contains(reason), "{reason:?} is not in {refused:?}");
    }
    let missing = replay(&[path(&folder.0.join("missing.json"))]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.warned.starts_with("cannot read "), "{missing:?}");
}

#[test]
fn outcomes_are_told_apart_by_exit_code_and_other_builds_are_warned_about() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay/fixed.json");
    let fixed = replay(&[path(&file)]);
    assert_eq!(fixed.code, 4, "{fixed:?}");
    assert!(fixed.said.starts_with("no panic: it was at src/connection/"), "{fixed:?}");
    assert!(fixed.warned.starts_with("warning: ") && fixed.warned.contains(" is of build "), "{fixed:?}");

    let folder = Folder::new("elsewhere");
    let server = folder.server(&[]);
    let mut client = Client::open(&server.url(""), "ann", "");
    client.send(CHAOS);
    client.wait_for("restarted");
    server.log_line("crash file written");
    let file = folder.only_file();
    let mut crash = read(&file);
    crash["place"] = "src/connection/lifecycle.rs:1:1".into();
    fs::write(&file, crash.to_string()).expect("written");
    let moved = replay(&[path(&file)]);
    assert_eq!(moved.code, 3, "{moved:?}");
    assert!(moved.said.contains("another place: it was src/connection/lifecycle.rs:1:1"), "{moved:?}");
}

#[test]
fn the_test_printed_today_is_the_one_that_runs_here() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay/fixed.json");
    let printed = replay(&[path(&file), "--test"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    let kept = include_str!("fixed.rs");
    let kept = kept.split_once("\n\n").expect("its head, then the test").1;
    assert_eq!(kept, printed.said);
}

#[test]
fn a_printed_test_fails_for_as_long_as_the_turn_panics() {
    let folder = Folder::new("failing");
    let server = folder.server(&[]);
    let mut client = Client::open(&server.url(""), "ann", "");
    client.send(CHAOS);
    client.wait_for("restarted");
    server.log_line("crash file written");
    let text = fs::read_to_string(folder.only_file()).expect("a file");
    let replayed = dormouse::connection::replay(&text).expect("a crash file");
    // What the printed test compares with `None`.
    assert_eq!(replayed.panic, Some(replayed.file.report()));
}
