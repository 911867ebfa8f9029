//! The gateway's actor, turn by turn: tables of what a record is told and what comes of it. No socket, no shard, no clock:
//! a turn is a function, and [`Bench`] calls it.

mod access;
mod backend;
mod deliveries;
mod frames;
mod identify;
mod life;
mod memberships;
mod replays;
mod requests;
mod restarts;
mod resume;
mod sizes;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    channel::{
        Answer, Ask, CatchUp, Channel, Directory, Event, HomeRequest, Notice, Purpose, SharedFrame, Since, Subscriber,
        Tag,
    },
    clock::Now,
    config::{AuthMode, Config},
    connection::{ConnectionActor, Opening, Record, Settings, Ticket},
    id::{ConnectionId, Epoch},
    protocol::{
        close::Close,
        encoding::{Encoding, Payload, json_from_msgpack},
        frame::{Frame, MembershipState},
        request::Status,
    },
    shard::{Behaviour, Mail, Turn},
    token::{Claims, Lists, Minting, SigningKey},
};

const KEY: &str = "a key for tests alone, of a sensible length";
const HOUR_S: u64 = 3_600;

/// One connection and all it may know.
struct Bench {
    record: Record,
    settings: Arc<Settings>,
    directory: Directory,
    now: Now,
    id: ConnectionId,
    generation: u32,
    turns: u8,
    /// What the desk says at once; `None`: nothing.
    memberships: Option<Vec<MembershipState>>,
}

/// What came of a turn.
#[derive(Debug, Default)]
struct Effects {
    frames: Vec<Value>,
    asks: Vec<String>,
    close: Option<Close>,
    end: bool,
    hold: Option<bool>,
    transfer: Option<ConnectionId>,
    jobs: usize,
}

