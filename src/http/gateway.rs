//! What every HTTP handler may reach: the shards, the directory, the metrics and the settings. Made by `node`, shared by
//! all workers.

use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::{
    channel::{Answer, Channel, DeskRequest, Directory, HomeRequest, Letter, Origin, Person},
    clock::Clock,
    config::Config,
    connection::{ConnectionActor, Limit, Rate},
    http::{addresses::Addresses, auth::ApiKeys, live::Live, mount::Mount},
    protocol::error::{ErrorCode, Fault},
    shard::{AnyShards, Shards, Sockets},
    store::Faults,
    supervision::{Children, Crashes, Watchdog},
    telemetry::Metrics,
    tls::Acceptor,
};

/// What a gateway is made of.
pub struct Plan {
    /// This node's opaque name.
    pub node: String,
    /// Started with the process.
    pub clock: Clock,
    /// The chat connections.
    pub shards: Shards<ConnectionActor>,
    /// What is served besides.
    pub mounts: Vec<Arc<Mount>>,
    /// Existing channels.
    pub directory: Arc<Directory>,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Places for sockets.
    pub sockets: Arc<Sockets>,
    /// Who may use the API.
    pub keys: ApiKeys,
    /// Who has how many sockets, where that is bounded.
    pub addresses: Arc<Addresses>,
    /// What the process may open.
    pub descriptors: usize,
    /// What the address shows, when it speaks TLS.
    pub tls: Option<Acceptor>,
    /// Supervised actors.
    pub children: Children,
    /// Stalled turns.
    pub watchdog: Watchdog,
    /// What has crashed.
    pub crashes: Crashes,
    /// What chaos does to the store.
    pub faults: Faults,
    /// What the dashboard shows.
    pub live: Live,
}

/// See the module's text. Reads like the [`Plan`] it was made of.
pub struct Gateway {
    plan: Plan,
    /// Replaced as a whole by a reload.
    config: RwLock<Arc<Config>>,
    draining: AtomicBool,
    /// The log knows that a page was refused.
    pub(super) has_told_origins: AtomicBool,
    /// How often handshakes may come, of WebSockets and of TLS.
    paces: [Mutex<Rate>; 2],
    /// Sockets that are no connections yet, or never will be: handshakes, requests.
    guests: AtomicUsize,
}

impl Deref for Gateway {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

impl Gateway {
    /// A gateway that accepts connections.
    #[must_use]
    pub fn new(plan: Plan, config: Config) -> Self {
        Self {
            plan,
            config: RwLock::new(Arc::new(config)),
            draining: AtomicBool::new(false),
            has_told_origins: AtomicBool::new(false),
            paces: Default::default(),
            guests: AtomicUsize::new(0),
        }
    }

    /// What is in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this is.
    pub fn reconfigure(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Where a browser finds the chat page of a node that listens there.
    #[must_use]
    pub fn page(&self, address: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}/")
    }

    /// The node accepts new connections.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    /// No new connections from now on.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// A place for a socket that has said nothing yet, unless the process could then open nothing more: accepting would fail,
    /// and with it whatever else needs a descriptor.
    pub(super) fn receive(self: &Arc<Self>) -> Option<Guest> {
        let guests = self.guests.fetch_add(1, Ordering::Relaxed);
        let guest = Guest(Arc::clone(self));
        (guests + self.sockets.open() + KEPT_DESCRIPTORS < self.descriptors).then_some(guest)
    }

    /// Takes one of the handshakes of this kind that this second has, if there is one left; of 0 there are always more.
    pub(super) fn takes_handshake(&self, kind: Handshake, per_second: u32) -> bool {
        if per_second == 0 {
            return true;
        }
        let mut pace = self.paces[kind as usize].lock().unwrap_or_else(PoisonError::into_inner);
        pace.take(Limit::new(per_second, per_second), Rate::WHOLE, self.clock.now()).is_ok()
    }

    /// What is served at that path besides the gateway.
    pub(super) fn mounted_at(&self, path: &str) -> Option<&Arc<Mount>> {
        self.mounts.iter().find(|mount| mount.serves(path))
    }

    /// The shards of the mount of that name; without one, those of the gateway.
    pub(super) fn shards_of(&self, mount: Option<&str>) -> Option<&dyn AnyShards> {
        let Some(name) = mount else { return Some(&self.shards) };
        self.mounts.iter().find(|mount| mount.name == name).map(|mount| &*mount.shards)
    }

    /// All shards of the node, whatever they run.
    pub(super) fn all_shards(&self) -> impl Iterator<Item = &dyn AnyShards> {
        let own: &dyn AnyShards = &self.shards;
        std::iter::once(own).chain(self.mounts.iter().map(|mount| &*mount.shards))
    }

    /// Asks a channel's home.
    ///
    /// # Errors
    /// `overloaded` when the home's shard is behind, `unavailable` when the node is ending, or what the home says.
    pub async fn ask_home(&self, channel: Arc<Channel>, request: HomeRequest) -> Result<Answer, Fault> {
        self.write_home(channel, request)?.wait().await
    }

    /// Asks a user's desk who he is.
    ///
    /// # Errors
    /// `overloaded` when the desk's shard or the store's reader is behind, `unavailable` when the node is ending.
    pub async fn ask_desk(&self, user: &str) -> Result<Person, Fault> {
        let (caller, answer) = tokio::sync::oneshot::channel();
        let letter = Letter::Desk { user: user.into(), request: DeskRequest::Describe(caller) };
        let behind = || Fault::new(ErrorCode::Overloaded, "the node is behind, try again later");
        self.shards.write(self.directory.desk(user), letter).map_err(|_| behind())?;
        answer.await.map_err(|_| behind())
    }

    /// Sends a request to a channel's home without waiting for the answer: requests written in order are served in order.
    ///
    /// # Errors
    /// `overloaded` when the home's shard is behind.
    pub fn write_home(&self, channel: Arc<Channel>, request: HomeRequest) -> Result<Asked, Fault> {
        let (caller, answer) = tokio::sync::oneshot::channel();
        let home = channel.home;
        let letter = Letter::Home { channel, origin: Origin::Call(caller), request };
        let behind = |_| Fault::new(ErrorCode::Overloaded, "the node is behind, try again later");
        self.shards.write(home, letter).map_err(behind)?;
        Ok(Asked(answer))
    }
}

/// What is counted apart: a client with TLS has one of each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Handshake {
    WebSocket,
    Tls,
}

/// Descriptors for everything that is no socket of a client.
const KEPT_DESCRIPTORS: usize = 96;

/// A socket that is no connection yet.
pub(super) struct Guest(Arc<Gateway>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request on its way to a channel's home. Dropped, the request is served all the same.
#[must_use]
pub struct Asked(tokio::sync::oneshot::Receiver<Answer>);

impl Asked {
    /// The home's answer.
    ///
    /// # Errors
    /// `unavailable` when the home crashed over it or the node is ending, or what the home says.
    pub async fn wait(self) -> Result<Answer, Fault> {
        match self.0.await {
            Ok(Answer::Failed(fault)) => Err(fault),
            Ok(answer) => Ok(answer),
            Err(_) => {
                Err(Fault::new(ErrorCode::Unavailable, "the channel's shard crashed over this, or the node is leaving"))
            }
        }
    }
}
