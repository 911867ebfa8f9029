//! A whole log as a sequence of things that are kept, and a log made of one: for copies that outlive the format of the files,
//! and for moving between machines. Run by hand, on a folder that no server uses.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{folder::Folder, frame, replay};
use crate::store::{Faults, Kept, OpenError, plan::of_channel, record::Record};

/// Records of one group while a log is made.
const GROUP: usize = 4096;

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store cannot be opened, or made.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Whoever takes or gives what is kept cannot go on.
    #[error(transparent)]
    Other(#[from] io::Error),
    /// There is something already, which would be lost or mixed up.
    #[error("{} holds a store already: name another folder with store.path, or move it away", .0.display())]
    Occupied(PathBuf),
    /// What was given does not make a store.
    #[error("what was given is no whole store: {0}")]
    Incomplete(String),
}

/// What a copy holds, or a store that was made of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Channels.
    pub channels: u64,
    /// Events, also those that are kept for their keys alone.
    pub events: u64,
    /// Users in channels, also those who have left.
    pub members: u64,
}

impl Counts {
    fn count(&mut self, kept: &Kept) {
        match kept {
            Kept::Channel { .. } => self.channels += 1,
            Kept::Event { .. } => self.events += 1,
            Kept::Member { .. } => self.members += 1,
        }
    }
}

/// Gives everything that a store keeps to `each`: all channels, then events and members as they were written.
///
/// # Errors
/// The store cannot be opened or read, or `each` fails.
pub fn export(path: &Path, unix_ms: u64, mut each: impl FnMut(&Kept) -> io::Result<()>) -> Result<Counts, CopyError> {
    let log = replay::check(path, unix_ms)?;
    let state = log.shared.state();
    let mut counts = Counts::default();
    let mut give = |kept: &Kept| {
        counts.count(kept);
        each(kept)
    };
    let mut channels: Vec<_> =
        state.all_channels().filter_map(|(name, c)| Some((name, c.extent()?, c.holes))).collect();
    channels.sort_unstable_by_key(|(name, ..)| *name);
    for (channel, extent, holes) in channels {
        give(&Kept::Channel { channel: channel.clone(), extent, holes })?;
    }
    for (number, file) in log.folder.files()? {
        let bytes = fs::read(&file).map_err(OpenError::io("read", &file))?;
        let mut position = frame::HEADER;
        while let Some(group) = frame::group(&bytes, position) {
            position = group.records.end;
            for (at, record) in frame::records(&bytes, group.records) {
                let Some((length, record)) = record else {
                    return Err(replay::damaged(&file, at, "a record cannot be read".into()).into());
                };
                let place = frame::Place { file: number, position: at as u32, length };
                if state.needs(&record, &place)
                    && let Some(kept) = owned(&record)
                {
                    give(&kept)?;
                }
            }
        }
    }
    Ok(counts)
}

/// Makes a store of what [`export`] gave. It is there as a whole or not at all.
///
/// # Errors
/// `path` holds a store, cannot be written, an item is an error, or something is missing.
pub fn import(path: &Path, unix_ms: u64, all: impl IntoIterator<Item = io::Result<Kept>>) -> Result<Counts, CopyError> {
    let folder = Folder::open(path, Faults::default())?;
    if !folder.files()?.is_empty() {
        return Err(CopyError::Occupied(path.to_owned()));
    }
    let fresh_path = path.join("importing");
    if fresh_path.exists() {
        fs::remove_dir_all(&fresh_path).map_err(OpenError::io("remove", &fresh_path))?;
    }
    let mut fresh = replay::check(&fresh_path, unix_ms)?;
    let mut counts = Counts::default();
    let mut group: Vec<Kept> = Vec::with_capacity(GROUP);
    let mut all = all.into_iter();
    loop {
        group.clear();
        for kept in all.by_ref().take(GROUP) {
            let kept = kept?;
            counts.count(&kept);
            group.push(kept);
        }
        if group.is_empty() {
            break;
        }
        let records: Vec<Record<'_>> = group.iter().map(borrowed).collect();
        super::repair::write(&mut fresh, &records, unix_ms)?;
    }
    if let Some(missing) = fresh.shared.state().incomplete() {
        return Err(CopyError::Incomplete(missing));
    }
    let files = fresh.folder.files()?;
    drop(fresh);
    // The last first: what an interruption leaves then misses its beginning, and does not open as if it were all.
    for file in files.values().rev() {
        let to = path.join(file.file_name().unwrap_or_default());
        fs::rename(file, to).map_err(OpenError::io("move", file))?;
    }
    folder.sync_names().map_err(OpenError::io("sync", path))?;
    fs::remove_dir_all(&fresh_path).map_err(OpenError::io("remove", &fresh_path))?;
    Ok(counts)
}

/// `None` for a channel: those have been given before.
fn owned(record: &Record<'_>) -> Option<Kept> {
    Some(match *record {
        Record::Channel { .. } => return None,
        Record::Event { channel, offset, first, at, from, key, data } => Kept::Event {
            channel: channel.into(),
            offset,
            first,
            at,
            from: from.into(),
            key: key.map(Into::into),
            data: data.into(),
        },
        Record::Member { channel, user, joined, cursors } => {
            Kept::Member { channel: channel.into(), user: user.into(), joined, cursors }
        }
    })
}

fn borrowed(kept: &Kept) -> Record<'_> {
    match kept {
        Kept::Channel { channel, extent, holes } => of_channel(channel, *extent, *holes),
        Kept::Event { channel, offset, first, at, from, key, data } => {
            Record::Event { channel, offset: *offset, first: *first, at: *at, from, key: key.as_deref(), data }
        }
        Kept::Member { channel, user, joined, cursors } => {
            Record::Member { channel, user, joined: *joined, cursors: *cursors }
        }
    }
}
