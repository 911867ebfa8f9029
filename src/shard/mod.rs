//! The engine: shards that own connections outright. Each is an actix actor on its own arbiter thread with a table of
//! records, a run queue, one poller and one scratch buffer; it runs turns, commits or discards their effects, and
//! restarts what crashes. It is generic over the actor it runs ([`Behaviour`]) and knows no protocol above WebSocket.
//!
//! Read `behaviour.rs`, `turn.rs`, `table.rs`, then `core.rs` and what it names. Called by `node` (to start), by `http`
//! (to hand sockets over and to ask), by nobody else.

mod actor;
mod anatomy;
mod any_shards;
mod batch;
mod behaviour;
mod command;
mod core;
mod crowd;
mod dummy;
mod evidence;
mod execute;
#[cfg(feature = "simulation")]
pub mod faults;
mod inbox;
mod intake;
mod jobs;
mod ledger;
mod linger;
mod mailbox;
mod network;
mod output;
mod poller;
mod post;
mod probe;
mod replay;
mod rescue;
mod run_queue;
mod shards;
#[cfg(feature = "simulation")]
mod simulation;
mod slowest;
mod socket;
mod stats;
mod stream;
mod survey;
mod sweeper;
mod table;
mod traced;
mod transfer;
mod transport;
mod turn;
#[cfg(feature = "simulation")]
mod wires;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

pub use actor::Shard;
pub use anatomy::{Piece, anatomy};
pub use any_shards::{AnyShards, Asked, act_on_all};
pub use behaviour::{
    Behaviour, Cause, Class, Crash, Description, Fault, Hub, JobFailure, Life, Mail, Payload, Subject, label_index,
};
pub use command::{
    Act, Action, Census, ConnectionView, CrashShard, Inspect, List, Reconfigure, Sort, State, TakeCensus, Target,
};
pub use crowd::{Crowd, CrowdSetup};
pub use evidence::{Evidence, RestoreError, filler, hide};
pub use intake::IntakeLimits;
pub use ledger::{Drop, Ledger};
pub use mailbox::Full;
pub use network::Network;
pub use post::Post;
pub use replay::{Outcome, ReplayError, Replayed, evidence, replay};
pub use shards::{Plan, ReturnAddress, Shards, ShardsGone};
#[cfg(feature = "simulation")]
pub use simulation::{Escaped, Setup, Simulation, Traces};
pub use slowest::SlowTurn;
pub use survey::{Survey, Surveyed, Walk};
pub use transport::{Extra, Transport};
pub use turn::{Job, Seed, Turn, Work};
#[cfg(feature = "simulation")]
pub use wires::{Line, Peer};

use crate::{config::Config, supervision::Policy};

pub use crate::config::OnStall;

/// How often a shard looks at its clockwork: coarse on purpose, nothing finer is needed.
pub const TICK: Duration = Duration::from_millis(50);

/// Bounds and policies of a shard.
#[derive(Clone, Debug)]
pub struct Options {
    /// Messages of one connection served in a row.
    pub budget: usize,
    /// Deliveries a mailbox holds.
    pub mailbox: usize,
    /// Bytes that may wait for a socket before deliveries and requests wait too.
    pub outbox_bytes: usize,
    /// Records kept without a socket.
    pub parked: usize,
    /// Restarts of one connection.
    pub policy: Policy,
    /// Turns longer than this are counted and logged.
    pub turn_warn: Duration,
    /// Turns longer than this have stalled.
    pub turn_stall: Duration,
    /// What follows when a stalled turn returns.
    pub on_stall: OnStall,
    /// The sweeper sees every connection once in this time.
    pub walk: Duration,
    /// What a client may say in a second.
    pub intake: IntakeLimits,
}

impl Options {
    /// The options a configuration asks for.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let shortest = config.heartbeat.interval.min(config.session.identify_within).min(config.session.resume_window);
        Self {
            budget: config.shards.budget,
            mailbox: config.limits.mailbox,
            outbox_bytes: config.limits.outbox_bytes,
            parked: config.limits.max_connections,
            policy: Policy::new(config.supervision.max_restarts, config.supervision.within),
            turn_warn: config.limits.turn_warn,
            turn_stall: config.limits.turn_stall,
            on_stall: config.supervision.on_stall,
            walk: (shortest / 4).min(Duration::from_secs(1)),
            intake: IntakeLimits::new(&config.limits),
        }
    }
}

/// How many sockets the node has, for admission.
#[derive(Debug, Default)]
pub struct Sockets {
    open: AtomicUsize,
    /// Closed ones that have not taken their close frame yet.
    owed: AtomicUsize,
}

impl Sockets {
    /// Takes a place unless `limit` are taken.
    #[must_use]
    pub fn admit(&self, limit: usize) -> bool {
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < limit).then_some(open + 1)).is_ok()
    }

    /// Gives a place back. Saturating: a place given back twice by a defect must not close the node to everybody.
    pub fn closed(&self) {
        let lower = |open: usize| open.checked_sub(1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower).is_err() {
            tracing::error!("more sockets were closed than opened");
        }
    }

    /// Nobody is connected, and everybody who was has been told why not.
    #[must_use]
    pub fn are_gone(&self) -> bool {
        self.open() == 0 && self.owed.load(Ordering::Relaxed) == 0
    }

    /// Places taken.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
