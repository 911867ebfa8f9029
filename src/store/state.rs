//! What the store knows in memory: which channels there are, where each of their events is, who is a member and how far he
//! got, which keys are young. Built by applying records in the order they were written, live and at every start alike, so
//! there is one truth about what a record does.
//!
//! Generic over where an event is (`P`): the memory engine holds it, the log names a place in a file. Pure; the engines lock.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use compact_str::CompactString;

use super::{Cursors, Extent, KEY_LIFE, Membership, Range, record::Record};
use crate::id::Epoch;

/// A channel of a user is looked up, and its name copied; an event is a few nanoseconds.
const COST_OF_CHANNEL: usize = 16;
const KEY_LIFE_MS: u64 = KEY_LIFE.as_millis() as u64;

/// See the module's text.
#[derive(Debug)]
pub(super) struct State<P> {
    channels: HashMap<CompactString, Channel<P>>,
    users: Users,
    keys: Keys<P>,
    /// Places that nothing refers to any more, since the last [`State::take_released`].
    released: Vec<P>,
}

/// One channel.
#[derive(Debug)]
pub(super) struct Channel<P> {
    /// `None` until its record was read: events may come before it when a log is replayed.
    pub(super) epoch: Option<Epoch>,
    pub(super) first: u64,
    pub(super) head: u64,
    /// Below this a repair may have left holes.
    pub(super) holes: u64,
    /// From `first` on. `None` is a hole, or an event that a replay has not reached.
    events: VecDeque<Option<Kept<P>>>,
    members: HashMap<u32, Member<P>>,
    /// Of its newest record.
    place: Option<P>,
}

/// An event in its channel: what reads and retention need without a look at the disk.
#[derive(Debug)]
struct Kept<P> {
    place: P,
    sender: u32,
    /// Unix seconds.
    at: u32,
}

#[derive(Clone, Debug)]
struct Member<P> {
    joined: bool,
    cursors: Cursors,
    place: P,
}

/// Names are kept once; everything else holds numbers.
#[derive(Debug, Default)]
struct Users {
    numbers: HashMap<CompactString, u32>,
    /// By number: the name, and the channels he is a member of.
    all: Vec<(CompactString, BTreeSet<CompactString>)>,
}

#[derive(Debug)]
struct Keys<P> {
    /// By two independent hashes of channel, sender and key, with seeds of this process: nobody can make two meet.
    known: HashMap<u128, Key<P>>,
    /// Oldest first.
    order: VecDeque<(u64, u128)>,
    hashers: [RandomState; 2],
}

#[derive(Clone, Debug)]
struct Key<P> {
    offset: u64,
    at: u64,
    place: P,
}

impl<P> Default for State<P> {
    fn default() -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        let keys = Keys { known: HashMap::new(), order: VecDeque::new(), hashers };
        Self { channels: HashMap::new(), users: Users::default(), keys, released: Vec::new() }
    }
}

impl<P: Clone + PartialEq> State<P> {
    /// Takes in a record that is kept at `place`.
    pub(super) fn apply(&mut self, record: &Record<'_>, place: P, unix_ms: u64) {
        match *record {
            Record::Event { channel, offset, first, at, from, key, .. } => {
                if let Some(key) = key
                    && at + KEY_LIFE_MS > unix_ms
                {
                    let hash = self.keys.hash(channel, from, key);
                    self.keys.order.push_back((at, hash));
                    self.keys.known.insert(hash, Key { offset, at, place: place.clone() });
                }
                let sender = self.users.number(from);
                let kept = Kept { place, sender, at: (at / 1000) as u32 };
                let released = &mut self.released;
                let channel = Channel::of(&mut self.channels, channel);
                channel.keep_from(first, released);
                channel.insert(offset, kept, released);
            }
            Record::Channel { channel, epoch, head, first, holes } => {
                let channel = Channel::of(&mut self.channels, channel);
                self.released.extend(channel.place.replace(place));
                channel.epoch = Some(Epoch::new(epoch));
                channel.holes = channel.holes.max(holes);
                channel.head = channel.head.max(head);
                channel.keep_from(first, &mut self.released);
            }
            Record::Member { channel: name, user, joined, cursors } => {
                let user = self.users.number(user);
                let channel = Channel::of(&mut self.channels, name);
                let old = channel.members.insert(user, Member { joined, cursors, place });
                if old.as_ref().is_some_and(|old| old.joined) != joined {
                    let (_, memberships) = &mut self.users.all[user as usize];
                    if joined {
                        memberships.insert(name.into())
                    } else {
                        memberships.remove(name)
                    };
                }
                self.released.extend(old.map(|old| old.place));
            }
        }
    }

