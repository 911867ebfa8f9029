//! The node: the one place that constructs and wires the concrete parts, starts them from the ground up and takes them
//! down again.
//!
//! ```text
//! node ─┬─ watchdog (thread)
//!       ├─ shard-0 … shard-n (actix actors, one arbiter each) ── connections
//!       ├─ echo-0 … echo-n, when enabled (on the same arbiters)
//!       └─ http workers ── handshakes, API, pages
//! ```

use std::{sync::Arc, time::Duration};

use actix_rt::{Arbiter, System};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    channel::{ChannelHub, Directory},
    clock::Clock,
    config::Config,
    connection::{self, ConnectionActor, Settings},
    echo::{self, Echo, EchoSettings, NoHub},
    http::{self, Gateway},
    id::ConnectionId,
    shard::{self, Behaviour as _, ReplayError, Replayed, Shards, Sockets},
    supervision::{self, Children, Counters, CrashFile, CrashFiles, Crashes, Folder, Watchdog},
    telemetry::{self, Metrics},
};

/// Runs a node until it is told to stop; returns after the drain.
///
/// # Errors
/// When it cannot start: the address is taken, the kernel gives no poller, a metric is defined twice.
pub fn serve(config: Config) -> anyhow::Result<()> {
    supervision::install();
    let _logs = telemetry::init_logs(&config.telemetry)?;
    let descriptors = raise_descriptor_limit();
    System::new().block_on(run(config, descriptors))
}

async fn run(config: Config, descriptors: u64) -> anyhow::Result<()> {
    let listener = http::bind(&config.listen).with_context(|| format!("cannot listen on {}", config.listen.addr))?;
    let address = listener.local_addr()?;
    let mut config = config;
    // Beyond that accepting would fail; a client is better told with a 503.
    config.limits.max_connections = config.limits.max_connections.min(connections_for(descriptors));
    let connections = config.limits.max_connections;
    let (gateway, arbiters) = start(config)?;
    // Shards do the work; the HTTP side keeps pools of requests per worker, which an idle node pays for.
    let workers = (gateway.shards.count() / 2).max(1);
    let (server, handle) = http::serve(&gateway, listener, workers).context("cannot start the http workers")?;
    let serving = actix_rt::spawn(server);
    tracing::info!(addr = %address, node = gateway.node, shards = gateway.shards.count(), descriptors, connections, "listening");
    if gateway.config.chaos.enabled {
        tracing::warn!("chaos is enabled: clients and operators may crash actors");
    }
    let gave_up = tokio::select! {
        told = until_told_to_stop() => told.map(|()| None)?,
        child = gateway.children.gave_up() => Some(child),
    };
    if let Some(child) = &gave_up {
        tracing::error!(%child, "a part of the node crashes again and again, leaving");
    }
    tracing::info!(connections = gateway.sockets.open(), "draining");
    gateway.begin_drain();
    let schedule = http::Schedule::new(gateway.config.listen.drain);
    let began = gateway.clock.elapsed();
    http::drain(&gateway, schedule).await;
    let left = || schedule.end.saturating_sub(gateway.clock.elapsed() - began);
    let stop_http = async {
        handle.stop(false).await;
        serving.await?.context("an http worker failed")
    };
    match tokio::time::timeout(left(), stop_http).await {
        Ok(stopped) => stopped?,
        Err(_) => tracing::warn!("leaving before the http workers have ended"),
    }
    if !join(arbiters, left()) {
        tracing::warn!("leaving before every shard's thread has ended: a turn or a blocking job is stuck");
    }
    tracing::info!("stopped");
    match gave_up {
        Some(child) => anyhow::bail!("{child} crashed more often than its restart budget allows"),
        None => Ok(()),
    }
}

/// Plays the turn of a crash file, whosever it was.
///
/// # Errors
/// It is no crash file: what is wrong, and where.
pub fn replay(crash_file: &str) -> Result<Replayed, ReplayError> {
    match behaviour_of(&CrashFile::read(crash_file)?)? {
        "echo" => echo::replay(crash_file),
        _ => connection::replay(crash_file),
    }
}

/// The module whose behaviour's turn a crash file holds.
///
/// # Errors
/// There is none of that name.
pub fn behaviour_of(file: &CrashFile) -> Result<&'static str, ReplayError> {
    let found = shard::evidence(file)?.behaviour;
    match &*found {
        ConnectionActor::NAME => Ok("connection"),
        Echo::NAME => Ok("echo"),
        _ => Err(ReplayError::Behaviour { found, known: "\"gateway\" and \"echo\"" }),
    }
}

