//! Who restarts whom, and how often: the specs that the node starts its parts with. A test compares the drawing in `README.md`
//! with the tree that they make.

use std::time::Duration;

use crate::{
    config::Config,
    supervision::{ChildSpec, Part, Policy, Strategy, SupervisorSpec},
};

/// Actors that serve the whole node; each may use those started before it.
pub(super) const SYSTEM: SupervisorSpec =
    SupervisorSpec { name: "system", strategy: Strategy::RestForOne, policy: Policy::new(3, Duration::from_secs(60)) };

/// A shard that spends its budget is broken in what a restart keeps: one more would not mend it.
pub(super) const SHARDS: SupervisorSpec =
    SupervisorSpec { name: "shards", strategy: Strategy::OneForOne, policy: Policy::never() };

pub(super) const ECHO: SupervisorSpec = SupervisorSpec { name: "echo", ..SHARDS };

/// The store's threads are no actors: they mend themselves, and the actor that is listed looks after them.
pub(super) fn warden_spec() -> ChildSpec {
    ChildSpec::system("store")
        .with_part(
            "writer",
            "a thread; a panic costs its group of writes and opens the engine again; closed after the shards",
        )
        .with_part("reader", "a thread; a panic costs the read")
}

/// What lives inside a shard: each would cost every turn a lock or a hop as an actor of its own.
pub(super) fn parts(config: &Config) -> Vec<Part> {
    let part = |name, how: &str| Part { name, how: how.to_owned() };
    let policy = Policy::new(config.supervision.max_restarts, config.supervision.within);
    vec![
        Part { name: "connections", how: format!("transient, {policy}, each for itself; then close 4000") },
        part("jobs", "temporary; a panic or a passed deadline comes back to the connection as a message"),
        part("channel hub", "goes on at once; whom the panic left without an answer is told `crashed`"),
        part("presence, sweeper", "part of the shard's tick, restart with it"),
    ]
}
