//! The start of a log: reads every file, checks every byte, builds the state. What an interrupted write left at the very end
//! is cut off, as nobody was told that it was kept; damage anywhere else is refused with its place.

use std::{
    fs::{self, File},
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    End, Log, Weight,
    folder::Folder,
    frame::{self, HEADER, Header, Place},
    reader::Files,
};
use crate::store::{Faults, OpenError, record::Record, state::State};

/// Opens what is there, or begins the first file.
pub(super) fn open(folder: Folder, unix_ms: u64) -> Result<Log, OpenError> {
    let mut paths: Vec<(NonZeroU32, PathBuf)> = folder.files()?.into_iter().collect();
    drop_unborn(&folder, &mut paths)?;
    let files = Files::new(folder.path.clone());
    if paths.is_empty() {
        let number = NonZeroU32::MIN;
        let header = Header { number, sequence: 1, previous: 0 };
        let file = folder.create(number, &header.encode());
        let file = Arc::new(file.map_err(OpenError::io("make", folder.path_of(number)))?);
        files.insert(number, Arc::clone(&file));
        let end = End { number, file, length: HEADER as u64, sequence: 1, in_doubt: false };
        let mut log = Log::new(folder, State::default(), files, end);
        log.weights.insert(number, Weight { total: HEADER as u64, ..Weight::default() });
        return Ok(log);
    }
    let headers = headers(&paths)?;
    let mut state = State::default();
    let mut weights = Vec::new();
    let mut sequence = headers.first().map_or(1, |header| header.sequence);
    for (at, (number, path)) in paths.iter().enumerate() {
        let acknowledged = headers.get(at + 1).map(|next| next.previous);
        let bytes = fs::read(path).map_err(OpenError::io("read", path))?;
        let bytes = acknowledged_part(path, &bytes, acknowledged)?;
        let mut weight = Weight { total: bytes.len() as u64, ..Weight::default() };
        let mut position = HEADER;
        if headers[at].sequence != sequence {
            return Err(damaged(path, 0, format!("group {sequence} should come next, not {}", headers[at].sequence)));
        }
        while position < bytes.len() {
            let group = frame::group(bytes, position);
            let group = group.ok_or_else(|| damaged(path, position, "a checksum does not match".into()))?;
            if group.sequence != sequence {
                return Err(damaged(path, position, format!("group {sequence} is missing")));
            }
            sequence += 1;
            position = group.records.end;
            for (at, record) in frame::records(bytes, group.records) {
                let (length, record): (u32, Record<'_>) =
                    record.ok_or_else(|| damaged(path, at, "a record cannot be read".into()))?;
                let place = Place { file: *number, position: at as u32, length };
                weight.add(&record, place);
                state.apply(&record, place, unix_ms);
            }
        }
        weights.push((*number, weight));
        let file = File::options().read(true).write(true).open(path).map_err(OpenError::io("open", path))?;
        let length = bytes.len() as u64;
        if file.metadata().map_err(OpenError::io("look at", path))?.len() > length {
            file.set_len(length).and_then(|()| file.sync_all()).map_err(OpenError::io("shorten", path))?;
        }
        files.insert(*number, Arc::new(file));
    }
    if let Some(missing) = state.incomplete() {
        return Err(damaged(&folder.path_of(paths[0].0), 0, missing));
    }
    let (Some((number, path)), Some((_, weight))) = (paths.last(), weights.last()) else {
        return Err(damaged(&folder.path, 0, "it has no file".into()));
    };
    let file = files.get(*number).ok_or_else(|| damaged(path, 0, "it is not open".into()))?;
    let end = End { number: *number, file, length: weight.total, sequence, in_doubt: false };
    let released = state.take_released();
    let mut log = Log::new(folder, state, files, end);
    log.weights.extend(weights);
    log.release(&released);
    Ok(log)
}

/// A last file whose header never became durable: the process ended while it was made. Nothing was ever written to it.
fn drop_unborn(folder: &Folder, paths: &mut Vec<(NonZeroU32, PathBuf)>) -> Result<(), OpenError> {
    let Some((number, path)) = paths.last() else { return Ok(()) };
    let bytes = fs::read(path).map_err(OpenError::io("read", path))?;
    if bytes.len() <= HEADER && Header::decode(&bytes).is_none() {
        tracing::info!(file = %path.display(), "removing a file that was not finished when the server ended");
        folder.remove(*number).map_err(OpenError::io("remove", path))?;
        paths.pop();
    }
    Ok(())
}

fn headers(paths: &[(NonZeroU32, PathBuf)]) -> Result<Vec<Header>, OpenError> {
    let mut headers: Vec<Header> = Vec::with_capacity(paths.len());
    for (number, path) in paths {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(OpenError::io("open", path))?;
        let read = std::io::Read::read_to_end(&mut std::io::Read::take(file, HEADER as u64), &mut bytes);
        read.map_err(OpenError::io("read", path))?;
        let header = Header::decode(&bytes).filter(|header| header.number == *number);
        let header = header.ok_or_else(|| damaged(path, 0, "its header cannot be read".into()))?;
        if let Some(before) = headers.last()
            && before.number.get() + 1 != header.number.get()
        {
            return Err(damaged(path, 0, format!("file {:08}.log before it is missing", header.number.get() - 1)));
        }
        headers.push(header);
    }
    Ok(headers)
}

/// The bytes of a file that count. `acknowledged` is known when another file follows; else the end is found by looking.
fn acknowledged_part<'a>(path: &Path, bytes: &'a [u8], acknowledged: Option<u64>) -> Result<&'a [u8], OpenError> {
    let end = match acknowledged {
        Some(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if bytes.len() < length {
                return Err(damaged(path, bytes.len(), format!("it ends here, but had {length} bytes")));
            }
            length
        }
        None => {
            let mut position = HEADER;
            while let Some(group) = frame::group(bytes, position) {
                position = group.records.end;
            }
            if position < bytes.len() {
                if let Some(next) = frame::next_group(bytes, position) {
                    return Err(damaged(
                        path,
                        position,
                        format!("a checksum does not match, and more follows at {next}"),
                    ));
                }
                if !frame::is_torn(bytes, position) {
                    return Err(damaged(
                        path,
                        position,
                        "the last group was written whole and has changed since".into(),
                    ));
                }
            }
            position
        }
    };
    if end < bytes.len() {
        let (file, dropped) = (path.display(), bytes.len() - end);
        tracing::info!(%file, position = end, dropped, "cutting off a write that was never acknowledged");
    }
    Ok(&bytes[..end])
}

pub(super) fn damaged(file: &Path, position: usize, what: String) -> OpenError {
    OpenError::Damaged { file: file.to_owned(), position: position as u64, what }
}

/// Reads everything as a start would, and changes nothing that a start would not; the folder must be free.
pub(super) fn check(path: &Path, unix_ms: u64) -> Result<Log, OpenError> {
    open(Folder::open(path, Faults::default())?, unix_ms)
}
