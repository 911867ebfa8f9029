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

use serde_json::value::RawValue;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    channel::{
        directory::Channel,
        home::{Event, Publication},
        message::Letter,
        shared_frame::SharedFrame,
    },
    protocol::{
        error::{ErrorCode, Fault},
        frame::Frame,
    },
    store::{self, Append, Appended, Archive, Extent, Keep, Outcome, Range, Refused, Store, StoreError, Write},
};

/// Channels that may wait to be read; those that would have to wait longer are told to come back.
const MOST_LOADS: usize = 65_536;

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
    /// A panic has interrupted its home.
    Interrupted,
}

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) extent: Extent,
    pub(super) events: Vec<Arc<Event>>,
}

/// What the reader is to do.
struct Load {
    channel: Arc<Channel>,
    /// `None`: the newest ones.
    after: Option<u64>,
    deliver: Deliver,
}

/// The thread that reads, as those hold it who hand it work. It ends with the last of them.
#[derive(Clone)]
pub struct Reader {
    store: Store,
    loads: mpsc::Sender<Load>,
}

impl Reader {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(store: Store) -> std::io::Result<(Self, JoinHandle<()>)> {
        // Grows with what waits; a channel of the standard library is allocated whole, here three megabytes.
        let (loads, queue) = mpsc::channel(MOST_LOADS);
        let reads = store.clone();
        let thread = std::thread::Builder::new().name("store-reader".into()).spawn(move || serve(&reads, queue))?;
        Ok((Self { store, loads }, thread))
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

    /// Asks for the kept events after `after`, or for all; comes back as [`What::Loaded`].
    pub(super) fn load(&self, channel: &Arc<Channel>, after: Option<u64>) -> Result<(), Fault> {
        let load = Load { channel: Arc::clone(channel), after, deliver: Arc::clone(&self.deliver) };
        self.reader.loads.try_send(load).map_err(|error| match error {
            TrySendError::Full(_) => Fault::new(ErrorCode::Overloaded, "too many channels are being read"),
            TrySendError::Closed(_) => Fault::new(ErrorCode::Unavailable, "the store is closed"),
        })
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
fn serve(store: &Store, mut queue: mpsc::Receiver<Load>) {
    while let Some(Load { channel, after, deliver }) = queue.blocking_recv() {
        let read = catch_unwind(AssertUnwindSafe(|| read(&*store.archive(), &channel, after)));
        let loaded = read.unwrap_or(Err(StoreError::Crashed));
        if let Err(error) = &loaded {
            tracing::error!(channel = %channel.name, %error, "cannot read a channel");
        }
        deliver(Letter::Store(News { channel, what: What::Loaded(loaded) }));
    }
}

fn read(archive: &dyn Archive, channel: &Arc<Channel>, after: Option<u64>) -> Result<Loaded, StoreError> {
    // Asked before the events: what comes in between is among them, or comes with its own letter.
    let Some(mut extent) = archive.extent(&channel.name) else { return Err(StoreError::Crashed) };
    let range = after.map_or(Range::Newest, Range::After);
    let page = archive.read(&channel.name, range, channel.namespace.history_events)?;
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
