//! The store as the server holds it, and the thread behind it: takes groups from the queue, commits them, answers. The only
//! user of the engine. Who offers a write gets its outcome through a callback on this thread and must not work there: post a
//! letter, no more.
//!
//! ```text
//! shard ──offer──→ queue ──group──→ engine ──one sync──→ callbacks ──letters──→ shards
//! ```
//! A panic of the engine costs its group, which is answered with [`StoreError::Crashed`]; the engine is opened anew from
//! what is on disk, and everything else in the queue keeps its place. A disk that fails costs no restart: each group tries.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::{
    Archive, Engine, Log, Memory, OpenError, Outcome, Refused, StoreError, Write,
    faults::Faults,
    queue::{Queue, Waiting},
};
use crate::{
    clock::{Clock, unix_ms},
    config,
    telemetry::Metrics,
};

/// Gets the outcome of a write, on the store's thread. Must neither wait nor work.
pub type Done = Box<dyn FnOnce(Result<Outcome, StoreError>) + Send>;

/// Makes the engine, at the start and after a panic.
type Make = Box<dyn FnMut() -> Result<Box<dyn Engine>, OpenError> + Send>;

/// After an engine could not be opened again, the next attempt is not made before this.
const REOPEN_EVERY_MICROS: u64 = 1_000_000;

/// Bounds of the queue and the commit window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `store.commit`.
    pub commit: Duration,
    /// Writes that may wait: about a second of a common disk. More would be answered too late to be of use.
    pub queue: usize,
    /// Their bytes.
    pub queue_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { commit: Duration::from_millis(2), queue: 65_536, queue_bytes: 64 << 20 }
    }
}

/// See the module's text. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    front: Arc<Front>,
}

struct Front {
    queue: Queue,
    archive: RwLock<Arc<dyn Archive>>,
    clock: Clock,
    metrics: Metrics,
    restarts: AtomicU64,
    /// The thread panicked.
    died: AtomicBool,
}

impl Store {
    /// Opens the engine that the configuration names, and starts the thread. The handle is joined after [`Store::close`].
    ///
    /// # Errors
    /// The engine cannot be opened, or the system gives no thread.
    pub fn open(
        config: &config::Store,
        faults: Faults,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<(Self, JoinHandle<()>), OpenError> {
        let options = Options { commit: config.commit, ..Options::default() };
        let (engine, path) = (config.engine, config.path.clone());
        let make = move || -> Result<Box<dyn Engine>, OpenError> {
            Ok(match engine {
                config::Engine::Embedded => Box::new(Log::open(&path, faults.clone(), unix_ms())?),
                config::Engine::Memory => Box::new(Memory::new(faults.clone())),
            })
        };
        Self::start(options, clock, metrics, make)
    }

    /// Starts the thread over any engine; `make` opens it, now and after a panic.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn start(
        options: Options,
        clock: Clock,
        metrics: Metrics,
        mut make: impl FnMut() -> Result<Box<dyn Engine>, OpenError> + Send + 'static,
    ) -> Result<(Self, JoinHandle<()>), OpenError> {
        let engine = make()?;
        let queue = Queue::new(options.queue, options.queue_bytes);
        let archive = RwLock::new(engine.archive());
        let front = Arc::new(Front {
            queue,
            archive,
            clock,
            metrics,
            restarts: AtomicU64::new(0),
            died: AtomicBool::new(false),
        });
        let writer = Writer {
            front: Arc::clone(&front),
            engine: Some(engine),
            make: Box::new(make),
            window: options.commit,
            took: options.commit,
            reopen_at: 0,
        };
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || writer.run());
        Ok((Self { front }, thread.map_err(OpenError::io("start the thread of", "the store"))?))
    }

    /// Hands over a write; `done` gets what came of it. Never waits and never touches the disk. Writes of one caller are
    /// carried out, and answered, in their order.
    ///
    /// # Errors
    /// The queue is full or closed: nothing will be called, the write comes back.
    pub fn offer(&self, write: Write, done: Done) -> Result<(), Refused> {
        self.front.queue.offer(Waiting { write, done, since: self.front.clock.micros() })
    }

    /// The reading side, as of now: after a crash of the engine there is a new one, so it is not to be kept.
    #[must_use]
    pub fn archive(&self) -> Arc<dyn Archive> {
        Arc::clone(&self.front.archive.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.front.queue.len()
    }

    /// How often the engine crashed.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.front.restarts.load(Relaxed)
    }

    /// The thread has ended by a panic: nothing will be answered any more.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.front.died.load(Relaxed)
    }

    /// Takes no more writes; the thread commits those that wait, then ends.
    pub fn close(&self) {
        self.front.queue.close();
    }
}

