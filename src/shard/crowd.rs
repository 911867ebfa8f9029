//! A shard alone with any number of connections, for measuring what an actor costs: the same core, hub, turns, budgets and
//! ledger as in a server and the real clock, on sockets that are nothing ([`super::dummy`]). Whoever holds it is the
//! clients, and the arbiter that lets it run.
//!
//! No server makes one. It measures nothing itself: that is done in `bench/`.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::sync::Notify;

use crate::{
    clock::Clock,
    id::ConnectionId,
    shard::{
        Options, Sockets, TICK,
        behaviour::{Behaviour, Hub},
        command::Census,
        core::{Core, Parts},
        dummy::{Dummies, Dummy},
        inbox::Inbox,
        socket::Arrival,
        stats::Stats,
        transfer::Letter,
    },
    supervision::{self, Beat, Crashes},
    telemetry::Metrics,
};

/// What a crowd's shard is made from.
pub struct CrowdSetup<B: Behaviour> {
    /// Bounds and policies, as in a server.
    pub options: Options,
    /// What turns may read.
    pub settings: Arc<B::Settings>,
    /// Where the shard counts.
    pub metrics: Metrics,
    /// The node's.
    pub clock: Clock,
    /// Where crashes are counted, and written down if that has files.
    pub crashes: Crashes,
    /// The shard's companion.
    pub hub: B::Hub,
}

/// See the module's text.
pub struct Crowd<B: Behaviour> {
    core: Core<B, Dummies>,
    clock: Clock,
    due: Duration,
}

impl<B: Behaviour> Crowd<B> {
    /// A shard without connections, on this thread.
    #[must_use]
    pub fn new(setup: CrowdSetup<B>) -> Self {
        let CrowdSetup { options, settings, metrics, clock, crashes, hub } = setup;
        supervision::trace_for(&crashes);
        let peers: Arc<[_]> = [Arc::new(Inbox::new(None))].into();
        let parts = Parts {
            options,
            settings,
            shard: 0,
            clock,
            poller: Dummies::default(),
            inbox: Arc::clone(&peers[0]),
            peers,
            hub,
            stats: Stats::new::<B>(0, &metrics),
            crashes,
            sockets: Arc::new(Sockets::default()),
            beat: Arc::new(Beat::default()),
            // Secrets of a crowd open nothing.
            seed: [7; 32],
        };
        Self { core: Core::new(parts, Rc::new(Notify::new())), clock, due: clock.elapsed() + TICK }
    }

    /// A client connects: its handshake is done, `response` is what it is still owed of that. The nth gets slot n, from 0,
    /// while nobody leaves.
    pub fn open(&mut self, opening: B::Opening, response: Vec<u8>) {
        let _admitted = self.core.sockets.admit(usize::MAX);
        self.core.adopt(Arrival { transport: Dummy::Quiet.into(), response, unread: Vec::new(), opening });
    }

    /// Sets the bytes that clients send when they [`speak`](Self::speak), one or more whole frames of at most 64 KiB.
    pub fn say(&self, phrase: &[u8]) {
        Dummies::say(phrase);
    }

    /// The client of slot `index` sends the phrase. `false`: nobody is there.
    pub fn speak(&mut self, index: u32) -> bool {
        let Some(socket) = self.core.table.get_mut(index).and_then(|slot| slot.socket.as_mut()) else { return false };
        *socket = Dummy::Speaking;
        self.core.poller.edge(index);
        true
    }

    /// Writes to the hub, as the HTTP side does.
    pub fn write(&self, letter: <B::Hub as Hub<B>>::Letter) {
        self.core.inbox.send(Letter::Hub(letter));
    }

    /// Runs rounds until nothing is to do, with the ticks that are due meanwhile, as a server does.
    pub fn settle(&mut self) {
        loop {
            let more = self.core.round();
            let now = self.clock.elapsed();
            if now >= self.due {
                self.core.tick((now - self.due).as_secs_f64());
                self.due = now + TICK;
            }
            if !more && self.core.poller.is_quiet() && self.core.inbox.is_empty() {
                return;
            }
        }
    }

    /// Bytes that clients of this thread have got.
    #[must_use]
    pub fn written(&self) -> u64 {
        Dummies::written()
    }

    /// The id of the connection in slot `index`.
    #[must_use]
    pub fn id(&self, index: u32) -> Option<ConnectionId> {
        self.core.table.id(index)
    }

    /// Everything counted afresh: walks the whole table.
    #[must_use]
    pub fn census(&self) -> Census {
        self.core.census()
    }
}
