//! What operators and the HTTP side ask of a shard, each an actix message to its actor. They never share a queue with
//! events: letters between hubs go through the inbox.

use std::{rc::Rc, sync::Arc};

use actix::{AsyncContext as _, Handler, Message, MessageResult, WrapFuture as _};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Now,
    id::ConnectionId,
    protocol::close::Close,
    shard::{
        Shard,
        behaviour::{Behaviour, Cause, Description, Fault, Mail},
        core::Core,
        intake::IntakeLimits,
        ledger::Ledger,
        network::Network,
        socket::Arrival,
        table::Slot,
    },
    supervision,
};

/// Make a connection of a socket whose handshake is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Adopt<B: Behaviour>(pub(super) Arrival<B::Opening>);

/// From now on turns read these settings, and clients may say so much.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconfigure<B: Behaviour>(pub Arc<B::Settings>, pub IntakeLimits);

/// Count everything.
#[derive(Message)]
#[rtype(result = "Census")]
pub struct TakeCensus;

/// A shard's numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Census {
    /// Connections with something in memory beyond their record.
    pub awake: usize,
    /// Connections that are a record and a socket.
    pub dormant: usize,
    /// Records without a socket.
    pub parked: usize,
    /// Crashes survived by the actors that live now.
    pub restarts: u64,
    /// Bytes waiting for slow sockets.
    pub outbox_bytes: usize,
    /// Exact at this moment, pending counted afresh.
    pub ledger: Ledger,
}

/// Look at one connection.
#[derive(Message)]
#[rtype(result = "Option<ConnectionView>")]
pub struct Inspect(pub ConnectionId);

/// Look at the first by some order.
#[derive(Message)]
#[rtype(result = "Vec<ConnectionView>")]
pub struct List {
    /// The order.
    pub sort: Sort,
    /// At most so many.
    pub limit: usize,
}

/// Orders for [`List`], each largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Messages waiting.
    #[default]
    Mailbox,
    /// Bytes waiting for the socket.
    Outbox,
    /// Crashes survived.
    Restarts,
    /// Time without a sign of life.
    Idle,
}

impl Sort {
    /// All orders, in the order of their names in the API.
    pub const ALL: [Self; 4] = [Self::Mailbox, Self::Outbox, Self::Restarts, Self::Idle];

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Outbox => "outbox",
            Self::Restarts => "restarts",
            Self::Idle => "idle",
        }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Something is going on.
    Awake,
    /// A record and a socket.
    Dormant,
    /// A record without a socket.
    Parked,
}

/// A connection as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionView {
    /// Its id.
    pub connection: ConnectionId,
    /// Whose it is, once identified.
    pub user: Option<String>,
    /// Which shard owns it.
    pub shard: u16,
    /// What it does.
    pub state: State,
    /// 1 for a fresh actor.
    pub generation: u32,
    /// Crashes survived.
    pub restarts: u32,
    /// Messages waiting.
    pub mailbox: usize,
    /// Bytes waiting for the socket.
    pub outbox_bytes: usize,
    /// Channels.
    pub subscriptions: Vec<String>,
    /// Time since the client last proved life.
    pub idle_ms: u32,
    /// Slot and record.
    pub record_bytes: usize,
    /// The record itself, its secrets hidden, of a connection that was asked for alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<serde_json::Value>,
}

impl ConnectionView {
    /// The number `sort` orders by.
    #[must_use]
    pub fn rank(&self, sort: Sort) -> u64 {
        match sort {
            Sort::Mailbox => self.mailbox as u64,
            Sort::Outbox => self.outbox_bytes as u64,
            Sort::Restarts => u64::from(self.restarts),
            Sort::Idle => u64::from(self.idle_ms),
        }
    }
}

/// Do something to some connections; answers how many it hit.
#[derive(Clone, Debug, Message)]
#[rtype(result = "usize")]
pub struct Act {
    /// To whom.
    pub target: Target,
    /// What.
    pub action: Action,
}

/// Which connections of the shard; only those with a socket are counted or hit, except by id.
#[derive(Clone, Debug)]
pub enum Target {
    /// One.
    Connection(ConnectionId),
    /// These, each once however often it is named.
    Connections(Vec<ConnectionId>),
    /// All of a user.
    User(String),
    /// So many, taken evenly from the table, from a random place on.
    Count(usize),
    /// One of `of` parts of all, over all shards: those whose slot, counted through them, leaves the remainder `nth`.
    Batch {
        /// From 0.
        nth: u32,
        /// At least 1.
        of: u32,
    },
    /// All.
    All,
}

