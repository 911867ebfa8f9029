//! The way out of a damaged log: everything that is whole is written anew, everything else is put aside. Run by hand, on a
//! folder that no server uses; never by the server, since it may lose what was acknowledged.
//!
//! Every channel gets a new epoch: which of them lost events cannot be told for sure, and a client whose cursor is of the
//! old epoch is told of a gap.

use std::{
    collections::HashSet,
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use super::{
    Log,
    folder::Folder,
    frame::{self, HEADER, Place},
    replay,
};
use crate::store::{
    Extent, Faults, OpenError,
    plan::{new_epoch, of_channel},
    record::Record,
    state::State,
};

/// What [`repair`] or [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Channels there are.
    pub channels: usize,
    /// Events that are kept.
    pub events: u64,
    /// Users in channels of whom a membership or a cursor is kept.
    pub members: u64,
    /// Bytes that could not be read.
    pub dropped: u64,
    /// Where the old files are; `None` when nothing had to be changed.
    pub aside: Option<PathBuf>,
}

/// Reads a store as the server would at its start, and says what is in it.
///
/// # Errors
/// What the server would refuse to start with.
pub fn verify(path: &Path, unix_ms: u64) -> Result<Repair, OpenError> {
    let log = replay::check(path, unix_ms)?;
    let state = log.shared.state();
    let mut found = Repair { channels: 0, events: 0, members: 0, dropped: 0, aside: None };
    for (_, channel) in state.all_channels() {
        found.channels += 1;
        found.events += channel.count();
        found.members += channel.members_count();
    }
    Ok(found)
}

/// Makes a store that opens again of one that does not. A store without damage is left alone.
///
/// # Errors
/// The folder is in use, or cannot be read or written. The old files are then still there, or put aside.
pub fn repair(path: &Path, unix_ms: u64) -> Result<Repair, OpenError> {
    match verify(path, unix_ms) {
        Err(OpenError::Damaged { .. }) => {}
        sound => return sound,
    }
    // Locked for as long as this takes.
    let folder = Folder::open(path, Faults::default())?;
    let files = folder.files()?;
    let fresh_path = path.join("repaired");
    if fresh_path.exists() {
        fs::remove_dir_all(&fresh_path).map_err(OpenError::io("remove", &fresh_path))?;
    }
    let mut state = State::default();
    let mut dropped = 0;
    for (number, file) in &files {
        let bytes = fs::read(file).map_err(OpenError::io("read", file))?;
        dropped += salvage(&bytes, *number, |record, place| state.apply(record, place, unix_ms));
    }
    let mut fresh = replay::check(&fresh_path, unix_ms)?;
    let mut found = Repair { channels: 0, events: 0, members: 0, dropped, aside: None };
    let mut channels: Vec<(&str, Record<'_>)> = Vec::new();
    for (name, channel) in state.all_channels() {
        let epoch = new_epoch().map_err(|error| refused(&fresh_path, &error))?;
        let extent = Extent { epoch, first: channel.first, head: channel.head };
        channels.push((name, of_channel(name, extent, channel.head + 1)));
    }
    channels.sort_unstable_by_key(|(name, _)| *name);
    found.channels = channels.len();
    let records: Vec<Record<'_>> = channels.iter().map(|(_, record)| *record).collect();
    write(&mut fresh, &records, unix_ms)?;
    let mut seen = HashSet::new();
    for (number, file) in &files {
        let bytes = fs::read(file).map_err(OpenError::io("read", file))?;
        let mut needed = Vec::new();
        salvage(&bytes, *number, |record, place| {
            if !matches!(record, Record::Channel { .. }) && state.needs(record, &place) {
                let mut bytes = Vec::new();
                record.encode(&mut bytes);
                needed.push(bytes);
            }
        });
        for bytes in &needed {
            let Some(record) = Record::decode(bytes) else { continue };
            if let Record::Event { channel, offset, .. } = record
                && seen.insert((channel.to_owned(), offset))
            {
                found.events += 1;
            }
            found.members += u64::from(matches!(record, Record::Member { .. }));
        }
        for part in needed.chunks(1024) {
            let records: Vec<Record<'_>> = part.iter().filter_map(|bytes| Record::decode(bytes)).collect();
            write(&mut fresh, &records, unix_ms)?;
        }
    }
    drop(fresh);
    let aside = put_aside(&folder, &fresh_path, unix_ms)?;
    Ok(Repair { aside: Some(aside), ..found })
}

pub(super) fn write(fresh: &mut Log, records: &[Record<'_>], unix_ms: u64) -> Result<(), OpenError> {
    if records.is_empty() {
        return Ok(());
    }
    let path = fresh.folder.path.clone();
    let places = fresh.append(records).map_err(|error| refused(&path, &error))?;
    fresh.apply(records, &places, unix_ms);
    Ok(())
}

fn refused(path: &Path, error: &dyn std::error::Error) -> OpenError {
    OpenError::Io { act: "write", path: path.to_owned(), error: std::io::Error::other(error.to_string()) }
}

/// Every whole record of a file, in order; how many bytes were no part of one.
fn salvage(bytes: &[u8], file: NonZeroU32, mut each: impl FnMut(&Record<'_>, Place)) -> u64 {
    let (mut position, mut read) = (HEADER.min(bytes.len()), HEADER.min(bytes.len()));
    while position < bytes.len() {
        let Some(group) = frame::group(bytes, position) else {
            let Some(next) = frame::next_group(bytes, position) else { break };
            position = next;
            continue;
        };
        read += group.records.end - position;
        position = group.records.end;
        for (at, record) in frame::records(bytes, group.records) {
            if let Some((length, record)) = record {
                each(&record, Place { file, position: at as u32, length });
            }
        }
    }
    (bytes.len() - read) as u64
}

/// Moves the old files into a folder beside the new ones, then the new ones up.
fn put_aside(folder: &Folder, fresh: &Path, unix_ms: u64) -> Result<PathBuf, OpenError> {
    let aside = folder.path.join(format!("damaged-{unix_ms}"));
    fs::create_dir_all(&aside).map_err(OpenError::io("make the folder", &aside))?;
    let rename = |from: &Path, into: &Path| {
        let to = into.join(from.file_name().unwrap_or_default());
        fs::rename(from, to).map_err(OpenError::io("move", from))
    };
    for path in folder.files()?.values() {
        rename(path, &aside)?;
    }
    let entries = fs::read_dir(fresh).map_err(OpenError::io("list", fresh))?;
    for entry in entries {
        let path = entry.map_err(OpenError::io("list", fresh))?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            rename(&path, &folder.path)?;
        }
    }
    fs::remove_dir_all(fresh).map_err(OpenError::io("remove", fresh))?;
    folder.sync_names().map_err(OpenError::io("sync", &folder.path))?;
    Ok(aside)
}
