//! The heart of a shard, free of actix and of the runtime: its table, its queues and one round of work.
//!
//! A round takes what the poller and the inbox hold, then serves some ready connections. It never waits. The actor in
//! `actor.rs` calls it whenever the poller's descriptor is ready, a job has ended or a tick has passed. How a turn runs,
//! commits and crashes is in `execute.rs`; how bytes come and go in `stream.rs`; how sockets come and go in `socket.rs`.

use std::{collections::HashMap, io, rc::Rc, sync::Arc};

use tokio::sync::Notify;

use crate::{
    clock::{Clock, Now},
    id::ConnectionId,
    protocol::close::Close,
    shard::{
        Options, Sockets,
        behaviour::{Behaviour, Hub, Mail},
        execute::Next,
        inbox::{self, Inbox, Inboxes},
        intake::{Intake, IntakeLimits, Verdict},
        jobs::{Finished, Jobs},
        ledger::Ledger,
        linger::Lingering,
        network::Network,
        poller::{Poller, Subject},
        post::{Post, Spare},
        probe::Probe,
        rescue::{InHand, Net, Rescued},
        run_queue::{Lane, Place, RunQueue},
        slowest::Slowest,
        stats::Stats,
        sweeper::Sweeper,
        table::Table,
        traced::Traced,
        transfer::Letter,
        turn::Turn,
    },
    supervision::{self, Beat, Budget, Crashes, Fingerprints},
    websocket::Reader,
};

/// One read takes at most this much; what a burst leaves waits in the kernel.
const SCRATCH: usize = 16 * 1024;
/// Connections of a lane served before the poller is asked again.
const SERVED_PER_ROUND: usize = 256;
/// Records fetched together before they are served one by one.
const AHEAD: usize = 16;

/// A shard's state. Lives on one thread, outside its actor: a restart of the actor finds everything as it was.
pub(super) struct Core<B: Behaviour, N: Network = Poller> {
    pub(super) options: Options,
    pub(super) settings: Arc<B::Settings>,
    pub(super) shard: u16,
    pub(super) clock: Clock,
    pub(super) now: Now,
    pub(super) table: Table<B::Record, B::Message, N::Socket>,
    pub(super) queue: RunQueue,
    pub(super) spare: Spare<B::Message>,
    pub(super) poller: N,
    pub(super) lingering: Lingering<N::Socket>,
    pub(super) inbox: Arc<Inbox<Letter<B, N>>>,
    pub(super) peers: Inboxes<Letter<B, N>>,
    pub(super) hub: B::Hub,
    pub(super) turn: Turn<B>,
    pub(super) jobs: Jobs<B>,
    pub(super) budgets: HashMap<u32, Budget>,
    pub(super) ledger: Ledger,
    pub(super) stats: Stats,
    pub(super) slowest: Slowest,
    pub(super) probe: Probe,
    pub(super) traced: Traced,
    /// What the turns of a batch handled; kept for its memory.
    pub(super) labels: Vec<usize>,
    pub(super) crashes: Crashes,
    pub(super) sockets: Arc<Sockets>,
    pub(super) scratch: Vec<u8>,
    pub(super) sweeper: Sweeper,
    pub(super) intake: Intake,
    pub(super) beat: Arc<Beat>,
    /// A socket whose turn asked for its transfer, until the service loop has gathered what belongs to it.
    pub(super) moving: Option<(ConnectionId, B::Ticket)>,
    closes: Vec<(ConnectionId, Close)>,
    /// New connections whose first words wait for an answer, see [`Core::uncork`].
    pub(super) corked: Vec<ConnectionId>,
    /// The turn that has just been refused its commit had stalled.
    pub(super) stalled: bool,
    /// Letters of the last batch not yet handled, the next one last; they outlive a panic.
    letters: Vec<Letter<B, N>>,
    /// Results of the last batch not yet handled, the next one last; they outlive a panic too.
    ended: Vec<Finished<B::Done>>,
    /// Whom the shard serves at this moment, and what of him a panic would leave, for [`Core::recover`].
    pub(super) serving: Option<ConnectionId>,
    pub(super) net: Net<B>,
}

/// What a shard is built from.
pub(super) struct Parts<B: Behaviour, N: Network = Poller> {
    pub(super) options: Options,
    pub(super) settings: Arc<B::Settings>,
    pub(super) shard: u16,
    pub(super) clock: Clock,
    pub(super) poller: N,
    pub(super) inbox: Arc<Inbox<Letter<B, N>>>,
    pub(super) peers: Inboxes<Letter<B, N>>,
    pub(super) hub: B::Hub,
    pub(super) stats: Stats,
    pub(super) crashes: Crashes,
    pub(super) sockets: Arc<Sockets>,
    pub(super) beat: Arc<Beat>,
    pub(super) seed: [u8; 32],
}

