//! What an engine has to do to be measured, and the raw loop that all are measured against.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

/// Bytes of data in an event.
pub(crate) const DATA_BYTES: usize = 200;

/// What is appended.
#[cfg_attr(not(feature = "engines"), expect(dead_code, reason = "the log gives out offsets and times itself"))]
pub(crate) struct Event {
    pub(crate) channel: String,
    pub(crate) offset: u64,
    pub(crate) at: u64,
    pub(crate) from: String,
    pub(crate) data: Vec<u8>,
}

#[cfg(feature = "engines")]
impl Event {
    /// Where a store of keys and values keeps it: the channel, then the offset so that it sorts.
    pub(crate) fn key(channel: &str, offset: u64) -> Vec<u8> {
        let mut key = channel.as_bytes().to_vec();
        key.push(0);
        key.extend(offset.to_be_bytes());
        key
    }

    /// What it keeps there.
    pub(crate) fn value(&self) -> Vec<u8> {
        let mut value = self.at.to_le_bytes().to_vec();
        value.push(self.from.len() as u8);
        value.extend(self.from.as_bytes());
        value.extend(&self.data);
        value
    }
}

/// An engine under measurement.
pub(crate) trait Candidate {
    /// Returns when all of them are on disk.
    fn append(&mut self, events: &[Event]);

    /// How many events of `limit` there are after `after`, read to the last byte.
    fn read(&self, channel: &str, after: u64, limit: usize) -> usize;
}

/// The floor: bytes at the end of a file.
pub(crate) struct Raw(File);

impl Raw {
    pub(crate) fn open(path: &Path) -> Self {
        fs::create_dir_all(path).expect("the folder can be made");
        let file = File::options().append(true).create(true).open(path.join("raw"));
        Self(file.expect("the file can be opened"))
    }
}

impl Candidate for Raw {
    fn append(&mut self, events: &[Event]) {
        let bytes: Vec<u8> = events.iter().map(|event| &*event.data).collect::<Vec<_>>().concat();
        self.0.write_all(&bytes).expect("the disk takes it");
        self.0.sync_data().expect("the disk keeps it");
    }

    fn read(&self, _channel: &str, _after: u64, limit: usize) -> usize {
        limit
    }
}
