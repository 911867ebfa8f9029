//! What one client process of `chaos` hears: a tally of events for each subscriber, latencies by phase, and everything a
//! bystander should never see. Judges nothing: the account is merged with those of the other processes and judged there.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::{
    client::Happening,
    clock,
    histogram::Histogram,
    message::{Op, number, op},
    swarm::Key,
    tally::Tally,
};

/// The account of one process, or of all of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) published: u64,
    /// Deliveries there should have been.
    pub(crate) expected: u64,
    pub(crate) received: u64,
    pub(crate) missed: u64,
    pub(crate) doubled: u64,
    pub(crate) disordered: u64,
    pub(crate) closed_bystanders: u64,
    pub(crate) closed_others: u64,
    pub(crate) restarted_bystanders: u64,
    pub(crate) restarted_victims: u64,
    pub(crate) gaps: u64,
    pub(crate) errors: u64,
    /// Connections open at the end.
    pub(crate) open: u64,
    /// The first thing that should not have been.
    pub(crate) complaint: String,
    /// Publish to delivery for bystanders, by phase.
    pub(crate) bystanders: Vec<Histogram>,
    /// The same for victims.
    pub(crate) victims: Vec<Histogram>,
}

impl Account {
    /// Adds the account of another process.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, part) in [
            (&mut self.published, other.published),
            (&mut self.expected, other.expected),
            (&mut self.received, other.received),
            (&mut self.missed, other.missed),
            (&mut self.doubled, other.doubled),
            (&mut self.disordered, other.disordered),
            (&mut self.closed_bystanders, other.closed_bystanders),
            (&mut self.closed_others, other.closed_others),
            (&mut self.restarted_bystanders, other.restarted_bystanders),
            (&mut self.restarted_victims, other.restarted_victims),
            (&mut self.gaps, other.gaps),
            (&mut self.errors, other.errors),
            (&mut self.open, other.open),
        ] {
            *sum += part;
        }
        if self.complaint.is_empty() {
            self.complaint.clone_from(&other.complaint);
        }
        for (sums, parts) in [(&mut self.bystanders, &other.bystanders), (&mut self.victims, &other.victims)] {
            sums.resize_with(sums.len().max(parts.len()), Histogram::new);
            sums.iter_mut().zip(parts).for_each(|(sum, part)| sum.add(part));
        }
    }
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Witness {
    channels: usize,
    tallies: Vec<Tally>,
    /// When each publication of each channel was said, and in which phase.
    said: Vec<Vec<(Instant, usize)>>,
    account: Account,
    /// Read anew for each connection, not for each event of it: they arrive together.
    reading: Option<(Key, Instant)>,
}

impl Witness {
    /// Subscriber `key` hears channel `key % channels`; keys beyond `subscribers` publish.
    pub(crate) fn new(subscribers: usize, channels: usize) -> Self {
        Self {
            channels,
            tallies: vec![Tally::default(); subscribers],
            said: vec![Vec::new(); channels],
            account: Account::default(),
            reading: None,
        }
    }

    /// Every second subscriber of each channel may be hit.
    pub(crate) fn is_victim(&self, key: Key) -> bool {
        (key / self.channels) % 2 == 1
    }

    /// One more publication in `channel`; gives its number there.
    pub(crate) fn say(&mut self, channel: usize, phase: usize) -> u64 {
        for latencies in [&mut self.account.bystanders, &mut self.account.victims] {
            latencies.resize_with(latencies.len().max(phase + 1), Histogram::new);
        }
        self.said[channel].push((clock::now(), phase));
        self.account.published += 1;
        self.account.expected += self.subscribers_of(channel) as u64;
        self.said[channel].len() as u64
    }

    fn subscribers_of(&self, channel: usize) -> usize {
        (channel..self.tallies.len()).step_by(self.channels).len()
    }

    /// Nothing more is to come.
    pub(crate) fn complete(&self) -> bool {
        self.account.received >= self.account.expected
    }

    pub(crate) fn hear(&mut self, key: Key, happening: &Happening<'_>) {
        let known = key < self.tallies.len();
        let bystander = known && !self.is_victim(key);
        match happening {
            Happening::Opened | Happening::Pong => {}
            Happening::Closed(ending) => {
                let closed =
                    if bystander { &mut self.account.closed_bystanders } else { &mut self.account.closed_others };
                *closed += 1;
                self.complain(|| format!("connection {key}: {ending}"));
            }
            Happening::Message(message) => match op(message) {
                Op::Event => self.hear_event(key, message),
                Op::Restarted if bystander => self.account.restarted_bystanders += 1,
                Op::Restarted => self.account.restarted_victims += 1,
                Op::Gap => {
                    self.account.gaps += 1;
                    self.complain(|| String::from_utf8_lossy(message).into_owned());
                }
                Op::Error => {
                    self.account.errors += 1;
                    self.complain(|| String::from_utf8_lossy(message).into_owned());
                }
                _ => {}
            },
        }
    }

