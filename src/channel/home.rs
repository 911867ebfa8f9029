//! The home of a channel: the one place that gives out its offsets, so that all subscribers on all shards see one order.
//! Keeps the recent events for those who come back (`catch_up.rs` says who gets which), the keys that make publishing
//! idempotent, and who is present.
//!
//! Pure: time and randomness are arguments, effects are return values. The hub calls it and carries them out.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    channel::{
        backlog::Backlog, directory::Channel, presence::Presence, receipts::Receipts, shared_frame::SharedFrame,
    },
    clock::Now,
    config::Namespace,
    id::Epoch,
    protocol::frame::Frame,
    store::{Extent, KEY_LIFE},
};

/// A durable home that nobody needs is kept for so long: it can be read again.
const IDLE_LIFE: Duration = Duration::from_secs(60);
/// Keys remembered per channel; a flood of keyed publishes forgets the oldest earlier.
const MOST_KEYS: usize = 65_536;

/// Events that a home keeps at hand when the store has them all.
pub(super) const WINDOW: usize = 1024;

/// A publication with its place in the channel.
#[derive(Debug, Serialize, Deserialize)]
pub struct Event {
    /// The channel.
    pub channel: Arc<Channel>,
    /// Its place.
    pub offset: u64,
    /// Unix milliseconds.
    pub at: u64,
    /// Ready for every socket.
    pub frame: SharedFrame,
    /// When its publication came here, in microseconds of the node's clock; 0: in another life of the node.
    #[serde(skip)]
    pub since: u64,
}

/// What somebody wants to publish.
#[derive(Debug)]
pub struct Publication {
    /// User, or whatever the API's caller says.
    pub from: CompactString,
    /// Kept to the byte.
    pub data: Box<RawValue>,
    /// Makes it idempotent per user and channel.
    pub key: Option<CompactString>,
}

impl Event {
    /// Its JSON object without the `op` that only a frame needs.
    #[must_use]
    pub fn as_listed(&self) -> Option<Box<RawValue>> {
        let frame = std::str::from_utf8(self.frame.json()).ok()?;
        let fields = frame.strip_prefix("{\"op\":\"event\",")?;
        RawValue::from_string(format!("{{{fields}")).ok()
    }
}

/// Where a publication ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Its place.
    pub offset: u64,
    /// Unix milliseconds.
    pub at: u64,
    /// It was there before.
    pub duplicate: bool,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) channel: Arc<Channel>,
    pub(super) epoch: Epoch,
    pub(super) head: u64,
    /// The newest events. Of a home that the store stands behind only so many as those who come back soon will want.
    pub(super) events: VecDeque<Arc<Event>>,
    /// The oldest offset that the store keeps; of no meaning without one.
    pub(super) first: u64,
    keys: HashMap<(CompactString, CompactString), Published>,
    key_order: VecDeque<(CompactString, CompactString)>,
    /// Subscribers per shard.
    pub(super) subscribers: Vec<u32>,
    pub(super) presence: Option<Presence>,
    /// Cursors that subscribers have not been told of.
    pub(super) receipts: Receipts,
    pub(super) used_at: u64,
    /// Of a home that the store stands behind: its epoch, head and events are what the store says.
    pub(super) backlog: Option<Box<Backlog>>,
}

impl Home {
    pub(super) fn new(channel: Arc<Channel>, epoch: Epoch, shards: usize, now: Now) -> Self {
        Self {
            epoch,
            head: 0,
            events: VecDeque::new(),
            first: 1,
            receipts: Receipts::default(),
            keys: HashMap::new(),
            key_order: VecDeque::new(),
            subscribers: vec![0; shards],
            presence: channel.namespace.presence.then(Presence::default),
            used_at: now.unix_ms,
            backlog: None,
            channel,
        }
    }

    /// Gives the publication its place; with the event for everybody unless its key was known.
    pub(super) fn publish(&mut self, publication: &Publication, now: Now) -> (Published, Option<Arc<Event>>) {
        self.touch(&publication.from, now);
        let key = publication.key.as_ref().map(|key| (publication.from.clone(), key.clone()));
        if let Some(known) = key.as_ref().and_then(|key| self.keys.get(key)) {
            return (Published { duplicate: true, ..*known }, None);
        }
        let published = Published { offset: self.head + 1, at: now.unix_ms, duplicate: false };
        let event = self.place(publication, published, now.micros);
        if let Some(key) = key {
            self.key_order.push_back(key.clone());
            self.keys.insert(key, published);
        }
        (published, Some(event))
    }

    /// `user` is about to publish here.
    pub(super) fn touch(&mut self, user: &str, now: Now) {
        self.forget(now);
        self.used_at = now.unix_ms;
        if let Some(presence) = &mut self.presence {
            presence.touch(user, now.unix_ms);
        }
    }