    /// Forgets keys whose time is over.
    pub(super) fn expire(&mut self, unix_ms: u64) {
        while self.keys.order.front().is_some_and(|(at, _)| at + KEY_LIFE_MS <= unix_ms) {
            let Some((at, hash)) = self.keys.order.pop_front() else { return };
            if self.keys.known.get(&hash).is_some_and(|key| key.at == at) {
                self.keys.known.remove(&hash);
            }
        }
    }

    /// Whether the record at `place` still says something that no newer one says.
    pub(super) fn needs(&self, record: &Record<'_>, place: &P) -> bool {
        match *record {
            Record::Event { channel, offset, from, key, .. } => {
                let kept = self.channels.get(channel).and_then(|channel| channel.at(offset));
                kept.is_some_and(|kept| kept.place == *place)
                    || key.is_some_and(|key| {
                        let key = self.keys.known.get(&self.keys.hash(channel, from, key));
                        key.is_some_and(|key| key.place == *place)
                    })
            }
            Record::Channel { channel, .. } => {
                self.channels.get(channel).is_some_and(|channel| channel.place.as_ref() == Some(place))
            }
            Record::Member { channel, user, .. } => {
                self.member(channel, user).is_some_and(|member| member.place == *place)
            }
        }
    }

    /// Places that nothing of the channels refers to any more. A young key may still point at one.
    pub(super) fn take_released(&mut self) -> Vec<P> {
        std::mem::take(&mut self.released)
    }

    pub(super) fn channel(&self, name: &str) -> Option<&Channel<P>> {
        self.channels.get(name)
    }

    /// All of them, in no order.
    pub(super) fn all_channels(&self) -> impl Iterator<Item = (&CompactString, &Channel<P>)> {
        self.channels.iter()
    }

    pub(super) fn names(&self, prefix: &str, limit: usize) -> Vec<CompactString> {
        let mut names: Vec<_> = self.channels.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        names.sort_unstable();
        names.truncate(limit);
        names
    }

    pub(super) fn extent(&self, channel: &str) -> Option<Extent> {
        self.channels.get(channel).and_then(Channel::extent)
    }

    /// Whether he is a member, and his cursors, if anything of his was ever kept.
    pub(super) fn standing(&self, channel: &str, user: &str) -> Option<(bool, Cursors)> {
        self.member(channel, user).map(|member| (member.joined, member.cursors))
    }

    pub(super) fn key(&self, channel: &str, from: &str, key: &str, unix_ms: u64) -> Option<(u64, u64)> {
        let known = self.keys.known.get(&self.keys.hash(channel, from, key))?;
        (known.at + KEY_LIFE_MS > unix_ms).then_some((known.offset, known.at))
    }

    pub(super) fn hash_of_key(&self, channel: &str, from: &str, key: &str) -> u128 {
        self.keys.hash(channel, from, key)
    }

    pub(super) fn unread(&self, channel: &str, user: &str, after: u64) -> u64 {
        let Some(channel) = self.channels.get(channel) else { return 0 };
        let user = self.users.numbers.get(user);
        channel.events.iter().skip(channel.skipped(after)).flatten().filter(|kept| Some(&kept.sender) != user).count()
            as u64
    }

    pub(super) fn members(&self, channel: &str) -> Vec<(CompactString, Cursors)> {
        let Some(channel) = self.channels.get(channel) else { return Vec::new() };
        let joined = channel.members.iter().filter(|(_, member)| member.joined);
        let mut members: Vec<_> =
            joined.map(|(user, member)| (self.users.all[*user as usize].0.clone(), member.cursors)).collect();
        members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        members
    }

    pub(super) fn memberships(&self, user: &str) -> Vec<Membership> {
        let Some(number) = self.users.numbers.get(user) else { return Vec::new() };
        let names = self.users.all[*number as usize].1.iter();
        let membership = |name: &CompactString| {
            let (extent, (_, cursors)) = (self.extent(name)?, self.standing(name, user)?);
            let unread = self.unread(name, user, cursors.read);
            Some(Membership { channel: name.clone(), extent, cursors, unread })
        };
        names.filter_map(membership).collect()
    }

    /// Events that [`State::memberships`] looks at, and what its channels cost in such; not counted out when those alone are
    /// more than `most`.
    pub(super) fn cost_of_memberships(&self, user: &str, most: usize) -> usize {
        let Some(number) = self.users.numbers.get(user) else { return 0 };
        let names = &self.users.all[*number as usize].1;
        if names.len() > most / COST_OF_CHANNEL {
            return usize::MAX;
        }
        let cost = |name: &CompactString| {
            let channel = self.channels.get(name)?;
            let read = channel.members.get(number)?.cursors.read;
            Some(COST_OF_CHANNEL + channel.events.len() - channel.skipped(read).min(channel.events.len()))
        };
        names.iter().filter_map(cost).sum()
    }

