//! `density`: what an idle, identified, subscribed connection costs in memory and processor time, and what remains after
//! a burst. The server's growth is read from outside, so allocator waste and fixed tables count too.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::{
    burst,
    census::Census,
    clock,
    crowd::{Crowd, dismiss, gather},
    idle::{self, Idle},
    kernel::Kernel,
    load::Span,
    node,
    process::{Memory, own_memory},
    report::{Report, Unit},
    swarm::Swarm,
    target::{Target, TargetOptions},
};

/// Bytes of each event of `--burst`, and how many each connection receives.
const BURST_BYTES: usize = 1024;
const BURST_EVENTS: u64 = 100;

/// Printed when nothing is left to do but to wait after the burst.
pub(crate) const RESTING: &str = "resting";

/// Options of `density`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Connections to hold [default: 18000, quick 2000]
    #[arg(long)]
    connections: Option<usize>,
    /// Channels, each connection in one of them
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// Handshakes under way at once
    #[arg(long, default_value_t = 256)]
    concurrency: usize,
    /// Connections opened and closed before the first reading, so that one-time costs are in it
    #[arg(long, default_value_t = 100)]
    warmup: usize,
    /// Wait before each memory reading [default: 10s, quick 2s]
    #[arg(long, value_parser = humantime::parse_duration)]
    settle: Option<Duration>,
    /// Length of the idle measurement [default: 60, quick 5]
    #[arg(long)]
    idle_seconds: Option<u64>,
    /// heartbeat.interval of the started server; shorter shows the cost of heartbeats better
    #[arg(long, value_parser = humantime::parse_duration)]
    heartbeat: Option<Duration>,
    /// Then send 100 events of 1 KB to each connection and measure again
    #[arg(long)]
    burst: bool,
    /// Wait between the burst and the last reading [default: as --settle]
    #[arg(long, value_parser = humantime::parse_duration)]
    rest: Option<Duration>,
    #[command(flatten)]
    target: TargetOptions,
}

/// Heartbeats of a million are watched for so long at most.
const MILLION_SPAN: Duration = Duration::from_secs(2);

/// Memory at a moment: the server's and the machine's.
struct Reading {
    memory: Memory,
    kernel: Kernel,
    /// The load generator's.
    own: Memory,
}

impl Reading {
    /// Lets the swarm rest for a while, then reads.
    fn after(settle: Duration, target: &Target, swarm: &mut Swarm, census: &mut Census) -> Result<Self> {
        swarm.linger(clock::now() + settle, |key, happening| census.hear(key, &happening))?;
        Ok(Self { memory: target.memory()?, kernel: Kernel::now()?, own: own_memory()? })
    }
}

/// Runs it and says whether every invariant held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let sets: Vec<String> = options
        .heartbeat
        .map(|every| format!("heartbeat.interval={}", humantime::format_duration(every).to_string().replace(' ', "")))
        .into_iter()
        .collect();
    let target = options.target.open(&sets)?;
    let mut report = Report::new("density: memory and processor time of idle connections");
    measure(options, &target, &mut report).map_err(|error| target.explain(error))?;
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

