//! The engines against a naive model: random writes, restarts, faults and cleaning; everything that can be read must agree.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    super::{Cursors, KEY_LIFE, Keep, Outcome, Range, Write},
    Bench, Kind, append_keeping, for_every_engine,
};

for_every_engine! { an_engine_does_what_the_model_does }

#[derive(Clone, Debug)]
enum Step {
    Group(Vec<Small>),
    Restart,
    Fault(Vec<Small>, u64),
    Later(u64),
}

#[derive(Clone, Debug)]
enum Small {
    Append { channel: u8, user: u8, key: Option<u8>, size: usize, keep: u64 },
    Join(u8, u8),
    Leave(u8, u8),
    Acknowledge(u8, u8, u64, u64),
    Trim(u8, u64),
}

fn small() -> impl Strategy<Value = Small> {
    let (channel, user) = (0..3_u8, 0..3_u8);
    prop_oneof![
        6 => (channel.clone(), user.clone(), proptest::option::of(0..4_u8), 0..700_usize, 1..12_u64)
            .prop_map(|(channel, user, key, size, keep)| Small::Append { channel, user, key, size, keep }),
        1 => (channel.clone(), user.clone()).prop_map(|(c, u)| Small::Join(c, u)),
        1 => (channel.clone(), user.clone()).prop_map(|(c, u)| Small::Leave(c, u)),
        2 => (channel.clone(), user, 0..40_u64, 0..40_u64).prop_map(|(c, u, d, r)| Small::Acknowledge(c, u, d, r)),
        1 => (channel, 0..5_u64).prop_map(|(c, keep)| Small::Trim(c, keep)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let group = || proptest::collection::vec(small(), 1..8);
    prop_oneof![
        10 => group().prop_map(Step::Group),
        1 => Just(Step::Restart),
        2 => (group(), 0..3000_u64).prop_map(|(group, room)| Step::Fault(group, room)),
        1 => (0..2 * KEY_LIFE.as_millis() as u64).prop_map(Step::Later),
    ]
}

#[derive(Default)]
struct Model {
    channels: BTreeMap<String, Channel>,
    keys: BTreeMap<(String, String, String), (u64, u64)>,
}

#[derive(Default)]
struct Channel {
    head: u64,
    events: BTreeMap<u64, (String, Vec<u8>)>,
    members: BTreeSet<String>,
    cursors: BTreeMap<String, Cursors>,
}

fn writes(group: &[Small], count: &mut u32) -> Vec<Write> {
    let channel = |n: u8| format!("chat:{n}");
    let user = |n: u8| format!("user-{n}");
    let mut write = |small: &Small| match *small {
        Small::Append { channel: c, user: u, key, size, keep } => {
            *count += 1;
            let key = key.map(|key| key.to_string());
            let data = format!("{count}:{}", "x".repeat(size));
            append_keeping(&channel(c), &user(u), key.as_deref(), &data, Keep { events: keep, ..super::KEEP_ALL })
        }
        Small::Join(c, u) => Write::Join { channel: channel(c).into(), user: user(u).into() },
        Small::Leave(c, u) => Write::Leave { channel: channel(c).into(), user: user(u).into() },
        Small::Acknowledge(c, u, delivered, read) => {
            Write::Acknowledge { channel: channel(c).into(), user: user(u).into(), delivered, read }
        }
        Small::Trim(c, keep) => {
            Write::Trim { channel: channel(c).into(), keep: Keep { events: keep, ..super::KEEP_ALL } }
        }
    };
    group.iter().map(&mut write).collect()
}

impl Model {
    fn write(&mut self, write: &Write, outcome: &Outcome, now: u64) {
        match write {
            Write::Append(append) => {
                let Outcome::Appended(appended) = outcome else { panic!("{outcome:?}") };
                let channel = self.channels.entry(append.channel.to_string()).or_default();
                let key = append
                    .key
                    .as_ref()
                    .map(|key| (append.channel.to_string(), append.from.to_string(), key.to_string()));
                let known = key.as_ref().and_then(|key| self.keys.get(key));
                if let Some((offset, at)) = known.filter(|(_, at)| at + KEY_LIFE.as_millis() as u64 > now) {
                    assert_eq!((appended.offset, appended.at, appended.duplicate), (*offset, *at, true));
                    return;
                }
                channel.head += 1;
                assert_eq!((appended.offset, appended.at, appended.duplicate), (channel.head, now, false));
                channel.events.insert(channel.head, (append.from.to_string(), append.data.to_vec()));
                channel.keep(append.keep.events);
                self.keys.extend(key.map(|key| (key, (channel.head, now))));
            }
            Write::Join { channel, user } => {
                let channel = self.channels.entry(channel.to_string()).or_default();
                if channel.members.insert(user.to_string()) {
                    channel.cursors.insert(user.to_string(), Cursors { delivered: channel.head, read: channel.head });
                }
            }
            Write::Leave { channel, user } => {
                if let Some(channel) = self.channels.get_mut(channel.as_str()) {
                    channel.members.remove(user.as_str());
                }
            }
            Write::Acknowledge { channel, user, delivered, read } => {
                let Some(channel) = self.channels.get_mut(channel.as_str()) else { return };
                let old = channel.cursors.get(user.as_str()).copied().unwrap_or_default();
                let read = old.read.max((*read).min(channel.head));
                let delivered = old.delivered.max((*delivered).min(channel.head)).max(read);
                assert!(delivered >= old.delivered && read >= old.read);
                channel.cursors.insert(user.to_string(), Cursors { delivered, read });
            }
            Write::Trim { channel, keep } => {
                if let Some(channel) = self.channels.get_mut(channel.as_str()) {
                    channel.keep(keep.events);
                }
            }
            Write::Open { .. } => {}
        }
    }

    fn compare(&self, bench: &Bench) {
        let archive = bench.archive();
        assert!(archive.channels("", 10).iter().eq(self.channels.keys()));
        for (name, channel) in &self.channels {
            assert_eq!(archive.extent(name).unwrap().head, channel.head, "{name}");
            let page = archive.read(name, Range::After(0), usize::MAX).unwrap();
            let events =
                page.events.into_iter().map(|event| (event.offset, (event.from.to_string(), event.data.to_vec())));
            assert_eq!(events.collect::<BTreeMap<_, _>>(), channel.events, "{name}");
            assert!(archive.members(name).iter().map(|(user, _)| user).eq(&channel.members), "{name}");
            for n in 0..3 {
                let user = format!("user-{n}");
                let cursors = channel.cursors.get(&user).copied().unwrap_or_default();
                assert_eq!(archive.cursors(name, &user), cursors, "{name} {user}");
                let others = channel.events.range(cursors.read + 1..).filter(|(_, (from, _))| *from != user).count();
                assert_eq!(archive.unread(name, &user, cursors.read), others as u64, "{name} {user}");
                let memberships = archive.memberships(&user);
                // One thread: nothing is being written.
                assert_eq!(archive.memberships_within(&user, usize::MAX).as_ref(), Some(&memberships));
                let least: usize = memberships.iter().map(|m| 16 + m.unread as usize).sum();
                assert!(least == 0 || archive.memberships_within(&user, least - 1).is_none());
                assert_eq!(memberships.iter().any(|m| m.channel == *name), channel.members.contains(&user));
            }
        }
    }
}

impl Channel {
    fn keep(&mut self, events: u64) {
        self.events = self.events.split_off(&(self.head + 1).saturating_sub(events));
    }
}

fn an_engine_does_what_the_model_does(kind: Kind) {
    // A failure prints the steps that lead to it, and their seed is kept by proptest.
    proptest!(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() },
        |(steps in proptest::collection::vec(step(), 1..60))| {
        let (mut bench, mut model, mut count) = (Bench::new(kind), Model::default(), 0);
        for step in steps {
            match step {
                Step::Group(group) => {
                    let group = writes(&group, &mut count);
                    let outcomes = bench.commit(&group);
                    for (write, outcome) in group.iter().zip(&outcomes) {
                        model.write(write, outcome, bench.now);
                    }
                    bench.tidy();
                }
                Step::Restart => bench.reopen(),
                Step::Fault(group, room) => {
                    let group = writes(&group, &mut count);
                    bench.faults.disk_full_after(room);
                    let now = bench.now;
                    let result = bench.engine().commit(&group, now);
                    bench.faults.end();
                    // With room enough it may have succeeded.
                    for (write, outcome) in group.iter().zip(result.iter().flatten()) {
                        model.write(write, outcome, bench.now);
                    }
                }
                Step::Later(by) => bench.now += by,
            }
            model.compare(&bench);
        }
        bench.reopen();
        model.compare(&bench);
    });
}
