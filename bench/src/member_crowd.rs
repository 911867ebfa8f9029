//! Members of one durable channel over sockets that come and go: each identifies with the cursor it has, expects every event
//! after it once and in order, and counts what is missing or comes twice. Reconnects with jittered backoff, like the SDK.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use memchr::memmem;

use crate::{
    client::Happening,
    clock,
    dice::{Backoff, Dice},
    histogram::Histogram,
    message::{self, Op, number, op},
    swarm::{Key, Swarm},
};

/// The channel.
pub(crate) const CHANNEL: &str = "chat:bench";
/// Nothing may take longer than this without any progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// One member.
#[derive(Clone, Default)]
struct Member {
    /// The last offset he has.
    offset: u64,
    joined: bool,
    /// He is on purpose not there.
    away: bool,
    /// When his socket was cut, until he has everything again.
    lost: Option<Instant>,
    /// What he must have to have everything: the head that his `ready` named.
    owed: Option<u64>,
    failures: u32,
}

/// See the file's head.
pub(crate) struct Members {
    swarm: Swarm,
    host: String,
    due: BinaryHeap<Reverse<(Instant, Key)>>,
    backoff: Backoff,
    pub(crate) dice: Dice,
    publisher: Key,
    ids: u64,
    pub(crate) book: Book,
}

/// What all of them have heard.
pub(crate) struct Book {
    members: Vec<Member>,
    publisher: Key,
    epoch: String,
    /// The last offset that the publisher knows to be kept.
    pub(crate) head: u64,
    replies: u64,
    pub(crate) delivered: u64,
    pub(crate) doubled: u64,
    pub(crate) missing: u64,
    pub(crate) gaps: u64,
    /// From the cut to everything.
    pub(crate) recovery: Histogram,
    trouble: Option<String>,
}

impl Members {
    /// Connects `count` members, who all join, and a publisher.
    pub(crate) fn gather(swarm: Swarm, host: String, count: usize, dice: Dice) -> Result<Self> {
        let book = Book {
            members: vec![Member::default(); count],
            publisher: count,
            epoch: String::new(),
            head: 0,
            replies: 0,
            delivered: 0,
            doubled: 0,
            missing: 0,
            gaps: 0,
            recovery: Histogram::new(),
            trouble: None,
        };
        let mut members = Self {
            swarm,
            host,
            due: BinaryHeap::new(),
            backoff: Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(5) },
            dice,
            publisher: count,
            ids: 0,
            book,
        };
        for key in 0..count {
            members.swarm.dial(Some(&message::handshake(&members.host, "/v1/gateway")))?;
            if key % 256 == 255 {
                members.until("join", |all| all.book.members[..=key].iter().all(|member| member.joined))?;
            }
        }
        members.until("join", |all| all.book.members.iter().all(|member| member.joined))?;
        members.swarm.dial(Some(&message::gateway(&members.host, "publisher", None)))?;
        Ok(members)
    }

    pub(crate) fn count(&self) -> usize {
        self.book.members.len()
    }

    /// Members who are meant to be there and have everything.
    pub(crate) fn complete(&self) -> usize {
        self.book
            .members
            .iter()
            .filter(|member| !member.away && member.lost.is_none() && member.offset == self.book.head)
            .count()
    }

    /// Ends a member's socket as a network would; he comes back by himself, or with `away` when he is told.
    pub(crate) fn cut(&mut self, key: Key, away: bool) {
        let member = &mut self.book.members[key];
        (member.away, member.owed) = (away, None);
        member.lost.get_or_insert_with(clock::now);
        self.swarm.hang_up_hard(key);
        if !away {
            self.lose(key);
        }
    }

    /// Those who are away come back at once.
    pub(crate) fn come_back(&mut self) {
        let now = clock::now();
        for key in 0..self.book.members.len() {
            if std::mem::take(&mut self.book.members[key].away) {
                self.book.members[key].lost = Some(now);
                self.due.push(Reverse((now, key)));
            }
        }
    }

    fn lose(&mut self, key: Key) {
        let wait = self.backoff.wait(self.book.members[key].failures, &mut self.dice);
        self.book.members[key].failures += 1;
        self.due.push(Reverse((clock::now() + wait, key)));
    }

    /// One more event, 200 bytes or so, on its way.
    pub(crate) fn publish(&mut self) {
        self.ids += 1;
        let text = message::publish(CHANNEL, Some(self.ids), self.ids, 150);
        self.swarm.say(self.publisher, text.as_bytes());
    }

    /// Publications that are not answered yet.
    pub(crate) fn unanswered(&self) -> u64 {
        self.ids - self.book.replies
    }

    /// Turns until `done`; an error when that takes unreasonably long.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<Duration> {
        let began = clock::now();
        while !done(self) {
            self.turn(Duration::from_millis(20))?;
            if began.elapsed() > PATIENCE {
                bail!("{what}: {} of {} after {PATIENCE:?}", self.complete(), self.count());
            }
        }
        Ok(began.elapsed())
    }

    /// Whatever happens next.
    pub(crate) fn turn(&mut self, patience: Duration) -> Result<()> {
        let now = clock::now();
        while let Some(Reverse((when, key))) = self.due.peek().copied()
            && when <= now
        {
            self.due.pop();
            if self.swarm.redial(key, Some(&message::handshake(&self.host, "/v1/gateway"))).is_err() {
                self.lose(key);
            }
        }
        let next = self.due.peek().map_or(patience, |Reverse((when, _))| when.saturating_duration_since(now));
        let (mut said, mut lost) = (Vec::new(), Vec::new());
        let book = &mut self.book;
        self.swarm.turn(patience.min(next), |key, happening| match happening {
            Happening::Message(text) if key == book.publisher => book.answered(text),
            Happening::Message(text) => said.extend(book.hear(key, text).map(|text| (key, text))),
            Happening::Closed(ending) if key == book.publisher => {
                book.trouble = Some(format!("the publisher lost its socket: {ending}"));
            }
            Happening::Closed(_) => lost.push(key),
            Happening::Opened | Happening::Pong => {}
        })?;
        said.into_iter().for_each(|(key, text)| self.swarm.say(key, text.as_bytes()));
        for key in lost {
            if !self.book.members[key].away {
                self.book.members[key].lost.get_or_insert_with(clock::now);
                self.book.members[key].owed = None;
                self.lose(key);
            }
        }
        self.book.trouble.take().map_or(Ok(()), |trouble| bail!("{trouble}"))
    }
}

