//! A node's shards without threads, kernel and real time: the same cores, hubs and turns as in a server, on simulated
//! wires and a virtual clock, and whoever holds it decides what runs next. Nothing moves by itself, so a program that
//! makes the same calls sees the same things, byte by byte.
//!
//! Only compiled for simulations (feature `simulation`). It decides nothing: scenarios, clients and what must hold are
//! in `tests/simulation`.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
    task::LocalSet,
};

use crate::{
    clock::Clock,
    id::ConnectionId,
    shard::{
        Options, Sockets,
        behaviour::{Behaviour, Hub},
        command::{Act, Census, ConnectionView},
        core::{Core, Parts},
        inbox::Inbox,
        poller::Subject,
        run_queue::Lane,
        socket::Arrival,
        stats::Stats,
        transfer::Letter,
        wires::{Peer, Wires},
    },
    supervision::{self, Beat, CrashReport, Crashes},
    telemetry::Metrics,
};

/// What a simulated node is made from.
pub struct Setup<B: Behaviour> {
    /// How many shards.
    pub shards: u16,
    /// Bounds and policies, as in a server.
    pub options: Options,
    /// What turns may read.
    pub settings: Arc<B::Settings>,
    /// Where shards count.
    pub metrics: Metrics,
    /// A virtual one.
    pub clock: Clock,
    /// Decides everything random in turns.
    pub seed: u64,
}

/// What a shard holds, for looking whether it is back to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Records, parked ones included.
    pub records: usize,
    /// Connections in the run queue.
    pub queued: usize,
    /// Restart budgets that are not fresh.
    pub budgets: usize,
    /// Sockets that wait for their peer's end.
    pub lingering: usize,
    /// Jobs, overdue ones included.
    pub jobs: usize,
    /// Letters that wait.
    pub letters: usize,
}

/// A panic that no turn caught.
#[derive(Debug)]
pub struct Escaped {
    /// Of the panic.
    pub report: CrashReport,
    /// Whose service it broke: a crash of that connection.
    pub serving: Option<ConnectionId>,
}

/// See the module's text.
pub struct Simulation<B: Behaviour> {
    cores: Vec<Core<B, Wires>>,
    sockets: Arc<Sockets>,
    clock: Clock,
    // Before the runtime that its tasks need to end.
    local: LocalSet,
    runtime: Runtime,
}

