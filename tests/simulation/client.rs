//! One client of the wire protocol: it identifies, asks, follows its channels, loses sockets and resumes, and judges
//! whatever the server sends. An `Err` is a broken promise.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use dormouse::{
    id::{ConnectionId, SessionToken},
    protocol::encoding::{Encoding, json_from_msgpack, msgpack_from_json},
    shard::{Line, Peer},
};
use rand::{Rng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    crashes::Crashes,
    frames,
    plan::{Plan, has_history, has_presence},
    subscription::{From, Subscription},
    tell,
    truth::Truth,
};

/// A little less than a server waits for its last words to be read.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) type Judged = Result<(), String>;

/// What a client needs of the world to judge.
pub(crate) struct World<'a> {
    pub(crate) truth: &'a mut Truth,
    pub(crate) crashes: &'a Crashes,
    pub(crate) plan: &'a Plan,
    pub(crate) now: Duration,
    pub(crate) rng: &'a mut StdRng,
}

pub(crate) struct Client {
    pub(crate) name: usize,
    pub(crate) user: String,
    pub(crate) encoding: Encoding,
    pub(crate) link: Option<Link>,
    session: Option<String>,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    pub(crate) status: &'static str,
    next_id: u64,
    published: u64,
    links: u64,
    /// Keyed publications whose outcome is not known.
    uncertain: Vec<(String, String)>,
    pub(crate) events: u64,
    pub(crate) replies: u64,
    /// Of all bytes that came.
    pub(crate) digest: u64,
}

/// One socket.
pub(crate) struct Link {
    pub(crate) peer: Peer,
    arrived: Vec<u8>,
    /// Written, not yet given to the network.
    pub(crate) leaving: VecDeque<u8>,
    pub(crate) phase: Phase,
    greeted: bool,
    asked: BTreeMap<u64, Asked>,
    cursors: BTreeMap<String, From>,
    identify: Option<Value>,
    tried_resume: bool,
    opened: Duration,
    pub(crate) spoke: Duration,
    longest_silence: Duration,
    /// When there was last nothing to read.
    drained: Duration,
    longest_deafness: Duration,
    /// Reads seldom.
    pub(crate) slow: bool,
    /// Somebody will cut or close it.
    pub(crate) doomed: bool,
    publishes_live: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before `ready`; whether `identify` was sent.
    Arriving(bool),
    Ready,
    /// We sent a close frame.
    Leaving,
}

#[derive(Clone, Debug)]
enum Asked {
    Subscribe { channel: String, from: From, watches: bool },
    Unsubscribe { channel: String },
    Publish { channel: String, publication: String, keyed: bool },
    Status(&'static str),
    Anything,
}

impl Client {
    pub(crate) fn new(name: usize, user: String, encoding: Encoding) -> Self {
        Self {
            name,
            user,
            encoding,
            link: None,
            session: None,
            subscriptions: BTreeMap::new(),
            status: "online",
            next_id: 1,
            published: 0,
            links: 0,
            uncertain: Vec::new(),
            events: 0,
            replies: 0,
            digest: 0,
        }
    }

    fn link_name(&self) -> String {
        format!("{}/{}", self.name, self.links)
    }

    /// The session it would resume.
    pub(crate) fn session(&self) -> Option<ConnectionId> {
        Some(self.session.as_ref()?.parse::<SessionToken>().ok()?.connection)
    }

    /// A socket is open. `identified`: its URL carries the token.
    pub(crate) fn opened(&mut self, peer: Peer, identified: bool, now: Duration, slow: bool) {
        if identified {
            // The URL names neither session nor cursors.
            self.subscriptions.clear();
            self.status = "online";
        }
        self.links += 1;
        self.link = Some(Link {
            peer,
            arrived: Vec::new(),
            leaving: VecDeque::new(),
            phase: Phase::Arriving(identified),
            greeted: false,
            asked: BTreeMap::new(),
            cursors: BTreeMap::new(),
            identify: None,
            tried_resume: false,
            opened: now,
            spoke: now,
            longest_silence: Duration::ZERO,
            drained: now,
            longest_deafness: Duration::ZERO,
            slow,
            doomed: false,
            publishes_live: false,
        });
    }