fn measure(options: &Options, target: &Target, report: &mut Report) -> Result<()> {
    let count = options.target.size(options.connections, 18_000, 2_000).max(1);
    let settle = options.target.size(options.settle, Duration::from_secs(10), Duration::from_secs(2));
    let idle_span = Duration::from_secs(options.target.size(options.idle_seconds, 60, 5));
    let channels: Vec<String> = match options.channels {
        0 | 1 => vec!["bench".to_owned()],
        many => (0..many).map(|number| format!("bench-{number}")).collect(),
    };
    let host = target.host();
    let dialect = target.dialect;
    let open = |swarm: &mut Swarm, count| {
        gather(swarm, count, options.concurrency, dialect.subscribed(), |index| {
            Some(dialect.subscriber(&host, &format!("u{index}"), &channels[index % channels.len()]))
        })
    };

    let cold = target.memory()?;
    let mut swarm = options.target.clients(target)?;
    let warm = open(&mut swarm, options.warmup)?;
    dismiss(&mut swarm, warm.keys)?;
    // A fresh swarm, so that keys begin at 0 again and heartbeats skip nothing.
    let mut swarm = options.target.clients(target)?;
    let mut census = Census::default();
    if dialect.has_node() {
        until(target, &mut swarm, &mut census, |node| node.connections.total + node.connections.parked == 0)?;
    }
    let before = Reading::after(settle, target, &mut swarm, &mut census)?;
    let empty = idle::watch(target, &mut swarm, (idle_span / 4).max(Duration::from_secs(1)), &mut census)?;

    let crowd = open(&mut swarm, count)?;
    if dialect.has_node() {
        let all = count as u64;
        let node = until(target, &mut swarm, &mut census, |node| node.connections.dormant >= all)?;
        report.must_be("connections dormant", node.connections.dormant, all, "as GET /v1/node says");
    }
    let held = Reading::after(settle, target, &mut swarm, &mut census)?;
    describe_memory(report, count, options.warmup, cold, &before, &held);

    if let Some(beat) = dialect.beat() {
        swarm.repeat(beat, crowd.heartbeat);
        let busy = idle::watch(target, &mut swarm, idle_span, &mut census)?;
        describe_idle(report, count, &crowd, &empty, &busy);
        // As often as a million would: how a server fares then cannot be told from what one beat costs a quiet machine,
        // which wakes for each of them.
        swarm.repeat(beat, crowd.heartbeat.mul_f64(count as f64 / 1e6));
        let million = idle::watch(target, &mut swarm, idle_span.min(MILLION_SPAN), &mut census)?;
        describe_million(report, &empty, &million);
        swarm.repeat(beat, crowd.heartbeat);
    }
    let later = target.memory()?;
    let growth = (later.pss - before.memory.pss) / count as f64;
    report.figure("user space per connection after heartbeats", growth, Unit::Bytes, "PSS growth / connections");

    if options.burst {
        let begun = Span::begin(target)?;
        let burst =
            burst::send(&mut swarm, (dialect, &host), &crowd.keys, &channels, BURST_EVENTS, BURST_BYTES, &mut census)?;
        let load = begun.end(target)?;
        let peak = target.memory()?;
        // For whoever runs several of these: from here on only this process waits.
        println!("{RESTING}");
        let rest = options.rest.unwrap_or(settle);
        let after = Reading::after(rest, target, &mut swarm, &mut census)?;
        // Others of the same program may rest or end meanwhile, so files do not count here.
        let per = |memory: Memory| (memory.written - before.memory.written) / count as f64;
        let rate = burst.deliveries as f64 / burst.took.as_secs_f64();
        let note = format!("{} publications of {BURST_BYTES} B, {rate:.0} deliveries/s", burst.publications);
        report.figure("burst deliveries", burst.deliveries as f64, Unit::Count, note);
        report.figure("load generator CPU in the burst", load.own_cores(), Unit::Cores, "");
        report.figure("user space per connection before it", per(later), Unit::Bytes, "without pages of files");
        report.figure("user space per connection at its end", per(peak), Unit::Bytes, "");
        let note = format!("{} later", humantime::format_duration(rest));
        report.figure("user space per connection after it", per(after.memory), Unit::Bytes, note);
    }
    report.must_be("disconnects", census.closed, 0, census.first());
    report.must_be("gaps and errors", census.gaps + census.errors, 0, "");
    Ok(())
}

