//! The files as readers see them, and how events are fetched: neighbours in one file with one read, every record checked.
//!
//! Used from any thread without a lock on the state. A file that was cleaned away is no longer in the table: the caller looks
//! the places up again.

use std::{
    collections::BTreeMap,
    fs::File,
    num::NonZeroU32,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use compact_str::CompactString;

use super::frame::{self, Place, RECORD};
use crate::store::{Event, StoreError, record::Record, shared::Fetch};

/// Foreign records between two wanted ones that are cheaper to read than to skip.
const SKIP: u32 = 4096;
/// Most bytes of one read.
const SPAN: u32 = 1 << 20;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) folder: PathBuf,
    table: RwLock<BTreeMap<NonZeroU32, Arc<File>>>,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, table: RwLock::default() }
    }

    pub(super) fn insert(&self, number: NonZeroU32, file: Arc<File>) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).insert(number, file);
    }

    pub(super) fn remove(&self, number: NonZeroU32) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    pub(super) fn get(&self, number: NonZeroU32) -> Option<Arc<File>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    pub(super) fn damaged(&self, place: Place) -> StoreError {
        let file = self.folder.join(format!("{:08}.log", place.file));
        StoreError::Damaged { file, position: place.position.into() }
    }
}

impl Fetch<Place> for Files {
    fn fetch(&self, places: &[(u64, Place)]) -> Result<Option<Vec<Event>>, StoreError> {
        let mut events = Vec::with_capacity(places.len());
        let mut bytes = Vec::new();
        for run in places.chunk_by(|(_, a), (_, b)| are_neighbours(*a, *b)) {
            let [(_, first), ..] = run else { continue };
            let Some(file) = self.get(first.file) else { return Ok(None) };
            // A run of neighbours may be longer than one read should be.
            let mut from = 0;
            while from < run.len() {
                let start = run[from].1.position;
                let count = run[from..].iter().take_while(|(_, place)| place.position - start < SPAN).count();
                let last = run[from + count - 1].1;
                bytes.resize((last.position - start) as usize + last.size() as usize, 0);
                let read = file.read_exact_at(&mut bytes, start.into());
                read.map_err(|_| self.damaged(run[from].1))?;
                for (offset, place) in &run[from..from + count] {
                    let at = (place.position - start) as usize;
                    let event = decode(&bytes[at..], *offset).ok_or_else(|| self.damaged(*place))?;
                    events.push(event);
                }
                from += count;
            }
        }
        Ok(Some(events))
    }
}

fn are_neighbours(a: Place, b: Place) -> bool {
    let end = a.position + a.length + RECORD as u32;
    a.file == b.file && b.position >= end && b.position - end <= SKIP
}

fn decode(bytes: &[u8], wanted: u64) -> Option<Event> {
    match Record::decode(frame::body(bytes)?)? {
        Record::Event { offset, at, from, key, data, .. } if offset == wanted => {
            Some(Event { offset, at, from: from.into(), key: key.map(CompactString::from), data: data.into() })
        }
        _ => None,
    }
}
