//! The embedded engine: a log of groups over numbered files, read whole at the start and indexed in memory. Why not one of
//! the embedded databases: README, "Design notes", has the figures; and their logs end silently at the first damaged byte.
//!
//! ```text
//! commit: plan ─→ one write at the end of the last file ─→ one sync ─→ apply to the state ─→ outcomes
//! ```
//! - A write or sync that fails leaves the end of its file in doubt. So the next commit begins a new file, whose header
//!   says how much of the one before counts; nobody trusts a sync that follows a failed one.
//! - Files are cleaned oldest first: what is still needed is written again at the end, then the file goes. Being the oldest,
//!   nothing before it can come back to life.
//! - `frame.rs` has the bytes, `folder.rs` the files, `replay.rs` the start, `clean.rs` the cleaning, `repair.rs` the way out,
//!   `copy.rs` copies.

mod clean;
mod copy;
mod folder;
mod frame;
mod reader;
mod repair;
mod replay;

use std::{collections::BTreeMap, fs::File, num::NonZeroU32, path::Path, sync::Arc};

use self::{
    clean::Cleaning,
    folder::Folder,
    frame::{Header, Place},
    reader::Files,
};
use super::{
    Archive, Engine, Faults, KEY_LIFE, OpenError, Outcome, StoreError, Write,
    plan::{Plan, plan},
    record::Record,
    shared::Shared,
    state::State,
};

pub use copy::{CopyError, Counts, export, import};
pub use repair::{Repair, repair, verify};

/// A file that has grown to this is followed by a new one. Small enough to be cleaned bit by bit and read at once.
const FILE_BYTES: u64 = 32 << 20;

/// See the module's text.
#[derive(Debug)]
pub struct Log {
    folder: Folder,
    shared: Arc<Shared<Place, Files>>,
    end: End,
    /// Bytes by file: all, and those of records that are still needed.
    weights: BTreeMap<NonZeroU32, Weight>,
    cleaning: Option<Cleaning>,
    file_bytes: u64,
    buffer: Vec<u8>,
}

/// Where the next group goes.
#[derive(Debug)]
struct End {
    number: NonZeroU32,
    file: Arc<File>,
    /// What is acknowledged; beyond it there is nothing, or the rest of a failed write.
    length: u64,
    /// Of the next group.
    sequence: u64,
    /// A write or sync failed here: the file takes no more groups.
    in_doubt: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    total: u64,
    needed: u64,
    /// Unix milliseconds; until then keys of events in it count, whether or not the events are still kept.
    keys_until: u64,
}

impl Weight {
    fn add(&mut self, record: &Record<'_>, place: Place) {
        self.needed += place.size();
        if let Record::Event { key: Some(_), at, .. } = *record {
            self.keys_until = self.keys_until.max(at + KEY_LIFE.as_millis() as u64);
        }
    }
}

impl Log {
    /// Opens the log in `path`, made if it is not there. Reads all of it.
    ///
    /// # Errors
    /// Another process uses it, it is damaged, or the system refuses: a sentence that says what to do.
    pub fn open(path: &Path, faults: Faults, unix_ms: u64) -> Result<Self, OpenError> {
        replay::open(Folder::open(path, faults)?, unix_ms)
    }

    /// The same with files of another size, so that a test sees many of them.
    #[must_use]
    pub fn with_file_bytes(self, file_bytes: u64) -> Self {
        Self { file_bytes, ..self }
    }

    fn new(folder: Folder, state: State<Place>, files: Files, end: End) -> Self {
        let shared = Arc::new(Shared::new(state, files));
        let (weights, buffer) = (BTreeMap::new(), Vec::new());
        Self { folder, shared, end, weights, cleaning: None, file_bytes: FILE_BYTES, buffer }
    }

    /// Writes the records as one group and syncs; where each of them is.
    fn append(&mut self, records: &[Record<'_>]) -> Result<Vec<Place>, StoreError> {
        if self.end.in_doubt || self.end.length >= self.file_bytes {
            self.begin_file().map_err(|error| StoreError::unavailable("cannot begin a file", &error))?;
        }
        let End { number, length, sequence, .. } = self.end;
        self.buffer.clear();
        let group = frame::begin_group(&mut self.buffer);
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let (start, body) = frame::push(&mut self.buffer, record);
            places.push(Place { file: number, position: length as u32 + start as u32, length: body });
        }
        frame::end_group(&mut self.buffer, group, sequence);
        let written = self.folder.write(&self.end.file, &self.buffer, length);
        if let Err(error) = written.and_then(|()| self.folder.sync(&self.end.file)) {
            self.end.in_doubt = true;
            tracing::warn!(%error, file = number, "cannot write to the store");
            // Frees the disk at best; what counts is said by the next file's header.
            let _ = self.end.file.set_len(length);
            return Err(StoreError::unavailable("cannot commit", &error));
        }
        self.end.length += self.buffer.len() as u64;
        self.end.sequence += 1;
        let weight = self.weights.entry(number).or_default();
        weight.total = self.end.length;
        for (record, place) in records.iter().zip(&places) {
            weight.add(record, *place);
        }
        if self.buffer.capacity() > 4 << 20 {
            self.buffer = Vec::new();
        }
        Ok(places)
    }

    fn begin_file(&mut self) -> std::io::Result<()> {
        // A file that holds nothing is made anew: it must not end up between two others.
        let empty = self.end.length <= frame::HEADER as u64;
        let (number, previous) = if empty {
            (self.end.number, self.previous_length())
        } else {
            (
                self.end.number.checked_add(1).ok_or_else(|| std::io::Error::other("out of file numbers"))?,
                self.end.length,
            )
        };
        let header = Header { number, sequence: self.end.sequence, previous };
        let file = Arc::new(self.folder.create(number, &header.encode())?);
        if self.end.in_doubt {
            tracing::info!(file = number, "the store goes on in a new file");
        }
        self.shared.fetch.insert(number, Arc::clone(&file));
        self.end = End { number, file, length: frame::HEADER as u64, sequence: self.end.sequence, in_doubt: false };
        self.weights.insert(number, Weight { total: self.end.length, ..Weight::default() });
        Ok(())
    }

    fn previous_length(&self) -> u64 {
        self.weights.range(..self.end.number).next_back().map_or(0, |(_, weight)| weight.total)
    }

    /// Applies what [`Log::append`] has made durable.
    fn apply(&mut self, records: &[Record<'_>], places: &[Place], unix_ms: u64) {
        let mut state = self.shared.state_mut();
        for (record, place) in records.iter().zip(places) {
            state.apply(record, *place, unix_ms);
        }
        state.expire(unix_ms);
        let released = state.take_released();
        drop(state);
        self.release(&released);
    }

    fn release(&mut self, places: &[Place]) {
        for place in places {
            if let Some(weight) = self.weights.get_mut(&place.file) {
                weight.needed = weight.needed.saturating_sub(place.size());
            }
        }
    }
}

impl Engine for Log {
    fn archive(&self) -> Arc<dyn Archive> {
        Arc::clone(&self.shared) as Arc<dyn Archive>
    }

    fn commit(&mut self, group: &[Write], unix_ms: u64) -> Result<Vec<Outcome>, StoreError> {
        let Plan { records, outcomes } = plan(&self.shared.state(), group, unix_ms)?;
        if !records.is_empty() {
            let places = self.append(&records)?;
            self.apply(&records, &places, unix_ms);
        }
        Ok(outcomes)
    }

    fn tidy(&mut self, unix_ms: u64) -> Result<bool, StoreError> {
        self.clean_a_little(unix_ms)
    }
}
