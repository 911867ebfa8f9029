//! Every crash of a run and what may follow from it: restart budgets counted again, by the connection's own crashes alone.

use std::{collections::BTreeMap, time::Duration};

use dormouse::{id::ConnectionId, shard::faults::Crashed};

#[derive(Default)]
struct History {
    /// Restarts granted, in milliseconds.
    restarts: Vec<u64>,
    /// Crashed restarts in a row.
    in_a_row: u32,
    /// A panic outside of every turn was counted as its crash; there the restart is tried once.
    escaped: bool,
}

/// What happened to the connections of one slot.
#[derive(Default)]
struct Slot {
    /// When turns for deliveries crashed.
    deliveries: Vec<Duration>,
    /// When a budget was last spent.
    condemned: Option<Duration>,
}

pub(crate) struct Crashes {
    max_restarts: usize,
    within: Duration,
    of: BTreeMap<ConnectionId, History>,
    slots: BTreeMap<(u16, u32), Slot>,
    pub(crate) count: u64,
}

impl Crashes {
    pub(crate) fn new(max_restarts: u32, within: Duration) -> Self {
        Self { max_restarts: max_restarts as usize, within, of: BTreeMap::new(), slots: BTreeMap::new(), count: 0 }
    }

    /// Takes note of a crash. `true`: the connection must not keep its socket.
    pub(crate) fn note(&mut self, crashed: Crashed) -> bool {
        self.count += 1;
        let history = self.of.entry(crashed.connection).or_default();
        let slot = self.slots.entry((crashed.connection.shard(), crashed.connection.index())).or_default();
        if crashed.kind == "message" {
            slot.deliveries.push(crashed.at);
        }
        history.in_a_row = if crashed.kind == "restarted" { history.in_a_row + 1 } else { 0 };
        history.escaped |= crashed.kind == "escape";
        let at = crashed.at.as_millis() as u64;
        let within = self.within.as_millis() as u64;
        history.restarts.retain(|restart| at - restart <= within);
        let spent = history.restarts.len() >= self.max_restarts;
        let untold = crashed.kind == "restarted" && (history.in_a_row > 1 || history.escaped);
        if !spent && history.in_a_row <= 2 {
            history.restarts.push(at);
        }
        if spent || untold {
            slot.condemned = Some(crashed.at);
        }
        // One that is parked already has lost its socket, and may have another by now. A restart that could not be told
        // may have been for something that nobody misses.
        // And whether its restart was counted after a panic outside of turns is not seen from here.
        !history.escaped
            && ((spent && crashed.kind != "detached") || (crashed.kind == "restarted" && history.in_a_row > 2))
    }

    /// A connection in one of these slots has spent its budget since then.
    pub(crate) fn may_give_up(&self, slots: &[(u16, u32)], since: Duration) -> bool {
        slots.iter().any(|slot| self.slots.get(slot).and_then(|slot| slot.condemned).is_some_and(|at| at >= since))
    }

    /// Connections in these slots crashed while they handled what was delivered to them, so often since then.
    pub(crate) fn deliveries(&self, slots: &[(u16, u32)], since: Duration) -> usize {
        let all = slots.iter().filter_map(|slot| self.slots.get(slot)).flat_map(|slot| &slot.deliveries);
        all.filter(|at| **at >= since).count()
    }
}
