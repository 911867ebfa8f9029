//! The store: what survives the process. Events of durable channels, memberships, cursors and the keys that make
//! publishing idempotent. This file is the contract; `memory.rs` and `log/` keep it, and one suite (`tests/`) checks both.
//!
//! An [`Engine`] commits groups of [`Write`]s, one thread at a time; an [`Archive`] answers reads from any thread
//! meanwhile. [`Store`] is what the rest of the server holds: a bounded queue before one thread that forms the groups.
//! Knows no shard, no socket and no protocol: names and data are bytes to it. Nothing is acknowledged, and nothing can be
//! read, before it is on disk.
//!
//! What holds for every engine:
//! - Offsets of a channel are given out by the engine: 1, 2, 3 … within an epoch, in the order of the writes.
//! - A group is committed as a whole or not at all. After an error nothing of it is there, and the next group may succeed.
//! - A key gives its first offset for [`KEY_LIFE`], also after a restart and when the event itself is no longer kept.
//! - Cursors never move back, never pass the head, and `delivered` is never behind `read`.

mod error;
mod faults;
mod log;
mod memory;
mod plan;
mod queue;
mod record;
mod shared;
mod state;
mod warden;
mod writer;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use compact_str::CompactString;

pub use error::{OpenError, Refused, StoreError};
pub use faults::{Begun, Faults};
pub use log::{CopyError, Counts, Log, Repair, export, import, repair, verify};
pub use memory::Memory;
pub use warden::Warden;
pub use writer::{Done, Options, Store};

use crate::id::Epoch;

/// How long a key makes a second publish the first one (CONTRACT §1, `publish`).
pub const KEY_LIFE: Duration = Duration::from_secs(10 * 60);

/// Keeps what it is given. Used by one thread at a time.
pub trait Engine: Send {
    /// The reading side, shared by all threads. Shows a group only after its commit.
    fn archive(&self) -> Arc<dyn Archive>;

    /// Returns when all of `group` is on disk, with one outcome for each write in its order. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing of the group is there, nothing older was lost, and it is worth trying again.
    fn commit(&mut self, group: &[Write], unix_ms: u64) -> Result<Vec<Outcome>, StoreError>;

    /// One short step of housekeeping, called between groups; `false` when nothing is left to do.
    ///
    /// # Errors
    /// As [`Engine::commit`]. Nothing is lost; the step is tried again later.
    fn tidy(&mut self, unix_ms: u64) -> Result<bool, StoreError>;
}

/// The reading side of an [`Engine`].
pub trait Archive: Send + Sync {
    /// What is kept of a channel; `None` when nobody ever wrote to it. From memory.
    fn extent(&self, channel: &str) -> Option<Extent>;

    /// Names of channels that begin with `prefix`, in order. From memory.
    fn channels(&self, prefix: &str, limit: usize) -> Vec<CompactString>;

    /// Kept events in rising order. Blocks on the disk: not for a shard's thread.
    ///
    /// # Errors
    /// The disk fails, or what it gives is not what was written.
    fn read(&self, channel: &str, range: Range, limit: usize) -> Result<Page, StoreError>;

    /// How far a user got in a channel; zeros when he never said. From memory.
    fn cursors(&self, channel: &str, user: &str) -> Cursors;

    /// Kept events after `after` that somebody else sent. From memory, a few nanoseconds for each event.
    fn unread(&self, channel: &str, user: &str, after: u64) -> u64;

    /// Members of a channel with their cursors, in order of their names. From memory.
    fn members(&self, channel: &str) -> Vec<(CompactString, Cursors)>;

    /// Channels a user is a member of, in order of their names. From memory, and as long as `unread` for each.
    fn memberships(&self, user: &str) -> Vec<Membership>;

    /// The same for a thread that must not wait: `None` when more than `most` events would be looked at (a channel counts as
    /// some of them), or something is just being written.
    fn memberships_within(&self, user: &str, most: usize) -> Option<Vec<Membership>>;

    /// Whether a user is a member of a channel. From memory.
    fn is_member(&self, channel: &str, user: &str) -> bool;
}

