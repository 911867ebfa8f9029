//! All shards of one kind, as the rest of the node holds them: start them, hand them sockets, ask them, write to their
//! hubs. Cheap to clone; the shards themselves live on their arbiters.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix::{Addr, Handler, Message, dev::ToEnvelope};
use actix_rt::ArbiterHandle;
use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::{
    clock::Clock,
    id::ConnectionId,
    shard::{
        Options, Shard, Sockets,
        behaviour::{Behaviour, Hub},
        command::Adopt,
        core::{Core, Parts},
        inbox::Inbox,
        mailbox::Full,
        poller::Poller,
        socket::Arrival,
        stats::Stats,
        transfer::Letter,
        transport::Transport,
    },
    supervision::{self, ChildSpec, Children, Crashes, Part, Policy, Restart, Watchdog},
    telemetry::Metrics,
};

/// What shards are started with.
pub struct Plan {
    /// One shard on each.
    pub arbiters: Vec<ArbiterHandle>,
    /// First part of the actors' names: `shard` makes `shard-0` …
    pub name: &'static str,
    /// What runs inside each, for the drawing of the tree.
    pub parts: Vec<Part>,
    /// Bounds and policies.
    pub options: Options,
    /// Shared by everything that shows times.
    pub clock: Clock,
    /// Where shards count.
    pub metrics: Metrics,
    /// Places for sockets.
    pub sockets: Arc<Sockets>,
    /// Where the actors are listed.
    pub children: Children,
    /// Looks at every shard's turns.
    pub watchdog: Watchdog,
    /// Where crashes are counted and written down.
    pub crashes: Crashes,
}

/// The shards no longer run: the node is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is shutting down")]
pub struct ShardsGone;

/// See the module's text.
pub struct Shards<B: Behaviour> {
    handles: Arc<[Handle<B>]>,
    next: Arc<AtomicUsize>,
}

struct Handle<B: Behaviour> {
    address: Addr<Shard<B>>,
    inbox: Arc<Inbox<Letter<B>>>,
}

/// Where answers to the errands of one hub are sent, from any thread.
pub struct ReturnAddress<B: Behaviour> {
    inbox: Arc<Inbox<Letter<B>>>,
}

impl<B: Behaviour> ReturnAddress<B> {
    /// Never refused: only for what comes of an errand, and as often as the hub has sent one.
    pub fn send(&self, letter: <B::Hub as Hub<B>>::Letter) {
        self.inbox.send(Letter::Hub(letter));
    }
}

impl<B: Behaviour> Clone for Shards<B> {
    fn clone(&self) -> Self {
        Self { handles: Arc::clone(&self.handles), next: Arc::clone(&self.next) }
    }
}

impl<B: Behaviour> Shards<B> {
    /// Starts one shard on each arbiter; all turns may read `settings`, `hub` makes the companion of the shard with the given number, on its thread.
    ///
    /// # Errors
    /// When the kernel gives no poller.
    pub fn start(
        plan: Plan,
        settings: Arc<B::Settings>,
        hub: impl Fn(u16, ReturnAddress<B>) -> B::Hub + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let mut pollers = Vec::new();
        let mut inboxes = Vec::new();
        for _ in &plan.arbiters {
            let (poller, waker) = Poller::new()?;
            pollers.push(poller);
            inboxes.push(Arc::new(Inbox::new(Some(waker))));
        }
        let peers: Arc<[_]> = inboxes.into();
        let mut handles = Vec::new();
        for ((number, arbiter), poller) in plan.arbiters.iter().enumerate().zip(pollers) {
            let shard = number as u16;
            let name = format!("{}-{shard}", plan.name);
            let beat = plan.watchdog.watch(&name);
            let parts = plan.parts.clone();
            let spec = ChildSpec { restart: Restart::Permanent, parts, ..ChildSpec::transient(name, Policy::shard()) };
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(io::Error::other)?;
            let (options, settings, metrics) = (plan.options.clone(), Arc::clone(&settings), plan.metrics.clone());
            let (clock, sockets, peers_of) = (plan.clock, Arc::clone(&plan.sockets), Arc::clone(&peers));
            let (hub, inbox) = (hub.clone(), Arc::clone(&peers[number]));
            let crashes = plan.crashes.clone();
            let make = move || {
                supervision::trace_for(&crashes);
                let parts = Parts {
                    stats: Stats::new::<B>(shard, &metrics),
                    crashes,
                    hub: hub(shard, ReturnAddress { inbox: Arc::clone(&inbox) }),
                    options,
                    settings,
                    shard,
                    clock,
                    poller,
                    inbox,
                    peers: peers_of,
                    sockets,
                    beat,
                    seed,
                };
                let work = Rc::new(Notify::new());
                Shard::new(Rc::new(RefCell::new(Core::new(parts, Rc::clone(&work)))), work)
            };
            let address = plan.children.start(arbiter, spec, make);
            handles.push(Handle { address, inbox: Arc::clone(&peers[number]) });
        }
        Ok(Self { handles: handles.into(), next: Arc::default() })
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// Hands a socket to the next shard in turn. `response`: what the client is still owed by the handshake.
    ///
    /// # Errors
    /// [`ShardsGone`] when the node is ending; the socket is closed.
    pub async fn adopt(
        &self,
        transport: Transport,
        response: Vec<u8>,
        unread: Vec<u8>,
        opening: B::Opening,
    ) -> Result<(), ShardsGone> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len();
        let arrival = Arrival { transport, response, unread, opening };
        self.handles[next].address.send(Adopt(arrival)).await.map_err(|_| ShardsGone)
    }

    /// Asks one shard.
    ///
    /// # Errors
    /// [`ShardsGone`] when there is no such shard or it has ended.
    pub async fn ask<M>(&self, shard: u16, message: M) -> Result<M::Result, ShardsGone>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Shard<B>: Handler<M>,
        <Shard<B> as actix::Actor>::Context: ToEnvelope<Shard<B>, M>,
    {
        let handle = self.handles.get(usize::from(shard)).ok_or(ShardsGone)?;
        handle.address.send(message).await.map_err(|_| ShardsGone)
    }

    /// Asks all shards at once; the answers are in the order of their numbers.
    ///
    /// # Errors
    /// [`ShardsGone`] when one has ended.
    pub async fn ask_all<M>(&self, message: impl Fn() -> M) -> Result<Vec<M::Result>, ShardsGone>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Shard<B>: Handler<M>,
        <Shard<B> as actix::Actor>::Context: ToEnvelope<Shard<B>, M>,
    {
        let asked = join_all(self.handles.iter().map(|handle| handle.address.send(message()))).await;
        asked.into_iter().map(|answer| answer.map_err(|_| ShardsGone)).collect()
    }

    /// The shard a connection lives on, if there is one of that number.
    #[must_use]
    pub fn shard_of(&self, connection: ConnectionId) -> Option<u16> {
        (usize::from(connection.shard()) < self.handles.len()).then(|| connection.shard())
    }

    /// Writes to the hub of a shard.
    ///
    /// # Errors
    /// The letter comes back when that shard is behind.
    pub fn write(
        &self,
        shard: u16,
        letter: <B::Hub as Hub<B>>::Letter,
    ) -> Result<(), Full<<B::Hub as Hub<B>>::Letter>> {
        let Some(handle) = self.handles.get(usize::from(shard)) else { return Err(Full(letter)) };
        match handle.inbox.offer(Letter::Hub(letter)) {
            Ok(()) => Ok(()),
            Err(Full(Letter::Hub(letter))) => Err(Full(letter)),
            Err(Full(Letter::Transfer(_))) => Ok(()),
        }
    }
}
