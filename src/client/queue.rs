//! The events between the driver and whoever listens, bounded for all subscriptions of a client together.
//!
//! Bounded on purpose: a slow listener must cost the server's patience, not our memory. While too much waits here the driver
//! stops reading its socket; the kernel's buffers fill, and what the server does with a slow client begins. While a reply is
//! awaited it reads on, for the reply stands behind events: up to a second bound they wait here, beyond it they are dropped
//! and asked for again from the cursor. Else whoever publishes from the loop that takes events would wait for himself.
//! Written by the driver alone, read by one listener each.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use crate::{
    client::{
        error::ClientError,
        event::{Event, Gap},
    },
    protocol::request::Cursor,
};

/// What an event takes beside its data, roughly.
const OVERHEAD: usize = 256;
/// Bytes that may wait for each event that may.
const BYTES_PER_EVENT: usize = 4096;
/// While a reply is awaited, so many times as much may wait.
const INDULGENCE: usize = 8;
/// Gaps that nobody took are told as one beyond this.
const MOST_GAPS: usize = 64;

/// What waits in all queues of a client together.
#[derive(Debug)]
pub(super) struct Level {
    events: AtomicUsize,
    bytes: AtomicUsize,
    capacity: usize,
    /// There is room again, or a listener has gone.
    pub(super) changed: Notify,
}

impl Level {
    pub(super) fn new(capacity: usize) -> Self {
        Self { events: AtomicUsize::new(0), bytes: AtomicUsize::new(0), capacity, changed: Notify::new() }
    }

    /// Whether more may wait than does; `in_need`: up to the second bound.
    pub(super) fn has_room(&self, in_need: bool) -> bool {
        let times = if in_need { INDULGENCE } else { 1 };
        let (events, bytes) = (self.events.load(Ordering::Acquire), self.bytes.load(Ordering::Acquire));
        events < self.capacity * times && bytes < self.capacity * BYTES_PER_EVENT * times
    }

    pub(super) fn waiting(&self) -> usize {
        self.events.load(Ordering::Acquire)
    }

    fn rise(&self, bytes: usize) {
        self.events.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    fn fall(&self, events: usize, bytes: usize) {
        let had_room = self.has_room(false);
        self.events.fetch_sub(events, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if !had_room {
            self.changed.notify_one();
        }
    }
}

/// The events of one listener.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
    level: Arc<Level>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// Told by the next event.
    missed: Vec<Gap>,
    /// The last offset taken, by channel.
    taken: BTreeMap<String, u64>,
    /// Life of the channel's numbering, where there is one channel.
    epoch: String,
    /// So many of the oldest are of an earlier epoch: their offsets mean nothing any more.
    stale: usize,
    /// Nothing comes any more.
    ended: Option<ClientError>,
    /// Nobody listens any more.
    abandoned: bool,
}

impl Queue {
    pub(super) fn new(level: &Arc<Level>) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), waker: AtomicWaker::new(), level: Arc::clone(level) })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event, whether there is room or not: the driver asks for room before it reads.
    pub(super) fn push(&self, mut event: Event) {
        let mut waiting = self.waiting();
        if waiting.abandoned || waiting.ended.is_some() {
            return;
        }
        event.missed = std::mem::take(&mut waiting.missed);
        self.level.rise(size(&event));
        waiting.events.push_back(event);
        drop(waiting);
        self.waker.wake();
    }

    /// What is pushed from now on is of this epoch.
    pub(super) fn begin(&self, epoch: &str) {
        let mut waiting = self.waiting();
        if waiting.epoch != epoch {
            epoch.clone_into(&mut waiting.epoch);
            waiting.taken.clear();
            waiting.stale = waiting.events.len();
        }
    }

    /// To be told by the next event.
    pub(super) fn missed(&self, gap: &Gap) {
        let mut waiting = self.waiting();
        if waiting.missed.len() < MOST_GAPS {
            waiting.missed.push(gap.clone());
        } else if let Some(last) = waiting.missed.last_mut() {
            last.to = gap.to;
        }
    }

    /// Nothing comes any more; what waits can still be taken.
    pub(super) fn end(&self, why: ClientError) {
        self.waiting().ended.get_or_insert(why);
        self.waker.wake();
    }

    /// Nobody listens any more.
    pub(super) fn abandon(&self) {
        let mut waiting = self.waiting();
        waiting.abandoned = true;
        let events = std::mem::take(&mut waiting.events);
        drop(waiting);
        self.level.fall(events.len(), events.iter().map(size).sum());
        self.level.changed.notify_one();
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.waiting().abandoned
    }

    /// The last offset that was taken out of here.
    pub(super) fn taken(&self, channel: &str) -> Option<u64> {
        self.waiting().taken.get(channel).copied()
    }

    /// The epoch, and the last offset that was taken out of it.
    pub(super) fn cursor(&self, channel: &str) -> Option<Cursor> {
        let waiting = self.waiting();
        let offset = *waiting.taken.get(channel)?;
        Some(Cursor { epoch: waiting.epoch.clone(), offset })
    }

    /// Why nothing comes any more.
    pub(super) fn ended(&self) -> Option<ClientError> {
        self.waiting().ended.clone()
    }

    /// The next event, or that there will be none.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.waker.register(context.waker());
        let mut waiting = self.waiting();
        let Some(event) = waiting.events.pop_front() else {
            return if waiting.ended.is_some() { Poll::Ready(None) } else { Poll::Pending };
        };
        if waiting.stale > 0 {
            waiting.stale -= 1;
        } else if let Some(taken) = waiting.taken.get_mut(&event.channel) {
            *taken = event.offset;
        } else {
            waiting.taken.insert(event.channel.clone(), event.offset);
        }
        drop(waiting);
        self.level.fall(1, size(&event));
        Poll::Ready(Some(event))
    }
}

