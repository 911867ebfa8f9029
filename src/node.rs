//! The node: the one place that constructs and wires the concrete parts, starts them from the ground up and takes them
//! down again.
//!
//! `server.rs` is what others start a node with, `reload.rs` what a SIGHUP changes, `process.rs` what the process may open and
//! when it is told to end. What is supervised, and how, stands in `tree.rs` and is drawn in `README.md`. HTTP workers (handshakes,
//! API, pages) keep no state and are actix-web's.

mod ground;
mod process;
mod reload;
mod server;
mod tree;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc::SyncSender},
    thread::JoinHandle,
    time::Duration,
};

use actix_rt::Arbiter;
use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::{
    channel::{self, ChannelHub, Directory},
    clock::Clock,
    config::Config,
    connection::{self, ConnectionActor, Settings},
    echo::{self, Echo, EchoSettings, NoHub},
    hooks::Hooks,
    http::{self, Gateway, Live},
    id::ConnectionId,
    shard::{self, Behaviour as _, IntakeLimits, ReplayError, Replayed, ReturnAddress, Shards, Sockets},
    store::{Faults, Store, Warden},
    supervision::{Children, CrashFile, Watchdog},
    telemetry::{LogFilter, Metrics, Tracer},
    tls::Acceptor,
};

use ground::{Ground, crashes};
use process::{connections_for, until_interrupted, until_stopped, until_told_to_stop};
use reload::{Reload, Source};
use server::Starter;
pub use server::{Running, Server};
use tree::{ECHO, SHARDS, SYSTEM, parts, warden_spec};

/// Runs a node until it is told to stop; returns after the drain. `again` reads the configuration anew, at a SIGHUP.
///
/// # Errors
/// When it cannot start: the address is taken, the kernel gives no poller, a metric is defined twice.
pub fn serve(config: Config, again: impl Fn() -> Result<Config, String> + Send + 'static) -> anyhow::Result<()> {
    Server::new(config).reading(again).of_dormouse().run()
}

/// What a node is started with besides its configuration.
#[derive(Default)]
struct Orders {
    /// Reads the configuration anew.
    again: Option<Source>,
    /// Looks up the names of calls for crash files.
    program: Option<Box<Path>>,
    /// What the process may open.
    descriptors: u64,
    /// What is served beside the gateway.
    apps: Vec<Starter>,
    /// Told where it listens.
    listening: Option<SyncSender<SocketAddr>>,
    /// Ends it.
    stop: Option<oneshot::Receiver<()>>,
    /// SIGTERM, SIGINT and SIGHUP are for it.
    signals: bool,
    logs: Option<LogFilter>,
}

async fn run(config: Config, orders: Orders) -> anyhow::Result<()> {
    let Orders { again, program, descriptors, apps, listening, stop, signals, logs } = orders;
    let listener = http::bind(&config.listen).with_context(|| format!("cannot listen on {}", config.listen.addr))?;
    let address = listener.local_addr()?;
    let mut config = config;
    // Beyond that accepting would fail; a client is better told with a 503.
    config.limits.max_connections = config.limits.max_connections.min(connections_for(descriptors));
    let connections = config.limits.max_connections;
    let (gateway, hooks, threads) = start(config, descriptors, program.as_deref(), apps)?;
    // Shards do the work; the HTTP side keeps pools of requests per worker, which an idle node pays for.
    let workers = (gateway.shards.count() / 2).max(1);
    let (server, handle) = http::serve(&gateway, listener, workers).context("cannot start the http workers")?;
    let serving = actix_rt::spawn(server);
    let (shards, page) = (gateway.shards.count(), gateway.page(address));
    tracing::info!(addr = %address, page, node = gateway.node, shards, descriptors, connections, "listening");
    if gateway.config().chaos.enabled {
        tracing::warn!("chaos is enabled: clients and operators may crash actors");
    }
    let most_connections = connections_for(descriptors);
    let reload = Reload { source: again, gateway: Arc::clone(&gateway), hooks, logs, most_connections };
    if let Some(listening) = listening {
        // Whoever started it may have lost interest.
        let _ = listening.send(address);
    }
    let gave_up = tokio::select! {
        told = until_told_to_stop(&reload), if signals => told.map(|()| None)?,
        () = until_stopped(stop) => None,
        child = gateway.children.gave_up() => Some(child),
    };
    if let Some(child) = &gave_up {
        tracing::error!(%child, "a part of the node crashes again and again, leaving");
    }
    gateway.begin_drain();
    let schedule = http::Schedule::new(gateway.config().listen.drain);
    tracing::info!(connections = gateway.sockets.open(), within = ?schedule.end, "draining");
    let began = gateway.clock.elapsed();
    tokio::select! {
        () = http::drain(&gateway, schedule) => {}
        told = until_interrupted(), if signals => {
            told?;
            tracing::warn!(connections = gateway.sockets.open(), "interrupted while draining, leaving at once");
        }
    }
    let left = || schedule.end.saturating_sub(gateway.clock.elapsed() - began);
    gateway.live.end(left().min(FEED_PATIENCE)).await;
    let stop_http = async {
        handle.stop(false).await;
        serving.await?.context("an http worker failed")
    };
    match tokio::time::timeout(left(), stop_http).await {
        Ok(stopped) => stopped?,
        Err(_) => tracing::warn!("leaving before the http workers have ended"),
    }
    // Nobody asks them any more.
    if tokio::time::timeout(left(), gateway.children.stop()).await.is_err() {
        tracing::warn!("leaving before every actor has stopped");
    }
    if !join(threads, left()) {
        tracing::warn!("leaving before every thread has ended: a turn, a blocking job or the disk is stuck");
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

/// A collector has so long to take the last traces.
const LAST_TRACES: Duration = Duration::from_secs(2);

/// Who watches the live feed has so long to take its close frame.
const FEED_PATIENCE: Duration = Duration::from_millis(500);

/// What runs beside the HTTP workers.
struct Threads {
    arbiters: Vec<Arbiter>,
    store: Store,
    /// The store's, and the one that reads for the shards.
    disk: [JoinHandle<()>; 2],
    /// Its thread sends what waits when it is told to end.
    tracer: Tracer,
}

/// Ends the shards' threads, then the store's; `false` when that takes longer than `patience`. A thread that is stuck ends with
/// the process.
fn join(threads: Threads, patience: Duration) -> bool {
    let Threads { arbiters, store, disk, tracer } = threads;
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
        // Nobody offers anything any more; what was offered is committed.
        store.close();
        for thread in disk {
            if thread.join().is_err() {
                tracing::error!("a thread of the store had panicked");
            }
        }
        tracer.end(patience.min(LAST_TRACES));
        // Nobody waits any more: the process is ending.
        let _ = ended.send(());
    });
    all_ended.recv_timeout(patience).is_ok()
}

