//! The thread that reads from the store for all homes: a disk is too slow for a shard. Its errands come from `storage.rs`; what
//! comes of one goes as a letter to the hub that sent it, or straight to whoever asked.

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
        home::{Event, WINDOW},
        message::{Letter, Tag},
        shared_frame::SharedFrame,
        storage::{Deliver, News, Storage, What},
    },
    id::ConnectionId,
    protocol::{
        error::{ErrorCode, Fault},
        frame::{Frame, Member, Members, MembershipState, Standing},
    },
    store::{self, Archive, Cursors, Extent, Range, Store, StoreError},
};

/// Errands that may wait for the reader; who would have to wait longer is told to come back.
const MOST_ERRANDS: usize = 65_536;

/// Members of one answer.
const MOST_MEMBERS: usize = 1000;

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) extent: Extent,
    pub(super) events: Vec<Arc<Event>>,
}

/// What the reader is to do.
pub(super) enum Errand {
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
        Storage::new(self, deliver)
    }

    /// The store it reads from.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Sends the thread on an errand.
    pub(super) fn send(&self, errand: Errand, deliver: Deliver) -> Result<(), Fault> {
        self.errands.try_send((errand, deliver)).map_err(|error| match error {
            TrySendError::Full(_) => Fault::new(ErrorCode::Overloaded, "too many wait to be read from the store"),
            TrySendError::Closed(_) => Fault::new(ErrorCode::Unavailable, "the store is closed"),
        })
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
    Some(Arc::new(Event { channel: Arc::clone(channel), offset, at, frame, since: 0 }))
}