/// Something to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Gives a channel its epoch, if it has none yet.
    Open {
        /// The channel.
        channel: CompactString,
    },
    /// A publication.
    Append(Append),
    /// Makes a user a member, his cursors at the head.
    Join {
        /// The channel; opened if need be.
        channel: CompactString,
        /// The user.
        user: CompactString,
    },
    /// Ends a membership. The cursors stay.
    Leave {
        /// The channel.
        channel: CompactString,
        /// The user.
        user: CompactString,
    },
    /// Moves a user's cursors forward; members and others alike.
    Acknowledge {
        /// The channel.
        channel: CompactString,
        /// The user.
        user: CompactString,
        /// At least so far.
        delivered: u64,
        /// At least so far; implies `delivered`.
        read: u64,
    },
    /// Forgets what a channel need not keep any more. An append does so by itself; age passes without one.
    Trim {
        /// The channel.
        channel: CompactString,
        /// What to keep.
        keep: Keep,
    },
}

/// A publication on its way to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The channel; opened if need be.
    pub channel: CompactString,
    /// Who sends it.
    pub from: CompactString,
    /// Makes it idempotent per channel and sender.
    pub key: Option<CompactString>,
    /// Kept to the byte.
    pub data: Box<[u8]>,
    /// What the channel keeps from now on.
    pub keep: Keep,
}

/// How much of a channel is kept. Both bounds hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest events.
    pub events: u64,
    /// Events that are not older than this, to the second.
    pub age: Duration,
}

/// What came of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// [`Write::Open`]
    Opened(Extent),
    /// [`Write::Append`]
    Appended(Appended),
    /// [`Write::Join`], [`Write::Leave`]: whether that changed anything, and the cursors after it.
    Membership {
        /// He was not before, or was.
        changed: bool,
        /// After it.
        cursors: Cursors,
    },
    /// [`Write::Acknowledge`]: whether a cursor moved, and the cursors after it.
    Acknowledged {
        /// One of the two moved: there is a receipt to be told.
        moved: bool,
        /// After it.
        cursors: Cursors,
    },
    /// [`Write::Trim`]: what is left; `None` for a channel that does not exist.
    Trimmed(Option<Extent>),
}

/// Where a publication ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Life of the numbering.
    pub epoch: Epoch,
    /// Its place.
    pub offset: u64,
    /// Unix milliseconds.
    pub at: u64,
    /// Its key was known: this is where the first one is.
    pub duplicate: bool,
    /// The oldest offset kept from now on.
    pub first: u64,
}

/// What is kept of a channel: offsets `first..=head`, empty when `first` is `head + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Life of the numbering.
    pub epoch: Epoch,
    /// The oldest offset kept.
    pub first: u64,
    /// The newest offset given out; 0 before the first.
    pub head: u64,
}

/// How far a user got in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    /// His devices have everything up to here.
    pub delivered: u64,
    /// He has seen everything up to here.
    pub read: u64,
}

/// One channel of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The channel.
    pub channel: CompactString,
    /// What it keeps.
    pub extent: Extent,
    /// How far he got.
    pub cursors: Cursors,
    /// Kept events after `cursors.read` that others sent.
    pub unread: u64,
}

/// Which events [`Archive::read`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The oldest ones after this offset.
    After(u64),
    /// The newest ones before this offset.
    Before(u64),
    /// The newest ones.
    Newest,
}

/// An answer of [`Archive::read`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Rising.
    pub events: Vec<Event>,
    /// There is more in that direction.
    pub more: bool,
}

/// A stored publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place.
    pub offset: u64,
    /// Unix milliseconds.
    pub at: u64,
    /// Who sent it.
    pub from: CompactString,
    /// As given.
    pub key: Option<CompactString>,
    /// As given.
    pub data: Box<[u8]>,
}

/// One thing that a store keeps, for copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A channel.
    Channel {
        /// Its name.
        channel: CompactString,
        /// What is kept of it.
        extent: Extent,
        /// Below this a repair may have left holes.
        holes: u64,
    },
    /// A publication.
    Event {
        /// Where.
        channel: CompactString,
        /// Its place.
        offset: u64,
        /// From where on the channel kept its events then.
        first: u64,
        /// Unix milliseconds.
        at: u64,
        /// Who sent it.
        from: CompactString,
        /// As given.
        key: Option<CompactString>,
        /// As given.
        data: Box<[u8]>,
    },
    /// Where a user stands in a channel.
    Member {
        /// The channel.
        channel: CompactString,
        /// The user.
        user: CompactString,
        /// He is a member.
        joined: bool,
        /// How far he got.
        cursors: Cursors,
    },
}
