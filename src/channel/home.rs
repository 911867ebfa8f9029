//! The home of a channel: the one place that gives out its offsets, so that all subscribers on all shards see one order.
//! Keeps the recent events for those who come back, the keys that make publishing idempotent, and who is present.
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
    channel::{backlog::Backlog, directory::Channel, presence::Presence, shared_frame::SharedFrame},
    clock::Now,
    config::Namespace,
    id::Epoch,
    protocol::frame::{Frame, GapReason},
    store::KEY_LIFE,
};

/// A durable home that nobody needs is kept for so long: it can be read again.
const IDLE_LIFE: Duration = Duration::from_secs(60);
/// Keys remembered per channel; a flood of keyed publishes forgets the oldest earlier.
const MOST_KEYS: usize = 65_536;

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

/// From where a subscriber wants events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// From now on.
    Head,
    /// After this; the epoch as the client gave it.
    Cursor {
        /// `None`: no epoch of ours.
        epoch: Option<Epoch>,
        /// Exclusive.
        offset: u64,
    },
    /// The newest so many first.
    Last(u64),
    /// From now on, but what passed after this, while the session was parked, is told as a gap.
    Parked {
        /// Of the offset.
        epoch: Epoch,
        /// What the shard had seen when the socket was lost.
        offset: u64,
        /// So many events that were offered before had not reached the client.
        undelivered: u64,
    },
}

/// Events that will not arrive, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// First.
    pub from: u64,
    /// Last.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// What a new subscriber gets before live events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CatchUp {
    /// Life of the numbering.
    pub epoch: Epoch,
    /// The newest offset given out.
    pub head: u64,
    /// Nothing asked for is missing.
    pub recovered: bool,
    /// Told first.
    pub gap: Option<Gap>,
    /// Then these, rising.
    pub missed: Vec<Arc<Event>>,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) channel: Arc<Channel>,
    pub(super) epoch: Epoch,
    pub(super) head: u64,
    events: VecDeque<Arc<Event>>,
    keys: HashMap<(CompactString, CompactString), Published>,
    key_order: VecDeque<(CompactString, CompactString)>,
    /// Subscribers per shard.
    pub(super) subscribers: Vec<u32>,
    pub(super) presence: Option<Presence>,
    used_at: u64,
    /// Of a home that the store stands behind: its epoch, head and events are what the store says.
    backlog: Option<Box<Backlog>>,
}

