//! From a group of writes to the records that say what they do, and to their outcomes: which offset a publication gets, which
//! key was known, which cursor moves. Later writes of a group see what earlier ones will have done.
//!
//! Pure: changes nothing, so a group that the disk refuses has not happened. Called by every engine.

use std::collections::HashMap;

use super::{Append, Appended, Cursors, Extent, Keep, Outcome, StoreError, Write, record::Record, state::State};
use crate::id::Epoch;

/// See the module's text.
pub(super) struct Plan<'a> {
    pub(super) records: Vec<Record<'a>>,
    pub(super) outcomes: Vec<Outcome>,
}

/// Plans `group`.
///
/// # Errors
/// The system gives no randomness for the epoch of a new channel.
pub(super) fn plan<'a, P: Clone + PartialEq>(
    state: &State<P>,
    group: &'a [Write],
    unix_ms: u64,
) -> Result<Plan<'a>, StoreError> {
    let (channels, members, keys) = (HashMap::new(), HashMap::new(), HashMap::new());
    let records = Vec::with_capacity(group.len());
    let mut ahead = Ahead { state, unix_ms, records, channels, members, keys };
    let outcomes = group.iter().map(|write| ahead.write(write)).collect::<Result<_, _>>()?;
    Ok(Plan { records: ahead.records, outcomes })
}

/// An epoch that no channel has had.
pub(super) fn new_epoch() -> Result<Epoch, StoreError> {
    let random = getrandom::u64().map_err(|error| StoreError::Unavailable(format!("no randomness: {error}").into()))?;
    Ok(Epoch::new(random))
}

/// The state as it will be, where it differs.
struct Ahead<'a, 's, P> {
    state: &'s State<P>,
    unix_ms: u64,
    records: Vec<Record<'a>>,
    channels: HashMap<&'a str, (Extent, u64)>,
    members: HashMap<(&'a str, &'a str), (bool, Cursors)>,
    keys: HashMap<u128, (u64, u64)>,
}

impl<'a, P: Clone + PartialEq> Ahead<'a, '_, P> {
    fn write(&mut self, write: &'a Write) -> Result<Outcome, StoreError> {
        Ok(match write {
            Write::Open { channel } => Outcome::Opened(self.open(channel)?.0),
            Write::Append(append) => Outcome::Appended(self.append(append)?),
            Write::Join { channel, user } => {
                let (extent, _) = self.open(channel)?;
                let (joined, cursors) = self.standing(channel, user);
                if joined {
                    return Ok(Outcome::Membership { changed: false, cursors });
                }
                // What passed while he was no member is not kept for him.
                let cursors = Cursors { delivered: extent.head, read: extent.head };
                self.stand(channel, user, true, cursors);
                Outcome::Membership { changed: true, cursors }
            }
            Write::Leave { channel, user } => {
                let (joined, cursors) = self.standing(channel, user);
                if joined {
                    self.stand(channel, user, false, cursors);
                }
                Outcome::Membership { changed: joined, cursors }
            }
            Write::Acknowledge { channel, user, delivered, read } => {
                let (joined, old) = self.standing(channel, user);
                let head = self.extent(channel).map_or(0, |(extent, _)| extent.head);
                let read = old.read.max((*read).min(head));
                let cursors = Cursors { delivered: old.delivered.max((*delivered).min(head)).max(read), read };
                let moved = cursors != old;
                if moved {
                    self.stand(channel, user, joined, cursors);
                }
                Outcome::Acknowledged { moved, cursors }
            }
            Write::Trim { channel, keep } => Outcome::Trimmed(self.trim(channel, *keep)),
        })
    }

    fn append(&mut self, append: &'a Append) -> Result<Appended, StoreError> {
        let Append { channel, from, key, data, keep } = append;
        let (mut extent, holes) = self.open(channel)?;
        let unix_ms = self.unix_ms;
        if let Some(key) = key {
            let hash = self.state.hash_of_key(channel, from, key);
            let known = self.keys.get(&hash).copied().or_else(|| self.state.key(channel, from, key, unix_ms));
            if let Some((offset, at)) = known {
                let (epoch, first) = (extent.epoch, extent.first);
                return Ok(Appended { epoch, offset, at, duplicate: true, first });
            }
            self.keys.insert(hash, (extent.head + 1, unix_ms));
        }
        extent.head += 1;
        extent.first = self.first_kept(channel, extent, *keep);
        self.channels.insert(channel, (extent, holes));
        self.records.push(Record::Event {
            channel,
            offset: extent.head,
            first: extent.first,
            at: unix_ms,
            from,
            key: key.as_deref(),
            data,
        });
        let Extent { epoch, first, head: offset } = extent;
        Ok(Appended { epoch, offset, at: unix_ms, duplicate: false, first })
    }

    fn trim(&mut self, channel: &'a str, keep: Keep) -> Option<Extent> {
        let (mut extent, holes) = self.extent(channel)?;
        let first = self.first_kept(channel, extent, keep);
        if first > extent.first {
            extent.first = first;
            self.channels.insert(channel, (extent, holes));
            self.records.push(of_channel(channel, extent, holes));
        }
        Some(extent)
    }

    fn first_kept(&self, channel: &str, extent: Extent, keep: Keep) -> u64 {
        let by_count = (extent.head + 1).saturating_sub(keep.events);
        let oldest = self.unix_ms.saturating_sub(keep.age.as_millis() as u64) / 1000;
        let by_age = self.state.channel(channel).map_or(0, |channel| channel.first_not_older(oldest));
        extent.first.max(by_count).max(by_age)
    }

    fn extent(&self, channel: &str) -> Option<(Extent, u64)> {
        let known = || self.state.channel(channel).and_then(|channel| Some((channel.extent()?, channel.holes)));
        self.channels.get(channel).copied().or_else(known)
    }

    fn open(&mut self, channel: &'a str) -> Result<(Extent, u64), StoreError> {
        if let Some(known) = self.extent(channel) {
            return Ok(known);
        }
        let extent = Extent { epoch: new_epoch()?, first: 1, head: 0 };
        self.channels.insert(channel, (extent, 0));
        self.records.push(of_channel(channel, extent, 0));
        Ok((extent, 0))
    }

    fn standing(&self, channel: &str, user: &str) -> (bool, Cursors) {
        let planned = self.members.get(&(channel, user)).copied();
        planned.or_else(|| self.state.standing(channel, user)).unwrap_or_default()
    }

    fn stand(&mut self, channel: &'a str, user: &'a str, joined: bool, cursors: Cursors) {
        self.members.insert((channel, user), (joined, cursors));
        self.records.push(Record::Member { channel, user, joined, cursors });
    }
}

/// The record of a channel as it is.
pub(super) fn of_channel(channel: &str, extent: Extent, holes: u64) -> Record<'_> {
    Record::Channel { channel, epoch: extent.epoch.bits(), head: extent.head, first: extent.first, holes }
}