impl<B: Behaviour> Simulation<B> {
    /// A node in which nothing has happened. `hub` makes the companion of each shard.
    ///
    /// # Errors
    /// When there is no runtime for jobs.
    pub fn new(setup: Setup<B>, hub: impl Fn(u16) -> B::Hub) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let Setup { shards, options, settings, metrics, clock, seed } = setup;
        let sockets = Arc::new(Sockets::default());
        let peers: Arc<[_]> = (0..shards).map(|_| Arc::new(Inbox::new(None))).collect();
        let core = |shard: u16| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes[8..10].copy_from_slice(&shard.to_le_bytes());
            let parts = Parts {
                options: options.clone(),
                settings: Arc::clone(&settings),
                shard,
                clock,
                poller: Wires::new(shard),
                inbox: Arc::clone(&peers[usize::from(shard)]),
                peers: Arc::clone(&peers),
                hub: hub(shard),
                stats: Stats::new::<B>(shard, &metrics),
                crashes: Crashes::default(),
                sockets: Arc::clone(&sockets),
                beat: Arc::new(Beat::default()),
                seed: bytes,
            };
            Core::new(parts, Rc::new(Notify::new()))
        };
        let cores = (0..shards).map(core).collect();
        Ok(Self { cores, sockets, clock, local: LocalSet::new(), runtime })
    }

    /// How many shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.cores.len()
    }

    /// The clock of the whole node.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Places taken, as admission counts them.
    #[must_use]
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// A socket whose handshake is done comes to `shard`; up to `capacity` bytes are kept for its peer to take.
    /// The result is as that of [`Simulation::round`].
    pub fn connect(
        &mut self,
        shard: usize,
        opening: B::Opening,
        unread: Vec<u8>,
        capacity: usize,
    ) -> (Peer, Result<(), Escaped>) {
        let (socket, peer) = Wires::connect(capacity);
        let _admitted = self.sockets.admit(usize::MAX);
        let arrival = Arrival { transport: socket.into(), response: Vec::new(), unread, opening };
        (peer, self.run(shard, |core| core.adopt(arrival)))
    }

    /// Runs one round. `true`: there is more to do at once.
    ///
    /// # Errors
    /// A panic that escaped every turn: the shard has recovered from it as its supervisor would have it do.
    pub fn round(&mut self, shard: usize) -> Result<bool, Escaped> {
        self.run(shard, Core::round)
    }

    /// Passes a tick on to `shard`.
    ///
    /// # Errors
    /// As [`Simulation::round`].
    pub fn tick(&mut self, shard: usize) -> Result<(), Escaped> {
        self.run(shard, |core| core.tick(0.0))
    }

    /// Does something to some connections of `shard`; how many it hit.
    ///
    /// # Errors
    /// As [`Simulation::round`].
    pub fn act(&mut self, shard: usize, act: &Act) -> Result<usize, Escaped> {
        self.run(shard, |core| {
            let targets = core.targets(&act.target);
            let count = targets.len();
            for id in targets {
                core.act(id, act.action);
            }
            count
        })
    }

    /// Restarts a shard as after a panic between two rounds.
    pub fn crash(&mut self, shard: usize) {
        let _context = self.local.enter();
        self.cores[shard].recover();
    }

    fn run<T>(&mut self, shard: usize, work: impl FnOnce(&mut Core<B, Wires>) -> T) -> Result<T, Escaped> {
        let _context = self.local.enter();
        let core = &mut self.cores[shard];
        supervision::catch(|| work(core)).map_err(|report| {
            let serving = core.served();
            core.recover();
            Escaped { report, serving }
        })
    }

    /// Lets jobs go on as far as they can without time.
    pub fn run_jobs(&self) {
        self.local.block_on(&self.runtime, async {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Lets time pass, for jobs too when there are some.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
        if self.cores.iter().any(|core| core.jobs.counts().in_flight > 0) {
            self.local.block_on(&self.runtime, tokio::time::advance(time));
        }
    }

    /// Nothing would happen in `shard` without a client, a tick or another shard.
    #[must_use]
    pub fn is_quiet(&self, shard: usize) -> bool {
        let core = &self.cores[shard];
        let jobs = core.jobs.counts();
        core.poller.is_quiet() && core.inbox.is_empty() && !core.is_busy() && jobs.in_flight + jobs.overdue == 0
    }

    /// A shard's numbers, counted afresh.
    #[must_use]
    pub fn census(&self, shard: usize) -> Census {
        self.cores[shard].census()
    }

    /// What a shard holds.
    #[must_use]
    pub fn traces(&self, shard: usize) -> Traces {
        let core = &self.cores[shard];
        let jobs = core.jobs.counts();
        Traces {
            records: core.table.live(),
            queued: Lane::ALL.map(|lane| core.queue.len(lane)).iter().sum(),
            budgets: core.budgets.len(),
            lingering: core.lingering.len(),
            jobs: jobs.in_flight + jobs.overdue,
            letters: usize::from(!core.inbox.is_empty()),
        }
    }

    /// A connection as operators see it.
    #[must_use]
    pub fn inspect(&self, connection: ConnectionId) -> Option<ConnectionView> {
        let core = self.cores.get(usize::from(connection.shard()))?;
        let slot = core.table.get(core.table.find(connection)?)?;
        Some(core.view(connection, slot))
    }

    /// The connection that has the other end of `peer`'s socket.
    #[must_use]
    pub fn owner(&self, peer: &Peer) -> Option<ConnectionId> {
        match peer.watched()? {
            (shard, Subject::Connection(index)) => self.cores.get(usize::from(shard))?.table.id(index),
            (_, Subject::Lingering(_)) => None,
        }
    }

    /// The companion of a shard.
    #[must_use]
    pub fn hub(&self, shard: usize) -> &B::Hub {
        &self.cores[shard].hub
    }

    /// Writes to the hub of a shard, as the HTTP side does.
    pub fn write(&self, shard: usize, letter: <B::Hub as Hub<B>>::Letter) {
        self.cores[shard].inbox.send(Letter::Hub(letter));
    }
}