    /// The socket is gone, whoever was the reason.
    pub(crate) fn lost(&mut self) {
        let Some(link) = self.link.take() else { return };
        for asked in link.asked.into_values() {
            self.unanswered(asked);
        }
        for subscription in self.subscriptions.values_mut() {
            subscription.roster = None;
        }
    }

    fn unanswered(&mut self, asked: Asked) {
        match asked {
            Asked::Publish { channel, publication, keyed: true } => self.uncertain.push((channel, publication)),
            // Whether it still holds is not known: the next `ready` says.
            Asked::Unsubscribe { channel } => drop(self.subscriptions.remove(&channel)),
            Asked::Status(status) => self.status = status,
            _ => {}
        }
    }

    fn send(&mut self, value: &Value, rng: &mut StdRng) {
        let Some(link) = &mut self.link else { return };
        let text = value.to_string();
        tell(|| format!("{} -> {text}", self.name));
        let (opcode, payload) = match self.encoding {
            Encoding::Json => (frames::TEXT, text.into_bytes()),
            Encoding::Msgpack => (frames::BINARY, msgpack_from_json(text.as_bytes())),
        };
        let mut bytes = Vec::new();
        if rng.random_ratio(1, 12) && payload.len() > 2 {
            let cut = rng.random_range(1..payload.len());
            frames::write(&mut bytes, false, opcode, &payload[..cut], rng.random());
            frames::write(&mut bytes, true, frames::PING, b"between", rng.random());
            frames::write(&mut bytes, true, 0, &payload[cut..], rng.random());
        } else {
            frames::write(&mut bytes, true, opcode, &payload, rng.random());
        }
        link.leaving.extend(bytes);
    }

    fn ask(&mut self, mut value: Value, asked: Asked, rng: &mut StdRng) {
        let id = self.next_id;
        self.next_id += 1;
        value["id"] = json!(id);
        if let Some(link) = &mut self.link {
            link.asked.insert(id, asked);
        }
        self.send(&value, rng);
    }

    /// Sends `identify`, with everything it has to go on from.
    pub(crate) fn identify(&mut self, world: &mut World<'_>) {
        let resume = self.session.is_some() && world.rng.random_ratio(9, 10);
        let with_cursors = !resume || world.rng.random_ratio(4, 5);
        let cursor = |own: &Subscription| From::Cursor { epoch: own.epoch.clone(), offset: own.next - 1 };
        let cursors: BTreeMap<String, From> = if with_cursors {
            self.subscriptions.iter().map(|(channel, own)| (channel.clone(), cursor(own))).collect()
        } else {
            BTreeMap::new()
        };
        let mut frame = json!({"op": "identify", "token": self.user, "status": self.status});
        if resume {
            frame["resume"] = json!(self.session);
        }
        for (channel, from) in &cursors {
            if let From::Cursor { epoch, offset } = from {
                frame["cursors"][channel] = json!({"epoch": epoch, "offset": offset});
            }
        }
        self.send(&frame, world.rng);
        if let Some(link) = &mut self.link {
            link.phase = Phase::Arriving(true);
            link.cursors = cursors;
            link.identify = Some(frame);
            link.tried_resume = resume;
        }
    }

    pub(crate) fn heartbeat(&mut self, rng: &mut StdRng) {
        self.send(&json!({"op": "heartbeat"}), rng);
    }

