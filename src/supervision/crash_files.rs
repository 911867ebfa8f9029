//! Writes crash files: a system actor on a thread of its own, so that a slow or full disk costs files and nothing else. Its
//! mailbox is bounded; who finds it full goes without a file, and that is counted.
//!
//! The folder is bounded too: with each new file the oldest go. A file is complete when it has its name: it is written
//! under another one first.

use std::{
    collections::HashMap,
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix::{Actor, Addr, Context, Handler, Message, Supervised};
use actix_rt::ArbiterHandle;
use prometheus::IntCounter;

use super::{BUILD, ChildSpec, Children, CrashFile, CrashReport, Trace, catch};
use crate::id::ConnectionId;

/// Crashes that wait for their file.
const WAITING: usize = 128;
/// Ways to a panic whose names are remembered.
const NAMED: usize = 64;

/// Makes the turn of a crash, fit to be kept; told whether payloads may be shown. May change what the panic said.
pub type Describe = Box<dyn FnOnce(&mut CrashReport, bool) -> Result<serde_json::Value, serde_json::Error> + Send>;

/// What becomes a file.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Draft {
    /// When, unix milliseconds.
    pub at: u64,
    /// Who crashed.
    pub connection: ConnectionId,
    /// What was being handled.
    pub kind: &'static str,
    /// The panic.
    pub report: CrashReport,
    /// The right to a file, and the calls.
    pub trace: Trace,
    /// Makes what the file says of the turn.
    pub turn: Describe,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("connection", &self.connection)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

/// Where and how files are kept.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder; made when the first file is written.
    pub path: PathBuf,
    /// Files in it.
    pub most: usize,
    /// Whether what people wrote is shown.
    pub payloads: bool,
    /// This program, to look up the names of calls in a process of its own; without it they are looked up here.
    pub program: Option<PathBuf>,
}

/// What has become of crashes that could have had a file.
#[derive(Clone, Debug)]
pub struct Counters {
    /// They have one.
    pub written: IntCounter,
    /// There was no time, or the place has had its share.
    pub skipped: IntCounter,
    /// It could not be written.
    pub failed: IntCounter,
}

/// The way to the actor.
#[derive(Clone, Debug)]
pub struct Outbox {
    actor: Addr<CrashFiles>,
    waiting: Arc<AtomicUsize>,
    counters: Counters,
}

impl Outbox {
    /// Sends a draft unless too many wait.
    pub(super) fn offer(&self, draft: Draft) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.actor.try_send(draft).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.skipped();
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < WAITING
    }

    pub(super) fn failed(&self) {
        self.counters.failed.inc();
    }

    pub(super) fn skipped(&self) {
        self.counters.skipped.inc();
    }
}

/// See the module's text.
#[derive(Debug)]
pub struct CrashFiles {
    folder: Folder,
    counters: Counters,
    waiting: Arc<AtomicUsize>,
    /// Files written, for names that differ within a millisecond.
    nth: u64,
    /// Names of the calls that led to crashes: a bug leads the same way again and again.
    named: HashMap<Trace, Vec<String>>,
    /// The disk refused the last one: told once, until it takes one again.
    refused: bool,
}

impl CrashFiles {
    /// What the supervisor lists it as.
    pub const NAME: &str = "crash-files";

    /// Starts the actor of a folder on an arbiter that nothing urgent runs on. Nothing is touched before the first crash.
    #[must_use]
    pub fn start(arbiter: &ArbiterHandle, children: &Children, folder: Folder, counters: Counters) -> Outbox {
        let waiting = Arc::new(AtomicUsize::new(0));
        let outbox = (Arc::clone(&waiting), counters.clone());
        let actor = children.start(arbiter, ChildSpec::system(Self::NAME), move || Self {
            folder,
            counters,
            waiting,
            nth: 0,
            named: HashMap::new(),
            refused: false,
        });
        let (waiting, counters) = outbox;
        Outbox { actor, waiting, counters }
    }