/// What is done to them.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Close with this code; the session is parked.
    Close(Close),
    /// Cut the socket without a word.
    Cut,
    /// Inject a fault into the actor.
    Fault(Fault),
    /// Send `reconnect`.
    Reconnect {
        /// Spread over so many milliseconds.
        after_ms: u64,
    },
    /// Close as each record wants when the node leaves.
    Leave,
}

/// Panic outside every turn.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CrashShard;

impl<B: Behaviour> Handler<Adopt<B>> for Shard<B> {
    type Result = ();

    fn handle(&mut self, Adopt(arrival): Adopt<B>, _: &mut Self::Context) {
        self.core.borrow_mut().adopt(arrival);
        self.work.notify_one();
    }
}

impl<B: Behaviour> Handler<Reconfigure<B>> for Shard<B> {
    type Result = ();

    fn handle(&mut self, Reconfigure(settings, intake): Reconfigure<B>, _: &mut Self::Context) {
        self.core.borrow_mut().reconfigure(settings, intake);
    }
}

impl<B: Behaviour> Handler<TakeCensus> for Shard<B> {
    type Result = MessageResult<TakeCensus>;

    fn handle(&mut self, _: TakeCensus, _: &mut Self::Context) -> Self::Result {
        let mut core = self.core.borrow_mut();
        // Whoever counts now also reads the metrics now: both tell the same moment.
        core.pour();
        MessageResult(core.census())
    }
}

impl<B: Behaviour> Handler<Inspect> for Shard<B> {
    type Result = Option<ConnectionView>;

    fn handle(&mut self, Inspect(id): Inspect, _: &mut Self::Context) -> Self::Result {
        let core = self.core.borrow();
        let slot = core.table.get(core.table.find(id)?)?;
        let record = slot.record.as_ref().and_then(shown::<B>);
        Some(ConnectionView { record, ..core.view(id, slot) })
    }
}

impl<B: Behaviour> Handler<List> for Shard<B> {
    type Result = Vec<ConnectionView>;

    fn handle(&mut self, List { sort, limit }: List, _: &mut Self::Context) -> Self::Result {
        let core = self.core.borrow();
        let now = core.clock.now();
        let ranked = core.table.iter();
        let mut ranked: Vec<_> = ranked
            .filter_map(|(index, slot)| Some((Core::<B>::rank(slot, sort, now), core.table.id(index)?)))
            .collect();
        ranked.sort_unstable_by_key(|&(rank, id)| (std::cmp::Reverse(rank), id));
        ranked.truncate(limit);
        let view = |(_, id): (u64, ConnectionId)| core.table.get(id.index()).map(|slot| core.view(id, slot));
        ranked.into_iter().filter_map(view).collect()
    }
}

impl<B: Behaviour> Handler<Act> for Shard<B> {
    type Result = usize;

    fn handle(&mut self, Act { target, action }: Act, ctx: &mut Self::Context) -> Self::Result {
        let targets = self.core.borrow_mut().targets(&target);
        let count = targets.len();
        if matches!(action, Action::Fault(Fault::Stall(_))) {
            // The answer leaves before the shard is stuck.
            let (core, work) = (Rc::clone(&self.core), Rc::clone(&self.work));
            let stalls = async move {
                for id in targets {
                    core.borrow_mut().act(id, action);
                    work.notify_one();
                    tokio::task::yield_now().await;
                }
            };
            ctx.spawn(stalls.into_actor(self));
            return count;
        }
        let mut core = self.core.borrow_mut();
        for id in targets {
            core.act(id, action);
        }
        self.work.notify_one();
        count
    }
}

impl<B: Behaviour> Handler<CrashShard> for Shard<B> {
    type Result = ();

    fn handle(&mut self, _: CrashShard, ctx: &mut Self::Context) {
        Self::crash(ctx);
    }
}

/// What operators see of a record that may be defective: looking at it must not cost its shard a restart.
fn described<B: Behaviour>(record: &B::Record) -> Description {
    supervision::catch(|| B::describe(record)).unwrap_or_default()
}

/// A record as crash files have it: secrets never reach its serialized form.
fn shown<B: Behaviour>(record: &B::Record) -> Option<serde_json::Value> {
    supervision::catch(|| serde_json::to_value(record).ok()).ok().flatten()
}

fn heap_bytes<B: Behaviour>(record: &B::Record) -> usize {
    supervision::catch(|| B::heap_bytes(record)).unwrap_or_default()
}

impl<B: Behaviour, N: Network> Core<B, N> {
    pub(super) fn census(&self) -> Census {
        let mut census = self.empty_census();
        self.table.iter().for_each(|(_, slot)| Self::count(&mut census, slot));
        census.dormant = self.table.live() - census.parked - census.awake;
        census
    }

    /// What is known before the table is looked at.
    pub(super) fn empty_census(&self) -> Census {
        let mut census = Census { parked: self.table.parked(), ledger: self.ledger, ..Census::default() };
        census.ledger.pending = self.lingering.pending_events();
        census
    }

