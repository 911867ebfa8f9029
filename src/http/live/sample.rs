//! One sample as viewers get it: totals since the start, tables, and the point that plots show. Field names are part of the
//! API (`/v1/openapi.json`).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    http::live::{health::Health, point::Point, process::Process},
    id::ConnectionId,
    protocol::close::Close,
    shard::{ConnectionView, Ledger, SlowTurn, Sort, State},
    supervision::{Child, CrashLine, Stall},
};

/// See the module's text.
#[derive(Serialize)]
#[serde(tag = "kind", rename = "sample")]
pub(super) struct Sample<'a> {
    /// Rises by one with each; whoever misses one was slow.
    pub(super) seq: u64,
    pub(super) node: &'a str,
    pub(super) version: &'static str,
    pub(super) uptime_ms: u64,
    /// False: it is being drained.
    pub(super) ready: bool,
    /// Faults may be injected.
    pub(super) chaos: bool,
    pub(super) health: Health,
    /// False: nothing to compare with yet, so the point's rates are zero and mean nothing.
    pub(super) measured: bool,
    pub(super) point: &'a Point,
    pub(super) connections: Connections,
    pub(super) totals: &'a Totals,
    pub(super) ledger: Ledger,
    /// Why sockets ended.
    pub(super) closes: Vec<CloseLine>,
    pub(super) memory: Memory,
    pub(super) descriptors: Descriptors,
    pub(super) shards: Vec<ShardLine>,
    /// Turns that hang at this moment.
    pub(super) stalled: Vec<Stall>,
    pub(super) actors: Vec<Child>,
    /// The most frequent places.
    pub(super) crashes: Vec<CrashLine>,
    /// The slowest turns of the last minute.
    pub(super) slowest: Vec<SlowTurn>,
    pub(super) worst: Worst<'a>,
}

/// As in `/v1/node`.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Connections {
    pub(super) total: usize,
    pub(super) awake: usize,
    pub(super) dormant: usize,
    pub(super) parked: usize,
    /// `limits.max_connections`, or what descriptors allow.
    pub(super) most: usize,
    /// Since when awake and dormant, outboxes, pending events and the worst connections are known: counting them walks over
    /// the table, which a shard with very many connections is asked for less often.
    pub(super) counted_ms_ago: u64,
    /// How long the slowest shard was busy with that, in microseconds.
    pub(super) counted_in_us: u64,
}

/// Since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) published: u64,
    pub(super) offered: u64,
    pub(super) delivered: u64,
    pub(super) dropped: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) closed: u64,
    pub(super) turns: u64,
    pub(super) slow_turns: u64,
    pub(super) stalls: u64,
    pub(super) crashed: u64,
    /// Crashed actors that came back.
    pub(super) restarts: u64,
    pub(super) gave_up: u64,
    /// Signals and presence frames that a full mailbox refused.
    pub(super) ephemeral_dropped: u64,
    /// Handshakes by result.
    pub(super) handshakes: BTreeMap<String, u64>,
}

/// Sockets that ended with a code.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct CloseLine {
    /// As in `dormouse_closes_total{code}`.
    pub(super) code: String,
    /// What the code means.
    pub(super) name: &'static str,
    pub(super) total: u64,
    /// Within the interval.
    pub(super) lately: u64,
}

impl CloseLine {
    pub(super) fn new(code: String, total: u64, lately: u64) -> Self {
        let known = code.parse().ok().and_then(Close::from_code).map(|close| close.name);
        // RFC 6455 §7.1.5.
        let name = known.unwrap_or(match &*code {
            "1005" => "without a code",
            "1006" => "without a close frame",
            _ => "the client's own",
        });
        Self { code, name, total, lately }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Memory {
    pub(super) resident_bytes: Option<u64>,
    /// Of the whole process, for each connection, parked ones included; once there are a thousand.
    pub(super) bytes_per_connection: Option<u64>,
    /// Slot and record, mean of all that have fallen asleep since the start.
    pub(super) record_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Descriptors {
    pub(super) open: Option<u64>,
    pub(super) most: Option<u64>,
}

impl From<Process> for Descriptors {
    fn from(process: Process) -> Self {
        Self { open: process.descriptors, most: process.descriptors_most }
    }
}

/// As in `/v1/node`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct ShardLine {
    pub(super) shard: usize,
    /// False: it is stuck in a turn, and its numbers are the last it told.
    pub(super) answers: bool,
    pub(super) awake: usize,
    pub(super) dormant: usize,
    pub(super) parked: usize,
    pub(super) restarts: u64,
    pub(super) outbox_bytes: usize,
    /// How late its ticks were within the interval, in seconds.
    pub(super) lag: Option<f32>,
}

/// The first by each order of `/v1/connections?sort=`, those at zero left out.
#[derive(Clone, Default, Serialize)]
pub(super) struct Worst<'a> {
    pub(super) mailbox: Vec<Line<'a>>,
    pub(super) outbox: Vec<Line<'a>>,
    pub(super) restarts: Vec<Line<'a>>,
    pub(super) idle: Vec<Line<'a>>,
}

/// As in `/v1/connections`, but for channels: names of a hundred of them, times all that are listed, would be most of a
/// sample.
#[derive(Clone, Serialize)]
pub(super) struct Line<'a> {
    connection: ConnectionId,
    user: Option<&'a str>,
    shard: u16,
    state: State,
    generation: u32,
    restarts: u32,
    mailbox: usize,
    outbox_bytes: usize,
    /// How many.
    channels: usize,
    idle_ms: u32,
    record_bytes: usize,
}

impl<'a> From<&'a ConnectionView> for Line<'a> {
    fn from(view: &'a ConnectionView) -> Self {
        Self {
            connection: view.connection,
            user: view.user.as_deref(),
            shard: view.shard,
            state: view.state,
            generation: view.generation,
            restarts: view.restarts,
            mailbox: view.mailbox,
            outbox_bytes: view.outbox_bytes,
            channels: view.subscriptions.len(),
            idle_ms: view.idle_ms,
            record_bytes: view.record_bytes,
        }
    }
}

impl<'a> Worst<'a> {
    /// Of what the shards say, by each order.
    pub(super) fn of(
        shards: impl Iterator<Item = &'a [Vec<ConnectionView>; Sort::ALL.len()]> + Clone,
        most: usize,
    ) -> Self {
        let by = |nth: usize, sort: Sort| {
            let mut all: Vec<_> = shards.clone().flat_map(|worst| &worst[nth]).collect();
            all.sort_by_key(|view| (std::cmp::Reverse(view.rank(sort)), view.connection));
            all.into_iter().take(most).map(Line::from).collect()
        };
        let [mailbox, outbox, restarts, idle] = Sort::ALL;
        Self { mailbox: by(0, mailbox), outbox: by(1, outbox), restarts: by(2, restarts), idle: by(3, idle) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_told_by_its_name() {
        let name = |code: &str| CloseLine::new(code.to_owned(), 1, 0).name;
        assert_eq!([name("4503"), name("1006"), name("1005")], ["kicked", "without a close frame", "without a code"]);
        assert_eq!([name("3001"), name("other")], ["the client's own"; 2]);
    }
}
