//! The queue and the thread before an engine: answers after the sync, in order, and never by waiting; crashes and ends.

use std::{
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    super::{Engine, Faults, Log, Memory, Options, Outcome, Range, Refused, Store, StoreError, Write},
    Kind, append, for_every_engine,
};
use crate::{
    clock::{Clock, unix_ms},
    telemetry::Metrics,
};

for_every_engine! {
    answers_come_in_the_order_of_the_writes
    nothing_is_acknowledged_or_read_before_the_sync
    a_full_queue_gives_the_write_back_at_once
    a_crash_of_the_engine_costs_its_group_alone
    a_caller_that_panics_costs_nobody_else_the_answer
    closing_commits_what_waits
}

/// As much as a test waits for something that is sure to come.
const PATIENCE: Duration = Duration::from_secs(60);

type Answer = Result<Outcome, StoreError>;

struct Running {
    folder: TempDir,
    faults: Faults,
    store: Store,
    thread: Option<JoinHandle<()>>,
    metrics: Metrics,
    answered: SyncSender<(usize, Answer)>,
    answers: Receiver<(usize, Answer)>,
}

impl Running {
    fn new(kind: Kind, options: Options) -> Self {
        let (folder, faults, metrics) = (tempfile::tempdir().unwrap(), Faults::default(), Metrics::new().unwrap());
        let (path, disk) = (folder.path().to_owned(), faults.clone());
        let make = move || {
            Ok(match kind {
                Kind::Memory => Box::new(Memory::new(disk.clone())) as Box<dyn Engine>,
                Kind::Embedded => Box::new(Log::open(&path, disk.clone(), unix_ms())?),
            })
        };
        let (store, thread) = Store::start(options, Clock::start(), metrics.clone(), make).unwrap();
        let (answered, answers) = sync_channel(10_000);
        Self { folder, faults, store, thread: Some(thread), metrics, answered, answers }
    }

    fn offer(&self, number: usize, write: Write) -> Result<(), Refused> {
        let answered = self.answered.clone();
        self.store.offer(write, Box::new(move |answer| answered.send((number, answer)).unwrap()))
    }

    fn answer(&self) -> (usize, Answer) {
        self.answers.recv_timeout(PATIENCE).unwrap()
    }

    /// Until the thread has taken what was offered: from then on it is busy with it.
    fn taken(&self) {
        while self.store.waiting() > 0 {
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.faults.end();
        self.store.close();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()), "the store's thread panicked");
    }
}

fn answers_come_in_the_order_of_the_writes(kind: Kind) {
    let running = Running::new(kind, Options::default());
    for n in 0..1000 {
        running.offer(n, append(&format!("chat:{}", n % 7), "alice", None, "x")).unwrap();
    }
    for n in 0..1000 {
        let (number, answer) = running.answer();
        let Outcome::Appended(appended) = answer.unwrap() else { panic!("no append") };
        assert_eq!((number, appended.offset as usize), (n, n / 7 + 1));
    }
    assert_eq!(running.metrics.store_commit_seconds.get_sample_count(), 1000);
}

fn nothing_is_acknowledged_or_read_before_the_sync(kind: Kind) {
    let running = Running::new(kind, Options::default());
    running.faults.delay(Duration::from_secs(3600));
    running.offer(1, append("chat:a", "alice", None, "the data")).unwrap();
    running.taken();
    if kind == Kind::Embedded {
        // The bytes are in the file, and still nobody has heard of them.
        let file = running.folder.path().join("00000001.log");
        while !std::fs::read(&file).unwrap().windows(8).any(|bytes| bytes == b"the data") {
            std::thread::yield_now();
        }
    }
    assert_eq!(running.answers.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(running.store.archive().extent("chat:a"), None);
    running.faults.end();
    assert!(running.answer().1.is_ok());
    assert_eq!(running.store.archive().read("chat:a", Range::Newest, 10).unwrap().events.len(), 1);
}

fn a_full_queue_gives_the_write_back_at_once(kind: Kind) {
    let running = Running::new(kind, Options { queue: 3, ..Options::default() });
    running.faults.delay(Duration::from_secs(3600));
    running.offer(0, append("chat:a", "alice", None, "0")).unwrap();
    running.taken();
    for n in 1..=3 {
        running.offer(n, append("chat:a", "alice", None, "x")).unwrap();
    }
    let refused = running.offer(4, append("chat:a", "alice", None, "4")).unwrap_err();
    assert!(matches!(&refused, Refused::Full(write) if *write == append("chat:a", "alice", None, "4")), "{refused:?}");
    running.faults.end();
    for n in 0..=3 {
        assert_eq!(running.answer().0, n);
    }
    running.offer(5, append("chat:a", "alice", None, "5")).unwrap();
    assert!(running.answer().1.is_ok());
}

fn a_crash_of_the_engine_costs_its_group_alone(kind: Kind) {
    let running = Running::new(kind, Options::default());
    running.offer(0, append("chat:a", "alice", Some("k"), "0")).unwrap();
    assert!(running.answer().1.is_ok());
    running.faults.panic_once();
    running.offer(1, append("chat:a", "alice", Some("l"), "1")).unwrap();
    let (_, crashed) = running.answer();
    assert!(matches!(crashed, Err(StoreError::Crashed)), "{crashed:?}");
    running.offer(2, append("chat:a", "alice", Some("l"), "1")).unwrap();
    assert!(running.answer().1.is_ok());
    assert_eq!(running.store.restarts(), 1);
    let page = running.store.archive().read("chat:a", Range::After(0), 10).unwrap();
    // Memory begins anew; on disk the repeated key is there once, whatever became of the first try.
    let expected = if kind == Kind::Memory { 1 } else { 2 };
    assert_eq!(page.events.len(), expected);
}

fn a_caller_that_panics_costs_nobody_else_the_answer(kind: Kind) {
    let running = Running::new(kind, Options::default());
    running.store.offer(append("chat:a", "alice", None, "0"), Box::new(|_| panic!("a caller's bug"))).unwrap();
    running.offer(1, append("chat:a", "alice", None, "1")).unwrap();
    assert!(running.answer().1.is_ok());
    assert_eq!(running.store.restarts(), 0);
}

fn closing_commits_what_waits(kind: Kind) {
    let running = Running::new(kind, Options::default());
    for n in 0..100 {
        running.offer(n, append("chat:a", "alice", None, "x")).unwrap();
    }
    running.store.close();
    assert!(matches!(running.offer(100, append("chat:a", "alice", None, "x")), Err(Refused::Closed(_))));
    for n in 0..100 {
        let (number, answer) = running.answer();
        assert_eq!((number, answer.is_ok()), (n, true));
    }
}