    /// Where the events of a page are, rising with their offsets, and whether there are more.
    pub(super) fn places(&self, channel: &str, range: Range, limit: usize) -> (Vec<(u64, P)>, bool) {
        let Some(channel) = self.channels.get(channel) else { return (Vec::new(), false) };
        let index = |offset: u64| usize::try_from(offset.saturating_sub(channel.first)).unwrap_or(usize::MAX);
        let all = channel.events.len();
        let place = |at: usize| Some((channel.first + at as u64, channel.events[at].as_ref()?.place.clone()));
        let (from, to) = match range {
            Range::After(after) => (index(after.saturating_add(1)).min(all), all),
            Range::Before(before) => (0, index(before).min(all)),
            Range::Newest => (0, all),
        };
        let most = limit.saturating_add(1);
        let mut places: Vec<_> = match range {
            Range::After(_) => (from..to).filter_map(place).take(most).collect(),
            Range::Before(_) | Range::Newest => (from..to).rev().filter_map(place).take(most).collect(),
        };
        let more = places.len() > limit;
        places.truncate(limit);
        if !matches!(range, Range::After(_)) {
            places.reverse();
        }
        (places, more)
    }

    /// A channel that a finished replay has left incomplete, and what is missing.
    pub(super) fn incomplete(&self) -> Option<String> {
        self.channels.iter().find_map(|(name, channel)| {
            if channel.epoch.is_none() {
                return Some(format!("channel {name} has events or members but no epoch"));
            }
            let missing =
                (channel.first.max(channel.holes)..=channel.head).find(|offset| channel.at(*offset).is_none());
            missing.map(|offset| format!("channel {name} misses event {offset} of {}..{}", channel.first, channel.head))
        })
    }

    fn member(&self, channel: &str, user: &str) -> Option<&Member<P>> {
        self.channels.get(channel)?.members.get(self.users.numbers.get(user)?)
    }
}

impl<P> Channel<P> {
    fn of<'a>(channels: &'a mut HashMap<CompactString, Self>, name: &str) -> &'a mut Self {
        // `entry` would copy the name of every event's channel.
        if !channels.contains_key(name) {
            let (events, members) = (VecDeque::new(), HashMap::new());
            let new = Self { epoch: None, first: 1, head: 0, holes: 0, events, members, place: None };
            channels.insert(name.into(), new);
        }
        channels.entry(name.into()).or_insert_with(|| unreachable!("it was put there"))
    }

    pub(super) fn extent(&self) -> Option<Extent> {
        Some(Extent { epoch: self.epoch?, first: self.first, head: self.head })
    }

    /// How many events there are; fewer than offsets where a repair has left holes.
    pub(super) fn count(&self) -> u64 {
        self.events.iter().flatten().count() as u64
    }

    /// Users of whom a membership or a cursor is kept.
    pub(super) fn members_count(&self) -> u64 {
        self.members.len() as u64
    }

    /// The first offset that is to be kept when `head` is the newest one, by age alone.
    pub(super) fn first_not_older(&self, unix_seconds: u64) -> u64 {
        let old =
            self.events.iter().take_while(|kept| kept.as_ref().is_none_or(|kept| u64::from(kept.at) < unix_seconds));
        self.first + old.count() as u64
    }

    /// How many of `events` are not after `after`; more than there are when all are not.
    fn skipped(&self, after: u64) -> usize {
        usize::try_from(after.saturating_add(1).saturating_sub(self.first)).unwrap_or(usize::MAX)
    }

    fn at(&self, offset: u64) -> Option<&Kept<P>> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        self.events.get(index)?.as_ref()
    }

    fn keep_from(&mut self, first: u64, released: &mut Vec<P>) {
        while self.first < first {
            let Some(kept) = self.events.pop_front() else {
                self.first = first;
                self.head = self.head.max(first - 1);
                return;
            };
            released.extend(kept.map(|kept| kept.place));
            self.first += 1;
        }
    }

    fn insert(&mut self, offset: u64, kept: Kept<P>, released: &mut Vec<P>) {
        self.head = self.head.max(offset);
        let Some(index) = offset.checked_sub(self.first).and_then(|index| usize::try_from(index).ok()) else {
            released.push(kept.place);
            return;
        };
        while self.events.len() <= index {
            self.events.push_back(None);
        }
        released.extend(self.events[index].replace(kept).map(|old| old.place));
    }
}

impl Users {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.all.len() as u32;
        self.numbers.insert(name.into(), number);
        self.all.push((name.into(), BTreeSet::new()));
        number
    }
}

impl<P> Keys<P> {
    fn hash(&self, channel: &str, from: &str, key: &str) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one((channel, from, key)));
        u128::from(high) << 64 | u128::from(low)
    }
}
