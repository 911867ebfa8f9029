//! What waits at a durable home: requests until the store has said where the channel stands, publications until they are on
//! disk, events that turned up on disk unannounced. Everything leaves in the order in which it came.
//!
//! ```text
//! Closed ──a request──→ Opening ──epoch──→ Loading ──events──→ Open
//!   ↑                      └──── the store cannot ────┘          │ an event is on disk that the home does not know
//!   └─ (requests are answered `unavailable`)      Loading ←──────┘
//! ```
//! Pure state; `commits.rs` moves it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use compact_str::CompactString;

use crate::{
    channel::{
        home::{Event, Publication, Published},
        message::{HomeRequest, Origin},
    },
    protocol::error::Fault,
    store::{Appended, Range, StoreError},
};

/// Where the home stands with the store: see the module's text.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// Nothing is known; what waits is answered with the fault.
    Closed(Fault),
    /// Never asked.
    #[default]
    New,
    /// The epoch is on its way.
    Opening,
    /// The events are on their way.
    Loading,
    /// Epoch, head and events are known.
    Open,
}

/// A publication that the store has taken.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) ticket: u64,
    pub(super) origin: Origin,
    pub(super) publication: Publication,
    /// When it came, in microseconds of the clock.
    pub(super) since: u64,
}

/// Something that the store does for a home beside its publications: in no order with them.
#[derive(Debug)]
pub(super) enum Errand {
    /// A membership begins. It was asked for, not made by a publication.
    Join { user: CompactString, asked: bool },
    /// A membership ends.
    Leave { user: CompactString },
    /// Cursors move.
    Acknowledge { user: CompactString },
    /// Events for somebody who looks back.
    History { range: Range, before: Option<u64> },
    /// Events for somebody who is behind.
    Page { after: u64 },
    /// Members for somebody who asks who they are.
    Members,
}

/// The next thing to do, out of its queue.
#[derive(Debug)]
pub(super) enum Task {
    /// An event found on disk: nobody here has heard of it.
    Found(Arc<Event>),
    /// The store has answered.
    Landed(Offered, Result<Appended, StoreError>),
    /// A request whose time has come; with the fault when the home could not be opened.
    Request(Origin, HomeRequest, Option<Fault>),
}

impl Task {
    /// Who waits for it.
    pub(super) fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Found(_) => None,
            Self::Landed(Offered { origin, .. }, _) | Self::Request(origin, ..) => Some(origin),
        }
    }

    /// Where it is on disk, of a publication.
    pub(super) fn stored(&self) -> Option<Published> {
        match self {
            Self::Landed(_, Ok(Appended { offset, at, duplicate, .. })) => {
                Some(Published { offset: *offset, at: *at, duplicate: *duplicate })
            }
            _ => None,
        }
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    pub(super) stage: Stage,
    /// Epoch and head have been known once: what is loaded now is news to the subscribers.
    pub(super) known: bool,
    /// Something may be on disk that the home has not heard of.
    pub(super) in_doubt: bool,
    /// The disk could not be read: what it has answered goes out without what may lie before it.
    pub(super) blind: bool,
    pub(super) requests: VecDeque<(Origin, HomeRequest)>,
    pub(super) found: VecDeque<Arc<Event>>,
    pub(super) landed: VecDeque<(Offered, Result<Appended, StoreError>)>,
    /// Both users of a channel for two have been made members, as far as this home knows.
    pub(super) paired: bool,
    /// On their way, by their tickets.
    pub(super) errands: HashMap<u64, (Origin, Errand)>,
    offered: VecDeque<Offered>,
    next_ticket: u64,
}

impl Backlog {
    /// A request can be served at once without overtaking another.
    pub(super) fn is_clear(&self) -> bool {
        matches!(self.stage, Stage::Open) && self.requests.is_empty() && self.landed.is_empty() && self.found.is_empty()
    }

    /// Nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
            && self.landed.is_empty()
            && self.found.is_empty()
            && self.offered.is_empty()
            && self.errands.is_empty()
            && !matches!(self.stage, Stage::Opening | Stage::Loading)
    }

    /// Names the next publication.
    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// The store has taken it.
    pub(super) fn push(&mut self, offered: Offered) {
        self.offered.push_back(offered);
    }

    /// The store has answered. It does so in order, so the first one is meant.
    pub(super) fn land(&mut self, ticket: u64, outcome: Result<Appended, StoreError>) {
        let Some(at) = self.offered.iter().position(|offered| offered.ticket == ticket) else { return };
        self.in_doubt |= matches!(outcome, Err(StoreError::Crashed));
        if let Some(offered) = self.offered.remove(at) {
            self.landed.push_back((offered, outcome));
        }
    }
}