/// Borrows the parts of a core that a hub may touch, beside the hub itself.
macro_rules! post {
    ($core:expr) => {
        Post {
            now: $core.now,
            shard: $core.shard,
            capacity: $core.options.mailbox,
            table: &mut $core.table,
            queue: &mut $core.queue,
            spare: &mut $core.spare,
            clock: $core.clock,
            probe: &mut $core.probe,
            traced: &mut $core.traced,
            ledger: &mut $core.ledger,
            closes: &mut $core.closes,
            peers: &$core.peers,
        }
    };
}

impl<B: Behaviour, N: Network> Core<B, N> {
    pub(super) fn new(parts: Parts<B, N>, job_ended: Rc<Notify>) -> Self {
        Self {
            turn: Turn::new(Arc::clone(&parts.settings), parts.seed),
            table: Table::new(parts.shard),
            queue: RunQueue::default(),
            spare: Spare::default(),
            lingering: Lingering::default(),
            jobs: Jobs::new(job_ended),
            budgets: HashMap::new(),
            ledger: Ledger::default(),
            slowest: Slowest::default(),
            probe: Probe::default(),
            traced: Traced::default(),
            labels: Vec::new(),
            scratch: vec![0; SCRATCH],
            sweeper: Sweeper::default(),
            intake: Intake::new(parts.options.intake),
            moving: None,
            closes: Vec::new(),
            corked: Vec::new(),
            stalled: false,
            letters: Vec::new(),
            ended: Vec::new(),
            serving: None,
            net: Net::default(),
            now: parts.clock.now(),
            options: parts.options,
            settings: parts.settings,
            shard: parts.shard,
            clock: parts.clock,
            poller: parts.poller,
            inbox: parts.inbox,
            peers: parts.peers,
            hub: parts.hub,
            stats: parts.stats,
            crashes: parts.crashes,
            sockets: parts.sockets,
            beat: parts.beat,
        }
    }

    /// From the next turn on.
    pub(super) fn reconfigure(&mut self, settings: Arc<B::Settings>, intake: IntakeLimits) {
        self.turn.reconfigure(Arc::clone(&settings));
        self.settings = settings;
        self.intake.set_limits(intake);
    }

    /// One round; `true` when there is more to do at once.
    pub(super) fn round(&mut self) -> bool {
        self.now = self.clock.now();
        if self.scratch.len() < SCRATCH {
            // A panic took it along.
            self.scratch = vec![0; SCRATCH];
        }
        let more_events = self.poll().unwrap_or_else(|error| {
            tracing::error!(shard = self.shard, %error, "poller failed");
            false
        });
        self.read_letters();
        self.finish_jobs();
        for lane in Lane::ALL {
            for served in 0..self.queue.len(lane).min(SERVED_PER_ROUND) {
                if served % AHEAD == 0 {
                    self.look_ahead(lane);
                }
                let Some(index) = self.queue.pop(lane) else { break };
                if !self.table.get_mut(index).is_some_and(|slot| slot.place.take(lane)) {
                    continue;
                }
                self.serving = self.table.id(index);
                #[cfg(feature = "simulation")]
                super::faults::between();
                self.serve(index);
                self.serving = None;
                self.settle();
            }
        }
        more_events || !self.queue.is_empty()
    }

    /// Reads a little of each record that is served next. In a large table none of them is in a cache: read right after each
    /// other they come from memory together, while in its turn each would be waited for.
    fn look_ahead(&self, lane: Lane) {
        let next = self.queue.first(lane, AHEAD).filter_map(|index| self.table.get(index)?.record.as_ref());
        std::hint::black_box(next.map(B::heap_bytes).sum::<usize>());
    }

    fn poll(&mut self) -> io::Result<bool> {
        let Self { poller, table, queue, lingering, scratch, ledger, .. } = self;
        let more = poller.take(|ready| match ready.subject {
            Subject::Connection(index) => {
                let Some(slot) = table.get_mut(index) else { return };
                slot.readable |= ready.readable;
                slot.ended |= ready.ended;
                if ready.readable {
                    queue.push_heard(index, &mut slot.place);
                    return;
                }
                let waits = slot.awake.as_ref().is_some_and(|awake| !awake.corked && !awake.outbox.is_empty());
                if slot.readable || waits {
                    queue.push(index, &mut slot.place);
                }
            }
            Subject::Lingering(number) => lingering.ready(number, scratch, ledger),
        });
        lingering.watch_unread(poller, ledger);
        more
    }

    fn read_letters(&mut self) {
        // Not empty only after a panic in the middle of a batch: its rest goes before what came later.
        if self.letters.is_empty() {
            self.inbox.take(&mut self.letters);
            self.letters.reverse();
        }
        while let Some(letter) = self.letters.pop() {
            match letter {
                Letter::Hub(letter) => self.with_hub(|hub, post| hub.letter(letter, post)),
                Letter::Transfer(transfer) => {
                    self.settle();
                    self.receive_transfer(*transfer);
                }
            }
            if !self.closes.is_empty() {
                self.settle();
            }
        }
        self.settle();
    }