    /// Asks for something.
    pub(crate) fn act(&mut self, world: &mut World<'_>) {
        let channel = world.plan.channel(world.rng);
        match world.rng.random_range(0..100) {
            0..40 => self.publish(&channel, world),
            40..60 => self.subscribe(&channel, world.rng.random_ratio(1, 2), world),
            60..68 => {
                if let Some(channel) = self.subscriptions.keys().next().cloned() {
                    self.ask(
                        json!({"op": "unsubscribe", "channel": channel}),
                        Asked::Unsubscribe { channel },
                        world.rng,
                    );
                }
            }
            68..74 => {
                let data = json!({"c": self.link_name()});
                let frame = json!({"op": "signal", "channel": channel, "kind": "typing", "data": data});
                self.ask(frame, Asked::Anything, world.rng);
            }
            74..80 => {
                self.ask(json!({"op": "presence", "channel": channel}), Asked::Anything, world.rng);
            }
            80..85 => {
                let status = world.plan.status(&self.user, world.rng);
                self.ask(json!({"op": "status", "status": status}), Asked::Status(status), world.rng);
            }
            85..88 => self.ask(json!({"op": "whoami"}), Asked::Anything, world.rng),
            88..91 => {
                self.ask(json!({"op": "history", "channel": channel, "limit": 3}), Asked::Anything, world.rng);
            }
            91..93 if world.plan.chaos => {
                self.ask(json!({"op": "chaos", "fault": "panic"}), Asked::Anything, world.rng);
            }
            93..94 if world.plan.chaos => {
                self.ask(json!({"op": "chaos", "fault": "stall", "ms": 20}), Asked::Anything, world.rng);
            }
            94..95 => self.ask(json!({"op": "no_such_op"}), Asked::Anything, world.rng),
            _ => self.heartbeat(world.rng),
        }
    }

    fn publish(&mut self, channel: &str, world: &mut World<'_>) {
        if world.rng.random_ratio(1, 4)
            && let Some((channel, publication)) = self.uncertain.pop()
        {
            return self.publish_once(&channel, publication, true, world.rng);
        }
        self.published += 1;
        let publication = format!("{}-{}", self.name, self.published);
        let keyed = world.rng.random_ratio(1, 2);
        self.publish_once(channel, publication, keyed, world.rng);
    }

    fn publish_once(&mut self, channel: &str, publication: String, keyed: bool, rng: &mut StdRng) {
        // The same publication always looks the same: its length follows from its name.
        let padding = "x".repeat(publication.bytes().map(usize::from).sum::<usize>() * 7 % 300);
        let mut frame = json!({"op": "publish", "channel": channel, "data": {"p": publication, "x": padding}});
        if keyed {
            frame["key"] = json!(publication);
        }
        if let Some(link) = &mut self.link {
            link.publishes_live |= !has_history(channel);
        }
        self.ask(frame, Asked::Publish { channel: channel.to_owned(), publication, keyed }, rng);
    }

    fn subscribe(&mut self, channel: &str, watches: bool, world: &mut World<'_>) {
        let own = self.subscriptions.get(channel);
        let from = match (own, world.rng.random_range(0..4)) {
            (Some(own), 0..2) => From::Cursor { epoch: own.epoch.clone(), offset: own.next - 1 },
            (None, 0) => From::Cursor { epoch: "unknown".to_owned(), offset: 3 },
            (_, 2) => From::Last(world.rng.random_range(0..20)),
            _ => From::Head,
        };
        let watches = watches && has_presence(channel);
        let mut frame = json!({"op": "subscribe", "channel": channel, "presence": watches});
        match &from {
            From::Head => {}
            From::Cursor { epoch, offset } => frame["from"] = json!({"epoch": epoch, "offset": offset}),
            From::Last(n) => frame["last"] = json!(n),
        }
        let asked = Asked::Subscribe { channel: channel.to_owned(), from, watches };
        self.ask(frame, asked, world.rng);
    }

    /// Asks for the roster of every channel with presence anew.
    pub(crate) fn watch(&mut self, rng: &mut StdRng) {
        let channels: Vec<String> = self.subscriptions.keys().filter(|name| has_presence(name)).cloned().collect();
        for channel in channels {
            let frame = json!({"op": "subscribe", "channel": channel, "presence": true});
            self.ask(frame, Asked::Subscribe { channel, from: From::Head, watches: true }, rng);
        }
    }

    /// Says goodbye.
    pub(crate) fn leave(&mut self, rng: &mut StdRng) {
        if let Some(link) = &mut self.link {
            let mut bytes = Vec::new();
            frames::write(&mut bytes, true, frames::CLOSE, &1000_u16.to_be_bytes(), rng.random());
            link.leaving.extend(bytes);
            link.phase = Phase::Leaving;
        }
        self.session = None;
    }

    /// Gives at most `most` bytes to the network.
    pub(crate) fn write(&mut self, most: usize, now: Duration) {
        let Some(link) = &mut self.link else { return };
        let most = most.min(link.leaving.len());
        if most > 0 {
            let bytes: Vec<u8> = link.leaving.drain(..most).collect();
            link.peer.send(&bytes);
            link.longest_silence = link.longest_silence.max(now - link.spoke);
            link.spoke = now;
        }
    }

