//! The node before and after an attack, as `/v1/node` tells: whether it is the same one, whether it came to rest, and whether
//! its ledger balances.

use std::time::Duration;

use serde_json::{Value, json};

use super::attack::Stop;
use crate::{
    cli::{Failure, api},
    clock::Clock,
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// One look at the node.
#[derive(Clone, Debug)]
pub(super) struct Look(pub(super) Value);

impl Look {
    /// # Errors
    /// Nobody answers, or not as a node of ours would.
    pub(super) fn take(server: &api::Server) -> Result<Self, Failure> {
        let node = server.get("/v1/node")?.map_err(|refused| Failure::new(refused.message))?;
        if node["ledger"].is_object() { Ok(Self(node)) } else { Err(Failure::new("/v1/node tells no ledger")) }
    }

    /// Looks until nothing is pending and nothing was offered between two looks, at most for `patience`.
    pub(super) fn when_quiet(server: &api::Server, patience: Duration, stop: &Stop) -> Result<Self, Failure> {
        let clock = Clock::start();
        let mut last = Self::take(server)?;
        while clock.elapsed() < patience && stop.rest(LOOK) {
            let next = Self::take(server)?;
            let quiet = next.is_quiet() && next.offered() == last.offered();
            last = next;
            if quiet {
                break;
            }
        }
        Ok(last)
    }

    /// All shards answer, and no event waits.
    pub(super) fn is_quiet(&self) -> bool {
        let shards = self.0["shards"].as_array();
        let stuck = shards.is_some_and(|shards| shards.iter().any(|shard| shard["answers"] == json!(false)));
        self.pending() == 0 && !stuck
    }

    pub(super) fn offered(&self) -> u64 {
        self.0["ledger"]["offered"].as_u64().unwrap_or_default()
    }

    pub(super) fn delivered(&self) -> u64 {
        self.0["ledger"]["delivered"].as_u64().unwrap_or_default()
    }

    pub(super) fn pending(&self) -> u64 {
        self.0["ledger"]["pending"].as_u64().unwrap_or_default()
    }

    /// Events dropped, for all reasons together.
    pub(super) fn dropped(&self) -> u64 {
        let reasons = self.0["ledger"]["dropped"].as_object();
        reasons.map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum())
    }

    pub(super) fn balances(&self) -> bool {
        self.offered() == self.delivered() + self.dropped() + self.pending()
    }

    pub(super) fn connections(&self) -> u64 {
        self.0["connections"]["total"].as_u64().unwrap_or_default()
    }

    pub(super) fn restarts(&self) -> u64 {
        self.0["restarts"].as_u64().unwrap_or_default()
    }

    /// Names of everything under supervision that can be made to panic.
    pub(super) fn actors(&self) -> Vec<String> {
        let list = self.0["actors"].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|actor| Some(actor["name"].as_str()?.to_owned())).collect()
    }

    /// The same process as `earlier`.
    pub(super) fn is_same(&self, earlier: &Self) -> bool {
        let uptime = |look: &Self| look.0["uptime_ms"].as_u64();
        self.0["node"] == earlier.0["node"] && uptime(self) >= uptime(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(offered: u64, pending: u64) -> Look {
        Look(json!({"node": "n", "uptime_ms": 5, "ledger": {
            "offered": offered, "delivered": 7, "dropped": {"overflow": 2, "crash": 1}, "pending": pending}}))
    }

    #[test]
    fn a_ledger_balances_with_what_was_dropped_and_what_waits() {
        assert!(look(10, 0).balances() && look(11, 1).balances() && !look(11, 0).balances());
        assert!(look(10, 0).is_quiet() && !look(11, 1).is_quiet());
    }

    #[test]
    fn a_shard_that_does_not_answer_is_not_quiet() {
        let mut stuck = look(10, 0);
        stuck.0["shards"] = json!([{"answers": true}, {"answers": false}]);
        assert!(!stuck.is_quiet());
    }

    #[test]
    fn another_process_is_not_the_same_node() {
        let (earlier, mut later) = (look(1, 0), look(1, 0));
        assert!(later.is_same(&earlier));
        later.0["uptime_ms"] = json!(4);
        assert!(!later.is_same(&earlier));
        later = look(1, 0);
        later.0["node"] = json!("m");
        assert!(!later.is_same(&earlier));
    }
}