/// Constructs everything below HTTP.
fn start(
    config: Config,
    descriptors: u64,
    program: Option<&Path>,
    apps: Vec<Starter>,
) -> anyhow::Result<(Arc<Gateway>, Hooks, Threads)> {
    let clock = Clock::start();
    let metrics = Metrics::new()?;
    let faults = Faults::default();
    // First of all: what is wrong with it must be told before anything runs.
    let (store, writer) = Store::open(&config.store, faults.clone(), clock, metrics.clone())?;
    let (reader, reading) = channel::Reader::start(store.clone()).context("cannot start a thread")?;
    let sockets = Arc::new(Sockets::default());
    let mut seed = [0; 8];
    getrandom::fill(&mut seed)?;
    let children = Children::new(clock, u64::from_le_bytes(seed));
    let system = children.branch(SYSTEM);
    let (watcher, scribe) = (Arbiter::new(), Arbiter::new());
    let crashes = crashes(&config, program, (clock, &metrics), &system, &scribe.handle());
    let watchdog = Watchdog::start(&system, &watcher.handle(), clock, config.limits.turn_stall);
    let warden = Warden::new(store.clone());
    system.start(&watcher.handle(), warden_spec(), || warden);
    let node = node_name()?;
    let count = shard_count(&config);
    let arbiters: Vec<Arbiter> = (0..count).map(|_| Arbiter::new()).collect();
    let mut salt = [0; 8];
    getrandom::fill(&mut salt)?;
    let directory = Directory::new(&config.channels, count as u16, u64::from_ne_bytes(salt)).with_store(store.clone());
    let directory = Arc::new(directory);
    Hooks::show(&metrics);
    let calls = config.hooks.are_on().then(Arbiter::new);
    let hooks = calls.as_ref().map(|calls| Hooks::new(&config.hooks, &node, calls.handle(), clock, metrics.clone()));
    let hooks = hooks.transpose()?.unwrap_or_default();
    let settings = Arc::new(Settings::new(&config, node.clone())?.with_hooks(hooks.clone()));
    let keys = http::ApiKeys::new(&config.api).map_err(anyhow::Error::msg)?;
    let tls = &config.listen.tls;
    let tls = tls.is_on().then(|| Acceptor::load(&tls.cert, &tls.key)).transpose()?;
    let ground = Ground {
        config: &config,
        arbiters: &arbiters,
        clock,
        metrics: &metrics,
        sockets: &sockets,
        children: &children,
        watchdog: &watchdog,
        crashes: &crashes,
    };
    let tracer = Tracer::new(&config.telemetry, &node, clock).context("telemetry.traces")?;
    let hub = {
        let (directory, metrics, hooks) = (Arc::clone(&directory), metrics.clone(), hooks.clone());
        let tracer = tracer.clone();
        let interval = config.presence.interval.as_millis() as u32;
        let sessions_per_user = config.limits.sessions_per_user;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        move |shard: u16, address: ReturnAddress<ConnectionActor>| {
            let mut seed = seed;
            seed[0] ^= shard as u8;
            seed[1] ^= (shard >> 8) as u8;
            let storage = reader.clone().storage(Arc::new(move |letter| address.send(letter)));
            ChannelHub::new(shard, Arc::clone(&directory), metrics.clone(), interval, seed)
                .with_storage(storage)
                .with_sessions_per_user(sessions_per_user)
                .with_hooks(hooks.clone())
                .with_tracer(tracer.clone())
        }
    };
    let shards = Shards::<ConnectionActor>::start(ground.plan("shard", parts(&config), SHARDS), settings, hub)?;
    let mut mounts = Vec::new();
    if config.echo.enabled {
        let settings = |config: &Config| {
            let max_message_bytes = config.limits.max_frame_bytes.max(ECHO_MESSAGE_BYTES);
            // It is there to be driven as hard as somebody can.
            (EchoSettings { max_message_bytes }, IntakeLimits::default())
        };
        let mut plan = ground.plan("echo", Vec::new(), ECHO);
        let (first, intake) = settings(&config);
        plan.options.intake = intake;
        let echo = Shards::<Echo>::start(plan, Arc::new(first), |_, _| NoHub)?;
        let place = http::Place { path: "/v1/echo".to_owned(), protocols: &[], any_origin: true };
        mounts.push(Arc::new(http::Mount::new("echo", place, echo, |_| (), settings)));
    }
    for app in apps {
        mounts.push(Arc::new(app(&ground)?));
    }
    let plan = http::Plan {
        node,
        clock,
        shards,
        mounts,
        directory,
        metrics,
        sockets,
        keys,
        addresses: Arc::default(),
        descriptors: usize::try_from(descriptors).unwrap_or(usize::MAX),
        tls,
        children,
        watchdog,
        crashes,
        faults,
        live: Live::default(),
    };
    let gateway = Arc::new(Gateway::new(plan, config));
    http::start_sampler(&system, &watcher.handle(), &gateway);
    let arbiters = [watcher, scribe].into_iter().chain(calls).chain(arbiters).collect();
    Ok((gateway, hooks, Threads { arbiters, store, disk: [writer, reading], tracer }))
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

#[cfg(test)]
#[path = "../tests/readme/block.rs"]
mod block;

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{
        channel::{Answer, HomeRequest, Letter, Origin, Publication, Purpose, Tag},
        config,
        connection::Opening,
        shard::{List, Sort},
        supervision,
    };

    /// Reads frames until one holds `wanted`; all that was read.
    fn read_until(socket: &mut TcpStream, wanted: &str) -> String {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(wanted) {
            let mut more = [0; 4096];
            let count = socket.read(&mut more).expect("it comes in time");
            assert!(count > 0, "the socket was closed: {}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&more[..count]);
        }
        String::from_utf8_lossy(&read).into_owned()
    }

    /// Ann, with a `ready` behind her.
    async fn connect(gateway: &Gateway, subscribe: &[&str]) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let (server, _) = listener.accept().expect("accepts");
        server.set_nonblocking(true).expect("nonblocking");
        assert!(gateway.sockets.admit(usize::MAX));
        let subscribe = subscribe.iter().map(|&channel| channel.into()).collect();
        let opening = Opening { encoding: Some(Default::default()), token: Some("ann".to_owned()), subscribe };
        gateway.shards.adopt(server.into(), Vec::new(), Vec::new(), opening).await.expect("a shard");
        read_until(&mut client, r#""op":"ready""#);
        client
    }

    fn publish(data: &str) -> HomeRequest {
        let data = serde_json::value::RawValue::from_string(data.to_owned()).expect("json");
        HomeRequest::Publish(Publication { from: "ann".into(), data, key: None })
    }

    #[actix_rt::test]
    async fn an_event_of_which_the_store_crashed_without_a_word_is_heard_if_it_is_on_disk() {
        supervision::install();
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = Config::default();
        (config.shards.count, config.store.path) = (2, folder.path().to_owned());
        let (gateway, _, threads) = start(config, u64::MAX, None, Vec::new()).expect("starts");
        let mut client = connect(&gateway, &["chat:a"]).await;
        let channel = gateway.directory.intern("chat:a");
        for data in ["\"one\"", "\"two\""] {
            assert!(gateway.ask_home(Arc::clone(&channel), publish(data)).await.is_ok());
        }
        gateway.faults.panic_once();
        let fault = gateway.ask_home(Arc::clone(&channel), publish("\"crash\"")).await.expect_err("a crash");
        assert_eq!(format!("{:?}", fault.code), "Crashed");
        assert!(gateway.ask_home(Arc::clone(&channel), publish("\"last\"")).await.is_ok());
        let history = HomeRequest::History { after: None, before: None, limit: 100 };
        let Ok(Answer::History { events, .. }) = gateway.ask_home(channel, history).await else {
            unreachable!("a history")
        };
        // The log had it in its file before the crash, so it is kept, and nobody missed it.
        assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let read = read_until(&mut client, "\"last\"");
        let heard: Vec<_> = ["one", "two", "crash", "last"].iter().filter_map(|data| read.find(data)).collect();
        assert!(heard.len() == 4 && heard.is_sorted(), "{read}");
        assert!(gateway.children.stop().await.is_empty());
        assert!(join(threads, Duration::from_secs(60)), "every thread ends");
    }

    #[actix_rt::test]
    async fn a_request_whose_hub_panics_is_answered_as_crashed_on_the_same_shard_and_across() {
        supervision::install();
        let mut config = Config::default();
        (config.shards.count, config.store.engine) = (2, config::Engine::Memory);
        let (gateway, _, threads) = start(config, u64::MAX, None, Vec::new()).expect("starts");
        let mut client = connect(&gateway, &[]).await;
        let list = || List { sort: Sort::Idle, limit: 1 };
        let listed = gateway.shards.ask_all(list).await.expect("the shards run");
        let connection = listed.into_iter().flatten().next().expect("one connection").connection;
        for home in [0, 1] {
            // A home that is told of a shard there is not: the defect this test needs.
            let channel =
                (0..).map(|n| gateway.directory.intern(&format!("room:{n}"))).find(|known| known.home == home);
            let channel = channel.expect("one of so many lives there");
            let id = 70 + i64::from(home);
            let origin = Origin::Connection(connection, Tag { socket: 0, purpose: Purpose::Request(Some(id)) });
            let request = HomeRequest::Unsubscribe { user: "ann".into(), shard: u16::MAX };
            let letter = Letter::Home { channel: Arc::clone(&channel), origin, request };
            assert!(gateway.shards.write(home, letter).is_ok());
            let read = read_until(&mut client, &format!(r#""id":{id}"#));
            assert!(read.contains(r#""code":"crashed""#) && read.contains(r#""retry":"later""#), "{read}");
            let described = gateway.ask_home(channel, HomeRequest::Describe).await;
            assert!(described.is_ok(), "the hub goes on");
            // A durable home has a backlog while it is opened: the panic costs one task of it.
            let durable =
                (0..).map(|n| gateway.directory.intern(&format!("chat:{n}"))).find(|known| known.home == home);
            let durable = durable.expect("one of so many lives there");
            let first = gateway.write_home(Arc::clone(&durable), publish("1")).expect("room");
            let origin = Origin::Connection(connection, Tag { socket: 0, purpose: Purpose::Request(Some(id + 10)) });
            let request = HomeRequest::Unsubscribe { user: "ann".into(), shard: u16::MAX };
            let letter = Letter::Home { channel: Arc::clone(&durable), origin, request };
            assert!(gateway.shards.write(home, letter).is_ok());
            let second = gateway.write_home(durable, publish("1")).expect("room");
            let read = read_until(&mut client, &format!(r#""id":{}"#, id + 10));
            assert!(read.contains(r#""code":"crashed""#), "{read}");
            for (asked, wanted) in [(first, 1), (second, 2)] {
                let answer = asked.wait().await.expect("it is kept");
                assert!(matches!(answer, Answer::Published(published) if published.offset == wanted), "{answer:?}");
            }
        }
        assert_eq!(gateway.children.list().iter().map(|child| child.restarts).sum::<u64>(), 0);
        assert!(gateway.children.stop().await.is_empty());
        assert!(join(threads, Duration::from_secs(60)), "every thread ends");
    }

    #[actix_rt::test]
    async fn the_tree_in_the_readme_is_the_one_that_is_started() {
        let mut config = Config::default();
        (config.echo.enabled, config.shards.count, config.store.engine) = (true, 2, config::Engine::Memory);
        let (gateway, _, threads) = start(config, u64::MAX, None, Vec::new()).expect("starts");
        let tree = gateway.children.draw();
        for child in gateway.children.list() {
            let name = child.name.trim_end_matches(|c: char| c.is_ascii_digit());
            assert!(tree.contains(name), "{name} is not in the drawing");
        }
        block::check("tree", &format!("```text\n{tree}```\n"));
        assert!(gateway.children.stop().await.is_empty());
        assert!(join(threads, Duration::from_secs(60)), "every thread ends");
    }
}