    /// Takes at most `most` bytes and judges what they say.
    pub(crate) fn read(&mut self, most: usize, world: &mut World<'_>) -> Judged {
        let Some(link) = &mut self.link else { return Ok(()) };
        let drained = std::mem::replace(&mut link.drained, world.now);
        let bytes = link.peer.take(most);
        link.longest_deafness = link.longest_deafness.max(world.now - drained);
        if !bytes.is_empty() {
            link.drained = drained;
        }
        let mut hasher = DefaultHasher::new();
        (self.digest, &bytes).hash(&mut hasher);
        self.digest = hasher.finish();
        link.arrived.extend(bytes);
        loop {
            let Some(link) = &mut self.link else { return Ok(()) };
            match frames::read(&mut link.arrived)? {
                Some((frames::CLOSE, payload)) => return self.closed(&payload, world),
                Some((frames::PONG, payload)) if payload == b"between" => {}
                Some((frames::TEXT, payload)) if self.encoding == Encoding::Json => {
                    let value = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
                    self.frame(&value, world).map_err(|error| format!("{error} (on {value})"))?;
                }
                Some((frames::BINARY, payload)) if self.encoding == Encoding::Msgpack => {
                    let text = json_from_msgpack(&payload).map_err(|fault| fault.message.to_string())?;
                    let value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                    self.frame(&value, world).map_err(|error| format!("{error} (on {value})"))?;
                }
                Some((opcode, _)) => return Err(format!("a frame of kind {opcode}")),
                None => break,
            }
        }
        let Some(link) = &self.link else { return Ok(()) };
        match link.peer.line() {
            Line::Open => Ok(()),
            // Whoever does not read for so long is closed without having read why.
            // So is one whose socket holds less than the server has to say.
            _ if link.doomed
                || link.phase == Phase::Leaving
                || world.now - drained >= PATIENCE
                || (world.plan.capacity <= 100 && link.longest_deafness >= PATIENCE) =>
            {
                self.lost();
                Ok(())
            }
            line => Err(format!("its socket is {line:?} without a word")),
        }
    }

    fn closed(&mut self, payload: &[u8], world: &mut World<'_>) -> Judged {
        let Some(link) = &self.link else { return Ok(()) };
        let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        let plan = world.plan;
        let silent = world.now - link.spoke;
        tell(|| format!("{:?} {} closed {code}", world.now, self.name));
        let allowed = match code {
            1000 => link.phase == Phase::Leaving,
            4000 => world.crashes.may_give_up(&link.peer.slots(), link.opened),
            // The server may have heard of it later than it was sent.
            // And it hears nobody who does not listen.
            4001 => silent.max(link.longest_silence).max(link.longest_deafness) >= plan.config.heartbeat.interval,
            4002 => {
                link.phase != Phase::Ready
                    || self.subscriptions.keys().any(|channel| !has_history(channel))
                    || link.asks_for_live()
            }
            4004 => plan.config.limits.publish_per_second < 1000,
            4500 => link.phase != Phase::Ready && world.now - link.opened >= plan.config.session.identify_within,
            4503 => link.doomed,
            _ => false,
        };
        if !allowed {
            return Err(format!("closed with {code} for nothing; silent for {silent:?}, phase {:?}", link.phase));
        }
        link.peer.end();
        self.lost();
        Ok(())
    }

    fn frame(&mut self, frame: &Value, world: &mut World<'_>) -> Judged {
        tell(|| format!("{:?} {} <- {frame}", world.now, self.name));
        let op = frame["op"].as_str().unwrap_or_default();
        let Some(link) = &mut self.link else { return Ok(()) };
        if (op == "hello") == link.greeted {
            return Err("`hello` is not the first frame, or comes twice".to_owned());
        }
        link.greeted = true;
        let channel = frame["channel"].as_str().unwrap_or_default();
        match op {
            "hello" | "heartbeat_ack" => Ok(()),
            "ready" => self.ready(frame, world),
            "reply" => self.reply(frame, world),
            "event" => self.event(channel, frame, world),
            "gap" => self.gap(channel, frame, world),
            "presence" => self.presence(channel, frame),
            "signal" => {
                self.subscribed(channel)?;
                if frame["data"]["c"] == json!(self.link_name()) {
                    Err("heard its own signal".to_owned())
                } else {
                    Ok(())
                }
            }
            "restarted" => self.restarted(frame, world.rng),
            "error" if frame.get("id").is_none() => Ok(()),
            _ => Err("an unexpected frame".to_owned()),
        }
    }

