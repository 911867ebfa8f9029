//! Crashes grouped by where they happened and what was being handled, so that one bug that hits ten thousand connections
//! is one line with a count and an example, not ten thousand lines.
//!
//! A plain table: no clock, no lock, no logging. A shard keeps its own; the node [merges](Fingerprints::merge) them.

use std::collections::HashMap;

use super::CrashReport;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The panic's text, of the first crash.
    pub message: Box<str>,
    /// How many crashes.
    pub count: u64,
    /// When the first of them was ([`crate::clock::Now::unix_ms`]).
    pub first_ms: u64,
    /// When the last of them was.
    pub last_ms: u64,
    /// Who crashed last, to inspect or replay: whatever number the caller identifies its actors by.
    pub example: u64,
}

/// What crashes are grouped by: a panic's place, and the kind of message that was being handled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// [`CrashReport::place`].
    pub place: Box<str>,
    /// A name the program gives; never a client's text.
    pub kind: &'static str,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Fingerprints {
    table: HashMap<Site, Fingerprint>,
    other: u64,
}

impl Fingerprints {
    /// Lines kept. A place is a line of code, so more than this are not expected; the bound keeps a generated or
    /// unlucky flood of places from growing the table and the metrics made of it.
    pub const MOST: usize = 256;

    /// Counts a crash of `example`; `true` for the first of its line, which deserves a log line.
    pub fn record(&mut self, report: &CrashReport, kind: &'static str, example: u64, unix_ms: u64) -> bool {
        let site = Site { place: report.place.clone(), kind };
        let message = report.message.clone();
        self.add(site, Fingerprint { message, count: 1, first_ms: unix_ms, last_ms: unix_ms, example })
    }

    /// Adds another table's counts to this one.
    pub fn merge(&mut self, others: &Self) {
        for (site, found) in &others.table {
            self.add(site.clone(), found.clone());
        }
        self.other += others.other;
    }

    /// The table, most frequent first.
    #[must_use]
    pub fn list(&self) -> Vec<(&Site, &Fingerprint)> {
        let mut list: Vec<_> = self.table.iter().collect();
        list.sort_by(|(site, found), (other_site, other)| (other.count, site).cmp(&(found.count, other_site)));
        list
    }

    /// Crashes that found the table full.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    fn add(&mut self, site: Site, found: Fingerprint) -> bool {
        if let Some(known) = self.table.get_mut(&site) {
            known.count += found.count;
            known.first_ms = known.first_ms.min(found.first_ms);
            if found.last_ms >= known.last_ms {
                (known.last_ms, known.example) = (found.last_ms, found.example);
            }
            return false;
        }
        if self.table.len() == Self::MOST {
            self.other += found.count;
            return false;
        }
        self.table.insert(site, found);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(place: &str) -> CrashReport {
        CrashReport { message: "boom".into(), place: place.into() }
    }

    #[test]
    fn crashes_at_one_place_are_one_line_per_kind_of_message() {
        let mut table = Fingerprints::default();
        assert!(table.record(&report("a.rs:1:1"), "frame", 10, 1_000));
        assert!(!table.record(&report("a.rs:1:1"), "frame", 11, 3_000));
        assert!(table.record(&report("a.rs:1:1"), "job", 12, 2_000));
        assert!(table.record(&report("b.rs:1:1"), "frame", 13, 2_000));
        let list = table.list();
        let counts: Vec<_> = list.iter().map(|(site, found)| (&*site.place, site.kind, found.count)).collect();
        assert_eq!(counts, [("a.rs:1:1", "frame", 2), ("a.rs:1:1", "job", 1), ("b.rs:1:1", "frame", 1)]);
        let first = list[0].1;
        assert_eq!((first.first_ms, first.last_ms, first.example), (1_000, 3_000, 11));
    }

    #[test]
    fn a_full_table_counts_new_places_together_and_known_ones_apart() {
        let mut table = Fingerprints::default();
        for line in 0..Fingerprints::MOST + 44 {
            table.record(&report(&format!("a.rs:{line}:1")), "frame", 1, 1);
        }
        assert_eq!((table.list().len(), table.other()), (Fingerprints::MOST, 44));
        assert!(!table.record(&report("a.rs:0:1"), "frame", 1, 2));
        assert_eq!((table.list()[0].1.count, table.other()), (2, 44));
    }

    #[test]
    fn merged_tables_hold_every_crash_once() {
        let (mut left, mut right) = (Fingerprints::default(), Fingerprints::default());
        left.record(&report("a.rs:1:1"), "frame", 1, 5);
        right.record(&report("a.rs:1:1"), "frame", 2, 3);
        for line in 0..Fingerprints::MOST + 1 {
            right.record(&report(&format!("b.rs:{line}:1")), "frame", 3, 4);
        }
        left.merge(&right);
        let total: u64 = left.list().iter().map(|(_, found)| found.count).sum();
        assert_eq!(total + left.other(), 2 + Fingerprints::MOST as u64 + 1);
        let merged = left.list()[0].1;
        assert_eq!((merged.count, merged.first_ms, merged.last_ms, merged.example), (2, 3, 5, 1));
    }
}