impl Home {
    pub(super) fn new(channel: Arc<Channel>, epoch: Epoch, shards: usize, now: Now) -> Self {
        Self {
            epoch,
            head: 0,
            events: VecDeque::new(),
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
        let event = self.place(publication, published);
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
    pub(super) fn place(&mut self, publication: &Publication, published: Published) -> Arc<Event> {
        let frame = SharedFrame::new(&Frame::Event {
            channel: &self.channel.name,
            offset: published.offset,
            from: &publication.from,
            at: published.at,
            data: &publication.data,
            key: publication.key.as_deref(),
        });
        let channel = Arc::clone(&self.channel);
        let event = Arc::new(Event { channel, offset: published.offset, at: published.at, frame });
        self.keep(Arc::clone(&event));
        event
    }

    /// The newest event from now on.
    pub(super) fn keep(&mut self, event: Arc<Event>) {
        self.head = event.offset;
        if self.settings().history_events > 0 {
            self.events.push_back(event);
            if self.events.len() > self.settings().history_events {
                self.events.pop_front();
            }
        }
    }

    /// What waits for the store.
    pub(super) fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    /// Takes over what the store has kept.
    pub(super) fn begin(&mut self, epoch: Epoch, head: u64, events: Vec<Arc<Event>>) {
        (self.epoch, self.head, self.events) = (epoch, head, events.into());
    }

    /// What a subscriber who wants events since `since` gets first.
    pub(super) fn catch_up(&mut self, since: &Since, now: Now) -> CatchUp {
        self.forget(now);
        self.used_at = now.unix_ms;
        let limit = self.settings().catch_up_limit as u64;
        let from_now = CatchUp { epoch: self.epoch, head: self.head, recovered: true, gap: None, missed: Vec::new() };
        match *since {
            Since::Head => from_now,
            Since::Last(n) => CatchUp { missed: self.newest(n.min(limit)), ..from_now },
            Since::Parked { epoch, offset, undelivered } => {
                let passed = epoch != self.epoch || offset < self.head || undelivered > 0;
                let from = if epoch == self.epoch { (offset + 1).saturating_sub(undelivered).max(1) } else { 1 };
                let gap = Gap { from: from.min(self.head), to: self.head, reason: GapReason::Overflow };
                CatchUp { recovered: !passed, gap: passed.then_some(gap), ..from_now }
            }
            Since::Cursor { epoch, offset } => {
                let known = epoch == Some(self.epoch);
                // Another epoch's offsets mean nothing here: everything kept is news, what came before it is lost.
                let after = if known { offset.min(self.head) } else { 0 };
                let kept_from = self.events.front().map_or(self.head + 1, |event| event.offset);
                let limited_from = (self.head + 1).saturating_sub(limit);
                let replay_from = kept_from.max(limited_from).max(after + 1);
                let complete = known && replay_from == after + 1;
                let reason = if limited_from > kept_from { GapReason::CatchUpLimit } else { GapReason::Retention };
                let gap = Gap { from: (after + 1).min(replay_from - 1), to: replay_from - 1, reason };
                let missed = self.newest(self.head + 1 - replay_from);
                CatchUp { recovered: complete, gap: (!complete).then_some(gap), missed, ..from_now }
            }
        }
    }

    /// Kept events for `history`: the oldest after `after`, else the newest before `before`, rising; and whether there is
    /// more in that direction.
    pub(super) fn history(
        &mut self,
        after: Option<u64>,
        before: Option<u64>,
        limit: usize,
        now: Now,
    ) -> (Vec<Arc<Event>>, bool) {
        self.forget(now);
        let start = after.map_or(0, |after| self.events.partition_point(|event| event.offset <= after));
        let end = before.map_or(self.events.len(), |before| self.events.partition_point(|event| event.offset < before));
        let end = end.max(start);
        let range =
            if after.is_some() { start..end.min(start + limit) } else { start.max(end.saturating_sub(limit))..end };
        let more = range.len() < end - start;
        (self.events.range(range).cloned().collect(), more)
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

    fn newest(&self, n: u64) -> Vec<Arc<Event>> {
        let skip = self.events.len().saturating_sub(n as usize);
        self.events.range(skip..).cloned().collect()
    }

    fn settings(&self) -> &Namespace {
        &self.channel.namespace
    }

    /// Drops events and keys whose time is over.
    fn forget(&mut self, now: Now) {
        let age = self.settings().history_age.as_millis() as u64;
        while self.events.front().is_some_and(|event| now.unix_ms.saturating_sub(event.at) > age) {
            self.events.pop_front();
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
mod tests {
    use super::*;

    fn at(unix_ms: u64) -> Now {
        Now { micros: unix_ms * 1000, unix_ms }
    }

    fn home(history_events: usize, catch_up_limit: usize) -> Home {
        let namespace = Namespace { history_events, catch_up_limit, ..Namespace::default() };
        let channel = Arc::new(Channel { name: "c".into(), home: 0, namespace: Arc::new(namespace) });
        Home::new(channel, Epoch::new(7), 1, at(0))
    }

    fn publication(key: Option<&str>) -> Publication {
        let data = RawValue::from_string("1".to_owned()).expect("json");
        Publication { from: "ann".into(), data, key: key.map(Into::into) }
    }

    fn filled(events: u64, history_events: usize, catch_up_limit: usize) -> Home {
        let mut home = home(history_events, catch_up_limit);
        for _ in 0..events {
            home.publish(&publication(None), at(1));
        }
        home
    }

    fn offsets(events: &[Arc<Event>]) -> Vec<u64> {
        events.iter().map(|event| event.offset).collect()
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
    fn a_cursor_gets_what_it_missed_or_a_gap_that_says_what_not() {
        use GapReason::{CatchUpLimit, Retention};
        let ours = Some(Epoch::new(7));
        let gap = |from, to, reason| Some(Gap { from, to, reason });
        // (published, kept, limit), cursor → recovered, gap, replayed
        let cases = [
            ((5, 10, 10), (ours, 5), true, None, vec![]),
            ((5, 10, 10), (ours, 3), true, None, vec![4, 5]),
            ((5, 10, 10), (ours, 99), true, None, vec![]),
            ((9, 4, 10), (ours, 5), true, None, vec![6, 7, 8, 9]),
            ((9, 4, 10), (ours, 2), false, gap(3, 5, Retention), vec![6, 7, 8, 9]),
            ((9, 10, 3), (ours, 2), false, gap(3, 6, CatchUpLimit), vec![7, 8, 9]),
            ((9, 0, 10), (ours, 2), false, gap(3, 9, Retention), vec![]),
            ((3, 10, 10), (None, 2), false, gap(0, 0, Retention), vec![1, 2, 3]),
            ((9, 4, 10), (Some(Epoch::new(8)), 8), false, gap(1, 5, Retention), vec![6, 7, 8, 9]),
        ];
        for ((published, kept, limit), (epoch, offset), recovered, gap, replayed) in cases {
            let mut home = filled(published, kept, limit);
            let got = home.catch_up(&Since::Cursor { epoch, offset }, at(2));
            let case = (published, kept, limit, epoch, offset);
            assert_eq!((got.recovered, got.gap, offsets(&got.missed)), (recovered, gap, replayed), "{case:?}");
            assert_eq!(got.head, published);
        }
    }

    #[test]
    fn last_replays_at_most_what_is_kept_and_allowed() {
        assert_eq!(offsets(&filled(9, 10, 100).catch_up(&Since::Last(3), at(2)).missed), [7, 8, 9]);
        assert_eq!(offsets(&filled(9, 2, 100).catch_up(&Since::Last(3), at(2)).missed), [8, 9]);
        assert_eq!(offsets(&filled(9, 10, 1).catch_up(&Since::Last(3), at(2)).missed), [9]);
    }

    #[test]
    fn a_parked_session_without_a_cursor_is_told_what_passed() {
        let parked = |offset, undelivered| Since::Parked { epoch: Epoch::new(7), offset, undelivered };
        let mut home = filled(9, 10, 10);
        assert!(home.catch_up(&parked(9, 0), at(2)).recovered);
        let got = home.catch_up(&parked(6, 0), at(2));
        assert_eq!(got.gap, Some(Gap { from: 7, to: 9, reason: GapReason::Overflow }));
        assert!(got.missed.is_empty());
        let got = home.catch_up(&parked(8, 3), at(2));
        assert_eq!(got.gap, Some(Gap { from: 6, to: 9, reason: GapReason::Overflow }));
    }

    #[test]
    fn history_pages_both_ways() {
        let mut home = filled(9, 10, 10);
        let mut page = |after, before, limit| {
            let (events, more) = home.history(after, before, limit, at(2));
            (offsets(&events), more)
        };
        assert_eq!(page(Some(2), None, 3), (vec![3, 4, 5], true));
        assert_eq!(page(Some(7), None, 3), (vec![8, 9], false));
        assert_eq!(page(None, Some(4), 2), (vec![2, 3], true));
        assert_eq!(page(None, Some(4), 5), (vec![1, 2, 3], false));
        assert_eq!(page(None, None, 2), (vec![8, 9], true));
        assert_eq!(page(Some(9), Some(3), 2), (vec![], false));
    }

    #[test]
    fn old_events_are_forgotten() {
        let mut home = filled(3, 10, 10);
        let age = Namespace::default().history_age.as_millis() as u64;
        assert_eq!(home.history(None, None, 10, at(age + 1)).0.len(), 3);
        assert!(home.history(None, None, 10, at(age + 2)).0.is_empty());
        assert!(home.is_forgettable(at(age + 2)));
    }
}
