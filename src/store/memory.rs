//! The engine that keeps everything in memory and nothing beyond the process: for tests, trials and nodes that need no
//! durability. Its commit is acknowledged at once; faults hit it as they hit a disk.

use std::sync::Arc;

use compact_str::CompactString;

use super::{
    Archive, Engine, Event, Faults, Outcome, StoreError, Write,
    plan::{Plan, plan},
    record::Record,
    shared::{Fetch, Shared},
    state::State,
};

/// See the module's text.
#[derive(Debug)]
pub struct Memory {
    shared: Arc<Shared<Held, InMemory>>,
    faults: Faults,
}

/// An event where the state would name a place on disk; `None` for other records, of which the state holds everything.
type Held = Option<Arc<Event>>;

#[derive(Debug)]
struct InMemory;

impl Memory {
    /// Keeps nothing yet.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { shared: Arc::new(Shared::new(State::default(), InMemory)), faults }
    }
}

impl Engine for Memory {
    fn archive(&self) -> Arc<dyn Archive> {
        Arc::clone(&self.shared) as Arc<dyn Archive>
    }

    fn commit(&mut self, group: &[Write], unix_ms: u64) -> Result<Vec<Outcome>, StoreError> {
        let Plan { records, outcomes } = plan(&self.shared.state(), group, unix_ms)?;
        if records.is_empty() {
            return Ok(outcomes);
        }
        if self.faults.room(records.len()) < records.len() {
            return Err(StoreError::unavailable("no room", &Faults::full()));
        }
        self.faults.before_sync().map_err(|error| StoreError::unavailable("cannot commit", &error))?;
        let mut state = self.shared.state_mut();
        for record in &records {
            state.apply(record, hold(record), unix_ms);
        }
        state.take_released();
        state.expire(unix_ms);
        Ok(outcomes)
    }

    fn tidy(&mut self, _unix_ms: u64) -> Result<bool, StoreError> {
        Ok(false)
    }
}

fn hold(record: &Record<'_>) -> Held {
    let Record::Event { offset, at, from, key, data, .. } = *record else { return None };
    Some(Arc::new(Event { offset, at, from: from.into(), key: key.map(CompactString::from), data: data.into() }))
}

impl Fetch<Held> for InMemory {
    fn fetch(&self, places: &[(u64, Held)]) -> Result<Option<Vec<Event>>, StoreError> {
        Ok(Some(places.iter().filter_map(|(_, held)| held.as_deref().cloned()).collect()))
    }
}
