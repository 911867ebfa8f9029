//! Crashes grouped by where they happened and what was being handled, so that one bug that hits ten thousand connections
//! is one line with a count and an example, not ten thousand lines.
//!
//! A plain table: no clock, no lock, no logging. [`super::Crashes`] keeps the node's.

use std::collections::HashMap;

use super::{CrashLine, CrashReport};
use crate::id::ConnectionId;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// [`CrashReport::own_words`] of the first crash.
    pub message: Box<str>,
    /// How many crashes.
    pub count: u64,
    /// When the first of them was ([`crate::clock::Now::unix_ms`]).
    pub first_ms: u64,
    /// When the last of them was.
    pub last_ms: u64,
    /// Who crashed last, to inspect or replay; `None` when it was no connection.
    pub example: Option<ConnectionId>,
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
    /// What found the table full.
    other: Option<Fingerprint>,
}

impl Fingerprints {
    /// Lines kept. A place is a line of code, so more than this are not expected; the bound keeps a generated or
    /// unlucky flood of places from growing the table and the metrics made of it.
    pub const MOST: usize = 256;
    /// What the line of those beyond is called.
    pub const OTHER: &str = "other";

    /// Counts a crash of `example`; `false`: under `other`, for the table is full.
    pub fn record(
        &mut self,
        report: &CrashReport,
        kind: &'static str,
        example: Option<ConnectionId>,
        unix_ms: u64,
    ) -> bool {
        let site = Site { place: report.place.clone(), kind };
        let full = self.table.len() >= Self::MOST && !self.table.contains_key(&site);
        let new = || Fingerprint {
            message: report.own_words().into(),
            count: 0,
            first_ms: unix_ms,
            last_ms: unix_ms,
            example,
        };
        let found = if full { self.other.get_or_insert_with(new) } else { self.table.entry(site).or_insert_with(new) };
        found.count += 1;
        (found.last_ms, found.example) = (unix_ms, example);
        !full
    }

    /// The table for operators: most frequent first, at the end what found it full.
    #[must_use]
    pub fn lines(&self) -> Vec<CrashLine> {
        let mut list: Vec<_> = self.table.iter().collect();
        list.sort_by(|(site, found), (other_site, other)| (other.count, site).cmp(&(found.count, other_site)));
        let lines = list.into_iter().map(|(site, found)| found.line(site.place.clone(), site.kind));
        lines.chain(self.other.as_ref().map(|found| found.line(Self::OTHER.into(), Self::OTHER))).collect()
    }
}

impl Fingerprint {
    fn line(&self, place: Box<str>, kind: &'static str) -> CrashLine {
        let Self { message, count, first_ms, last_ms, example } = self;
        CrashLine {
            place,
            kind,
            count: *count,
            first_at: *first_ms,
            last_at: *last_ms,
            connection: *example,
            panic: message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(place: &str) -> CrashReport {
        CrashReport { message: "boom".into(), place: place.into() }
    }

    fn id(index: u32) -> Option<ConnectionId> {
        Some(ConnectionId::new(0, index, 0))
    }

    #[test]
    fn crashes_at_one_place_are_one_line_per_kind_of_message() {
        let mut table = Fingerprints::default();
        table.record(&report("a.rs:1:1"), "frame", id(10), 1_000);
        table.record(&report("a.rs:1:1"), "frame", id(11), 3_000);
        table.record(&report("a.rs:1:1"), "job", id(12), 2_000);
        table.record(&report("b.rs:1:1"), "hub", None, 2_000);
        let lines = table.lines();
        let counts: Vec<_> = lines.iter().map(|line| (&*line.place, line.kind, line.count)).collect();
        assert_eq!(counts, [("a.rs:1:1", "frame", 2), ("a.rs:1:1", "job", 1), ("b.rs:1:1", "hub", 1)]);
        assert_eq!((lines[0].first_at, lines[0].last_at, lines[0].connection), (1_000, 3_000, id(11)));
        assert_eq!(lines[2].connection, None);
    }

    #[test]
    fn lines_tell_nothing_of_what_a_panic_quotes() {
        let mut table = Fingerprints::default();
        table.record(
            &CrashReport { message: "not a name: `a diary`".into(), place: "a.rs:1:1".into() },
            "frame",
            id(1),
            1,
        );
        assert_eq!(&*table.lines()[0].panic, "not a name: …");
    }

    #[test]
    fn a_full_table_counts_new_places_together_and_known_ones_apart() {
        let mut table = Fingerprints::default();
        for line in 0..Fingerprints::MOST + 44 {
            let listed = table.record(&report(&format!("a.rs:{line}:1")), "frame", id(1), line as u64);
            assert_eq!(listed, line < Fingerprints::MOST);
        }
        let lines = table.lines();
        assert_eq!(lines.len(), Fingerprints::MOST + 1);
        let last = lines.last().expect("the others");
        assert_eq!((&*last.place, last.kind, last.count), (Fingerprints::OTHER, Fingerprints::OTHER, 44));
        assert_eq!((last.first_at, last.last_at), (256, 299));
        assert!(table.record(&report("a.rs:0:1"), "frame", id(1), 400));
        assert_eq!((table.lines()[0].count, table.lines().len()), (2, Fingerprints::MOST + 1));
    }
}