    fn keep(&mut self, draft: Draft) {
        match catch(|| self.describe(draft)) {
            Ok(Ok((file, connection))) => match self.write(&file, connection) {
                Ok(path) => {
                    self.counters.written.inc();
                    self.refused = false;
                    tracing::info!(file = %path.display(), place = &*file.place, "crash file written");
                }
                Err(error) => {
                    self.counters.failed.inc();
                    if !std::mem::replace(&mut self.refused, true) {
                        tracing::warn!(folder = %self.folder.path.display(), %error, "cannot write crash files");
                    }
                }
            },
            Ok(Err(error)) => {
                self.counters.failed.inc();
                tracing::warn!(%error, "a crashed turn cannot be written down");
            }
            Err(report) => {
                self.counters.failed.inc();
                tracing::warn!(place = &*report.place, "writing down a crashed turn crashed too");
            }
        }
    }

    /// What the file will say.
    fn describe(&mut self, draft: Draft) -> Result<(CrashFile, ConnectionId), serde_json::Error> {
        let Draft { at, connection, kind, mut report, trace, turn } = draft;
        let turn = turn(&mut report, self.folder.payloads)?;
        let CrashReport { message, place } = report;
        let file = CrashFile {
            format: CrashFile::FORMAT,
            build: BUILD.to_owned(),
            at,
            kind: kind.to_owned(),
            place,
            panic: message,
            payloads: self.folder.payloads,
            turn,
            backtrace: self.names(trace),
        };
        Ok((file, connection))
    }

    fn names(&mut self, trace: Trace) -> Vec<String> {
        if let Some(names) = self.named.get(&trace) {
            return names.clone();
        }
        let names = match &self.folder.program {
            Some(program) => trace.names_by(program).unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot look up the calls that led to a crash");
                Vec::new()
            }),
            None => trace.names(),
        };
        if self.named.len() >= NAMED {
            self.named.clear();
        }
        self.named.insert(trace, names.clone());
        names
    }

    fn write(&mut self, file: &CrashFile, connection: ConnectionId) -> io::Result<PathBuf> {
        let Folder { path: folder, most, .. } = &self.folder;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        self.nth += 1;
        // Names sort by time.
        let name = format!("{:013}-{:06}-{connection}", file.at, self.nth);
        let (path, draft) = (folder.join(format!("{name}.json")), folder.join(format!("{name}{UNFINISHED}")));
        let written = write_whole(&draft, file).and_then(|()| fs::rename(&draft, &path));
        if let Err(error) = written {
            // Whatever is there is of no use; if there is nothing, all the better.
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        let files = crash_files(folder)?;
        for old in &files[..files.len().saturating_sub(*most)] {
            remove_old(old)?;
        }
        Ok(path)
    }
}

impl Actor for CrashFiles {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(WAITING);
    }
}

impl Supervised for CrashFiles {
    fn restarting(&mut self, _: &mut Self::Context) {
        // Nothing half done is kept here; what was not finished on disk has another name.
        self.refused = false;
    }
}

impl Handler<Draft> for CrashFiles {
    type Result = ();

    fn handle(&mut self, draft: Draft, _: &mut Self::Context) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.keep(draft);
    }
}

