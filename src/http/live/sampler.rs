//! The sampler: a system actor that looks at the whole node while somebody watches, as often as the most curious viewer
//! asks. Nobody watching, it sleeps and costs nothing. What it keeps for its next sample is lost with a crash; what viewers
//! see is beside it, in [`Live`](super::Live).

use std::{sync::Arc, time::Duration};

use actix::{Actor, AsyncContext as _, Context, Supervised, WrapFuture as _};
use actix_rt::ArbiterHandle;
use tokio::time::sleep;

use crate::{
    clock::{self, Now},
    http::{
        gateway::Gateway,
        live::{
            Taken,
            health::{Counts, Health, Minute, Signs},
            point::{Point, Quantiles, brief},
            process::Process,
            sample::{CloseLine, Connections, Descriptors, Memory, Sample},
            shards::Shards,
            spread::Spread,
            tally::Tally,
        },
    },
    protocol::frame::VERSION,
    supervision::{Backoff, ChildSpec, Children, Policy},
};

/// The first sample has nothing to compare with; the second follows this soon.
const SOON: Duration = Duration::from_secs(1);
/// Of fewer connections the process is most of the memory, and a share of it tells nothing.
const TELLING: u64 = 1_000;
/// Connections listed by each order, crashes and slow turns.
const LISTED: usize = 20;

/// Its own budget is never spent at the pace it works: a feed that fails must not take the node with it.
fn spec() -> ChildSpec {
    let backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_secs(1) };
    let policy = Policy { max_restarts: 60, within: Duration::from_secs(10), backoff };
    ChildSpec { policy, ..ChildSpec::system("live") }
}

/// Starts the sampler under `children`. It may be gone for a moment, and nobody but viewers notices.
pub fn start_sampler(children: &Children, arbiter: &ArbiterHandle, gateway: &Arc<Gateway>) {
    let watched = Arc::clone(gateway);
    let address = children.start(arbiter, spec(), move || Sampler { gateway: watched });
    if gateway.live.0.sampler.set(address).is_err() {
        tracing::error!("the live feed was started twice");
    }
}

/// See the module's text.
pub(super) struct Sampler {
    gateway: Arc<Gateway>,
}

impl Actor for Sampler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(run(Arc::clone(&self.gateway)).into_actor(self));
    }
}

/// What it keeps is in the future that `started` spawns anew.
impl Supervised for Sampler {}

/// Never ends.
async fn run(gateway: Arc<Gateway>) {
    let live = &gateway.live;
    let mut watch = Watch::new(&gateway);
    loop {
        let micros = gateway.clock.micros();
        let since = Duration::from_micros(micros - watch.at);
        let Some(every) = live.every(micros) else {
            live.0.wanted.notified().await;
            // The interval would be the pause.
            watch.compares &= gateway.clock.micros() - watch.at < 2 * SOON.as_micros() as u64;
            continue;
        };
        let pace = if watch.first { every.min(SOON) } else { every };
        if watch.compares && since < pace {
            tokio::select! {
                () = sleep(pace - since) => {}
                () = live.0.wanted.notified() => {}
            }
            continue;
        }
        watch.look(&gateway).await;
    }
}

/// What one sample leaves for the next.
struct Watch {
    shards: Shards,
    tally: Tally,
    /// When that was counted, in microseconds of the clock.
    at: u64,
    cpu: Duration,
    minute: Minute,
    seq: u64,
    /// There is something to compare with.
    compares: bool,
    /// The sample before was the first after a pause.
    first: bool,
}

impl Watch {
    fn new(gateway: &Gateway) -> Self {
        Self {
            shards: Shards::new(gateway.shards.count()),
            tally: Tally::default(),
            at: gateway.clock.micros(),
            cpu: Duration::ZERO,
            minute: Minute::default(),
            // Rising over restarts of the sampler too.
            seq: clock::unix_ms(),
            compares: false,
            first: false,
        }
    }

