//! The loss ledger: every event offered to a connection ends as delivered, dropped for a named reason, or is pending.
//!
//! `offered`, `delivered` and `dropped` are counted where it happens; `pending` is counted by looking into mailboxes and
//! outboxes when somebody asks, so that the sum is a check and not a definition.

use serde::Serialize;

/// Why an event was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Drop {
    /// Mailbox full; told as a `gap` or by closing with 4002.
    Overflow,
    /// The socket was lost first; the client's cursor asks for it again.
    Disconnected,
    /// It crashed the actor twice; told as a `gap`.
    Crash,
    /// The client unsubscribed while it waited.
    Unsubscribed,
}

impl Drop {
    /// All reasons, in the order of [`Ledger`]'s counters.
    pub const ALL: [Self; 4] = [Self::Overflow, Self::Disconnected, Self::Crash, Self::Unsubscribed];

    /// The word in metrics and in `/v1/node`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Disconnected => "disconnected",
            Self::Crash => "crash",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// Counts per event and connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Given to a mailbox, or refused by it.
    pub offered: u64,
    /// Taken by the kernel whole.
    pub delivered: u64,
    /// In mailboxes and outboxes.
    pub pending: u64,
    dropped: [u64; Drop::ALL.len()],
}

impl Ledger {
    /// Counts `n` dropped events.
    pub fn drop(&mut self, reason: Drop, n: u64) {
        self.dropped[reason as usize] += n;
    }

    /// Dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: Drop) -> u64 {
        self.dropped[reason as usize]
    }

    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.delivered += other.delivered;
        self.pending += other.pending;
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *mine += theirs;
        }
    }

    /// `offered = delivered + dropped + pending`; holds whenever the node is quiet.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.offered == self.delivered + self.dropped.iter().sum::<u64>() + self.pending
    }
}

impl Serialize for Ledger {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        struct Dropped<'a>(&'a Ledger);

        impl Serialize for Dropped<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let dropped = Drop::ALL.map(|reason| (reason.name(), self.0.dropped(reason)));
                serializer.collect_map(dropped.into_iter().filter(|(_, count)| *count > 0))
            }
        }

        let mut fields = serializer.serialize_struct("Ledger", 4)?;
        fields.serialize_field("offered", &self.offered)?;
        fields.serialize_field("delivered", &self.delivered)?;
        fields.serialize_field("dropped", &Dropped(self))?;
        fields.serialize_field("pending", &self.pending)?;
        fields.end()
    }
}