fn size(event: &Event) -> usize {
    event.json().len() + event.channel.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Waker};

    use crate::protocol::frame::GapReason;

    use super::*;

    fn event(offset: u64) -> Event {
        let text = format!(r#"{{"channel":"c","offset":{offset},"from":"a","at":1,"data":"x"}}"#);
        serde_json::from_str(&text).expect("an event")
    }

    fn take(queue: &Queue) -> Poll<Option<Event>> {
        queue.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn there_is_no_room_when_too_much_waits_and_room_again_when_it_was_taken() {
        let level = Arc::new(Level::new(2));
        let (one, two) = (Queue::new(&level), Queue::new(&level));
        one.push(event(1));
        assert!(level.has_room(false));
        two.push(event(1));
        assert!(!level.has_room(false));
        assert!(level.has_room(true), "whoever waits for a reply needs what comes before it");
        assert!(matches!(take(&one), Poll::Ready(Some(_))));
        assert!(level.has_room(false));
        let mut told = pin!(level.changed.notified());
        assert!(told.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready(), "the driver reads on");
    }

    #[test]
    fn a_listener_that_goes_gives_its_room_back() {
        let level = Arc::new(Level::new(1));
        let queue = Queue::new(&level);
        queue.push(event(1));
        assert!(!level.has_room(false));
        queue.abandon();
        assert!(level.has_room(false));
        queue.push(event(2));
        assert!(level.has_room(false), "nobody would take it");
    }

    #[test]
    fn what_waited_before_the_end_can_be_taken_and_says_what_was_missed() {
        let queue = Queue::new(&Arc::new(Level::new(8)));
        let gap = Gap { channel: "c".to_owned(), from: 2, to: 4, reason: GapReason::Retention };
        queue.push(event(1));
        queue.missed(&gap);
        queue.push(event(5));
        queue.end(ClientError::Ended);
        let offsets_and_gaps = [(1, vec![]), (5, vec![gap])];
        for (offset, missed) in offsets_and_gaps {
            let Poll::Ready(Some(event)) = take(&queue) else { panic!("an event waits") };
            assert_eq!((event.offset, event.missed), (offset, missed));
        }
        assert!(matches!(take(&queue), Poll::Ready(None)));
        assert_eq!(queue.taken("c"), Some(5));
    }

    #[test]
    fn what_waited_from_an_earlier_epoch_moves_no_cursor_of_the_new_one() {
        let queue = Queue::new(&Arc::new(Level::new(8)));
        queue.begin("e1");
        (7..=9).for_each(|offset| queue.push(event(offset)));
        assert!(take(&queue).is_ready());
        let cursor = |epoch: &str, offset| Some(Cursor { epoch: epoch.to_owned(), offset });
        assert_eq!(queue.cursor("c"), cursor("e1", 7));
        queue.begin("e2");
        queue.push(event(1));
        for expected in [None, None, cursor("e2", 1)] {
            assert!(take(&queue).is_ready());
            assert_eq!(queue.cursor("c"), expected);
        }
    }
}