    fn finish_jobs(&mut self) {
        if self.ended.is_empty() {
            self.ended = self.jobs.take_finished();
            self.ended.reverse();
        }
        while let Some((owner, result)) = self.ended.pop() {
            if let Err(failure) = &result {
                self.job_failed(owner, failure);
            }
            let Some(index) = self.table.find(owner) else { continue };
            let mut hand = InHand { held: Some(Rescued::Job(result)), net: Rc::clone(&self.net) };
            if let Some(Rescued::Job(result)) = &hand.held {
                self.handle(index, Mail::Job(result.as_ref()));
            }
            hand.held = None;
        }
    }

    /// Runs one turn outside the mailbox and sees its effects through.
    pub(super) fn handle(&mut self, index: u32, mail: Mail<'_, B>) {
        self.serving = self.table.id(index);
        if self.run(index, mail, false) == Next::Move {
            self.send_transfer(index, Reader::default(), Vec::new());
        }
        self.finish(index);
        self.serving = None;
        self.settle();
    }

    /// Lets the hub work. A panic of it is counted and told, and costs what it was doing and nothing else: on its way up it
    /// would take along what has been read and not served, and spend the restart budget of the whole shard.
    fn with_hub(&mut self, work: impl FnOnce(&mut B::Hub, &mut Post<'_, B, N>)) {
        if let Err(report) = supervision::catch(|| work(&mut self.hub, &mut post!(self))) {
            let place = &*report.place;
            let listed = self.crashes.record(&report, "hub", None, self.now.unix_ms);
            if self.stats.crash(if listed { place } else { Fingerprints::OTHER }) {
                tracing::error!(shard = self.shard, kind = "hub", place, panic = %report.own_words(), "hub crashed, going on");
            }
            if let Err(report) = supervision::catch(|| self.hub.crashed(&mut post!(self))) {
                self.defective("hub after a crash", &report);
            }
        }
    }

    /// Gives a committed turn's ask to the hub.
    pub(super) fn ask(&mut self, from: ConnectionId, ask: B::Ask) {
        self.with_hub(|hub, post| hub.ask(from, ask, post));
    }

    /// Tells the hub that a mailbox which had overflowed is empty again.
    pub(super) fn drained(&mut self, connection: ConnectionId) {
        self.with_hub(|hub, post| hub.drained(connection, post));
    }

    /// Hands out what the hub has gathered, and closes what it wants closed.
    pub(super) fn settle(&mut self) {
        if self.hub.has_more() {
            self.with_hub(|hub, post| hub.hand_out(post));
        }
        while let Some((connection, close)) = self.closes.pop() {
            if let Some(index) = self.table.find(connection) {
                self.close(index, close);
            }
        }
    }

    /// Time passes: heartbeats, expiries, the hub's own clockwork, metrics. `late`: seconds since this tick was due.
    pub(super) fn tick(&mut self, late: f64) {
        self.now = self.clock.now();
        self.sweep();
        self.uncork();
        self.read_again();
        self.lingering.sweep(self.now, &mut self.ledger);
        self.with_hub(|hub, post| hub.tick(post));
        self.settle();
        self.forget_spent_budgets();
        self.slowest.tick(self.now);
        self.probe.tick(self.now);
        self.traced.tick(self.now);
        if self.queue.is_empty() {
            self.spare.clear();
            self.queue.shrink();
            self.turn.output.shrink();
            self.labels = Vec::new();
            self.corked.shrink_to(inbox::KEEP);
            self.inbox.shrink();
            if self.letters.is_empty() && self.letters.capacity() > inbox::KEEP {
                self.letters = Vec::new();
            }
        }
        self.stats.lag(late);
        self.pour();
    }

    /// Goes on with those who had said enough for one second, but for those who never have.
    fn read_again(&mut self) {
        for verdict in self.intake.turn_over(self.now) {
            match verdict {
                Verdict::GoOn(index) => {
                    if let Some(slot) = self.table.get_mut(index) {
                        self.queue.push(index, &mut slot.place);
                    }
                }
                Verdict::Close(index) => self.close(index, Close::RATE_LIMITED),
            }
        }
    }

    /// Brings the node's metrics up to date with this shard.
    pub(super) fn pour(&mut self) {
        self.stats.wakes.inc_by(std::mem::take(&mut self.spare.woken));
        self.stats.pour(&self.ledger, self.jobs.counts());
    }

    /// Whoever may have something to do is in the queue.
    pub(super) fn queue_everybody(&mut self) {
        self.queue = RunQueue::default();
        for index in 0..self.table.span() {
            if let Some(slot) = self.table.get_mut(index) {
                slot.place = Place::default();
                slot.readable |= slot.socket.is_some();
                if slot.readable || slot.awake.is_some() {
                    self.queue.push(index, &mut slot.place);
                }
            }
        }
    }

    /// Whom a round is serving.
    #[cfg(feature = "simulation")]
    pub(super) fn served(&self) -> Option<ConnectionId> {
        self.serving
    }

    /// Connections wait for their turn.
    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    fn forget_spent_budgets(&mut self) {
        let (now, policy) = (self.now.ms(), &self.options.policy);
        self.budgets.retain(|_, budget| !budget.is_fresh(now, policy));
    }
}