impl Book {
    fn answered(&mut self, text: &[u8]) {
        if op(text) == Op::Reply {
            self.replies += 1;
            match number(text, r#""offset":"#) {
                Some(offset) => self.head = self.head.max(offset),
                None => self.trouble = Some(format!("not published: {}", String::from_utf8_lossy(text))),
            }
        }
    }

    /// What a member says to that.
    fn hear(&mut self, key: Key, text: &[u8]) -> Option<String> {
        let member = &mut self.members[key];
        match op(text) {
            Op::Hello => {
                let (offset, epoch) = (member.offset, &self.epoch);
                let cursors = format!(r#","cursors":{{"{CHANNEL}":{{"epoch":"{epoch}","offset":{offset}}}}}"#);
                let cursors = if member.joined { cursors } else { String::new() };
                return Some(format!(r#"{{"op":"identify","token":"member{key}"{cursors}}}"#));
            }
            Op::Ready if !member.joined => return Some(format!(r#"{{"op":"join","id":1,"channel":"{CHANNEL}"}}"#)),
            Op::Ready => {
                member.failures = 0;
                member.owed = number(text, r#""offset":"#);
                self.gaps += u64::from(memmem::find(text, br#""recovered":false"#).is_some());
            }
            Op::Reply => {
                member.joined = true;
                member.offset = number(text, r#""offset":"#).unwrap_or_default();
                if let Some(at) = memmem::find(text, br#""epoch":""#) {
                    let epoch = text[at + 9..].split(|byte| *byte == b'"').next().unwrap_or_default();
                    self.epoch = String::from_utf8_lossy(epoch).into_owned();
                }
            }
            Op::Event => {
                let offset = number(text, r#""offset":"#).unwrap_or_default();
                if offset <= member.offset {
                    self.doubled += 1;
                } else {
                    self.missing += offset - member.offset - 1;
                    self.delivered += 1;
                    member.offset = offset;
                }
            }
            Op::Gap => self.gaps += 1,
            _ => {}
        }
        if let (Some(lost), Some(owed)) = (member.lost, member.owed)
            && member.offset >= owed
        {
            self.recovery.record(lost.elapsed());
            (member.lost, member.owed) = (None, None);
        }
        None
    }
}