/// Ends the shards' threads; `false` when that takes longer than `patience`. A thread that is stuck ends with the process.
fn join(arbiters: Vec<Arbiter>, patience: Duration) -> bool {
    let (ended, all_ended) = std::sync::mpsc::sync_channel(1);
    for arbiter in &arbiters {
        arbiter.stop();
    }
    // Joining cannot be given up, waiting for somebody who joins can.
    std::thread::spawn(move || {
        for arbiter in arbiters {
            if arbiter.join().is_err() {
                tracing::error!("a shard's thread had panicked");
            }
        }
        // Nobody waits any more: the process is ending.
        let _ = ended.send(());
    });
    all_ended.recv_timeout(patience).is_ok()
}

/// Constructs everything below HTTP.
fn start(config: Config) -> anyhow::Result<(Arc<Gateway>, Vec<Arbiter>)> {
    let clock = Clock::start();
    let metrics = Metrics::new()?;
    let sockets = Arc::new(Sockets::default());
    let children = Children::new(clock);
    let watchdog = Watchdog::start(clock, config.limits.turn_warn, config.limits.turn_stall)
        .context("cannot start the watchdog's thread")?;
    let crashes = crashes(&config, clock, &metrics, &children);
    let node = node_name()?;
    let count = shard_count(&config);
    let arbiters: Vec<Arbiter> = (0..count).map(|_| Arbiter::new()).collect();
    let mut salt = [0; 8];
    getrandom::fill(&mut salt)?;
    let directory = Arc::new(Directory::new(&config.channels, count as u16, u64::from_ne_bytes(salt)));
    let settings = Arc::new(Settings::new(&config, node.clone()));
    let plan = |name| shard::Plan {
        name,
        options: shard::Options::new(&config),
        arbiters: arbiters.iter().map(Arbiter::handle).collect(),
        clock,
        metrics: metrics.clone(),
        sockets: Arc::clone(&sockets),
        children: children.clone(),
        watchdog: watchdog.clone(),
        crashes: crashes.clone(),
    };
    let hub = {
        let (directory, metrics) = (Arc::clone(&directory), metrics.clone());
        let interval = config.presence.interval.as_millis() as u32;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        move |shard: u16| {
            let mut seed = seed;
            seed[0] ^= shard as u8;
            seed[1] ^= (shard >> 8) as u8;
            ChannelHub::new(shard, Arc::clone(&directory), metrics.clone(), interval, seed)
        }
    };
    let shards = Shards::<ConnectionActor>::start(plan("shard"), settings, hub)?;
    let echo = config
        .echo
        .enabled
        .then(|| {
            let settings = EchoSettings { max_message_bytes: config.limits.max_frame_bytes.max(ECHO_MESSAGE_BYTES) };
            Shards::start(plan("echo"), Arc::new(settings), |_| NoHub)
        })
        .transpose()?;
    let gateway = Gateway::new(http::Plan {
        config,
        node,
        clock,
        shards,
        echo,
        directory,
        metrics,
        sockets,
        children,
        watchdog,
        crashes,
    });
    Ok((Arc::new(gateway), arbiters))
}

/// Counts crashes and, unless that is off, has files written of them by an actor on a thread of its own: disks are slow.
fn crashes(config: &Config, clock: Clock, metrics: &Metrics, children: &Children) -> Crashes {
    let most = config.supervision.crash_files;
    if most == 0 {
        return Crashes::default();
    }
    let result = |result| metrics.crash_files.with_label_values(&[result]);
    let counters = Counters { written: result("written"), skipped: result("skipped"), failed: result("failed") };
    let path = config.store.path.join(&config.supervision.crash_dir);
    let folder = Folder { path, most, payloads: config.supervision.crash_payloads };
    let outbox = CrashFiles::start(&Arbiter::new().handle(), children, folder, counters);
    Crashes::with_files(clock, outbox, most)
}

/// A fresh opaque name: two lives of one server are two nodes.
fn node_name() -> anyhow::Result<String> {
    let mut name = [0; 6];
    getrandom::fill(&mut name)?;
    Ok(format!("n{}", name.map(|byte| format!("{byte:02x}")).concat()))
}

fn shard_count(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = if config.shards.count == 0 { cores } else { config.shards.count };
    count.min(ConnectionId::MAX_SHARDS)
}

/// Conformance suites send messages of 16 MiB.
const ECHO_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Descriptors that are not sockets of clients: listener, pollers, store, logs, and some for the HTTP side.
const RESERVED_DESCRIPTORS: u64 = 128;

/// Raises the soft limit to the hard one; returns what there is now.
fn raise_descriptor_limit() -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            let soft = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
            tracing::warn!(%error, limit = soft, "cannot raise the descriptor limit");
            soft
        }
    }
}

fn connections_for(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(RESERVED_DESCRIPTORS)).unwrap_or(usize::MAX)
}

/// SIGTERM and SIGINT end the node; SIGHUP says what a reload can do.
async fn until_told_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => {
                tracing::warn!("nothing can be reloaded in this version; restart to change the configuration");
            }
        }
    }
}
