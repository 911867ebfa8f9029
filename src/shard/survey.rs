//! What the dashboard's feed asks of a shard once a second while somebody watches: its counts, and whose connections are
//! worst by every order, found in one walk over the table.
//!
//! A walk reads each slot's first words and, of a million, takes milliseconds; so whoever asks may ask without it, and is
//! told how long the last one took. Everything else here is at hand.

use std::{cmp::Reverse, collections::BinaryHeap};

use actix::{Handler, Message, MessageResult};

use crate::shard::{
    Shard,
    behaviour::Behaviour,
    command::{Census, ConnectionView, Sort},
    core::Core,
    ledger::Ledger,
    network::Network,
    slowest::SlowTurn,
};

/// Look at a whole shard.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Surveyed")]
pub struct Survey {
    /// Also what only a walk over the table tells.
    pub walk: bool,
    /// Connections for each order.
    pub worst: usize,
}

/// A shard at a glance.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// Connections with a socket.
    pub attached: usize,
    /// Records without one.
    pub parked: usize,
    /// Exact but for what is pending, which is counted by a walk.
    pub ledger: Ledger,
    /// The slowest turns of the last minute.
    pub slowest: Vec<SlowTurn>,
    /// What the walk found, if one was asked for.
    pub walk: Option<Walk>,
}

/// What a walk over the table found.
#[derive(Clone, Debug)]
pub struct Walk {
    /// As every census.
    pub census: Census,
    /// The worst connections by each of [`Sort::ALL`], those at zero left out.
    pub worst: [Vec<ConnectionView>; Sort::ALL.len()],
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// The largest of many, with room for a few.
struct Worst {
    most: usize,
    /// Rank and index; the smallest on top.
    kept: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Worst {
    fn new(most: usize) -> Self {
        Self { most, kept: BinaryHeap::new() }
    }

    fn offer(&mut self, rank: u64, index: u32) {
        if rank == 0 || self.most == 0 {
            return;
        }
        if self.kept.len() < self.most {
            self.kept.push(Reverse((rank, index)));
        } else if let Some(mut smallest) = self.kept.peek_mut()
            && rank > smallest.0.0
        {
            *smallest = Reverse((rank, index));
        }
    }

    /// The largest first.
    fn indices(self) -> impl Iterator<Item = u32> {
        let mut kept = self.kept.into_vec();
        kept.sort_unstable_by_key(|&Reverse((rank, index))| (Reverse(rank), index));
        kept.into_iter().map(|Reverse((_, index))| index)
    }
}

impl<B: Behaviour> Handler<Survey> for Shard<B> {
    type Result = MessageResult<Survey>;

    fn handle(&mut self, survey: Survey, _: &mut Self::Context) -> Self::Result {
        let mut core = self.core.borrow_mut();
        // Whoever surveys also reads the metrics now: both tell the same moment.
        core.pour();
        MessageResult(core.survey(survey))
    }
}

impl<B: Behaviour, N: Network> Core<B, N> {
    fn survey(&self, Survey { walk, worst }: Survey) -> Surveyed {
        Surveyed {
            attached: self.table.live() - self.table.parked(),
            parked: self.table.parked(),
            ledger: self.ledger,
            slowest: self.slowest.list(self.clock.now()),
            walk: walk.then(|| self.walk(worst)),
        }
    }

    fn walk(&self, most: usize) -> Walk {
        let began = self.clock.now();
        let mut census = self.empty_census();
        let mut worst = Sort::ALL.map(|_| Worst::new(most));
        for (index, slot) in self.table.iter() {
            Self::count(&mut census, slot);
            for (worst, sort) in worst.iter_mut().zip(Sort::ALL) {
                worst.offer(Self::rank(slot, sort, began), index);
            }
        }
        census.dormant = self.table.live() - census.parked - census.awake;
        let view = |index: u32| Some(self.view(self.table.id(index)?, self.table.get(index)?));
        let worst = worst.map(|worst| worst.indices().filter_map(view).collect());
        Walk { census, worst, took_us: self.clock.micros() - began.micros }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_found_and_zeros_are_nobodys() {
        let mut worst = Worst::new(3);
        for (rank, index) in [(5, 0), (0, 1), (9, 2), (7, 3), (1, 4), (9, 5), (2, 6)] {
            worst.offer(rank, index);
        }
        assert_eq!(worst.indices().collect::<Vec<_>>(), [2, 5, 3]);
        let mut few = Worst::new(3);
        few.offer(0, 1);
        few.offer(4, 2);
        assert_eq!(few.indices().collect::<Vec<_>>(), [2]);
        let mut none = Worst::new(0);
        none.offer(4, 2);
        assert_eq!(none.indices().count(), 0);
    }
}