fn describe_memory(report: &mut Report, count: usize, warmup: usize, cold: Memory, before: &Reading, held: &Reading) {
    let connections = count as f64;
    let (old, new) = (before.memory, held.memory);
    let per = |new: f64, old: f64| (new - old) / connections;
    let note = format!("PSS {:.1} → {:.1} MB, / connections", old.pss / 1e6, new.pss / 1e6);
    report.figure("user space per connection", per(new.pss, old.pss), Unit::Bytes, note);
    let note = format!("PSS growth since before the warm-up of {warmup} connections");
    report.figure("the same from a cold start", per(new.pss, cold.pss), Unit::Bytes, note);
    report.figure("private dirty per connection", per(new.private_dirty, old.private_dirty), Unit::Bytes, "");
    report.figure("RSS per connection", per(new.rss, old.rss), Unit::Bytes, "");
    let (old, new) = (&before.kernel, &held.kernel);
    let sockets = 2.0 * connections;
    report.figure("kernel per socket", (new.slab - old.slab) / sockets, Unit::Bytes, {
        let kinds = new.grown(old, sockets);
        format!(
            "slab growth / (2 × connections): both ends are here{}{kinds}",
            if kinds.is_empty() { "" } else { "; " }
        )
    });
    let buffers = (new.socket_buffers - old.socket_buffers) / sockets;
    report.figure("kernel buffers per socket", buffers, Unit::Bytes, "TCP mem of /proc/net/sockstat, whole pages");
    let own = (new.slab - old.slab + new.socket_buffers - old.socket_buffers) / sockets;
    let whole = per(held.memory.pss, before.memory.pss) + own;
    report.figure("with the kernel's share", whole, Unit::Bytes, "user space + slab + buffers of one socket");
    let all = (old.available - new.available) / connections;
    report.figure("whole machine per connection", all, Unit::Bytes, "MemAvailable: both ends, and whatever else ran");
    let own = per(held.own.pss, before.own.pss);
    report.figure("load generator per connection", own, Unit::Bytes, "PSS growth of this process");
}

fn describe_idle(report: &mut Report, count: usize, crowd: &Crowd, empty: &Idle, busy: &Idle) {
    let every = humantime::format_duration(crowd.heartbeat);
    let note = format!("over {:.0} s, each connection once in {every}", busy.load.wall.as_secs_f64());
    report.figure("heartbeats", busy.heartbeats as f64, Unit::Count, note);
    report.must_be("heartbeats unanswered", busy.unanswered, 0, "");
    if let (Some(empty), Some(busy_cores)) = (empty.load.server_cores(), busy.load.server_cores()) {
        report.figure("server CPU, no connections", empty, Unit::Cores, "");
        report.figure("server CPU, all idle", busy_cores, Unit::Cores, "");
        let slope = (busy_cores - empty) / count as f64 * 1e6;
        report.figure("server CPU per million idle", slope, Unit::Cores, "by the slope between these two");
        let each = (busy_cores - empty) * busy.load.wall.as_secs_f64() * 1e6 / busy.heartbeats.max(1) as f64;
        report.figure("server CPU per heartbeat", each, Unit::Micros, "");
    }
    report.figure("load generator CPU", busy.load.own_cores(), Unit::Cores, "while idle");
    let rate = count as f64 / crowd.took.as_secs_f64();
    report.figure("opened", rate, Unit::PerSecond, format!("in {:.2} s", crowd.took.as_secs_f64()));
}

fn describe_million(report: &mut Report, empty: &Idle, million: &Idle) {
    let rate = million.heartbeats as f64 / million.load.wall.as_secs_f64();
    report.must_be("heartbeats of a million unanswered", million.unanswered, 0, "");
    if let (Some(empty), Some(cores)) = (empty.load.server_cores(), million.load.server_cores()) {
        let note = format!("{rate:.0} beats a second, above no connections");
        report.figure("server CPU at a million's heartbeats", cores - empty, Unit::Cores, note);
    }
    report.figure("load generator CPU at a million's heartbeats", million.load.own_cores(), Unit::Cores, "");
}

/// Asks the server every quarter of a second until it says what is wanted, at most half a minute; the last answer.
fn until(
    target: &Target,
    swarm: &mut Swarm,
    census: &mut Census,
    wanted: impl Fn(&node::Node) -> bool,
) -> Result<node::Node> {
    let deadline = clock::now() + Duration::from_secs(30);
    loop {
        let node = node::ask(target.address)?;
        let now = clock::now();
        if wanted(&node) || now > deadline {
            return Ok(node);
        }
        swarm.linger(now + Duration::from_millis(250), |key, happening| census.hear(key, &happening))?;
    }
}