    /// Counts one slot.
    pub(super) fn count(census: &mut Census, slot: &Slot<B::Record, B::Message, N::Socket>) {
        census.restarts += u64::from(slot.generation - 1);
        if let Some(awake) = &slot.awake {
            census.ledger.pending += awake.outbox.events() + awake.mailbox.pending_events(B::class);
            census.outbox_bytes += awake.outbox.len();
            census.awake += usize::from(slot.socket.is_some());
        }
    }

    pub(super) fn rank(slot: &Slot<B::Record, B::Message, N::Socket>, sort: Sort, now: Now) -> u64 {
        let awake = slot.awake.as_ref();
        match sort {
            Sort::Mailbox => awake.map_or(0, |awake| awake.mailbox.len() as u64),
            Sort::Outbox => awake.map_or(0, |awake| awake.outbox.len() as u64),
            Sort::Restarts => u64::from(slot.generation - 1),
            Sort::Idle => u64::from(now.ms_since(slot.heard_ms)),
        }
    }

    pub(super) fn view(
        &self,
        connection: ConnectionId,
        slot: &Slot<B::Record, B::Message, N::Socket>,
    ) -> ConnectionView {
        let described = slot.record.as_ref().map(described::<B>).unwrap_or_default();
        let state = match (&slot.socket, &slot.awake) {
            (None, _) => State::Parked,
            (Some(_), Some(_)) => State::Awake,
            (Some(_), None) => State::Dormant,
        };
        ConnectionView {
            connection,
            user: described.user,
            shard: self.shard,
            state,
            generation: slot.generation,
            restarts: slot.generation - 1,
            mailbox: slot.awake.as_ref().map_or(0, |awake| awake.mailbox.len()),
            outbox_bytes: slot.awake.as_ref().map_or(0, |awake| awake.outbox.len()),
            subscriptions: described.subscriptions,
            idle_ms: self.clock.now().ms_since(slot.heard_ms),
            record_bytes: size_of_val(slot) + slot.record.as_ref().map_or(0, heap_bytes::<B>),
            record: None,
        }
    }

    pub(super) fn targets(&mut self, target: &Target) -> Vec<ConnectionId> {
        let random = self.turn.random();
        let attached = || {
            let with_socket = self.table.iter().filter(|(_, slot)| slot.socket.is_some());
            with_socket.filter_map(|(index, slot)| Some((self.table.id(index)?, slot)))
        };
        match target {
            Target::Connection(id) => self.table.find(*id).map(|_| *id).into_iter().collect(),
            Target::Connections(ids) => {
                let mut ids: Vec<_> = ids.iter().copied().filter(|id| self.table.find(*id).is_some()).collect();
                ids.sort_unstable();
                ids.dedup();
                ids
            }
            Target::User(user) => attached()
                .filter(|(_, slot)| slot.record.as_ref().and_then(|r| described::<B>(r).user).as_ref() == Some(user))
                .map(|(id, _)| id)
                .collect(),
            Target::All => attached().map(|(id, _)| id).collect(),
            Target::Batch { nth, of } => {
                // Each shard by itself would put its first few into the first few batches: many shards, a burst.
                let place = |id: ConnectionId| u64::from(id.index()) * self.peers.len() as u64 + u64::from(self.shard);
                let is_meant = |id: ConnectionId| place(id).checked_rem((*of).into()) == Some((*nth).into());
                attached().map(|(id, _)| id).filter(|id| is_meant(*id)).collect()
            }
            Target::Count(count) => {
                let all: Vec<_> = attached().map(|(id, _)| id).collect();
                let count = (*count).min(all.len());
                // Without it the same connections would be hit whenever somebody asks for one.
                let first = random as usize % all.len().max(1);
                (0..count).map(|nth| all[(first + nth * all.len() / count) % all.len()]).collect()
            }
        }
    }

    pub(super) fn act(&mut self, id: ConnectionId, action: Action) {
        let Some(index) = self.table.find(id) else { return };
        self.now = self.clock.now();
        match action {
            Action::Close(close) => self.close(index, close),
            Action::Cut => self.detach(index, Cause::Cut),
            Action::Fault(fault) => self.handle(index, Mail::Fault(fault)),
            Action::Reconnect { after_ms } => self.handle(index, Mail::Reconnect { after_ms }),
            Action::Leave => {
                if let Some(record) = self.table.get(index).and_then(|slot| slot.record.as_ref()) {
                    // One that cannot say how it leaves must leave all the same.
                    let close = supervision::catch(|| B::leave(record)).unwrap_or(Close::GOING_AWAY);
                    self.close(index, close);
                }
            }
        }
        self.settle();
    }
}
