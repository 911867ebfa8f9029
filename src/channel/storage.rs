//! The store as the homes of one shard use it, and the thread that reads for all of them: a disk is too slow for a shard.
//!
//! Nothing here waits. What comes of an errand comes back as a [`News`] letter to the hub that sent it. Letters are sent
//! and never refused, for an acknowledgement must not be lost; there are never more of them than errands, and those are
//! bounded by the store's queue, by the reader's, and by a hub that sends none while it does not read its letters.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
};

use compact_str::CompactString;
use serde_json::value::RawValue;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use crate::{
    channel::{
        desk::{DeskRequest, Person},
        directory::Channel,
        home::{Event, Publication, WINDOW},
        message::{Letter, Tag},
        shared_frame::SharedFrame,
    },
    id::ConnectionId,
    protocol::{
        error::{ErrorCode, Fault},
        frame::{Frame, Member, Members, MembershipState, Standing},
    },
    store::{
        self, Append, Appended, Archive, Cursors, Extent, Keep, Outcome, Range, Refused, Store, StoreError, Write,
    },
};

/// Errands that may wait for the reader; who would have to wait longer is told to come back.
const MOST_ERRANDS: usize = 65_536;

/// Channels and events that a shard looks at itself when somebody comes: some ten microseconds of its time. More is the
/// reader's work.
const MOST_AT_ONCE: usize = 1_000;

/// Members of one answer.
const MOST_MEMBERS: usize = 1000;

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

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) extent: Extent,
    pub(super) events: Vec<Arc<Event>>,
}

/// What the reader is to do.
enum Errand {
    /// What a home needs to know; `None`: the newest events.
    Load(Arc<Channel>, Option<u64>),
    /// What somebody wants to see.
    Page { channel: Arc<Channel>, ticket: u64, range: Range, limit: usize },
    /// Who belongs to a channel.
    Members { channel: Arc<Channel>, ticket: u64 },
    /// The memberships of somebody who has come.
    Memberships { user: CompactString, session: ConnectionId, tag: Tag },
    /// Those of somebody who is asked about.
    Describe { user: CompactString, person: Person, caller: oneshot::Sender<Person> },
}

/// The thread that reads, as those hold it who hand it work. It ends with the last of them.
#[derive(Clone)]
pub struct Reader {
    store: Store,
    errands: mpsc::Sender<(Errand, Deliver)>,
}

impl Reader {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(store: Store) -> std::io::Result<(Self, JoinHandle<()>)> {
        // Grows with what waits; a channel of the standard library is allocated whole, here three megabytes.
        let (errands, queue) = mpsc::channel(MOST_ERRANDS);
        let reads = store.clone();
        let thread = std::thread::Builder::new().name("store-reader".into()).spawn(move || serve(&reads, queue))?;
        Ok((Self { store, errands }, thread))
    }

    /// For the hub that `deliver` writes to.
    #[must_use]
    pub fn storage(self, deliver: Deliver) -> Storage {
        Storage { reader: self, deliver }
    }
}

/// See the module's text.
pub struct Storage {
    reader: Reader,
    deliver: Deliver,
}

impl Storage {
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
        self.reader.store.archive().extent(&channel.name).is_some()
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

