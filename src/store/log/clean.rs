//! Cleaning: when less than half of the log is still needed, the oldest file is copied to the end, without what nobody needs,
//! and removed. In steps so short that a commit hardly waits for one.
//!
//! Copies go through the same write and sync as any group; until the old file is gone both say the same.

use std::{num::NonZeroU32, os::unix::fs::FileExt as _, sync::Arc};

use super::{
    Log,
    frame::{self, Place},
};
use crate::store::{StoreError, plan::of_channel, record::Record};

/// Bytes of the old file that one step looks at.
const STEP: usize = 128 << 10;

/// How far the oldest file is.
#[derive(Debug)]
pub(super) struct Cleaning {
    file: NonZeroU32,
    bytes: Arc<[u8]>,
    position: usize,
}

impl Log {
    /// One step; `false` when nothing is to be done.
    pub(super) fn clean_a_little(&mut self, unix_ms: u64) -> Result<bool, StoreError> {
        let Some(cleaning) =
            self.cleaning.take().map_or_else(|| self.begin_cleaning(unix_ms), |going| Ok(Some(going)))?
        else {
            return Ok(false);
        };
        match self.copy_needed(&cleaning, unix_ms) {
            Ok(position) if position < cleaning.bytes.len() => {
                self.cleaning = Some(Cleaning { position, ..cleaning });
                Ok(true)
            }
            Ok(_) => {
                self.folder.remove(cleaning.file).map_err(|error| StoreError::unavailable("cannot remove", &error))?;
                self.shared.fetch.remove(cleaning.file);
                self.weights.remove(&cleaning.file);
                Ok(true)
            }
            Err(error) => {
                self.cleaning = Some(cleaning);
                Err(error)
            }
        }
    }

    fn begin_cleaning(&self, unix_ms: u64) -> Result<Option<Cleaning>, StoreError> {
        let total: u64 = self.weights.values().map(|weight| weight.total).sum();
        let needed: u64 = self.weights.values().map(|weight| weight.needed).sum();
        // The last file is being written; one more before it keeps a young log from being copied around.
        if self.weights.len() < 3 || needed * 2 >= total {
            return Ok(None);
        }
        let Some((file, weight)) = self.weights.first_key_value() else { return Ok(None) };
        // Young keys would only be carried along, again and again.
        if unix_ms < weight.keys_until {
            return Ok(None);
        }
        let Some(opened) = self.shared.fetch.get(*file) else { return Ok(None) };
        let mut bytes = vec![0; weight.total as usize];
        let place = Place { file: *file, position: 0, length: 0 };
        opened.read_exact_at(&mut bytes, 0).map_err(|_| self.shared.fetch.damaged(place))?;
        Ok(Some(Cleaning { file: *file, bytes: bytes.into(), position: frame::HEADER }))
    }

    /// Writes what is needed of the next groups again; where the rest begins.
    fn copy_needed(&mut self, cleaning: &Cleaning, unix_ms: u64) -> Result<usize, StoreError> {
        let Cleaning { file, ref bytes, mut position } = *cleaning;
        let until = position + STEP;
        let mut copies = Vec::new();
        let state = self.shared.state();
        while position < bytes.len().min(until) {
            let place = Place { file, position: position as u32, length: 0 };
            let damaged = || self.shared.fetch.damaged(place);
            let group = frame::group(bytes, position).ok_or_else(damaged)?;
            position = group.records.end;
            for (at, record) in frame::records(bytes, group.records) {
                let (length, record) = record.ok_or_else(damaged)?;
                let place = Place { file, position: at as u32, length };
                if !state.needs(&record, &place) {
                    continue;
                }
                // As it is now, not as it was then.
                copies.push(match record {
                    Record::Event { channel, offset, at, from, key, data, .. } => {
                        let first = state.extent(channel).map_or(1, |extent| extent.first);
                        Record::Event { channel, offset, first, at, from, key, data }
                    }
                    Record::Channel { channel, .. } => match (state.extent(channel), state.channel(channel)) {
                        (Some(extent), Some(known)) => of_channel(channel, extent, known.holes),
                        _ => record,
                    },
                    Record::Member { .. } => record,
                });
            }
        }
        drop(state);
        if !copies.is_empty() {
            let places = self.append(&copies)?;
            self.apply(&copies, &places, unix_ms);
        }
        Ok(position)
    }
}