    /// Makes the event of a publication that has its place, the newest one from now on.
    pub(super) fn place(&mut self, publication: &Publication, published: Published, since: u64) -> Arc<Event> {
        let frame = SharedFrame::new(&Frame::Event {
            channel: &self.channel.name,
            offset: published.offset,
            from: &publication.from,
            at: published.at,
            data: &publication.data,
            key: publication.key.as_deref(),
        });
        let channel = Arc::clone(&self.channel);
        let event = Arc::new(Event { channel, offset: published.offset, at: published.at, frame, since });
        self.keep(Arc::clone(&event));
        event
    }

    /// The newest event from now on.
    pub(super) fn keep(&mut self, event: Arc<Event>) {
        self.head = event.offset;
        if self.settings().history_events > 0 {
            self.events.push_back(event);
            if self.events.len() > self.most_events() {
                self.events.pop_front();
            }
        }
    }

    /// What waits for the store.
    pub(super) fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    /// Takes over what the store has kept.
    pub(super) fn begin(&mut self, extent: Extent, events: Vec<Arc<Event>>) {
        (self.epoch, self.head, self.first) = (extent.epoch, extent.head, extent.first);
        self.events = events.into();
    }

    /// Events held here.
    fn most_events(&self) -> usize {
        let most = self.settings().history_events;
        if self.backlog.is_some() { most.min(WINDOW) } else { most }
    }

    /// Nobody subscribes, nothing is kept, and nobody came for as long as events would be kept: the home may go. One whose
    /// events are in the store need not keep them here.
    pub(super) fn is_forgettable(&mut self, now: Now) -> bool {
        self.forget(now);
        if let Some(backlog) = &self.backlog {
            return self.subscribers.iter().all(|&count| count == 0)
                && backlog.is_empty()
                && self.presence.as_ref().is_none_or(Presence::is_empty)
                && now.unix_ms.saturating_sub(self.used_at) > IDLE_LIFE.as_millis() as u64;
        }
        self.subscribers.iter().all(|&count| count == 0)
            && self.events.is_empty()
            && self.keys.is_empty()
            && self.presence.as_ref().is_none_or(Presence::is_empty)
            // One that never had an event has no numbering to remember.
            && (self.head == 0
                || now.unix_ms.saturating_sub(self.used_at) > self.settings().history_age.as_millis() as u64)
    }

    pub(super) fn settings(&self) -> &Namespace {
        &self.channel.namespace
    }

    /// Drops events and keys whose time is over.
    pub(super) fn forget(&mut self, now: Now) {
        let age = self.settings().history_age.as_millis() as u64;
        while self.events.front().is_some_and(|event| now.unix_ms.saturating_sub(event.at) > age) {
            let gone = self.events.pop_front();
            // Whatever is older is on disk at most, until the next event trims it.
            self.first = self.first.max(gone.map_or(0, |event| event.offset + 1));
        }
        let key_life = KEY_LIFE.as_millis() as u64;
        while let Some(oldest) = self.key_order.front() {
            let at = self.keys.get(oldest).map_or(0, |published| published.at);
            if self.keys.len() <= MOST_KEYS && now.unix_ms.saturating_sub(at) <= key_life {
                break;
            }
            self.keys.remove(oldest);
            self.key_order.pop_front();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::channel) fn at(unix_ms: u64) -> Now {
        Now { micros: unix_ms * 1000, unix_ms }
    }

    pub(in crate::channel) fn home(history_events: usize, catch_up_limit: usize) -> Home {
        let namespace = Namespace { history_events, catch_up_limit, ..Namespace::default() };
        let channel = Arc::new(Channel { name: "c".into(), home: 0, namespace: Arc::new(namespace) });
        Home::new(channel, Epoch::new(7), 1, at(0))
    }

    pub(in crate::channel) fn publication(key: Option<&str>) -> Publication {
        let data = RawValue::from_string("1".to_owned()).expect("json");
        Publication { from: "ann".into(), data, key: key.map(Into::into) }
    }

    pub(in crate::channel) fn filled(events: u64, history_events: usize, catch_up_limit: usize) -> Home {
        let mut home = home(history_events, catch_up_limit);
        for _ in 0..events {
            home.publish(&publication(None), at(1));
        }
        home
    }

    #[test]
    fn a_known_key_gives_the_first_place_again_until_it_is_forgotten() {
        let mut home = home(10, 10);
        let (first, event) = home.publish(&publication(Some("k")), at(1));
        assert!(event.is_some());
        let (second, event) = home.publish(&publication(Some("k")), at(600_001));
        assert_eq!((second, event.is_none()), (Published { duplicate: true, ..first }, true));
        let (third, _) = home.publish(&publication(Some("k")), at(600_002));
        assert_eq!((third.offset, third.duplicate), (2, false));
    }

    #[test]
    fn old_events_are_forgotten() {
        let mut home = filled(3, 10, 10);
        let age = Namespace::default().history_age.as_millis() as u64;
        home.forget(at(age + 1));
        assert_eq!((home.events.len(), home.first), (3, 1));
        home.forget(at(age + 2));
        assert_eq!((home.events.len(), home.first), (0, 4));
        assert!(home.is_forgettable(at(age + 2)));
    }
}
