//! `soak`: one channel, some members crash their actors again and again, and nobody may notice: no disconnect, nothing
//! missed, doubled or out of order for anyone, every crash answered once, and an exact ledger at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    client::Happening,
    clock,
    crowd::{Arrival, gather},
    histogram::Histogram,
    load::{Load, Span},
    message::{self, Op, Reply, number, op},
    node::{self, Node},
    report::{Report, Unit},
    swarm::{Key, Swarm},
    tally::Tally,
    target::{Target, TargetOptions},
};

/// How long the last events and replies may take after the last publication.
const TAIL: Duration = Duration::from_secs(15);

/// Options of `soak`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Connections in the channel [default: 1000, quick 200]
    #[arg(long)]
    connections: Option<usize>,
    /// How many of them crash their actors [default: 200, quick 40]
    #[arg(long)]
    crashing: Option<usize>,
    /// How often each of those does
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    crash_every: Duration,
    /// Publications a second
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Length of the run [default: 30, quick 5]
    #[arg(long)]
    seconds: Option<u64>,
    #[command(flatten)]
    target: TargetOptions,
}

/// Budgets out of the way, since here the crashes are the point; a history, since the channel is to have one.
fn sets() -> Vec<String> {
    ["chaos.enabled=true", "supervision.max_restarts=1000", "channels.defaults.history_events=1000"]
        .map(str::to_owned)
        .to_vec()
}

/// Runs it and says whether every invariant held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let target = options.target.open(&sets())?;
    let mut report = Report::new("soak: crashes in a crowd, and what the others notice of them");
    measure(options, &target, &mut report).map_err(|error| target.explain(error))?;
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

fn measure(options: &Options, target: &Target, report: &mut Report) -> Result<()> {
    let count = options.target.size(options.connections, 1_000, 200);
    let crashing = options.target.size(options.crashing, 200, 40);
    let span = Duration::from_secs(options.target.size(options.seconds, 30, 5));
    if crashing > count || count == 0 || options.rate <= 0.0 {
        bail!("--crashing must be within --connections, --connections and --rate above zero");
    }
    let host = target.host();
    let mut swarm = options.target.swarm(target.address)?;
    let crowd = gather(&mut swarm, count, 256, Arrival::Ready, |index| {
        Some(message::gateway(&host, &format!("u{index}"), Some("bench")))
    })?;
    let publisher = gather(&mut swarm, 1, 1, Arrival::Ready, |_| Some(message::gateway(&host, "publisher", None)))?;
    swarm.repeat(message::HEARTBEAT, crowd.heartbeat);
    let before = node::ask(target.address)?;
    let mut soak = Soak::new(count, crashing, publisher.keys.start);
    let begun = Span::begin(target)?;
    soak.drive(&mut swarm, options, span)?;
    let load = begun.end(target)?;
    let after = quiet(target, &mut swarm, &mut soak)?;
    soak.describe(report, options, span, &load, (&before, &after));
    report.must_be("connections open at the end", swarm.open() as u64, count as u64 + 1, "with the publisher");
    Ok(())
}

/// Asks until nothing is pending and nothing was offered between two answers.
fn quiet(target: &Target, swarm: &mut Swarm, soak: &mut Soak) -> Result<Node> {
    let deadline = clock::now() + TAIL;
    let mut last = node::ask(target.address)?;
    loop {
        swarm.linger(clock::now() + Duration::from_millis(250), |key, happening| soak.hear(key, &happening))?;
        let node = node::ask(target.address)?;
        let settled = node.ledger.pending == 0 && node.ledger.offered == last.ledger.offered;
        if settled || clock::now() > deadline {
            return Ok(node);
        }
        last = node;
    }
}

/// A publication as the publisher knows it.
struct Publication {
    sent: Instant,
    /// 0 until somebody says.
    offset: u64,
    replies: u32,
}

