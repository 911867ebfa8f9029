//! `GET /v1/node`: the node at a glance, for operators and the dashboard.

use actix_web::web::{Data, Json};
use futures_util::future::join_all;
use serde::Serialize;

use crate::{
    http::{
        api::{Answered, census},
        gateway::Gateway,
        mount::Mount,
    },
    protocol::frame::VERSION,
    shard::{Census, Ledger},
    supervision::{Branch, Child, CrashLine, Stall},
};

/// The answer.
#[derive(Serialize)]
pub(crate) struct Node {
    node: String,
    version: &'static str,
    uptime_ms: u64,
    ready: bool,
    shards: Vec<Shard>,
    connections: Connections,
    /// What is mounted beside the gateway. Its connections are in no other number here.
    apps: Vec<App>,
    /// Since the node started.
    restarts: u64,
    ledger: Ledger,
    /// Turns that hang at this moment.
    stalled: Vec<Stall>,
    /// Everything under supervision; `panic_actor` takes these names.
    actors: Vec<Child>,
    /// Who restarts them when one has spent its budget.
    supervisors: Vec<Branch>,
    /// What has crashed, by place and by what was being handled; most frequent first.
    crashes: Vec<CrashLine>,
}

#[derive(Serialize)]
struct Shard {
    shard: usize,
    /// False: it is stuck in a turn, and its numbers are missing everywhere in this answer.
    answers: bool,
    awake: usize,
    dormant: usize,
    parked: usize,
    /// Of the connections that live now.
    restarts: u64,
    outbox_bytes: usize,
}

#[derive(Serialize)]
struct App {
    name: &'static str,
    path: String,
    connections: Connections,
    /// Of the connections that live now.
    restarts: u64,
    outbox_bytes: usize,
}

#[derive(Serialize)]
struct Connections {
    /// With a socket: awake and dormant.
    total: usize,
    awake: usize,
    dormant: usize,
    parked: usize,
}

pub(crate) async fn show(gateway: Data<Gateway>) -> Answered<Node> {
    let counted = census::take(&gateway.shards).await;
    let apps = join_all(gateway.mounts.iter().map(|mount| app(mount))).await;
    let sum = census::sum(counted.iter().flatten());
    Ok(Json(Node {
        node: gateway.node.clone(),
        version: VERSION,
        uptime_ms: gateway.clock.elapsed().as_millis() as u64,
        ready: gateway.is_ready(),
        shards: counted.iter().enumerate().map(|(number, census)| shard(number, census.as_ref())).collect(),
        connections: Connections::from(sum),
        apps,
        restarts: gateway.metrics.restarts.get(),
        ledger: sum.ledger,
        stalled: gateway.watchdog.stalled_now(),
        actors: gateway.children.list(),
        supervisors: gateway.children.branches(),
        crashes: gateway.crashes.list(),
    }))
}

impl From<Census> for Connections {
    fn from(census: Census) -> Self {
        let Census { awake, dormant, parked, .. } = census;
        Self { total: awake + dormant, awake, dormant, parked }
    }
}

async fn app(mount: &Mount) -> App {
    let sum = census::sum(census::take(&*mount.shards).await.iter().flatten());
    App {
        name: mount.name,
        path: mount.place.path.clone(),
        connections: sum.into(),
        restarts: sum.restarts,
        outbox_bytes: sum.outbox_bytes,
    }
}

fn shard(shard: usize, census: Option<&Census>) -> Shard {
    let counted = census.copied().unwrap_or_default();
    Shard {
        shard,
        answers: census.is_some(),
        awake: counted.awake,
        dormant: counted.dormant,
        parked: counted.parked,
        restarts: counted.restarts,
        outbox_bytes: counted.outbox_bytes,
    }
}