    /// Takes a sample and tells it.
    async fn look(&mut self, gateway: &Gateway) {
        self.shards.ask(gateway, LISTED).await;
        let (now, tally, cpu) = (gateway.clock.now(), Tally::of(gateway), clock::processor_time());
        let process = Process::look();
        let mut point = self.point(now, &tally, cpu);
        let (stalled, actors) = (gateway.watchdog.stalled_now(), gateway.children.list());
        (point.stalled, point.resident_bytes) = (stalled.len(), process.resident_bytes);
        let mut crashes = gateway.crashes.list();
        crashes.truncate(LISTED);
        let connections = Connections {
            total: point.awake + point.dormant,
            awake: point.awake,
            dormant: point.dormant,
            parked: point.parked,
            most: gateway.config().limits.max_connections,
            counted_ms_ago: now.micros.saturating_sub(self.shards.walked_at()) / 1_000,
            counted_in_us: self.shards.walk_us(),
        };
        let (ledger, descriptors) = (self.shards.ledger(), Descriptors::from(process));
        let shards = self.shards.lines(&point.lag);
        let health = Health::of(&Signs {
            point: &point,
            connections,
            descriptors,
            shards: &shards,
            stalled: &stalled,
            actors: &actors,
            crashes: &crashes,
            broken_hooks: &tally.broken_hooks,
            lately: self.minute.count(now.micros, Counts::of(&tally.totals, &ledger)),
            ready: gateway.is_ready(),
        });
        let measured = self.compares;
        let sample = Sample {
            seq: self.seq,
            node: &gateway.node,
            version: VERSION,
            uptime_ms: now.micros / 1_000,
            ready: gateway.is_ready(),
            chaos: gateway.config().chaos.enabled,
            health,
            measured,
            point: &point,
            connections,
            totals: &tally.totals,
            ledger,
            closes: self.closes(&tally),
            memory: memory(gateway, connections, process),
            descriptors,
            shards,
            stalled,
            actors,
            crashes,
            slowest: self.shards.slowest(LISTED),
            worst: self.shards.worst(LISTED),
        };
        let json = serde_json::to_string(&sample);
        drop(sample);
        match json {
            Ok(json) => gateway.live.tell(Taken { micros: now.micros, measured, json }, point),
            Err(error) => tracing::error!(%error, "a sample cannot be written"),
        }
        (self.first, self.compares) = (!measured, true);
        (self.at, self.tally, self.cpu) = (now.micros, tally, cpu);
        self.seq += 1;
    }

    /// What has happened since the sample before.
    fn point(&self, at: Now, tally: &Tally, cpu: Duration) -> Point {
        let (before, cpu_before) = if self.compares { (&self.tally, self.cpu) } else { (tally, cpu) };
        let span = Duration::from_micros(at.micros - self.at);
        let seconds = span.as_secs_f64().max(1e-3);
        let rate = |now: u64, before: u64| brief(now.saturating_sub(before) as f64 / seconds);
        let (now, was) = (&tally.totals, &before.totals);
        let quantiles = |now: &Spread, before: &Spread| Quantiles::from(&now.since(before));
        let nothing = Spread::default();
        let lag = tally.lag.iter().enumerate().map(|(shard, now)| {
            let before = before.lag.get(shard).unwrap_or(&nothing);
            now.since(before).quantile(0.99).map(brief)
        });
        let awake = self.shards.awake();
        Point {
            at: at.unix_ms,
            span_ms: span.as_millis() as u64,
            awake,
            dormant: self.shards.attached() - awake,
            parked: self.shards.parked(),
            outbox_bytes: self.shards.outbox_bytes(),
            published: rate(now.published, was.published),
            delivered: rate(now.delivered, was.delivered),
            dropped: rate(now.dropped, was.dropped),
            accepted: rate(now.accepted, was.accepted),
            refused: rate(now.refused, was.refused),
            closed: rate(now.closed, was.closed),
            turns: rate(now.turns, was.turns),
            crashed: rate(now.crashed, was.crashed),
            turn: quantiles(&tally.turn, &before.turn),
            wait: quantiles(&tally.wait, &before.wait),
            delivery: quantiles(&tally.delivery, &before.delivery),
            restart: quantiles(&tally.restart, &before.restart),
            commit: quantiles(&tally.commit, &before.commit),
            lag: lag.collect(),
            cpu: brief(cpu.saturating_sub(cpu_before).as_secs_f64() / seconds),
            ..Point::default()
        }
    }

    fn closes(&self, now: &Tally) -> Vec<CloseLine> {
        let line = |(code, &total): (&String, &u64)| {
            let before = if self.compares { self.tally.closes.get(code).copied().unwrap_or_default() } else { total };
            CloseLine::new(code.clone(), total, total.saturating_sub(before))
        };
        now.closes.iter().filter(|(_, total)| **total > 0).map(line).collect()
    }
}

fn memory(gateway: &Gateway, connections: Connections, process: Process) -> Memory {
    let records = &gateway.metrics.record_bytes;
    let slept = records.get_sample_count();
    let all = (connections.total + connections.parked) as u64;
    Memory {
        resident_bytes: process.resident_bytes,
        bytes_per_connection: process.resident_bytes.filter(|_| all >= TELLING).map(|bytes| bytes / all),
        record_bytes: (slept > 0).then(|| (records.get_sample_sum() / slept as f64).round() as u64),
    }
}
