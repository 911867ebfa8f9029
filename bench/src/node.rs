//! The server's own account of itself, `GET /v1/node`: connections by state, restarts, the ledger.
//!
//! Each question opens and closes its own HTTP connection, so that none of them stays among what is measured.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use serde::Deserialize;

/// `/v1/node`, as far as measurements care.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    /// As many as there are; their numbers are not read here.
    #[serde(default)]
    pub(crate) shards: Vec<serde::de::IgnoredAny>,
    pub(crate) connections: Connections,
    #[serde(default)]
    pub(crate) restarts: u64,
    pub(crate) ledger: Ledger,
}

/// Connections by state.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Connections {
    pub(crate) total: u64,
    pub(crate) dormant: u64,
    pub(crate) parked: u64,
}

/// Counted per event and connection.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) offered: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) pending: u64,
}

impl Ledger {
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// What was counted since `earlier`; pending is a level and stays as it is.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let dropped = self.dropped.iter().map(|(reason, count)| {
            (reason.clone(), count.saturating_sub(earlier.dropped.get(reason).copied().unwrap_or_default()))
        });
        Self {
            offered: self.offered.saturating_sub(earlier.offered),
            delivered: self.delivered.saturating_sub(earlier.delivered),
            dropped: dropped.collect(),
            pending: self.pending,
        }
    }
}

/// Asks the server.
pub(crate) fn ask(address: SocketAddr) -> Result<Node> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .max_idle_connections(0)
        .build()
        .into();
    let url = format!("http://{address}/v1/node");
    let mut response = agent.get(&url).call().with_context(|| format!("GET {url}"))?;
    response.body_mut().read_json().with_context(|| format!("GET {url}: unexpected body"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_read_and_counted_from_an_earlier_one() {
        let node: Node = serde_json::from_str(
            r#"{"node":"n","version":"0","uptime_ms":5,"shards":[],"connections":{"total":3,"awake":1,"dormant":2,"parked":0},
                "restarts":4,"ledger":{"offered":10,"delivered":7,"dropped":{"overflow":2},"pending":1}}"#,
        )
        .unwrap();
        assert_eq!((node.connections.dormant, node.restarts, node.ledger.dropped()), (2, 4, 2));
        let earlier = Ledger { offered: 4, delivered: 4, ..Ledger::default() };
        let since = node.ledger.since(&earlier);
        assert_eq!((since.offered, since.delivered, since.dropped(), since.pending), (6, 3, 2, 1));
    }
}
