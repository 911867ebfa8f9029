//! Clients of `drain`, who hear channels on one server and move to another when they are asked to or closed: as the
//! clients people use, each waits a random part of `after_ms`, leaves, and asks the next server for what was said
//! meanwhile. Some do not listen, as simple programs do not: they stay until they are closed. Counts and judges nothing.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    client::{Ending, Happening},
    clock,
    crowd::{Arrival, gather},
    dice::{Backoff, Dice},
    flow::Flow,
    histogram::Histogram,
    message::{self, Op, number, op},
    swarm::{Key, Swarm},
    tally::Tally,
};

/// What a client that was asked to leave says when it does (contract: not 1000, so its session would be kept).
const DRAINING: u16 = 4003;
/// Events that a newcomer asks for, more than are said while he is on his way. Each he knows already is a double.
const LAST: u64 = 20;

/// Where a client is: `Here → Leaving → Away → There`, or `Here → Away` when it is closed; `Away` again for each attempt
/// that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the first server.
    Here,
    /// Asked to leave, about to.
    Leaving,
    /// On its way, or waiting to try again.
    Away,
    /// Subscribed at the second.
    There,
}

/// What all of them have seen.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Dialled the second server, also in vain.
    pub(crate) dialled: Flow,
    pub(crate) asked: Flow,
    pub(crate) longest_after: Duration,
    /// How they left the first server.
    pub(crate) endings: BTreeMap<String, u64>,
    /// Attempts at the second that failed or were lost, and the first of them in words.
    pub(crate) failures: u64,
    pub(crate) complaint: String,
    pub(crate) gaps: u64,
    /// From leaving the first server to being subscribed at the second.
    pub(crate) away: Histogram,
    /// When the last one was subscribed there.
    pub(crate) settled: Option<Instant>,
}

/// See the file's head.
pub(crate) struct Travellers {
    swarm: Swarm,
    host: String,
    channels: Vec<String>,
    places: Vec<Place>,
    listens: Vec<bool>,
    tallies: Vec<Tally>,
    left: Vec<Option<Instant>>,
    tries: Vec<u32>,
    due: BinaryHeap<Reverse<(Instant, Key)>>,
    dice: Dice,
    backoff: Backoff,
    pub(crate) journal: Journal,
}

