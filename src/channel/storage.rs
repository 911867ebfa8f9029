//! The store as the homes of one shard use it.
//!
//! Nothing here waits. What comes of an errand comes back as a [`News`] letter to the hub that sent it. Letters are sent
//! and never refused, for an acknowledgement must not be lost; there are never more of them than errands, and those are
//! bounded by the store's queue, by the reader's, and by a hub that sends none while it does not read its letters.

use std::sync::Arc;

use compact_str::CompactString;
use tokio::sync::oneshot;

use crate::{
    channel::{
        desk::Person,
        directory::Channel,
        home::{Event, Publication},
        message::{Letter, Tag},
        reader::{Errand, Loaded, Reader},
    },
    id::ConnectionId,
    protocol::{
        error::{ErrorCode, Fault},
        frame::{Members, MembershipState},
    },
    store::{self, Append, Appended, Extent, Keep, Outcome, Range, Refused, StoreError, Write},
};

/// Events that a shard looks at itself when somebody comes, or channels for them: some ten microseconds of its time. More is
/// the reader's work.
const MOST_AT_ONCE: usize = 1_000;

/// Brings a letter to the hub it belongs to, from any thread.
pub type Deliver = Arc<dyn Fn(Letter) + Send + Sync>;

/// Something the store says about a channel.
#[derive(Debug)]
pub struct News {
    pub(super) channel: Arc<Channel>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// It has an epoch.
    Opened(Result<Extent, StoreError>),
    /// What is kept of it.
    Loaded(Result<Loaded, StoreError>),
    /// A publication is on disk, or is not.
    Stored { ticket: u64, outcome: Result<Appended, StoreError> },
    /// Something else is, or is not.
    Done { ticket: u64, outcome: Result<Outcome, StoreError> },
    /// Events that somebody wants to see, and whether there are more.
    Paged { ticket: u64, page: Result<(Vec<Arc<Event>>, bool), StoreError> },
    /// Members that somebody wants to see.
    Listed { ticket: u64, members: Result<Members, StoreError> },
    /// A panic has interrupted its home.
    Interrupted,
}

/// See the module's text.
pub struct Storage {
    reader: Reader,
    deliver: Deliver,
}

impl Storage {
    pub(super) fn new(reader: Reader, deliver: Deliver) -> Self {
        Self { reader, deliver }
    }

    /// Gives a channel its epoch; comes back as [`What::Opened`].
    pub(super) fn open(&self, channel: &Arc<Channel>) -> Result<(), Fault> {
        let (deliver, of) = (Arc::clone(&self.deliver), Arc::clone(channel));
        let done = move |outcome| {
            let opened = match outcome {
                Ok(Outcome::Opened(extent)) => Ok(extent),
                Ok(_) => Err(StoreError::Crashed),
                Err(error) => Err(error),
            };
            deliver(Letter::Store(News { channel: of, what: What::Opened(opened) }));
        };
        self.offer(Write::Open { channel: (&*channel.name).into() }, Box::new(done))
    }

    /// The store knows the channel already.
    pub(super) fn knows(&self, channel: &Channel) -> bool {
        self.reader.store().archive().extent(&channel.name).is_some()
    }

    /// Asks for the kept events after `after`, or for the newest; comes back as [`What::Loaded`].
    pub(super) fn load(&self, channel: &Arc<Channel>, after: Option<u64>) -> Result<(), Fault> {
        self.read(Errand::Load(Arc::clone(channel), after))
    }

    /// Asks for kept events; comes back as [`What::Paged`] with its ticket.
    pub(super) fn page(&self, channel: &Arc<Channel>, ticket: u64, range: Range, limit: usize) -> Result<(), Fault> {
        self.read(Errand::Page { channel: Arc::clone(channel), ticket, range, limit })
    }

    /// Asks who belongs to a channel; comes back as [`What::Listed`] with its ticket.
    pub(super) fn members(&self, channel: &Arc<Channel>, ticket: u64) -> Result<(), Fault> {
        self.read(Errand::Members { channel: Arc::clone(channel), ticket })
    }

    /// A user's memberships, if there is little to count; else they come back as [`Found`](super::desk::DeskRequest::Found).
    pub(super) fn memberships(
        &self,
        user: &str,
        session: ConnectionId,
        tag: Tag,
    ) -> Result<Option<Vec<MembershipState>>, Fault> {
        if let Some(memberships) = self.reader.store().archive().memberships_within(user, MOST_AT_ONCE) {
            return Ok(Some(memberships.into_iter().map(MembershipState::from).collect()));
        }
        self.read(Errand::Memberships { user: user.into(), session, tag })?;
        Ok(None)
    }

    /// Adds a user's memberships to what is known of him, and answers the caller. Dropped when the reader is behind.
    pub(super) fn describe(&self, user: CompactString, person: Person, caller: oneshot::Sender<Person>) {
        let _ = self.read(Errand::Describe { user, person, caller });
    }

    fn read(&self, errand: Errand) -> Result<(), Fault> {
        self.reader.send(errand, Arc::clone(&self.deliver))
    }

    /// Offers anything but a publication; comes back as [`What::Done`] with its ticket.
    pub(super) fn write(&self, channel: &Arc<Channel>, ticket: u64, write: Write) -> Result<(), Fault> {
        let (deliver, channel) = (Arc::clone(&self.deliver), Arc::clone(channel));
        let done = move |outcome| deliver(Letter::Store(News { channel, what: What::Done { ticket, outcome } }));
        self.offer(write, Box::new(done))
    }

    /// Offers a publication; comes back as [`What::Stored`] with its ticket.
    pub(super) fn append(&self, channel: &Arc<Channel>, ticket: u64, publication: &Publication) -> Result<(), Fault> {
        let (deliver, of) = (Arc::clone(&self.deliver), Arc::clone(channel));
        let done = move |outcome| {
            let outcome = match outcome {
                Ok(Outcome::Appended(appended)) => Ok(appended),
                Ok(_) => Err(StoreError::Crashed),
                Err(error) => Err(error),
            };
            deliver(Letter::Store(News { channel: of, what: What::Stored { ticket, outcome } }));
        };
        let append = Append {
            channel: (&*channel.name).into(),
            from: publication.from.clone(),
            key: publication.key.clone(),
            data: publication.data.get().as_bytes().into(),
            keep: Keep { events: channel.namespace.history_events as u64, age: channel.namespace.history_age },
        };
        self.offer(Write::Append(append), Box::new(done))
    }

    fn offer(&self, write: Write, done: store::Done) -> Result<(), Fault> {
        self.reader.store().offer(write, done).map_err(|refused| match refused {
            Refused::Full(_) => Fault::new(ErrorCode::Overloaded, "the store is behind, try again later"),
            Refused::Closed(_) => fault(&StoreError::Closed),
        })
    }
}

/// What somebody is told whose request needed the store.
pub(super) fn fault(error: &StoreError) -> Fault {
    match error {
        StoreError::Unavailable(_) => {
            Fault::new(ErrorCode::Unavailable, "the store cannot write at present; nothing of this is kept")
        }
        StoreError::Damaged { .. } => Fault::new(ErrorCode::Unavailable, "the store cannot read this channel"),
        StoreError::Crashed => Fault::new(
            ErrorCode::Crashed,
            "the store crashed over this; whether it is kept is not known, the same `key` tells",
        ),
        StoreError::Closed => Fault::new(ErrorCode::Unavailable, "the node is leaving"),
    }
}