    fn subscribed(&mut self, channel: &str) -> Result<&mut Subscription, String> {
        self.subscriptions.get_mut(channel).ok_or_else(|| format!("not subscribed to {channel}"))
    }

    fn ready(&mut self, frame: &Value, world: &mut World<'_>) -> Judged {
        let Some(link) = &mut self.link else { return Ok(()) };
        if link.phase == Phase::Ready || link.phase == Phase::Arriving(false) {
            return Err("`ready` that nobody asked for".to_owned());
        }
        if link.phase == Phase::Arriving(true) {
            link.phase = Phase::Ready;
        }
        let cursors = std::mem::take(&mut link.cursors);
        self.session = frame["session"].as_str().map(ToOwned::to_owned);
        let resumed = frame["resumed"] == json!(true);
        if resumed && !link.tried_resume {
            return Err("resumed without asking".to_owned());
        }
        let mut before = std::mem::take(&mut self.subscriptions);
        for state in frame["subscriptions"].as_array().into_iter().flatten() {
            let name = state["channel"].as_str().unwrap_or_default();
            let epoch = state["epoch"].as_str().unwrap_or_default();
            let (head, recovered) = (state["offset"].as_u64().unwrap_or_default(), state["recovered"] == json!(true));
            let from = cursors.get(name).unwrap_or(&From::Head);
            if *from != From::Head {
                before.remove(name);
            }
            self.subscriptions.insert(name.to_owned(), Subscription::begin(None, from, epoch, head, recovered)?);
        }
        let missing = cursors.keys().find(|name| !self.subscriptions.contains_key(*name));
        match missing {
            Some(name) if cursors.len() < world.plan.config.limits.subscriptions && !world.plan.crashes() => {
                Err(format!("`ready` does not list {name}"))
            }
            _ => Ok(()),
        }
    }

    fn reply(&mut self, frame: &Value, world: &mut World<'_>) -> Judged {
        self.replies += 1;
        let Some(link) = &mut self.link else { return Ok(()) };
        let id = frame["id"].as_u64().unwrap_or_default();
        let Some(asked) = link.asked.remove(&id) else { return Err("a reply nobody waits for".to_owned()) };
        let (ok, error) = (frame.get("ok"), frame.get("error"));
        let Some(ok) = ok else {
            let code = error.and_then(|error| error["code"].as_str()).unwrap_or_default();
            return self.refused(asked, code);
        };
        match asked {
            Asked::Subscribe { channel, from, watches } => {
                let epoch = ok["epoch"].as_str().unwrap_or_default();
                let (head, recovered) = (ok["offset"].as_u64().unwrap_or_default(), ok["recovered"] == json!(true));
                let before = self.subscriptions.remove(&channel);
                let mut own = Subscription::begin(before, &from, epoch, head, recovered)?;
                own.roster = None;
                if let Some(roster) = ok.get("presence").filter(|_| watches) {
                    let users = roster["users"].as_array().into_iter().flatten();
                    let status =
                        |user: &Value| Some((user["user"].as_str()?.to_owned(), user["status"].as_str()?.to_owned()));
                    let seen: BTreeMap<_, _> = users.filter_map(status).collect();
                    // Of more than a hundred only the first are told here: no roster to be judged by.
                    own.roster = (roster["count"].as_u64() == Some(seen.len() as u64)).then_some(seen);
                }
                self.subscriptions.insert(channel, own);
                Ok(())
            }
            Asked::Unsubscribe { channel } => {
                self.subscriptions.remove(&channel);
                Ok(())
            }
            Asked::Publish { channel, publication, .. } => {
                world.truth.placed(&channel, ok["offset"].as_u64().unwrap_or_default(), &publication)
            }
            Asked::Status(status) => {
                self.status = status;
                Ok(())
            }
            Asked::Anything => Ok(()),
        }
    }

