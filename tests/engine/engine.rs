//! A node of nothing but shards, for one test: started, spoken to, and at the end held to its books.

use std::{
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    time::Duration,
};

use actix_rt::Arbiter;
use dormouse::{
    clock::Clock,
    id::ConnectionId,
    protocol::close::Close,
    shard::{
        Act, Action, Census, ConnectionView, Fault, Inspect, IntakeLimits, Ledger, OnStall, Options, Plan, Shards,
        Sockets, TakeCensus, Target,
    },
    supervision::{self, Children, Counters, CrashFiles, Crashes, Folder, Policy, Stall, Watchdog},
    telemetry::Metrics,
};
use prometheus::IntCounter;
use tokio::sync::oneshot;

use crate::{
    client::{Client, GUARD},
    diary::{Diary, Letter, Settings, Witness, Words},
};

/// Room for everything a test causes before it looks.
const SEEN: usize = 100_000;

/// See the module's text.
pub(crate) struct Engine {
    pub(crate) shards: Shards<Diary>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) children: Children,
    pub(crate) watchdog: Watchdog,
    pub(crate) clock: Clock,
    sockets: Arc<Sockets>,
    seen: Receiver<String>,
    arbiters: Vec<Arbiter>,
}

/// Bounds wide enough that a test meets only those it narrows.
pub(crate) fn options() -> Options {
    Options {
        parked: 1_000_000,
        budget: 16,
        mailbox: 1024,
        outbox_bytes: 256 * 1024,
        policy: Policy::new(1_000, Duration::from_secs(3_600)),
        turn_warn: Duration::from_secs(3_600),
        turn_stall: Duration::from_secs(3_600),
        on_stall: OnStall::Restart,
        walk: Duration::from_millis(50),
        intake: IntakeLimits::default(),
    }
}

impl Engine {
    pub(crate) fn start(count: usize) -> Self {
        Self::with(count, options())
    }

    pub(crate) fn with(count: usize, options: Options) -> Self {
        Self::with_crash_files(count, options, None)
    }

    /// As [`Engine::with`], and crash files are written into `folder`.
    pub(crate) fn with_crash_files(count: usize, options: Options, folder: Option<Folder>) -> Self {
        supervision::install();
        let clock = Clock::start();
        let mut arbiters: Vec<Arbiter> = (0..count).map(|_| Arbiter::new()).collect();
        let (sockets, children) = (Arc::new(Sockets::default()), Children::new(clock, 1));
        let watchdog = Watchdog::unattended(options.turn_stall);
        let shard_arbiters = arbiters.iter().map(Arbiter::handle).collect();
        let crashes = folder.map_or_else(Crashes::default, |folder| {
            let counter = || IntCounter::new("files", "files").expect("a name");
            let counters = Counters { written: counter(), skipped: counter(), failed: counter() };
            let (arbiter, most) = (Arbiter::new(), folder.most);
            let outbox = CrashFiles::start(&arbiter.handle(), &children, folder, counters);
            arbiters.push(arbiter);
            Crashes::with_files(clock, outbox, most)
        });
        let plan = Plan {
            arbiters: shard_arbiters,
            name: "shard",
            parts: Vec::new(),
            options,
            clock,
            metrics: Metrics::new().expect("metrics"),
            sockets: Arc::clone(&sockets),
            children: children.clone(),
            watchdog: watchdog.clone(),
            crashes,
        };
        let (told, seen) = sync_channel(SEEN);
        let settings = Arc::new(Settings::new(told.clone()));
        let shards = Shards::start(plan, Arc::clone(&settings), move |_, _| Witness { seen: told.clone() });
        let shards = shards.expect("pollers");
        Self { shards, settings, children, watchdog, clock, sockets, seen, arbiters }
    }

    /// A connection, adopted by the next shard in turn and greeted.
    pub(crate) async fn connect(&self, name: &str) -> Client {
        self.connect_saying(name, Vec::new()).await
    }

    /// As [`Engine::connect`]; `unread` came right behind the handshake.
    pub(crate) async fn connect_saying(&self, name: &str, unread: Vec<u8>) -> Client {
        self.connect_silently(name, unread).await.greeted(name)
    }

