//! The bytes of a log file: a header, then groups. A group is what one commit wrote and one sync made durable, so a group
//! that is whole proves that everything before it is durable too.
//!
//! Integers in little endian; checksums are CRC-32, of all that follows unless said otherwise.
//! ```text
//! header  "DORMOUSE", checksum u32, version u32, number u32, sequence u64, previous u64
//! group   "GRUP", checksum u32 of the next three, checksum u32 of the records, length u32, sequence u64, records…
//! record  length u32, checksum u32, body (record.rs)
//! ```
//! `sequence` counts groups over all files and is never skipped. `previous` is how much of the file before was acknowledged
//! when this one was begun: what is there beyond it was answered with an error.

use std::{num::NonZeroU32, ops::Range};

use crate::store::record::Record;

pub(super) const HEADER: usize = 36;
pub(super) const GROUP: usize = 24;
pub(super) const RECORD: usize = 8;
const VERSION: u32 = 1;
const FILE_MAGIC: &[u8; 8] = b"DORMOUSE";
const GROUP_MAGIC: &[u8; 4] = b"GRUP";
/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Place {
    pub(super) file: NonZeroU32,
    /// Of the record's length field.
    pub(super) position: u32,
    /// Of the body.
    pub(super) length: u32,
}

impl Place {
    /// Bytes on disk.
    pub(super) fn size(self) -> u64 {
        RECORD as u64 + u64::from(self.length)
    }
}

/// The beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: NonZeroU32,
    /// Of its first group.
    pub(super) sequence: u64,
    pub(super) previous: u64,
}

impl Header {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = FILE_MAGIC.to_vec();
        out.extend([0; 4]);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.number.get().to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        out.extend(self.previous.to_le_bytes());
        let checksum = crc32fast::hash(&out[12..]);
        out[8..12].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let known = bytes.starts_with(FILE_MAGIC) && short(bytes, 8)? == crc32fast::hash(&bytes[12..]);
        if !known || short(bytes, 12)? != VERSION {
            return None;
        }
        let number = NonZeroU32::new(short(bytes, 16)?)?;
        Some(Self { number, sequence: long(bytes, 20)?, previous: long(bytes, 28)? })
    }
}

/// Begins a group at the end of `out`.
pub(super) fn begin_group(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend([0; GROUP]);
    start
}

/// Appends a record; where it begins in `out` and how long its body is.
pub(super) fn push(out: &mut Vec<u8>, record: &Record<'_>) -> (usize, u32) {
    let start = out.len();
    out.extend([0; RECORD]);
    record.encode(out);
    let length = (out.len() - start - RECORD) as u32;
    let checksum = crc32fast::hash(&out[start + RECORD..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    (start, length)
}

/// Ends the group that began at `start`.
pub(super) fn end_group(out: &mut [u8], start: usize, sequence: u64) {
    let (head, records) = out[start..].split_at_mut(GROUP);
    head[..4].copy_from_slice(GROUP_MAGIC);
    head[8..12].copy_from_slice(&crc32fast::hash(records).to_le_bytes());
    head[12..16].copy_from_slice(&(records.len() as u32).to_le_bytes());
    head[16..24].copy_from_slice(&sequence.to_le_bytes());
    let checksum = crc32fast::hash(&head[8..]);
    head[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// The body of a record in bytes that begin with it, checked.
pub(super) fn body(bytes: &[u8]) -> Option<&[u8]> {
    let body = bytes.get(RECORD..)?.get(..short(bytes, 0)? as usize)?;
    (crc32fast::hash(body) == short(bytes, 4)?).then_some(body)
}

/// A whole group.
pub(super) struct Group {
    pub(super) sequence: u64,
    /// Its records, within the file.
    pub(super) records: Range<usize>,
}

/// The group at `position`, if a whole one is there.
pub(super) fn group(bytes: &[u8], position: usize) -> Option<Group> {
    let (end, sequence) = head(bytes, position)?;
    let records = position + GROUP..end;
    let whole = crc32fast::hash(bytes.get(records.clone())?) == short(bytes, position + 8)?;
    whole.then_some(Group { sequence, records })
}

/// Where the group at `position` ends and its sequence, as its head says if that is whole.
fn head(bytes: &[u8], position: usize) -> Option<(usize, u64)> {
    let head = bytes.get(position..position + GROUP)?;
    let whole = head.starts_with(GROUP_MAGIC) && crc32fast::hash(&head[8..]) == short(head, 4)?;
    whole.then_some((position + GROUP + short(head, 12)? as usize, long(head, 16)?))
}

/// The next whole group after `position`, wherever it begins.
pub(super) fn next_group(bytes: &[u8], position: usize) -> Option<usize> {
    (position + 1..bytes.len().saturating_sub(GROUP) + 1).find(|at| group(bytes, *at).is_some())
}

/// The records of a group: their places in the file and their bodies; `None` in place of one that does not decode.
pub(super) fn records(bytes: &[u8], group: Range<usize>) -> impl Iterator<Item = (usize, Option<(u32, Record<'_>)>)> {
    let (mut at, end) = (group.start, group.end);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let start = at;
        let Some(body) = body(&bytes[start..end]) else {
            at = end;
            return Some((start, None));
        };
        at += RECORD + body.len();
        Some((start, Record::decode(body).map(|record| (body.len() as u32, record))))
    })
}

/// Whether what is at the end of a file, from `position` on, is an unfinished write: it stops short of the length it names,
/// or a sector of it never reached the disk. Everything else was whole once, and may have been acknowledged.
pub(super) fn is_torn(bytes: &[u8], position: usize) -> bool {
    let end = match head(bytes, position) {
        Some((end, _)) if end > bytes.len() => return true,
        Some((end, _)) => end,
        None if bytes.len() - position < GROUP => return true,
        None => bytes.len(),
    };
    let zero = |from: usize, to: usize| from < to && bytes[from..to].iter().all(|byte| *byte == 0);
    let first = position.next_multiple_of(SECTOR).min(end);
    zero(position, first) || (first..end).step_by(SECTOR).any(|from| zero(from, (from + SECTOR).min(end)))
}

fn short(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}
