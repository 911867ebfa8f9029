//! The suite of the store. `contract.rs`, `model.rs` and `thread.rs` run against every engine; `damage.rs` and `disk.rs`
//! against the log. A new engine joins by a line in [`Kind`].

mod contract;
mod copies;
mod damage;
mod disk;
mod model;
mod thread;

use std::time::Duration;

use tempfile::TempDir;

use super::{Append, Appended, Archive, Engine, Faults, Keep, Log, Memory, Outcome, Page, Range, Write};

/// Some time in 2023.
const NOW: u64 = 1_700_000_000_000;
const KEEP_ALL: Keep = Keep { events: u64::MAX, age: Duration::from_secs(365 * 24 * 60 * 60) };

/// The engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Embedded,
}

/// An engine and what it needs.
struct Bench {
    kind: Kind,
    folder: TempDir,
    faults: Faults,
    engine: Option<Box<dyn Engine>>,
    now: u64,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Self { kind, folder, faults: Faults::default(), engine: None, now: NOW };
        bench.open();
        bench
    }

    fn open(&mut self) {
        self.engine = Some(match self.kind {
            Kind::Memory => Box::new(Memory::new(self.faults.clone())),
            // Small files: cleaning and rotation take part in every test that writes a little more.
            Kind::Embedded => {
                let log = Log::open(self.folder.path(), self.faults.clone(), self.now);
                Box::new(log.unwrap_or_else(|error| panic!("{error}")).with_file_bytes(4096))
            }
        });
    }

    /// As after a restart. An engine that keeps nothing is left as it is.
    fn reopen(&mut self) {
        if self.kind != Kind::Memory {
            self.engine = None;
            self.open();
        }
    }

    fn engine(&mut self) -> &mut dyn Engine {
        self.engine.as_deref_mut().unwrap()
    }

    fn archive(&self) -> std::sync::Arc<dyn Archive> {
        self.engine.as_deref().unwrap().archive()
    }

    fn commit(&mut self, group: &[Write]) -> Vec<Outcome> {
        let now = self.now;
        let outcomes = self.engine().commit(group, now).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(outcomes.len(), group.len());
        outcomes
    }

    fn tidy(&mut self) {
        let now = self.now;
        while self.engine().tidy(now).unwrap() {}
    }

    fn append(&mut self, channel: &str, from: &str, key: Option<&str>, data: &str) -> Appended {
        match self.commit(&[append(channel, from, key, data)])[..] {
            [Outcome::Appended(appended)] => appended,
            ref other => panic!("{other:?}"),
        }
    }

    fn read(&self, channel: &str, range: Range, limit: usize) -> Page {
        self.archive().read(channel, range, limit).unwrap()
    }

    fn texts(&self, channel: &str) -> Vec<String> {
        let page = self.read(channel, Range::After(0), usize::MAX);
        assert!(!page.more);
        page.events.iter().map(|event| String::from_utf8(event.data.to_vec()).unwrap()).collect()
    }
}

fn append(channel: &str, from: &str, key: Option<&str>, data: &str) -> Write {
    append_keeping(channel, from, key, data, KEEP_ALL)
}

fn append_keeping(channel: &str, from: &str, key: Option<&str>, data: &str, keep: Keep) -> Write {
    Write::Append(Append {
        channel: channel.into(),
        from: from.into(),
        key: key.map(Into::into),
        data: data.as_bytes().into(),
        keep,
    })
}

fn offsets(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.offset).collect()
}

/// One test for every engine, named after it.
macro_rules! for_every_engine {
    ($($test:ident)*) => {
        mod memory { $(#[test] fn $test() { super::$test($crate::store::tests::Kind::Memory) })* }
        mod embedded { $(#[test] fn $test() { super::$test($crate::store::tests::Kind::Embedded) })* }
    };
}
use for_every_engine;