    /// A user's memberships, if there is little to count; else they come back as [`DeskRequest::Found`].
    pub(super) fn memberships(
        &self,
        user: &str,
        session: ConnectionId,
        tag: Tag,
    ) -> Result<Option<Vec<MembershipState>>, Fault> {
        if let Some(memberships) = self.reader.store.archive().memberships_within(user, MOST_AT_ONCE) {
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
        let sent = self.reader.errands.try_send((errand, Arc::clone(&self.deliver)));
        sent.map_err(|error| match error {
            TrySendError::Full(_) => Fault::new(ErrorCode::Overloaded, "too many wait to be read from the store"),
            TrySendError::Closed(_) => Fault::new(ErrorCode::Unavailable, "the store is closed"),
        })
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
        self.reader.store.offer(write, done).map_err(|refused| match refused {
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

/// The thread's work, until nobody holds its queue.
fn serve(store: &Store, mut queue: mpsc::Receiver<(Errand, Deliver)>) {
    while let Some((errand, deliver)) = queue.blocking_recv() {
        if let Some(letter) = run(&*store.archive(), errand) {
            deliver(letter);
        }
    }
}

fn run(archive: &dyn Archive, errand: Errand) -> Option<Letter> {
    Some(match errand {
        Errand::Load(channel, after) => {
            let what = What::Loaded(caught(&channel.name, || load(archive, &channel, after)));
            Letter::Store(News { channel, what })
        }
        Errand::Page { channel, ticket, range, limit } => {
            let page = caught(&channel.name, || {
                let page = archive.read(&channel.name, range, limit)?;
                Ok((page.events.into_iter().filter_map(|event| revive(&channel, event)).collect(), page.more))
            });
            Letter::Store(News { channel, what: What::Paged { ticket, page } })
        }
        Errand::Members { channel, ticket } => {
            let members = caught(&channel.name, || Ok(members(archive, &channel.name)));
            Letter::Store(News { channel, what: What::Listed { ticket, members } })
        }
        Errand::Memberships { user, session, tag } => {
            let found = memberships(archive, &user);
            Letter::Desk { user, request: DeskRequest::Found(session, tag, found) }
        }
        Errand::Describe { user, person, caller } => {
            if let Ok(memberships) = memberships(archive, &user) {
                // The caller may have gone; the answer goes with it.
                let _ = caller.send(Person { memberships, ..person });
            }
            return None;
        }
    })
}

fn members(archive: &dyn Archive, channel: &str) -> Members {
    let all = archive.members(channel);
    let count = all.len();
    let member = |(user, cursors): (CompactString, Cursors)| {
        let (user, standing) = (user.into(), cursors.into());
        Member { user, standing, last_seen: None }
    };
    Members { count, members: all.into_iter().take(MOST_MEMBERS).map(member).collect() }
}

fn memberships(archive: &dyn Archive, user: &str) -> Result<Vec<MembershipState>, StoreError> {
    caught("", || Ok(archive.memberships(user).into_iter().map(MembershipState::from).collect()))
}

/// A panic costs its errand.
fn caught<T>(channel: &str, errand: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let result = catch_unwind(AssertUnwindSafe(errand)).unwrap_or(Err(StoreError::Crashed));
    if let Err(error) = &result {
        tracing::error!(channel, %error, "cannot read from the store");
    }
    result
}

impl From<store::Membership> for MembershipState {
    fn from(membership: store::Membership) -> Self {
        let store::Membership { channel, extent, cursors, unread } = membership;
        let standing = cursors.into();
        Self { channel: channel.into(), epoch: extent.epoch, offset: extent.head, standing, unread }
    }
}

impl From<Cursors> for Standing {
    fn from(Cursors { delivered, read }: Cursors) -> Self {
        Self { delivered, read }
    }
}

fn load(archive: &dyn Archive, channel: &Arc<Channel>, after: Option<u64>) -> Result<Loaded, StoreError> {
    // Asked before the events: what comes in between is among them, or comes with its own letter.
    let Some(mut extent) = archive.extent(&channel.name) else { return Err(StoreError::Crashed) };
    let all = channel.namespace.history_events;
    // What was missed while the home was there is all wanted, of the past only what may be asked for soon.
    let (range, limit) = after.map_or((Range::Newest, all.min(WINDOW)), |after| (Range::After(after), all));
    let page = archive.read(&channel.name, range, limit)?;
    let events: Vec<_> = page.events.into_iter().filter_map(|event| revive(channel, event)).collect();
    extent.head = extent.head.max(events.last().map_or(0, |event| event.offset));
    Ok(Loaded { extent, events })
}

/// A kept event as it was spread.
fn revive(channel: &Arc<Channel>, kept: store::Event) -> Option<Arc<Event>> {
    let store::Event { offset, at, from, key, data } = kept;
    let text = String::from_utf8(data.into_vec()).ok();
    let Some(data) = text.and_then(|text| RawValue::from_string(text).ok()) else {
        tracing::error!(channel = %channel.name, offset, "a kept event is not json");
        return None;
    };
    let (name, key) = (&*channel.name, key.as_deref());
    let frame = SharedFrame::new(&Frame::Event { channel: name, offset, from: &from, at, data: &data, key });
    Some(Arc::new(Event { channel: Arc::clone(channel), offset, at, frame }))
}