    fn refused(&mut self, asked: Asked, code: &str) -> Judged {
        if let (Asked::Subscribe { channel, .. }, "crashed") = (&asked, code)
            && let Some(own) = self.subscriptions.get_mut(channel)
        {
            own.expect_doubles();
        }
        match (code, asked) {
            ("crashed", Asked::Publish { channel, publication, keyed: true }) => {
                self.uncertain.push((channel, publication));
                Ok(())
            }
            (
                "crashed" | "rate_limited" | "overloaded" | "unavailable" | "unknown_op" | "not_found" | "too_large",
                _,
            ) => Ok(()),
            (code, asked) => Err(format!("{asked:?} was refused with {code}")),
        }
    }

    fn event(&mut self, channel: &str, frame: &Value, world: &mut World<'_>) -> Judged {
        let offset = frame["offset"].as_u64().unwrap_or_default();
        let own = self.subscribed(channel)?;
        if own.event(offset)? {
            let epoch = own.epoch.clone();
            let publication = frame["data"]["p"].as_str().unwrap_or_default();
            let body = format!("{} at {}: {}", frame["from"], frame["at"], frame["data"]);
            self.events += 1;
            world.truth.saw(channel, &epoch, offset, &body, publication)?;
        }
        Ok(())
    }

    fn gap(&mut self, channel: &str, frame: &Value, world: &mut World<'_>) -> Judged {
        let (from, to) = (frame["from"].as_u64().unwrap_or_default(), frame["to"].as_u64().unwrap_or_default());
        if frame["reason"] == json!("crash") {
            let slots = self.link.as_ref().map(|link| link.peer.slots()).unwrap_or_default();
            let given_up = self.link.as_ref().is_some_and(|link| world.crashes.may_give_up(&slots, link.opened));
            // What waited for an earlier socket went with it, so both crashes are of this one's time.
            let opened = self.link.as_ref().map(|link| link.opened).unwrap_or_default();
            if world.crashes.deliveries(&slots, opened) < 2 && !given_up {
                return Err("an event was given up after less than two crashes".to_owned());
            }
        }
        self.subscribed(channel)?.gap(from, to)
    }

    fn presence(&mut self, channel: &str, frame: &Value) -> Judged {
        let own = self.subscribed(channel)?;
        if let Some(roster) = &mut own.roster {
            for user in frame["joined"].as_array().into_iter().chain(frame["changed"].as_array()).flatten() {
                let (name, status) =
                    (user["user"].as_str().unwrap_or_default(), user["status"].as_str().unwrap_or_default());
                roster.insert(name.to_owned(), status.to_owned());
            }
            for user in frame["left"].as_array().into_iter().flatten() {
                roster.remove(user.as_str().unwrap_or_default());
            }
        }
        Ok(())
    }

    fn restarted(&mut self, frame: &Value, rng: &mut StdRng) -> Judged {
        let Some(link) = &self.link else { return Ok(()) };
        // Before `ready` it may have been the `identify` that was lost.
        if link.phase == Phase::Arriving(true)
            && frame["lost"] != json!(0)
            && let Some(identify) = link.identify.clone()
        {
            self.send(&identify, rng);
        }
        Ok(())
    }

    /// Nothing is on its way any more.
    pub(crate) fn quiet(&self, heads: &BTreeMap<String, u64>) -> Judged {
        let Some(link) = &self.link else { return Ok(()) };
        if let Some((id, asked)) = link.asked.iter().next() {
            return Err(format!("no reply to {id}: {asked:?}"));
        }
        if link.phase != Phase::Ready {
            return Err(format!("its phase is {:?}", link.phase));
        }
        for (channel, own) in &self.subscriptions {
            own.end(heads.get(channel).copied().unwrap_or(own.next - 1))
                .map_err(|error| format!("{channel}: {error}"))?;
        }
        Ok(())
    }
}

impl Link {
    fn asks_for_live(&self) -> bool {
        self.asked.values().any(|asked| matches!(asked, Asked::Subscribe { channel, .. } if !has_history(channel)))
    }
}
