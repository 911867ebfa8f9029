//! The slowest turns of the last minute, for whoever asks why a shard was late: what was handled, whose it was, how long it
//! took and when.
//!
//! A turn pays one comparison with the shortest of those that are kept. Turns that are handled together (`batch.rs`) have
//! no time of their own and are told by their mean, unless one of them was over `limits.turn_warn`.

use serde::Serialize;

use crate::{clock::Now, id::ConnectionId};

/// Turns kept.
pub(super) const MOST: usize = 16;
/// How long each is told of.
const LIFE_MS: u64 = 60_000;
/// After this a fresh list begins: with one list the slowest of an hour ago would keep out those of now.
const GENERATION_MS: u64 = 30_000;
/// Lists that together hold everything that is not too old.
const GENERATIONS: usize = 3;

/// A turn that took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SlowTurn {
    /// What it handled, as in `dormouse_turns_total{message}`.
    pub message: &'static str,
    /// Whose it was.
    pub connection: ConnectionId,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// When, unix milliseconds.
    pub at: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Slowest {
    /// A turn that took no longer than this is none of them.
    floor: u64,
    /// The one that is being filled first.
    generations: [Vec<SlowTurn>; GENERATIONS],
    /// When it began, unix milliseconds.
    began: u64,
}

impl Slowest {
    /// Whether a turn of so many microseconds belongs here.
    pub(super) fn wants(&self, took_us: u64) -> bool {
        took_us > self.floor
    }

    /// Takes a turn that is wanted.
    pub(super) fn keep(&mut self, turn: SlowTurn) {
        let [kept, ..] = &mut self.generations;
        if kept.len() < MOST {
            kept.push(turn);
        } else if let Some(shortest) = kept.iter_mut().min_by_key(|kept| kept.took_us) {
            *shortest = turn;
        }
        self.floor = if kept.len() < MOST { 0 } else { kept.iter().map(|kept| kept.took_us).min().unwrap_or(0) };
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now: Now) {
        if now.unix_ms.saturating_sub(self.began) < GENERATION_MS {
            return;
        }
        self.generations.rotate_right(1);
        self.generations[0] = Vec::new();
        (self.began, self.floor) = (now.unix_ms, 0);
    }

    /// Those of the last minute, the slowest first.
    pub(super) fn list(&self, now: Now) -> Vec<SlowTurn> {
        let young = |turn: &&SlowTurn| now.unix_ms.saturating_sub(turn.at) <= LIFE_MS;
        let mut list: Vec<_> = self.generations.iter().flatten().filter(young).copied().collect();
        list.sort_unstable_by_key(|turn| (std::cmp::Reverse(turn.took_us), turn.at));
        list.truncate(MOST);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(unix_ms: u64) -> Now {
        Now { micros: unix_ms * 1_000, unix_ms }
    }

    /// As a shard does it.
    fn run(slowest: &mut Slowest, took_us: u64, at: u64) {
        slowest.tick(now(at));
        if slowest.wants(took_us) {
            slowest.keep(SlowTurn { message: "frame", connection: ConnectionId::from_bits(took_us), took_us, at });
        }
    }

    fn times(slowest: &Slowest, at: u64) -> Vec<u64> {
        slowest.list(now(at)).iter().map(|turn| turn.took_us).collect()
    }

    #[test]
    fn the_sixteen_slowest_are_kept_whatever_their_order() {
        let start = 1_000_000;
        for order in [1, 3, 7, 9] {
            let mut slowest = Slowest::default();
            (0..1_000).for_each(|nth| run(&mut slowest, 1 + nth * order % 1_000, start));
            assert_eq!(times(&slowest, start), (985..=1_000).rev().collect::<Vec<_>>(), "every {order}th");
        }
    }

    #[test]
    fn a_turn_that_is_no_slower_than_those_kept_costs_a_comparison() {
        let mut slowest = Slowest::default();
        assert!(slowest.wants(1) && !slowest.wants(0), "what takes no time is never slow");
        (0..16).for_each(|nth| run(&mut slowest, 100 + nth, 1_000_000));
        assert!(!slowest.wants(100) && slowest.wants(101));
    }

    #[test]
    fn a_minute_later_it_is_forgotten_and_no_moment_before() {
        let mut slowest = Slowest::default();
        let start = 1_000_000;
        run(&mut slowest, 5_000, start + 29_999);
        for second in 0..60 {
            run(&mut slowest, 10, start + 29_999 + second * 1_000);
            assert_eq!(times(&slowest, start + 29_999 + second * 1_000)[0], 5_000, "after {second} s");
        }
        run(&mut slowest, 10, start + 29_999 + 60_001);
        assert!(times(&slowest, start + 29_999 + 60_001).iter().all(|&took| took == 10));
    }

    #[test]
    fn slow_turns_of_the_past_do_not_keep_those_of_now_out() {
        let mut slowest = Slowest::default();
        let start = 1_000_000;
        (0..16).for_each(|_| run(&mut slowest, 9_000, start));
        run(&mut slowest, 50, start + 31_000);
        assert_eq!(times(&slowest, start + 61_000), [50]);
    }
}