    fn hear_event(&mut self, key: Key, message: &[u8]) {
        let found = number(message, r#""n":"#).zip(number(message, r#""offset":"#)).and_then(|(n, offset)| {
            let said = self.said[key % self.channels].get(usize::try_from(n).ok()?.checked_sub(1)?)?;
            Some((n, offset, *said, self.tallies.get_mut(key)?))
        });
        let Some((n, offset, (said, phase), tally)) = found else {
            self.account.errors += 1;
            return self.complain(|| format!("event for nobody: {}", String::from_utf8_lossy(message)));
        };
        tally.record(n, offset);
        self.account.received += 1;
        let now = match self.reading {
            Some((reading, now)) if reading == key && now >= said => now,
            _ => clock::now(),
        };
        self.reading = Some((key, now));
        let latencies = if self.is_victim(key) { &mut self.account.victims } else { &mut self.account.bystanders };
        latencies[phase].record(now.saturating_duration_since(said));
    }

    /// A new round of reading begins: clocks are read afresh.
    pub(crate) fn look_up(&mut self) {
        self.reading = None;
    }

    /// The account at the end.
    pub(crate) fn account(&self, open: usize) -> Account {
        let missed = |(key, tally): (Key, &Tally)| tally.missed(self.said[key % self.channels].len() as u64);
        Account {
            open: open as u64,
            missed: self.tallies.iter().enumerate().map(missed).sum(),
            doubled: self.tallies.iter().map(|tally| tally.doubled).sum(),
            disordered: self.tallies.iter().map(|tally| tally.disordered).sum(),
            ..self.account.clone()
        }
    }

    /// Keeps the first.
    fn complain(&mut self, words: impl FnOnce() -> String) {
        if self.account.complaint.is_empty() {
            self.account.complaint = words();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels with two subscribers each: 0 and 2 hear channel 0, 2 and 3 may be hit.
    fn witness() -> Witness {
        Witness::new(4, 2)
    }

    fn event(n: u64, offset: u64) -> String {
        format!(r#"{{"op":"event","offset":{offset},"data":{{"n":{n}}}}}"#)
    }

    #[test]
    fn every_channel_has_its_own_numbers_and_each_phase_its_own_latencies() {
        let mut witness = witness();
        assert_eq!((witness.say(0, 0), witness.say(1, 0), witness.say(0, 1)), (1, 1, 2));
        for (key, n) in [(0, 1), (0, 2), (2, 1), (2, 2), (1, 1), (3, 1)] {
            assert!(!witness.complete());
            witness.hear(key, &Happening::Message(event(n, n + 7).as_bytes()));
        }
        assert!(witness.complete());
        let account = witness.account(4);
        let counts = |latencies: &[Histogram]| latencies.iter().map(Histogram::count).collect::<Vec<_>>();
        assert_eq!((counts(&account.bystanders), counts(&account.victims)), (vec![2, 1], vec![2, 1]));
        assert_eq!((account.missed, account.doubled, account.disordered, account.errors), (0, 0, 0, 0));
    }

    #[test]
    fn what_should_not_be_is_counted_for_whom_it_was() {
        let mut witness = witness();
        witness.say(0, 0);
        witness.hear(0, &Happening::Message(event(1, 1).as_bytes()));
        witness.hear(0, &Happening::Message(event(1, 1).as_bytes()));
        witness.hear(1, &Happening::Message(event(1, 1).as_bytes()));
        witness.hear(1, &Happening::Message(br#"{"op":"restarted","generation":2}"#));
        witness.hear(2, &Happening::Message(br#"{"op":"restarted","generation":2}"#));
        let mut account = witness.account(4);
        assert_eq!((account.doubled, account.missed, account.errors), (1, 1, 1));
        assert_eq!((account.restarted_bystanders, account.restarted_victims), (1, 1));
        let copy = account.clone();
        account.add(&copy);
        assert_eq!((account.doubled, account.open, account.bystanders[0].count()), (2, 8, 4));
    }
}