/// Everything heard in a run.
struct Soak {
    tallies: Vec<Tally>,
    crashes: Vec<bool>,
    publisher: Key,
    publications: Vec<Publication>,
    /// Replies to each chaos request, in order of asking.
    answers: Vec<u32>,
    wrong_answers: u64,
    refused_publications: u64,
    generations: Vec<u64>,
    restarted: u64,
    generations_not_rising: u64,
    disagreements: u64,
    gaps: u64,
    errors: u64,
    closed_bystanders: u64,
    closed_others: u64,
    received: u64,
    complaint: String,
    bystanders: Histogram,
    crashers: Histogram,
    published: Histogram,
}

impl Soak {
    fn new(count: usize, crashing: usize, publisher: Key) -> Self {
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

    /// Publishes and crashes on schedule, then waits for the rest to arrive.
    fn drive(&mut self, swarm: &mut Swarm, options: &Options, span: Duration) -> Result<()> {
        let crashing: Vec<Key> = (0..self.crashes.len()).filter(|key| self.crashes[*key]).collect();
        let publish_step = Duration::from_secs_f64(1.0 / options.rate);
        let crash_step = options.crash_every.checked_div(crashing.len() as u32);
        let start = clock::now();
        loop {
            let elapsed = start.elapsed();
            if elapsed >= span {
                break;
            }
            while publish_step.mul_f64(self.publications.len() as f64) <= elapsed {
                let number = self.publications.len() as u64 + 1;
                self.publications.push(Publication { sent: clock::now(), offset: 0, replies: 0 });
                swarm.say(self.publisher, message::publish("bench", Some(number), number, 0).as_bytes());
            }
            let mut wait = publish_step.mul_f64(self.publications.len() as f64).saturating_sub(elapsed);
            if let Some(step) = crash_step {
                while step.mul_f64(self.answers.len() as f64) <= elapsed {
                    let id = self.answers.len() as u64;
                    swarm.say(crashing[self.answers.len() % crashing.len()], message::chaos(id).as_bytes());
                    self.answers.push(0);
                }
                wait = wait.min(step.mul_f64(self.answers.len() as f64).saturating_sub(elapsed));
            }
            swarm.turn(wait.min(span - elapsed), |key, happening| self.hear(key, &happening))?;
        }
        let deadline = clock::now() + TAIL;
        while !self.complete() && clock::now() < deadline {
            swarm.turn(Duration::from_millis(50), |key, happening| self.hear(key, &happening))?;
        }
        Ok(())
    }

    fn complete(&self) -> bool {
        let expected = self.publications.len() as u64 * self.tallies.len() as u64;
        self.received >= expected
            && self.restarted >= self.answers.len() as u64
            && self.answers.iter().all(|replies| *replies > 0)
            && self.publications.iter().all(|publication| publication.replies > 0)
    }

    fn hear(&mut self, key: Key, happening: &Happening<'_>) {
        match happening {
            Happening::Opened => {}
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
            Op::Hello | Op::Ready | Op::HeartbeatAck | Op::Other => {}
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

    fn describe(&self, report: &mut Report, options: &Options, span: Duration, load: &Load, nodes: (&Node, &Node)) {
        let published = self.publications.len() as u64;
        let over_all = |of: fn(&Tally) -> u64| self.tallies.iter().map(of).sum::<u64>();
        let crashing = self.crashes.iter().filter(|crashes| **crashes).count();
        let count = self.tallies.len();
        report.figure("connections", count as f64, Unit::Count, format!("{crashing} of them crash their actors"));
        let note = format!("{} a second for {:.0} s", options.rate, span.as_secs_f64());
        report.figure("publications", published as f64, Unit::Count, note);
        let chaos = self.answers.len() as u64;
        let note = format!("each crashing connection once in {}", humantime::format_duration(options.crash_every));
        report.figure("crashes asked for", chaos as f64, Unit::Count, note);
        report.must_be("bystanders disconnected", self.closed_bystanders, 0, &*self.complaint);
        report.must_be("others disconnected", self.closed_others, 0, "the crashing ones and the publisher");
        let missed = self.tallies.iter().map(|tally| tally.missed(published)).sum();
        report.must_be("events missed", missed, 0, "on all connections");
        report.must_be("events doubled", over_all(|tally| tally.doubled), 0, "");
        report.must_be("events out of order", over_all(|tally| tally.disordered), 0, "");
        report.must_be("offsets disagreed on", self.disagreements, 0, "between subscribers and the publisher's reply");
        report.must_be("gaps", self.gaps, 0, "");
        report.must_be("error frames", self.errors, 0, "");
        let unanswered = self.publications.iter().filter(|publication| publication.replies != 1).count() as u64;
        report.must_be("publications not answered once", unanswered + self.refused_publications, 0, "");
        let unanswered = self.answers.iter().filter(|replies| **replies == 0).count() as u64;
        report.must_be("crashes unanswered", unanswered, 0, "");
        let twice = self.answers.iter().filter(|replies| **replies > 1).count() as u64;
        report.must_be("crashes answered twice", twice, 0, "");
        report.must_be("crashes answered otherwise", self.wrong_answers, 0, "than reply.error.code = crashed");
        report.must_be("restarted frames", self.restarted, chaos, "one for each crash");
        report.must_be("generations that did not rise", self.generations_not_rising, 0, "");
        let (before, after) = nodes;
        report.must_be("restarts, as the node counts", after.restarts.saturating_sub(before.restarts), chaos, "");
        let ledger = after.ledger.since(&before.ledger);
        let accounted = ledger.delivered + ledger.dropped() + ledger.pending;
        report.must_be("ledger: offered", ledger.offered, accounted, "= delivered + dropped + pending");
        report.must_be("ledger: delivered", ledger.delivered, over_all(Tally::received), "= events received here");
        report.must_be("ledger: dropped", ledger.dropped(), 0, "");
        report.must_be("ledger: pending", ledger.pending, 0, "when quiet");
        report.spread("publish to delivery, bystanders", &self.bystanders, "");
        report.spread("publish to delivery, crashing", &self.crashers, "");
        report.spread("publish to reply", &self.published, "");
        load.describe(report, "delivery", over_all(Tally::received));
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
        let mut soak = Soak::new(2, 1, 2);
        soak.answers.push(0);
        let crashed = br#"{"op":"reply","id":0,"error":{"code":"crashed","message":"m","retry":"later"}}"#;
        soak.hear(1, &Happening::Message(br#"{"op":"restarted","generation":1,"request":0,"lost":0}"#));
        soak.hear(1, &Happening::Message(crashed));
        assert_eq!((soak.restarted, soak.answers[0], soak.wrong_answers), (1, 1, 0));
        soak.hear(1, &Happening::Message(br#"{"op":"restarted","generation":1,"lost":0}"#));
        soak.hear(1, &Happening::Message(br#"{"op":"reply","id":0,"ok":{}}"#));
        assert_eq!((soak.generations_not_rising, soak.answers[0], soak.wrong_answers), (1, 2, 1));
    }

    #[test]
    fn subscribers_that_disagree_about_an_offset_are_noticed() {
        let mut soak = Soak::new(2, 0, 2);
        soak.publications.push(Publication { sent: clock::now(), offset: 0, replies: 0 });
        soak.hear(0, &Happening::Message(br#"{"op":"event","offset":5,"data":{"n":1}}"#));
        soak.hear(2, &Happening::Message(br#"{"op":"reply","id":1,"ok":{"offset":5}}"#));
        assert_eq!((soak.disagreements, soak.complete()), (0, false));
        soak.hear(1, &Happening::Message(br#"{"op":"event","offset":6,"data":{"n":1}}"#));
        assert_eq!((soak.disagreements, soak.complete()), (1, true));
    }
}