impl Travellers {
    /// Connects `count` clients, each to one of the channels; `deaf` of a hundred do not listen.
    pub(crate) fn gather(
        mut swarm: Swarm,
        host: &str,
        channels: Vec<String>,
        (count, deaf): (usize, usize),
        dice: Dice,
    ) -> Result<Self> {
        let request = |key: usize| message::gateway(host, &user(key), Some(&channels[key % channels.len()]));
        gather(&mut swarm, count, 256, Arrival::Ready, |key| Some(request(key)))?;
        Ok(Self {
            swarm,
            host: host.to_owned(),
            channels,
            places: vec![Place::Here; count],
            listens: (0..count).map(|key| key * deaf / 100 == (key + 1) * deaf / 100).collect(),
            tallies: vec![Tally::default(); count],
            left: vec![None; count],
            tries: vec![0; count],
            due: BinaryHeap::new(),
            dice,
            backoff: Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(5) },
            journal: Journal::default(),
        })
    }

    /// Whoever leaves from now on goes there.
    pub(crate) fn head_for(&mut self, address: SocketAddr) {
        self.swarm.head_for(address);
        self.host = address.to_string();
    }

    pub(crate) fn channels(&self) -> &[String] {
        &self.channels
    }

    /// Those who are subscribed at the second server.
    pub(crate) fn there(&self) -> usize {
        self.places.iter().filter(|place| **place == Place::There).count()
    }

    /// Messages that each should have heard and has not.
    pub(crate) fn missing(&self, messages: &[u64]) -> u64 {
        self.tallies.iter().enumerate().map(|(key, tally)| tally.missed(messages[key % messages.len()])).sum()
    }

    /// All that should be heard.
    pub(crate) fn owed(&self, messages: &[u64]) -> u64 {
        (0..self.tallies.len()).map(|key| messages[key % messages.len()]).sum()
    }

    /// Heard again, and heard after a later one.
    pub(crate) fn doubled_and_late(&self) -> (u64, u64) {
        self.tallies.iter().fold((0, 0), |(doubled, late), tally| (doubled + tally.doubled, late + tally.disordered))
    }

    /// Whatever happens next.
    pub(crate) fn turn(&mut self, patience: Duration) -> Result<()> {
        let now = clock::now();
        while let Some(Reverse((when, key))) = self.due.peek().copied()
            && when <= now
        {
            self.due.pop();
            match self.places[key] {
                // Its end is heard, and then it goes.
                Place::Leaving => self.swarm.close(key, DRAINING),
                _ => self.dial(key),
            }
        }
        let next = self.due.peek().map_or(patience, |Reverse((when, _))| when.saturating_duration_since(now));
        let (mut said, mut ended, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        let (places, tallies, journal) = (&mut self.places, &mut self.tallies, &mut self.journal);
        self.swarm.turn(patience.min(next), |key, happening| match happening {
            Happening::Message(text) => match op(text) {
                Op::Event => {
                    if let Some(n) = number(text, r#""n":"#) {
                        tallies[key].record(n, n);
                    }
                }
                Op::Reconnect => asked.push((key, number(text, r#""after_ms":"#).unwrap_or_default())),
                Op::Ready if places[key] == Place::Away => said.push(key),
                Op::Reply if places[key] == Place::Away => {
                    places[key] = Place::There;
                    journal.settled = Some(clock::now());
                    journal.away.record(self.left[key].map_or(Duration::ZERO, |left| left.elapsed()));
                }
                Op::Gap => journal.gaps += 1,
                _ => {}
            },
            Happening::Closed(ending) => ended.push((key, ending)),
            Happening::Opened | Happening::Pong => {}
        })?;
        for key in said {
            let text = message::subscribe(&self.channels[key % self.channels.len()], 1, LAST);
            self.swarm.say(key, text.as_bytes());
        }
        asked.into_iter().for_each(|(key, after)| self.hear_request(key, Duration::from_millis(after)));
        ended.into_iter().for_each(|(key, ending)| self.end(key, &ending));
        Ok(())
    }

    fn hear_request(&mut self, key: Key, after: Duration) {
        let now = clock::now();
        self.journal.asked.note(now);
        self.journal.longest_after = self.journal.longest_after.max(after);
        if self.listens[key] && self.places[key] == Place::Here {
            self.places[key] = Place::Leaving;
            self.due.push(Reverse((now + self.dice.up_to(after), key)));
        }
    }

    fn end(&mut self, key: Key, ending: &Ending) {
        match self.places[key] {
            Place::Here | Place::Leaving => {
                let code = ending.code.map_or("without a code".to_owned(), |code| code.to_string());
                let how = if self.listens[key] { "listened" } else { "did not listen" };
                *self.journal.endings.entry(format!("{code}, {how}")).or_default() += 1;
                self.left[key] = Some(clock::now());
            }
            Place::Away | Place::There => {
                self.journal.failures += 1;
                if self.journal.complaint.is_empty() {
                    self.journal.complaint = ending.to_string();
                }
            }
        }
        let asked = self.places[key] == Place::Leaving;
        self.places[key] = Place::Away;
        if asked { self.dial(key) } else { self.wait(key) }
    }

    fn dial(&mut self, key: Key) {
        self.journal.dialled.note(clock::now());
        if self.swarm.redial(key, Some(&message::gateway(&self.host, &user(key), None))).is_err() {
            self.journal.failures += 1;
            self.wait(key);
        }
    }

    /// Before another attempt.
    fn wait(&mut self, key: Key) {
        let wait = self.backoff.wait(self.tries[key], &mut self.dice);
        self.tries[key] += 1;
        self.due.push(Reverse((clock::now() + wait, key)));
    }
}

fn user(key: Key) -> String {
    format!("traveller{key}")
}
