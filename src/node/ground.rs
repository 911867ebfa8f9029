//! What shards of any kind stand on, and where their crashes go: the same for the gateway's, for echo's and for those of apps.
//! Made by `node.rs`, used by it and by `server.rs`.

use std::{path::Path, sync::Arc};

use actix_rt::{Arbiter, ArbiterHandle};

use crate::{
    clock::Clock,
    config::Config,
    shard::{self, Sockets},
    supervision::{Children, Counters, CrashFiles, Crashes, Folder, Part, SupervisorSpec, Watchdog},
    telemetry::Metrics,
};

/// What shards of any kind stand on, while a node is made.
pub(super) struct Ground<'a> {
    pub(super) config: &'a Config,
    pub(super) arbiters: &'a [Arbiter],
    pub(super) clock: Clock,
    pub(super) metrics: &'a Metrics,
    pub(super) sockets: &'a Arc<Sockets>,
    pub(super) children: &'a Children,
    pub(super) watchdog: &'a Watchdog,
    pub(super) crashes: &'a Crashes,
}

impl Ground<'_> {
    /// One shard on each arbiter, under a supervisor of their own.
    pub(super) fn plan(&self, name: &'static str, parts: Vec<Part>, supervisor: SupervisorSpec) -> shard::Plan {
        shard::Plan {
            name,
            parts,
            options: shard::Options::new(self.config),
            arbiters: self.arbiters.iter().map(Arbiter::handle).collect(),
            clock: self.clock,
            metrics: self.metrics.clone(),
            sockets: Arc::clone(self.sockets),
            children: self.children.branch(supervisor),
            watchdog: self.watchdog.clone(),
            crashes: self.crashes.clone(),
        }
    }
}

/// Counts crashes and, unless that is off, has files written of them by an actor on a thread of its own: disks are slow.
pub(super) fn crashes(
    config: &Config,
    program: Option<&Path>,
    (clock, metrics): (Clock, &Metrics),
    children: &Children,
    arbiter: &ArbiterHandle,
) -> Crashes {
    let most = config.supervision.crash_files;
    if most == 0 {
        return Crashes::default();
    }
    let result = |result| metrics.crash_files.with_label_values(&[result]);
    let counters = Counters { written: result("written"), skipped: result("skipped"), failed: result("failed") };
    let path = config.store.path.join(&config.supervision.crash_dir);
    let folder =
        Folder { path, most, payloads: config.supervision.crash_payloads, program: program.map(Path::to_owned) };
    let outbox = CrashFiles::start(arbiter, children, folder, counters);
    Crashes::with_files(clock, outbox, most)
}