/// What the thread holds.
struct Writer {
    front: Arc<Front>,
    /// `None` after a panic, until it could be opened again.
    engine: Option<Box<dyn Engine>>,
    make: Make,
    window: Duration,
    /// How long the last commit took.
    took: Duration,
    reopen_at: u64,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.front.died.store(true, Relaxed);
        }
    }
}

impl Writer {
    fn run(mut self) {
        let (mut company, mut untidy) = (1, true);
        loop {
            let patience = untidy.then_some(Duration::ZERO);
            // To wait for company longer than a commit takes costs more than the commit that it saves.
            let window = self.window.min(self.took);
            let Some(group) = self.front.queue.take(company, window, patience) else { return };
            if !group.is_empty() {
                company = group.len();
                self.serve(group);
            }
            untidy = self.tidy();
        }
    }

    fn serve(&mut self, group: Vec<Waiting>) {
        let (mut writes, mut callers) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for Waiting { write, done, since } in group {
            writes.push(write);
            callers.push((done, since));
        }
        let began = self.front.clock.micros();
        let result = self.commit(&writes);
        let now = self.front.clock.micros();
        self.took = Duration::from_micros(now.saturating_sub(began));
        let mut outcomes = result.map(Vec::into_iter);
        for (done, since) in callers {
            let answer = match &mut outcomes {
                Ok(outcomes) => outcomes.next().ok_or(StoreError::Crashed),
                Err(error) => Err(error.clone()),
            };
            if answer.is_ok() {
                self.front.metrics.store_commit_seconds.observe((now - since) as f64 / 1e6);
            }
            // Somebody else's code: its panic must not cost the others their answers.
            if catch_unwind(AssertUnwindSafe(|| done(answer))).is_err() {
                tracing::error!("who waited for a commit crashed on its answer");
            }
        }
    }

    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Outcome>, StoreError> {
        self.reopen()?;
        let Some(engine) = &mut self.engine else { return Err(StoreError::Crashed) };
        match catch_unwind(AssertUnwindSafe(|| engine.commit(writes, unix_ms()))) {
            Ok(result) => result,
            Err(_) => {
                self.crashed();
                Err(StoreError::Crashed)
            }
        }
    }

    /// Whether there is more to tidy.
    fn tidy(&mut self) -> bool {
        let Some(engine) = &mut self.engine else { return false };
        match catch_unwind(AssertUnwindSafe(|| engine.tidy(unix_ms()))) {
            Ok(Ok(more)) => more,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot tidy the store");
                false
            }
            Err(_) => {
                self.crashed();
                false
            }
        }
    }

    /// The engine may be half changed: only what is on disk counts from now on. Its lock goes with it.
    fn crashed(&mut self) {
        self.engine = None;
        self.reopen_at = 0;
        let restarts = self.front.restarts.fetch_add(1, Relaxed) + 1;
        tracing::error!(restarts, "the store crashed, opening it again");
        if let Err(error) = self.reopen() {
            tracing::error!(%error, "cannot open the store again");
        }
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        let now = self.front.clock.micros();
        if self.engine.is_some() {
            return Ok(());
        }
        if now < self.reopen_at {
            return Err(StoreError::unavailable("not open", &io::Error::other("it crashed")));
        }
        self.reopen_at = now + REOPEN_EVERY_MICROS;
        let made = catch_unwind(AssertUnwindSafe(|| (self.make)()));
        let engine = made
            .map_err(|_| StoreError::unavailable("cannot open", &io::Error::other("it crashed")))?
            .map_err(|error| StoreError::unavailable("cannot open", &io::Error::other(error)))?;
        *self.front.archive.write().unwrap_or_else(PoisonError::into_inner) = engine.archive();
        self.engine = Some(engine);
        Ok(())
    }
}
