//! Everything the generator hears in a soak, kept so that each promise can be judged at the end: a tally of events for
//! each connection, replies to every request, generations, ends, and latencies. Judges nothing itself.

use std::time::Instant;

use crate::{
    client::Happening,
    clock,
    histogram::Histogram,
    message::{Op, Reply, number, op},
    swarm::Key,
    tally::Tally,
};

/// A publication as the publisher knows it.
pub(crate) struct Publication {
    pub(crate) sent: Instant,
    /// 0 until somebody says.
    pub(crate) offset: u64,
    pub(crate) replies: u32,
}

/// See the file's head.
pub(crate) struct Witness {
    pub(crate) tallies: Vec<Tally>,
    pub(crate) crashes: Vec<bool>,
    pub(crate) publisher: Key,
    pub(crate) publications: Vec<Publication>,
    /// Replies to each chaos request, in order of asking.
    pub(crate) answers: Vec<u32>,
    pub(crate) wrong_answers: u64,
    pub(crate) refused_publications: u64,
    pub(crate) generations: Vec<u64>,
    pub(crate) restarted: u64,
    pub(crate) generations_not_rising: u64,
    pub(crate) disagreements: u64,
    pub(crate) gaps: u64,
    pub(crate) errors: u64,
    pub(crate) closed_bystanders: u64,
    pub(crate) closed_others: u64,
    pub(crate) received: u64,
    pub(crate) complaint: String,
    pub(crate) bystanders: Histogram,
    pub(crate) crashers: Histogram,
    pub(crate) published: Histogram,
}

impl Witness {
    pub(crate) fn new(count: usize, crashing: usize, publisher: Key) -> Self {
        Self {
            tallies: vec![Tally::default(); count],
            crashes: (0..count).map(|index| chosen(index, crashing, count)).collect(),
            publisher,
            publications: Vec::new(),
            answers: Vec::new(),
            wrong_answers: 0,
            refused_publications: 0,
            generations: vec![0; count],
            restarted: 0,
            generations_not_rising: 0,
            disagreements: 0,
            gaps: 0,
            errors: 0,
            closed_bystanders: 0,
            closed_others: 0,
            received: 0,
            complaint: String::new(),
            bystanders: Histogram::new(),
            crashers: Histogram::new(),
            published: Histogram::new(),
        }
    }

    pub(crate) fn complete(&self) -> bool {
        let expected = self.publications.len() as u64 * self.tallies.len() as u64;
        self.received >= expected
            && self.restarted >= self.answers.len() as u64
            && self.answers.iter().all(|replies| *replies > 0)
            && self.publications.iter().all(|publication| publication.replies > 0)
    }

    pub(crate) fn hear(&mut self, key: Key, happening: &Happening<'_>) {
        match happening {
            Happening::Opened | Happening::Pong => {}
            Happening::Closed(ending) => {
                if self.crashes.get(key).is_some_and(|crashes| !crashes) {
                    self.closed_bystanders += 1;
                } else {
                    self.closed_others += 1;
                }
                self.complain(|| format!("connection {key}: {ending}"));
            }
            Happening::Message(message) => self.hear_message(key, message),
        }
    }