impl Bench {
    /// Open auth, defaults, unidentified.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.session.resume_window = Duration::from_secs(120);
        change(&mut config);
        let now = Now { micros: 50_000_000, unix_ms: 1_700_000_000_000 };
        Self {
            record: Record::new(Encoding::Json, now),
            settings: Arc::new(Settings::new(&config, "n1".to_owned()).expect("keys")),
            directory: Directory::new(&config.channels, 1, 0),
            now,
            id: ConnectionId::new(0, 7, 3),
            generation: 1,
            turns: 0,
            memberships: Some(Vec::new()),
        }
    }

    fn jwt() -> Self {
        Self::with(|config| {
            config.auth.mode = AuthMode::Jwt;
            config.auth.keys = vec![KEY.to_owned()];
        })
    }

    /// Identified as ann with these subscriptions, ready.
    fn ready(channels: &[&str]) -> Self {
        let mut bench = Self::new();
        bench.identify_as("ann", channels);
        bench
    }

    fn identify_as(&mut self, token: &str, channels: &[&str]) {
        let subscribe = channels.iter().map(|channel| (*channel).to_owned()).collect();
        let encoding = Some(self.record.encoding);
        let opened = self.run(Mail::Opened(&Opening { encoding, token: Some(token.to_owned()), subscribe }));
        assert_eq!(opened.asks.len(), channels.len(), "{opened:?}");
        self.answer_all(&opened.asks);
        assert!(self.frame(r#"{"op":"heartbeat"}"#).frames == [json!({"op": "heartbeat_ack"})]);
    }

    /// Lets the home answer every `subscribe` and `resume` among `asks`; what came of the last answer.
    fn answer_all(&mut self, asks: &[String]) -> Effects {
        let mut last = Effects::default();
        for ask in asks {
            let mut words = ask.split(' ');
            if let (Some("subscribe" | "resume"), Some(channel)) = (words.next(), words.next()) {
                last = self.subscribed(channel, Purpose::Welcome);
            }
        }
        last
    }

    /// One turn; and the next one if this one asks for memberships.
    fn run(&mut self, mail: Mail<'_, ConnectionActor>) -> Effects {
        let mut effects = self.run_alone(mail);
        let enrolls = effects.asks.iter().position(|ask| ask.starts_with("enroll "));
        if let (Some(at), Some(memberships)) = (enrolls, self.memberships.clone()) {
            effects.asks.remove(at);
            let then = self.answer("", Purpose::Welcome, Answer::Memberships(memberships));
            effects.frames.extend(then.frames);
            effects.asks.extend(then.asks);
            effects.hold = then.hold.or(effects.hold);
        }
        effects
    }

    fn run_alone(&mut self, mail: Mail<'_, ConnectionActor>) -> Effects {
        self.turns = self.turns.wrapping_add(1);
        let mut turn = Turn::<ConnectionActor>::new(Arc::clone(&self.settings), [self.turns; 32]);
        turn.begin(self.now, self.id, self.generation);
        let mut actor = ConnectionActor::wake(self.record.clone());
        actor.receive(mail, &mut turn);
        self.record = actor.sleep();
        Effects {
            frames: frames(&turn.take_output()),
            asks: turn.take_asks().iter().map(brief).collect(),
            close: turn.asked_close(),
            end: turn.asked_end(),
            hold: turn.asked_hold(),
            transfer: turn.asked_transfer().map(|(to, _)| to),
            jobs: turn.asked_jobs(),
        }
    }

    fn frame(&mut self, json: &str) -> Effects {
        self.run(Mail::Frame(Payload::Text(json)))
    }

    fn answer(&mut self, channel: &str, purpose: Purpose, answer: Answer) -> Effects {
        let tag = self.record.tag(purpose);
        self.answer_tagged(channel, tag, answer)
    }

    fn answer_tagged(&mut self, channel: &str, tag: Tag, answer: Answer) -> Effects {
        let channel = self.directory.intern(channel);
        self.run(Mail::Message(&Notice::answer(channel, tag, answer)))
    }

    /// The home says yes, at offset 5.
    fn subscribed(&mut self, channel: &str, purpose: Purpose) -> Effects {
        let inherits = self.record.subscription(channel).is_some();
        self.answer(channel, purpose, subscribed(inherits))
    }

    fn event(&self, channel: &str, offset: u64) -> Notice {
        let channel = self.directory.intern(channel);
        Notice::Event(std::rc::Rc::new(Arc::new(event(&channel, offset))))
    }

    fn pass(&mut self, time: Duration) {
        self.now.micros += time.as_micros() as u64;
        self.now.unix_ms += time.as_millis() as u64;
    }

    /// A jwt of ann (or whom `change` makes of her), good for an hour.
    fn jwt_of(&self, change: impl FnOnce(&mut Minting)) -> String {
        let now = self.now.unix_ms / 1_000;
        let mut claims = Minting {
            sub: "ann".to_owned(),
            iat: now,
            exp: Some(now + HOUR_S),
            iss: None,
            aud: None,
            lists: Lists::default(),
        };
        change(&mut claims);
        SigningKey::from_secret(KEY).mint(&claims, None).expect("signs")
    }

    fn ticket(&self) -> Ticket {
        Ticket {
            secret: self.record.identity.as_ref().expect("identified").secret,
            asked_at: self.now.micros + 1,
            claims: Claims { user: "ann".to_owned(), expires: None, grants: None },
            encoding: Encoding::Json,
            status: None,
            cursors: Vec::new(),
            subscribe: Vec::new(),
        }
    }
}

/// A home's yes, at offset 5.
fn subscribed(inherits: bool) -> Answer {
    let catch_up =
        CatchUp { epoch: Epoch::new(9), head: 5, recovered: true, gap: None, missed: Vec::new(), behind: None };
    let (user, status) = ("ann".into(), Status::Online);
    let subscriber = Subscriber { user, status, watches: false, inherits, replaces: false };
    Answer::Subscribed { catch_up, roster: None, subscriber }
}

fn event(channel: &Arc<Channel>, offset: u64) -> Event {
    let data = serde_json::value::to_raw_value(&offset).expect("a number");
    let frame = Frame::Event { channel: &channel.name, offset, from: "bob", at: 1, data: &data, key: None };
    Event { channel: Arc::clone(channel), offset, at: 1, frame: SharedFrame::new(&frame), since: 0 }
}

/// The objects in the frames of a server, whatever their encoding.
fn frames(mut bytes: &[u8]) -> Vec<Value> {
    let mut frames = Vec::new();
    while let [first, second, ..] = *bytes {
        let (head, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (10, u64::from_be_bytes(bytes[2..10].try_into().expect("eight bytes")) as usize),
            length => (2, usize::from(length)),
        };
        let payload = &bytes[head..head + length];
        let json = match first {
            0x81 => String::from_utf8(payload.to_vec()).expect("utf-8"),
            0x82 => json_from_msgpack(payload).expect("messagepack"),
            other => panic!("first byte {other:#x}"),
        };
        frames.push(serde_json::from_str(&json).expect("json"));
        bytes = &bytes[head + length..];
    }
    frames
}

/// An ask in one line.
fn brief(ask: &Ask) -> String {
    let names = |channels: &[Arc<Channel>]| channels.iter().map(|c| c.name.to_string()).collect::<Vec<_>>().join(",");
    let since = |since: &Since| match since {
        Since::Head => "head".to_owned(),
        Since::Cursor { epoch, offset } => format!("{}/{offset}", epoch.map_or("?".to_owned(), |e| e.to_string())),
        Since::Last(n) => format!("last {n}"),
        Since::Parked { .. } => "parked".to_owned(),
    };
    match ask {
        Ask::OfHome { channel, tag, request } => {
            let tag = match tag.purpose {
                Purpose::Request(id) | Purpose::Subscription(id) => id.map_or(" #-".to_owned(), |id| format!(" #{id}")),
                Purpose::Welcome => String::new(),
                Purpose::Entry => " entering".to_owned(),
            };
            match request {
                HomeRequest::Subscribe { subscriber, since: from } => {
                    let watches = if subscriber.watches { " watching" } else { "" };
                    let inherits = if subscriber.inherits { " again" } else { "" };
                    let replaces = if subscriber.replaces { " replacing" } else { "" };
                    let (user, status) = (&subscriber.user, subscriber.status);
                    format!("subscribe {channel} {user} {status:?} {}{watches}{inherits}{replaces}{tag}", since(from))
                }
                HomeRequest::Publish(publication) => {
                    let key = publication.key.as_ref().map(|key| format!(" key {key}")).unwrap_or_default();
                    format!("publish {channel} {} {}{key}{tag}", publication.from, publication.data)
                }
                HomeRequest::Signal { from, kind, data } => {
                    let data = data.as_ref().map(|data| format!(" {data}")).unwrap_or_default();
                    format!("signal {channel} {from} {kind}{data}{tag}")
                }
                HomeRequest::Roster => format!("roster {channel}{tag}"),
                HomeRequest::Members => format!("members {channel}{tag}"),
                HomeRequest::Describe => format!("describe {channel}{tag}"),
                HomeRequest::Join { user } => format!("join {channel} {user}{tag}"),
                HomeRequest::Leave { user } => format!("leave {channel} {user}{tag}"),
                HomeRequest::Acknowledge { user, to } => {
                    format!("ack {channel} {user} {}/{}{tag}", to.delivered, to.read)
                }
                HomeRequest::History { after, before, limit } => {
                    format!("history {channel} {after:?} {before:?} {limit}{tag}")
                }
                other => format!("{other:?}"),
            }
        }
        Ask::Unsubscribe { channel, user } => format!("unsubscribe {} {user}", channel.name),
        Ask::Tell { disconnect } => format!("tell {disconnect:?}"),
        Ask::Enroll { user, .. } => format!("enroll {user}"),
        Ask::Surplus { channel, user } => format!("surplus {} {user}", channel.name),
        Ask::Pause { channels, undelivered, told, .. } => {
            format!("pause {} {undelivered}{}", names(channels), if *told { "" } else { " untold" })
        }
        Ask::Resumed => "resumed".to_owned(),
        Ask::Resume { channel, cursor, subscriber, .. } => {
            let cursor = cursor.as_ref().map_or("where it was".to_owned(), since);
            format!("resume {} {} {:?} {cursor}", channel.name, subscriber.user, subscriber.status)
        }
        Ask::SetStatus { channels, user, status } => format!("status {} {user} {status:?}", names(channels)),
        Ask::Farewell { channels, user } => format!("farewell {} {user}", names(channels)),
    }
}

/// Every field of `expected` is in `actual`; objects may have more, lists not.
fn holds(actual: &Value, expected: &Value) -> bool {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| actual.get(key).is_some_and(|actual| holds(actual, value)))
        }
        (Value::Array(actual), Value::Array(expected)) => {
            actual.len() == expected.len() && actual.iter().zip(expected).all(|(actual, value)| holds(actual, value))
        }
        _ => actual == expected,
    }
}