    /// As [`Engine::connect_saying`], without waiting for a greeting.
    pub(crate) async fn connect_silently(&self, name: &str, unread: Vec<u8>) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (server, _) = listener.accept().expect("accepts");
        server.set_nonblocking(true).expect("nonblocking");
        server.set_nodelay(true).expect("no delay");
        client.set_nodelay(true).expect("no delay");
        assert!(self.sockets.admit(usize::MAX));
        self.shards.adopt(server.into(), Vec::new(), unread, name.to_owned()).await.expect("the shard runs");
        Client::new(client)
    }

    /// Messages beyond the mailbox's bound.
    pub(crate) fn tell(&self, to: &Client, words: impl IntoIterator<Item = Words>) {
        self.write(to.id.shard(), Letter::Tell(to.id, words.into_iter().collect()));
    }

    /// Messages within it; how many came back.
    pub(crate) async fn offer(&self, to: ConnectionId, words: impl IntoIterator<Item = Words>) -> usize {
        let (answer, refused) = oneshot::channel();
        self.write(to.shard(), Letter::Offer(to, words.into_iter().collect(), answer));
        refused.await.expect("the hub answers")
    }

    pub(crate) fn write(&self, shard: u16, letter: Letter) {
        assert!(self.shards.write(shard, letter).is_ok(), "the shard has room");
    }

    pub(crate) async fn act(&self, connection: ConnectionId, action: Action) -> usize {
        let act = Act { target: Target::Connection(connection), action };
        self.shards.ask(connection.shard(), act).await.expect("the shard runs")
    }

    pub(crate) async fn inspect(&self, connection: ConnectionId) -> Option<ConnectionView> {
        self.shards.ask(connection.shard(), Inspect(connection)).await.expect("the shard runs")
    }

    /// All shards together. Each shard's books must balance whenever they are read: it reads them between turns.
    pub(crate) async fn census(&self) -> Census {
        let mut sum = Census::default();
        for census in self.shards.ask_all(|| TakeCensus).await.expect("the shards run") {
            assert!(census.ledger.balances(), "{:?}", census.ledger);
            sum.awake += census.awake;
            sum.dormant += census.dormant;
            sum.parked += census.parked;
            sum.restarts += census.restarts;
            sum.outbox_bytes += census.outbox_bytes;
            sum.ledger.add(&census.ledger);
        }
        sum
    }

    /// Waits for a state of the shards.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Census) -> bool) -> Census {
        let waiting = async {
            loop {
                let census = self.census().await;
                if wanted(&census) {
                    return census;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(GUARD, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// Makes a fault that does what a client would say, also while the connection is held.
    pub(crate) async fn fault(&self, connection: ConnectionId, words: &str) {
        self.settings.faults.lock().expect("not poisoned").push(words.to_owned());
        assert_eq!(self.act(connection, Action::Fault(Fault::StallInJob(Duration::ZERO))).await, 1);
    }

    /// Holds a turn that has reached the gate until the watchdog calls it stuck; the caller lets it go by the gate.
    pub(crate) async fn stalled(&self) -> Vec<Stall> {
        loop {
            let found = self.watchdog.look(self.clock.micros());
            if !found.is_empty() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The next line the hubs or the jobs have told.
    pub(crate) fn seen(&self) -> String {
        self.seen.recv_timeout(GUARD).expect("something is seen")
    }

    /// What has been told and not been looked at.
    pub(crate) fn unseen(&self) -> Vec<String> {
        self.seen.try_iter().collect()
    }

    /// Closes what is open and closes the books: no event pending, no socket counted that is not there.
    pub(crate) async fn finish(mut self) -> Ledger {
        let closing = || Act { target: Target::All, action: Action::Close(Close::GOING_AWAY) };
        let all_closed = |census: &Census| census.awake + census.dormant == 0 && census.ledger.pending == 0;
        let closed = async {
            loop {
                // Asked again and again: a socket on its way to another shard is nowhere when that shard is asked.
                self.shards.ask_all(closing).await.expect("the shards run");
                let census = self.census().await;
                if all_closed(&census) {
                    return census;
                }
                tokio::task::yield_now().await;
            }
        };
        let census = tokio::time::timeout(GUARD, closed).await.expect("everything is closed");
        assert_eq!(self.sockets.open(), 0, "a socket was counted in and not out");
        self.stop();
        census.ledger
    }

    fn stop(&mut self) {
        for arbiter in self.arbiters.drain(..) {
            arbiter.stop();
            arbiter.join().expect("the shard's thread ends");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for arbiter in self.arbiters.drain(..) {
            // Not joined: after a failure its thread may be stalled.
            arbiter.stop();
        }
    }
}