    fn hear_message(&mut self, key: Key, message: &[u8]) {
        match op(message) {
            Op::Event => self.hear_event(key, message),
            Op::Reply => self.hear_reply(key, message),
            Op::Restarted => {
                self.restarted += 1;
                let generation = number(message, r#""generation":"#).unwrap_or_default();
                if let Some(last) = self.generations.get_mut(key) {
                    self.generations_not_rising += u64::from(generation <= *last);
                    *last = generation;
                }
            }
            Op::Gap => {
                self.gaps += 1;
                self.complain(|| String::from_utf8_lossy(message).into_owned());
            }
            Op::Error => {
                self.errors += 1;
                self.complain(|| String::from_utf8_lossy(message).into_owned());
            }
            Op::Hello | Op::Ready | Op::HeartbeatAck | Op::Reconnect | Op::Other => {}
        }
    }

    fn hear_event(&mut self, key: Key, message: &[u8]) {
        let (Some(n), Some(offset)) = (number(message, r#""n":"#), number(message, r#""offset":"#)) else {
            self.errors += 1;
            return self.complain(|| format!("unreadable event {}", String::from_utf8_lossy(message)));
        };
        let known = n.checked_sub(1).and_then(|index| self.publications.get_mut(index as usize));
        let (Some(tally), Some(publication)) = (self.tallies.get_mut(key), known) else {
            self.errors += 1;
            return self.complain(|| format!("event for nobody: {}", String::from_utf8_lossy(message)));
        };
        self.received += 1;
        tally.record(n, offset);
        self.disagreements += u64::from(publication.offset != 0 && publication.offset != offset);
        publication.offset = offset;
        let latency = clock::now().duration_since(publication.sent);
        if self.crashes[key] { &mut self.crashers } else { &mut self.bystanders }.record(latency);
    }

    fn hear_reply(&mut self, key: Key, message: &[u8]) {
        let reply: Reply = serde_json::from_slice(message).unwrap_or_default();
        if key == self.publisher {
            let known = reply.id.checked_sub(1).and_then(|index| self.publications.get_mut(index as usize));
            match (known, reply.ok) {
                (Some(publication), Some(ok)) => {
                    publication.replies += 1;
                    self.disagreements += u64::from(publication.offset != 0 && publication.offset != ok.offset);
                    publication.offset = ok.offset;
                    self.published.record(clock::now().duration_since(publication.sent));
                }
                _ => {
                    self.refused_publications += 1;
                    let why = reply.error.unwrap_or_default();
                    self.complain(|| format!("publish {}: {} {}", reply.id, why.code, why.message));
                }
            }
            return;
        }
        if let Some(replies) = self.answers.get_mut(reply.id as usize) {
            *replies += 1;
        }
        let code = reply.error.map(|error| error.code).unwrap_or_default();
        if code != "crashed" {
            self.wrong_answers += 1;
            self.complain(|| format!("chaos {}: {}", reply.id, String::from_utf8_lossy(message)));
        }
    }

    /// Keeps the first.
    fn complain(&mut self, words: impl FnOnce() -> String) {
        if self.complaint.is_empty() {
            self.complaint = words();
        }
    }
}

/// Spreads `some` evenly over `all`.
fn chosen(index: usize, some: usize, all: usize) -> bool {
    index * some / all != (index + 1) * some / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crashing_ones_are_spread_and_as_many_as_asked_for() {
        for (some, all) in [(0, 7), (1, 7), (3, 7), (7, 7), (200, 1000)] {
            assert_eq!((0..all).filter(|index| chosen(*index, some, all)).count(), some);
        }
        assert!(chosen(4, 200, 1000) && !chosen(5, 200, 1000) && chosen(9, 200, 1000));
    }

    #[test]
    fn what_is_heard_of_a_crash_is_counted_once_each() {
        let mut witness = Witness::new(2, 1, 2);
        witness.answers.push(0);
        let crashed = br#"{"op":"reply","id":0,"error":{"code":"crashed","message":"m","retry":"later"}}"#;
        witness.hear(1, &Happening::Message(br#"{"op":"restarted","generation":1,"request":0,"lost":0}"#));
        witness.hear(1, &Happening::Message(crashed));
        assert_eq!((witness.restarted, witness.answers[0], witness.wrong_answers), (1, 1, 0));
        witness.hear(1, &Happening::Message(br#"{"op":"restarted","generation":1,"lost":0}"#));
        witness.hear(1, &Happening::Message(br#"{"op":"reply","id":0,"ok":{}}"#));
        assert_eq!((witness.generations_not_rising, witness.answers[0], witness.wrong_answers), (1, 2, 1));
    }

    #[test]
    fn subscribers_that_disagree_about_an_offset_are_noticed() {
        let mut witness = Witness::new(2, 0, 2);
        witness.publications.push(Publication { sent: clock::now(), offset: 0, replies: 0 });
        witness.hear(0, &Happening::Message(br#"{"op":"event","offset":5,"data":{"n":1}}"#));
        witness.hear(2, &Happening::Message(br#"{"op":"reply","id":1,"ok":{"offset":5}}"#));
        assert_eq!((witness.disagreements, witness.complete()), (0, false));
        witness.hear(1, &Happening::Message(br#"{"op":"event","offset":6,"data":{"n":1}}"#));
        assert_eq!((witness.disagreements, witness.complete()), (1, true));
    }
}