impl Effects {
    /// These frames in this order, each with at least these fields, and nothing else said.
    #[track_caller]
    fn says(&self, expected: impl IntoIterator<Item = Value>) -> &Self {
        let expected: Vec<Value> = expected.into_iter().collect();
        let same = self.frames.len() == expected.len()
            && self.frames.iter().zip(&expected).all(|(actual, expected)| holds(actual, expected));
        assert!(same, "says {:#?}\nexpected {expected:#?}", self.frames);
        self
    }

    #[track_caller]
    fn asks(&self, expected: &[&str]) -> &Self {
        assert_eq!(self.asks, expected);
        self
    }

    #[track_caller]
    fn closes(&self, expected: Option<Close>) -> &Self {
        assert_eq!(self.close, expected, "{self:?}");
        self
    }

    /// It says nothing, asks nothing, and goes on.
    #[track_caller]
    fn is_nothing(&self) {
        self.says([]).asks(&[]).closes(None);
        assert!(!self.end && self.transfer.is_none(), "{self:?}");
    }
}

/// A failed request as its client is told.
fn failure(id: Option<i64>, code: &str) -> Value {
    match id {
        Some(id) => json!({"op": "reply", "id": id, "error": {"code": code}}),
        None => json!({"op": "error", "code": code}),
    }
}

#[test]
fn the_bench_takes_frames_apart() {
    let bytes = [b"\x81\x07{\"a\":1}".as_slice(), b"\x82\x04\x81\xa1b\x02", b"\x81\x7e\x00\x07{\"a\":1}"].concat();
    assert_eq!(frames(&bytes), [json!({"a": 1}), json!({"b": 2}), json!({"a": 1})]);
}