fn remove_old(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        // Whoever else tidies the folder was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// What a file is called until it is whole.
const UNFINISHED: &str = ".json.part";

fn write_whole(path: &Path, file: &CrashFile) -> io::Result<()> {
    // For the operator's eyes: even without payloads it names users.
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut json = serde_json::to_vec_pretty(file)?;
    json.push(b'\n');
    out.write_all(&json)
}

/// The crash files of a folder, the oldest first. What others keep there is left alone, and what a process that was
/// killed left half written counts as old.
fn crash_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let ours = name.split_once('-').is_some_and(|(at, _)| at.len() == 13 && at.bytes().all(|b| b.is_ascii_digit()));
        if ours && (name.ends_with(".json") || name.ends_with(UNFINISHED)) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{super::catch_traced, *};

    fn counters() -> Counters {
        let counter = || IntCounter::new("files", "files").expect("a name");
        Counters { written: counter(), skipped: counter(), failed: counter() }
    }

    fn actor(name: &str, most: usize) -> CrashFiles {
        let path = std::env::temp_dir().join(format!("dormouse-crash-files-{name}-{}", std::process::id()));
        // It is only there when an earlier run of the same number was killed.
        let _ = fs::remove_dir_all(&path);
        let folder = Folder { path, most, payloads: false, program: None };
        CrashFiles {
            folder,
            counters: counters(),
            waiting: Arc::default(),
            nth: 0,
            named: HashMap::new(),
            refused: false,
        }
    }

    fn draft(at: u64) -> Draft {
        let turn = |_: &mut CrashReport, payloads: bool| Ok(serde_json::json!({ "payloads": payloads }));
        let report = CrashReport { message: "boom".into(), place: "src/a.rs:1:1".into() };
        let connection = ConnectionId::new(0, 1, 0);
        Draft {
            at,
            connection,
            kind: "frame",
            report,
            trace: Trace::of_text("").expect("no calls"),
            turn: Box::new(turn),
        }
    }

    fn names(actor: &CrashFiles) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&actor.folder.path)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_folder_loses_its_oldest_files_and_nothing_that_is_not_ours() {
        let mut actor = actor("bounded", 3);
        fs::create_dir_all(&actor.folder.path).expect("a folder");
        for name in ["0000000000009-000001-c1.json.part", "0000000000008-000001-c1.json", "notes.json", "1-mine.json"] {
            fs::write(actor.folder.path.join(name), "").expect("written");
        }
        for at in 11..=15 {
            actor.keep(draft(at));
        }
        let kept = ["0000000000013-000003-c1000000.json", "0000000000014-000004-c1000000.json"];
        let kept = kept.into_iter().chain(["0000000000015-000005-c1000000.json", "1-mine.json", "notes.json"]);
        assert_eq!(names(&actor), kept.collect::<Vec<_>>());
        assert_eq!((actor.counters.written.get(), actor.counters.failed.get()), (5, 0));
        let text = fs::read_to_string(actor.folder.path.join("0000000000015-000005-c1000000.json")).expect("a file");
        let file = CrashFile::read(&text).expect("a crash file");
        assert_eq!((file.at, &*file.build, file.turn["payloads"].as_bool()), (15, BUILD, Some(false)));
        assert_eq!(file.report(), draft(0).report);
        fs::remove_dir_all(&actor.folder.path).expect("removed");
    }

    #[test]
    fn nobody_but_the_operator_may_read_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let mut actor = actor("modes", 3);
        actor.keep(draft(1));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let file = actor.folder.path.join(&names(&actor)[0]);
        assert_eq!((mode(&actor.folder.path), mode(&file)), (0o700, 0o600));
        fs::remove_dir_all(&actor.folder.path).expect("removed");
    }

    #[test]
    fn an_old_file_that_somebody_else_removed_is_no_failure() {
        let mut actor = actor("tidied", 1);
        actor.keep(draft(1));
        let old = actor.folder.path.join(&names(&actor)[0]);
        assert!(remove_old(&old).is_ok() && !old.exists());
        assert!(remove_old(&old).is_ok());
        assert!(remove_old(&actor.folder.path).is_err(), "anything else is one");
        fs::remove_dir_all(&actor.folder.path).expect("removed");
    }

    #[test]
    fn a_disk_that_refuses_is_told_once_until_it_takes_a_file_again() {
        let mut actor = actor("refused", 3);
        fs::write(&actor.folder.path, "in the way").expect("written");
        actor.keep(draft(1));
        assert!(actor.refused);
        actor.keep(draft(2));
        assert_eq!((actor.counters.written.get(), actor.counters.failed.get()), (0, 2));
        fs::remove_file(&actor.folder.path).expect("removed");
        actor.keep(draft(3));
        assert!(!actor.refused);
        assert_eq!(actor.counters.written.get(), 1);
        fs::remove_dir_all(&actor.folder.path).expect("removed");
    }

    #[test]
    fn a_turn_that_cannot_be_described_costs_its_own_file() {
        super::super::install();
        let mut actor = actor("poison", 3);
        actor.keep(Draft { turn: Box::new(|_, _| panic!("redacting fails")), ..draft(1) });
        actor.keep(Draft { turn: Box::new(|_, _| serde_json::from_str("{")), ..draft(2) });
        actor.keep(draft(3));
        assert_eq!((actor.counters.written.get(), actor.counters.failed.get()), (1, 2));
        fs::remove_dir_all(&actor.folder.path).expect("removed");
    }

    #[actix_rt::test]
    async fn shards_that_find_the_queue_full_go_without_a_file_and_without_waiting() {
        let clock = crate::clock::Clock::start();
        let arbiter = actix_rt::Arbiter::new();
        // The arbiter's thread is busy until the test has offered more than may wait.
        let (go, gate) = std::sync::mpsc::sync_channel::<()>(1);
        arbiter.spawn_fn(move || assert!(gate.recv().is_ok()));
        let made = actor("queue", WAITING * 2);
        let (folder, counters) = (made.folder.clone(), made.counters.clone());
        let outbox = CrashFiles::start(&arbiter.handle(), &Children::new(clock, 1), folder, counters.clone());
        let crashes = super::super::Crashes::with_files(clock, outbox, 1_000);
        let offered = 2 * WAITING as u64;
        (0..offered).for_each(|at| crashes.file(draft(at)));
        let skipped = counters.skipped.get();
        assert!((WAITING as u64..offered).contains(&skipped), "{skipped}");
        go.send(()).expect("the arbiter waits");
        while counters.written.get() + skipped < offered {
            tokio::task::yield_now().await;
        }
        arbiter.stop();
        arbiter.join().expect("ends");
        fs::remove_dir_all(&made.folder.path).expect("removed");
    }

    #[actix_rt::test]
    async fn one_place_cannot_take_the_share_of_another() {
        let clock = crate::clock::Clock::start();
        let made = actor("share", 2);
        let handle = actix_rt::Arbiter::current();
        let outbox = CrashFiles::start(&handle, &Children::new(clock, 1), made.folder.clone(), made.counters.clone());
        let crashes = super::super::Crashes::with_files(clock, outbox, made.folder.most);
        let taken = (0..1_000).filter(|_| crashes.wants_file("src/a.rs:1:1")).count();
        // Twice the folder at once; some more if the thousand took longer than a second.
        assert!((4..1_000).contains(&taken), "{taken}");
        assert!(crashes.wants_file("src/b.rs:1:1"));
        assert!(made.counters.skipped.get() > 0);
    }

    #[actix_rt::test]
    async fn only_a_turn_takes_a_share_and_brings_its_calls() {
        super::super::install();
        let clock = crate::clock::Clock::start();
        let made = actor("traces", 1);
        let handle = actix_rt::Arbiter::current();
        let outbox = CrashFiles::start(&handle, &Children::new(clock, 1), made.folder.clone(), made.counters.clone());
        super::super::trace_for(&super::super::Crashes::with_files(clock, outbox, made.folder.most));
        let crash = || panic!("boom");
        for _ in 0..20 {
            assert!(catch(crash).is_err());
        }
        let caught = catch_traced(|| {
            assert!(catch(crash).is_err());
            crash();
        });
        let caught = caught.expect_err("it panics");
        let calls = caught.trace.expect("a share is left").names();
        assert!(calls[0].contains("only_a_turn_takes_a_share"), "{calls:?}");
        assert!(catch_traced(crash).is_err_and(|caught| caught.trace.is_some()), "two at once, for a folder of one");
        assert_eq!(made.counters.skipped.get(), 0);
    }
}
