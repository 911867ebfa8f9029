//! Writes crash files: a system actor on a thread of its own, so that a slow or full disk costs files and nothing else. Its
//! mailbox is bounded; who finds it full goes without a file, and that is counted.
//!
//! The folder is bounded too: with each new file the oldest go. A file is complete when it has its name: it is written
//! under another one first.

use std::{
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

use super::{BUILD, Children, CrashFile, CrashReport, Policy, Trace, catch};
use crate::id::ConnectionId;

/// Crashes that wait for their file.
const WAITING: usize = 128;

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
    /// The disk refused the last one: told once, until it takes one again.
    refused: bool,
}

impl CrashFiles {
    /// Starts the actor of a folder on an arbiter that nothing urgent runs on. Nothing is touched before the first crash.
    #[must_use]
    pub fn start(arbiter: &ArbiterHandle, children: &Children, folder: Folder, counters: Counters) -> Outbox {
        let waiting = Arc::new(AtomicUsize::new(0));
        let outbox = (Arc::clone(&waiting), counters.clone());
        let actor = children.start(arbiter, "crash-files", Policy::system(), move || Self {
            folder,
            counters,
            waiting,
            nth: 0,
            refused: false,
        });
        let (waiting, counters) = outbox;
        Outbox { actor, waiting, counters }
    }

    fn keep(&mut self, draft: Draft) {
        match catch(|| describe(draft, self.folder.payloads)) {
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
            fs::remove_file(old)?;
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

/// What a file is called until it is whole.
const UNFINISHED: &str = ".json.part";

/// What the file will say.
fn describe(draft: Draft, payloads: bool) -> Result<(CrashFile, ConnectionId), serde_json::Error> {
    let Draft { at, connection, kind, mut report, trace, turn } = draft;
    let turn = turn(&mut report, payloads)?;
    let CrashReport { message, place } = report;
    let file = CrashFile {
        format: CrashFile::FORMAT,
        build: BUILD.to_owned(),
        at,
        kind: kind.to_owned(),
        place,
        panic: message,
        payloads,
        turn,
        backtrace: trace.names().unwrap_or_default(),
    };
    Ok((file, connection))
}

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
