//! A node of your own: Dormouse with apps beside the gateway, in a `main` of one line or in a test.
//!
//! Everything `dormouse serve` has is there too: API, metrics, dashboard, drain, reload, chaos. One thing is dearer: the names
//! of calls in crash files are looked up in this process, whose memory grows by its debug information with the first crash.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc::sync_channel},
    thread::JoinHandle,
};

use actix_rt::System;
use anyhow::Context as _;
use tokio::sync::oneshot;

use super::{Orders, ground::Ground, process::raise_descriptor_limit, reload::Source, run, tree::SHARDS};
use crate::{
    app::{self, App},
    config::{self, Config, Sources},
    http::{Mount, Place, Requested},
    shard::{IntakeLimits, Shards},
    supervision::{self, Part, SupervisorSpec},
    telemetry,
};

/// Starts an app's shards on a node that is being made.
pub(super) type Starter = Box<dyn FnOnce(&Ground<'_>) -> anyhow::Result<Mount> + Send>;

/// See the module's text.
#[must_use]
pub struct Server {
    config: Config,
    again: Option<Source>,
    /// To look up the names of calls in crash files; another program would not know what it is asked.
    program: Option<Box<Path>>,
    apps: Vec<Named>,
}

pub(super) struct Named {
    name: &'static str,
    path: String,
    pub(super) start: Starter,
}

impl Server {
    /// Configured by the defaults and the environment (`DORMOUSE__LIMITS__MAILBOX=2048`), read again at a SIGHUP.
    ///
    /// # Errors
    /// When the address or a variable is wrong: all that is, and what would be right.
    pub fn at(address: &str) -> anyhow::Result<Self> {
        let environment = std::env::vars_os().collect();
        let sources = Sources { environment, listen: Some(address.to_owned()), ..Sources::default() };
        let config = config::load(&sources)?.config;
        let again = move || config::load(&sources).map(|loaded| loaded.config).map_err(|error| error.to_string());
        Ok(Self::new(config).reading(again))
    }

    /// Configured so.
    pub fn new(config: Config) -> Self {
        Self { config, again: None, program: None, apps: Vec::new() }
    }

    /// `again` reads the configuration anew, at a SIGHUP.
    pub fn reading(mut self, again: impl Fn() -> Result<Config, String> + Send + 'static) -> Self {
        self.again = Some(Box::new(again));
        self
    }

    /// This program is `dormouse` itself.
    pub(super) fn of_dormouse(mut self) -> Self {
        // The file this process was started from, also when another one has taken its name.
        self.program = Some(Path::new("/proc/self/exe").into());
        self
    }

    /// Serves an app at a path; with a `/` at its end also at every path below. What begins with `/v1/` is the node's own.
    pub fn mount<A: App>(mut self, path: &str) -> Self {
        let place = Place { path: path.to_owned(), protocols: A::PROTOCOLS, any_origin: false };
        let start: Starter = Box::new(move |ground| {
            let how = "transient, restarts as those of the gateway; then close 4000";
            let parts = vec![
                Part { name: "connections", how: how.to_owned() },
                Part { name: "rooms", how: "go on at once; what a fold crashed over is told as failed".to_owned() },
            ];
            let plan = ground.plan(A::NAME, parts, SupervisorSpec { name: A::NAME, ..SHARDS });
            let salt = getrandom::u64()?;
            let settings = Arc::new(app::Settings::new(ground.config));
            let shards = Shards::<app::Connection<A>>::start(plan, settings, move |_, _| app::Rooms::new(salt))?;
            let opening = |requested: Requested| app::Opening {
                path: requested.path,
                query: requested.query,
                protocol: requested.protocol.map(str::to_owned),
            };
            let settings = |config: &Config| (app::Settings::new(config), IntakeLimits::new(&config.limits));
            Ok(Mount::new(A::NAME, place, shards, opening, settings))
        });
        self.apps.push(Named { name: A::NAME, path: path.to_owned(), start });
        self
    }

    /// Runs it until SIGTERM or SIGINT; returns after the drain. Sets up logging as the configuration says, unless the program
    /// has done so. Blocks, so that within an async runtime [`Server::start`] is the one to call.
    ///
    /// # Errors
    /// When it cannot start: the address is taken, the kernel gives no poller, an app has the name or the path of another.
    pub fn run(self) -> anyhow::Result<()> {
        let own_logs = !tracing::dispatcher::has_been_set();
        let (_guard, logs) = own_logs.then(|| telemetry::init_logs(&self.config.telemetry)).transpose()?.unzip();
        self.serve(Orders { signals: true, logs, ..Orders::default() })
    }

    /// Starts it on a thread of its own; it stops with what is returned. Signals are left to the program, and logs too.
    ///
    /// # Errors
    /// As [`Server::run`].
    pub fn start(self) -> anyhow::Result<Running> {
        let (listening, address) = sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let orders = Orders { listening: Some(listening), stop: Some(stopped), ..Orders::default() };
        let thread = std::thread::spawn(move || self.serve(orders));
        match address.recv() {
            Ok(address) => Ok(Running { address, stop: Some(stop), thread: Some(thread) }),
            Err(_) => Err(join(thread).err().unwrap_or_else(|| anyhow::anyhow!("it ended before it listened"))),
        }
    }

    pub(super) fn serve(self, orders: Orders) -> anyhow::Result<()> {
        self.check()?;
        supervision::install();
        let descriptors = raise_descriptor_limit();
        let Self { config, again, program, apps } = self;
        let apps = apps.into_iter().map(|app| app.start).collect();
        System::new().block_on(run(config, Orders { again, program, descriptors, apps, ..orders }))
    }

    /// Each app has a name and a path that nobody else has, and the configuration does not contradict itself.
    fn check(&self) -> anyhow::Result<()> {
        let contradictions = self.config.contradictions();
        anyhow::ensure!(contradictions.is_empty(), contradictions.join("\n"));
        for (nth, Named { name, path, .. }) in self.apps.iter().enumerate() {
            let is_name = |name: &str| {
                let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(known)
            };
            anyhow::ensure!(is_name(name), "an app's name is of small letters, digits and `-`, not {name:?}");
            anyhow::ensure!(!OWN_NAMES.contains(name), "{name} is a name of the node's own");
            anyhow::ensure!(path.starts_with('/'), "{name}: a path begins with `/`, not {path:?}");
            anyhow::ensure!(!path.starts_with("/v1/"), "{name}: {path} is below /v1/, which is the node's own");
            for other in &self.apps[..nth] {
                anyhow::ensure!(other.name != *name, "two apps are named {name}");
                anyhow::ensure!(other.path != *path, "{name} and {} are both at {path}", other.name);
            }
        }
        Ok(())
    }
}

/// Supervisors, actors and behaviours that are there anyway.
const OWN_NAMES: &[&str] =
    &["node", "system", "shards", "shard", "echo", "gateway", "crash-files", "watchdog", "store", "live"];

/// A server that runs, on a thread of its own. Dropped, it stops.
pub struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Running {
    /// Where it listens: the port is the system's when the configuration said 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drains it and waits for its end.
    ///
    /// # Errors
    /// When it had not ended well: a part of it gave up.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        // Whoever has ended by himself needs no order.
        let _ = self.stop.take().map(|stop| stop.send(()));
        self.thread.take().map_or(Ok(()), join)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(error = format!("{error:#}"), "the server had not ended well");
        }
    }
}

fn join(thread: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    thread.join().map_err(|_| anyhow::anyhow!("the server's thread panicked")).context("the server is gone")?
}
