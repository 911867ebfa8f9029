//! The channels of one shard: seats (who of this shard is subscribed) and homes (channels whose order this shard gives
//! out). Runs on the shard's thread, between turns; talks to the hubs of other shards by letters.
//!
//! Order: a home handles requests one by one and sends answers and broadcasts in that order; letters of one sender arrive
//! in order. So a subscriber is seated exactly between the last event of its catch-up and the first live one: no hole,
//! no double.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use compact_str::CompactString;
use rand::{RngCore, SeedableRng, rngs::StdRng};

use crate::{
    channel::{
        directory::{Channel, Directory},
        home::{Event, Home, Since},
        message::{Answer, Ask, Audience, Description, HomeRequest, Letter, Notice, Origin, Tag, Whisper},
        overflow::Overflows,
        seat::Seat,
        shared_frame::SharedFrame,
    },
    clock::Now,
    id::{ConnectionId, Epoch},
    protocol::{
        close::Close,
        error::{ErrorCode, Fault},
        frame::{Frame, Roster},
    },
    shard::{Behaviour, Full, Hub, Post},
    telemetry::Metrics,
};

/// How often homes are asked whether they may go.
const FORGET_EVERY_MS: u32 = 10_000;

/// See the module's text.
pub struct ChannelHub {
    directory: Arc<Directory>,
    metrics: Metrics,
    presence_interval_ms: u32,
    random: StdRng,
    seats: HashMap<Arc<Channel>, Seat>,
    homes: HashMap<Arc<Channel>, Home>,
    /// Homes whose watchers have something to be told.
    restless: HashSet<Arc<Channel>>,
    paused: HashMap<ConnectionId, Vec<(Arc<Channel>, Since)>>,
    overflows: Overflows,
    told_presence_at: u32,
    forgot_at: u32,
}

/// A behaviour whose connections speak with a [`ChannelHub`].
pub trait Channeled: Behaviour<Message = Notice, Ask = Ask, Hub = ChannelHub> {}

impl<B: Behaviour<Message = Notice, Ask = Ask, Hub = ChannelHub>> Channeled for B {}

impl ChannelHub {
    /// The hub of one shard. `seed` decides its epochs.
    #[must_use]
    pub fn new(directory: Arc<Directory>, metrics: Metrics, presence_interval_ms: u32, seed: [u8; 32]) -> Self {
        Self {
            directory,
            metrics,
            presence_interval_ms,
            random: StdRng::from_seed(seed),
            seats: HashMap::new(),
            homes: HashMap::new(),
            restless: HashSet::new(),
            paused: HashMap::new(),
            overflows: Overflows::default(),
            told_presence_at: 0,
            forgot_at: 0,
        }
    }

    /// Sends a request to the channel's home, which may be here.
    fn ask_home<B>(&mut self, channel: Arc<Channel>, origin: Origin, request: HomeRequest, post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        if channel.home == post.shard() {
            self.at_home(channel, origin, request, post);
        } else {
            post.send(channel.home, Letter::Home { channel, origin, request });
        }
    }

    /// Serves a request to a channel that lives here.
    fn at_home<B>(&mut self, channel: Arc<Channel>, origin: Origin, request: HomeRequest, post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        let now = post.now();
        let home = self.homes.entry(Arc::clone(&channel)).or_insert_with(|| {
            self.directory.keep(&channel);
            Home::new(Arc::clone(&channel), Epoch::new(self.random.next_u64()), post.shards(), now)
        });
        let shard = match &origin {
            Origin::Connection(id, _) => usize::from(id.shard()),
            Origin::Call(_) | Origin::Nobody => usize::from(post.shard()),
        };
        let answer = match request {
            HomeRequest::Subscribe { subscriber, since } => {
                if !subscriber.inherits {
                    home.subscribers[shard] += 1;
                }
                let catch_up = home.catch_up(&since, now);
                let mut roster = None;
                if let Some(presence) = &mut home.presence {
                    presence.join(&subscriber.user, subscriber.status, subscriber.inherits, now.unix_ms);
                    roster = subscriber.watches.then(|| presence.roster(true));
                }
                Answer::Subscribed { catch_up, roster, subscriber }
            }
            HomeRequest::Unsubscribe { user, shard } => {
                let places = &mut home.subscribers[usize::from(shard)];
                *places = places.saturating_sub(1);
                if let Some(presence) = &mut home.presence {
                    presence.leave(&user, now.unix_ms);
                }
                Answer::Signalled
            }
            HomeRequest::Publish(publication) => {
                let (published, event) = home.publish(&publication, now);
                if let Some(event) = event {
                    self.metrics.events_published.inc();
                    let audience = home.subscribers.clone();
                    self.broadcast(&event, &audience, post);
                }
                Answer::Published(published)
            }
            HomeRequest::Signal { from, kind, data } => {
                if let Some(presence) = &mut home.presence {
                    presence.touch(&from, now.unix_ms);
                }
                let frame = SharedFrame::new(&Frame::Signal {
                    channel: &channel.name,
                    from: &from,
                    kind: &kind,
                    data: data.as_deref(),
                });
                let sender = match &origin {
                    Origin::Connection(id, _) => Some(*id),
                    Origin::Call(_) | Origin::Nobody => None,
                };
                let audience = Audience::AllBut(sender);
                let subscribers = home.subscribers.clone();
                let whisper = Whisper { channel: Arc::clone(&channel), frame, audience };
                self.whisper(&Arc::new(whisper), &subscribers, post);
                Answer::Signalled
            }
            HomeRequest::Roster => match &home.presence {
                Some(presence) => Answer::Roster(presence.roster(false)),
                None => Answer::Failed(no_presence()),
            },
            HomeRequest::SetStatus { user, status } => {
                if let Some(presence) = &mut home.presence {
                    presence.set_status(&user, status, now.unix_ms);
                }
                Answer::Signalled
            }
            HomeRequest::History { after, before, limit } => {
                let (events, more) = home.history(after, before, limit, now);
                Answer::History { events, more }
            }
            HomeRequest::Describe => Answer::Described(Description {
                channel: channel.name.to_string(),
                epoch: home.epoch,
                offset: home.head,
                subscribers: home.subscribers.iter().sum(),
                present: home.presence.as_ref().map(|presence| presence.roster(true).count),
            }),
        };
        if self
            .homes
            .get(&channel)
            .and_then(|home| home.presence.as_ref())
            .is_some_and(|presence| presence.has_changes())
        {
            self.restless.insert(Arc::clone(&channel));
        }
        self.answer(channel, origin, answer, post);
    }

    fn answer<B>(&mut self, channel: Arc<Channel>, origin: Origin, answer: Answer, post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        match origin {
            Origin::Connection(to, tag) if to.shard() == post.shard() => self.arrive(channel, to, tag, answer, post),
            Origin::Connection(to, tag) => post.send(to.shard(), Letter::Answer { channel, to, tag, answer }),
            // The caller may have gone; the answer goes with it.
            Origin::Call(caller) => drop(caller.send(answer)),
            Origin::Nobody => {}
        }
    }

    /// An answer reaches the shard of the connection that asked.
    fn arrive<B>(&mut self, channel: Arc<Channel>, to: ConnectionId, tag: Tag, answer: Answer, post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        let Answer::Subscribed { mut catch_up, roster, subscriber } = answer else {
            post.tell(to, Notice::Answer { channel, tag, answer });
            return;
        };
        if !post.is_live(to) {
            // Gone while it asked: give the place back, unless it is the one that its farewell has given back.
            if !subscriber.inherits {
                self.give_up_place(channel, subscriber.user, post);
            }
            return;
        }
        let seat = self.seats.entry(Arc::clone(&channel)).or_insert_with(|| Seat::new(catch_up.epoch, catch_up.head));
        (seat.epoch, seat.head) = (catch_up.epoch, catch_up.head);
        seat.add(to.index(), subscriber.watches);
        if subscriber.replaces {
            self.withdraw(&channel, to, post);
        }
        let (gap, missed) = (catch_up.gap, std::mem::take(&mut catch_up.missed));
        let answer = Answer::Subscribed { catch_up, roster, subscriber };
        post.tell(to, Notice::Answer { channel: Arc::clone(&channel), tag, answer });
        if let Some(gap) = gap {
            post.tell(to, Notice::Gap { channel, gap });
        }
        for event in missed {
            post.tell(to, Notice::Event(Rc::new(event)));
        }
    }

    /// Sends an event once to every shard with subscribers.
    fn broadcast<B>(&mut self, event: &Arc<Event>, subscribers: &[u32], post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        for (shard, _) in subscribers.iter().enumerate().filter(|&(_, &count)| count > 0) {
            if shard == usize::from(post.shard()) {
                self.deliver(event, post);
            } else {
                post.send(shard as u16, Letter::Broadcast(Arc::clone(event)));
            }
        }
    }

    /// Offers an event to every subscriber of this shard.
    fn deliver<B>(&mut self, event: &Arc<Event>, post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        let Some(seat) = self.seats.get_mut(&event.channel) else { return };
        seat.head = event.offset;
        let shared = Rc::new(Arc::clone(event));
        for index in &seat.members {
            if self.overflows.is_open(index, &event.channel) {
                post.refuse(index);
                self.overflows.refuse(index, &event.channel, event.offset);
            } else if let Err(Full(_)) = post.offer(index, Notice::Event(Rc::clone(&shared))) {
                // What is kept can be asked for again, so a gap says enough; what is not is lost for good unless the
                // client comes back knowing that it was away.
                if event.channel.namespace.history_events > 0 {
                    self.overflows.refuse(index, &event.channel, event.offset);
                } else if let Some(id) = post.id(index) {
                    post.close(id, Close::SLOW_CONSUMER);
                }
            }
        }
    }

    fn whisper<B>(&mut self, whisper: &Arc<Whisper>, subscribers: &[u32], post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        for (shard, _) in subscribers.iter().enumerate().filter(|&(_, &count)| count > 0) {
            if shard == usize::from(post.shard()) {
                self.hear(whisper, post);
            } else {
                post.send(shard as u16, Letter::Whisper(Arc::clone(whisper)));
            }
        }
    }

    fn hear<B>(&mut self, whisper: &Arc<Whisper>, post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        let Some(seat) = self.seats.get(&whisper.channel) else { return };
        let shared = Rc::new(Arc::clone(whisper));
        let (audience, sender) = match whisper.audience {
            Audience::AllBut(sender) => (&seat.members, sender),
            Audience::Watchers => (&seat.watchers, None),
        };
        for index in audience {
            let is_sender = sender.is_some_and(|id| post.id(index) == Some(id));
            if !is_sender && post.offer(index, Notice::Whisper(Rc::clone(&shared))).is_err() {
                self.metrics.ephemeral_dropped.inc();
            }
        }
    }

    /// Tells the home that one subscriber of this shard is gone.
    fn give_up_place<B>(&mut self, channel: Arc<Channel>, user: CompactString, post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        let request = HomeRequest::Unsubscribe { user, shard: post.shard() };
        self.ask_home(channel, Origin::Nobody, request, post);
    }

    /// Takes back what waits of `channel` for a connection that no longer wants it, or wants it again from its cursor.
    fn withdraw<B>(&mut self, channel: &Arc<Channel>, from: ConnectionId, post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        self.overflows.forget(from.index(), channel);
        post.withdraw(from, |notice| match notice {
            Notice::Event(event) => event.channel == *channel,
            Notice::Gap { channel: of, .. } => of == channel,
            Notice::Whisper(_) | Notice::Answer { .. } => false,
        });
    }

    fn leave_seat(&mut self, channel: &Arc<Channel>, index: u32) -> bool {
        let Some(seat) = self.seats.get_mut(channel) else { return false };
        let was_seated = seat.members.contains(index);
        seat.remove(index);
        if seat.members.is_empty() {
            self.seats.remove(channel);
        }
        was_seated
    }

    fn tell_presence<B>(&mut self, post: &mut Post<'_, B>)
    where
        B: Channeled,
    {
        for channel in std::mem::take(&mut self.restless) {
            let Some(home) = self.homes.get_mut(&channel) else { continue };
            let Some(changes) = home.presence.as_mut().and_then(|presence| presence.take_changes()) else { continue };
            let frame = SharedFrame::new(&Frame::Presence {
                channel: &channel.name,
                joined: &changes.joined,
                left: &changes.left,
                changed: &changes.changed,
                count: changes.count,
            });
            let subscribers = home.subscribers.clone();
            let whisper = Whisper { channel: Arc::clone(&channel), frame, audience: Audience::Watchers };
            self.whisper(&Arc::new(whisper), &subscribers, post);
        }
    }

    fn forget_homes(&mut self, now: Now) {
        let directory = &self.directory;
        self.homes.retain(|channel, home| {
            let forget = home.is_forgettable(now);
            if forget {
                directory.remove(&channel.name);
            }
            !forget
        });
    }

    fn pause(&mut self, from: ConnectionId, channels: Vec<Arc<Channel>>, undelivered: u64) {
        let untold = self.overflows.take(from.index());
        for channel in channels {
            let Some((epoch, offset)) = self.seats.get(&channel).map(|seat| (seat.epoch, seat.head)) else { continue };
            if self.leave_seat(&channel, from.index()) {
                // What did not reach the client is among the channel's newest.
                let refused = untold.iter().find(|(of, _)| *of == channel).map_or(0, |(_, gap)| offset + 1 - gap.from);
                let since = Since::Parked { epoch, offset, undelivered: undelivered + refused };
                self.paused.entry(from).or_default().push((channel, since));
            }
        }
    }

    /// From where a paused subscription would go on.
    fn take_paused(&mut self, from: ConnectionId, channel: &Arc<Channel>) -> Option<Since> {
        let paused = self.paused.get_mut(&from)?;
        let at = paused.iter().position(|(known, _)| known == channel)?;
        let (_, since) = paused.swap_remove(at);
        if paused.is_empty() {
            self.paused.remove(&from);
        }
        Some(since)
    }
}

impl<B: Channeled> Hub<B> for ChannelHub {
    type Letter = Letter;

    fn ask(&mut self, from: ConnectionId, ask: Ask, post: &mut Post<'_, B>) {
        match ask {
            Ask::OfHome { channel, tag, request } => {
                let creates = matches!(request, HomeRequest::Subscribe { .. } | HomeRequest::Publish(_));
                if !post.has_room() {
                    let channel = self.directory.imagine(&channel);
                    let fault = Fault::new(ErrorCode::Overloaded, "the node is behind, try again later");
                    post.tell(from, Notice::Answer { channel, tag, answer: Answer::Failed(fault) });
                    return;
                }
                let known = self.directory.get(&channel).or_else(|| creates.then(|| self.directory.intern(&channel)));
                let Some(known) = known else {
                    // Asking about a channel nobody has used makes no channel.
                    let channel = self.directory.imagine(&channel);
                    let answer = unused(&channel, &request);
                    post.tell(from, Notice::Answer { channel, tag, answer });
                    return;
                };
                self.ask_home(known, Origin::Connection(from, tag), request, post);
            }
            Ask::Unsubscribe { channel, user } => {
                self.leave_seat(&channel, from.index());
                self.withdraw(&channel, from, post);
                self.take_paused(from, &channel);
                self.give_up_place(channel, user, post);
            }
            Ask::Pause { channels, undelivered } => self.pause(from, channels, undelivered),
            Ask::Resume { channel, tag, cursor, subscriber } => {
                let since = self.take_paused(from, &channel);
                let since = cursor.or(since).unwrap_or(Since::Head);
                let request = HomeRequest::Subscribe { subscriber, since };
                self.ask_home(channel, Origin::Connection(from, tag), request, post);
            }
            Ask::SetStatus { channels, user, status } => {
                for channel in channels {
                    let request = HomeRequest::SetStatus { user: user.clone(), status };
                    self.ask_home(channel, Origin::Nobody, request, post);
                }
            }
            Ask::Farewell { channels, user } => {
                self.paused.remove(&from);
                self.overflows.take(from.index());
                for channel in channels {
                    self.leave_seat(&channel, from.index());
                    self.give_up_place(channel, user.clone(), post);
                }
            }
        }
    }

    fn letter(&mut self, letter: Letter, post: &mut Post<'_, B>) {
        match letter {
            Letter::Home { channel, origin, request } => self.at_home(channel, origin, request, post),
            Letter::Answer { channel, to, tag, answer } => self.arrive(channel, to, tag, answer, post),
            Letter::Broadcast(event) => self.deliver(&event, post),
            Letter::Whisper(whisper) => self.hear(&whisper, post),
        }
    }

    fn drained(&mut self, connection: ConnectionId, post: &mut Post<'_, B>) {
        for (channel, gap) in self.overflows.take(connection.index()) {
            post.tell(connection, Notice::Gap { channel, gap });
        }
    }

    fn tick(&mut self, post: &mut Post<'_, B>) {
        let now = post.now();
        if now.ms_since(self.told_presence_at) >= self.presence_interval_ms {
            self.told_presence_at = now.ms();
            self.tell_presence(post);
        }
        if now.ms_since(self.forgot_at) >= FORGET_EVERY_MS {
            self.forgot_at = now.ms();
            self.forget_homes(now);
        }
    }
}

/// What a channel answers that nobody has used.
fn unused(channel: &Channel, request: &HomeRequest) -> Answer {
    match request {
        HomeRequest::Roster if channel.namespace.presence => Answer::Roster(Roster { count: 0, users: Vec::new() }),
        HomeRequest::Roster => Answer::Failed(no_presence()),
        _ => Answer::Signalled,
    }
}

fn no_presence() -> Fault {
    use crate::protocol::error::Retry;
    Fault::new(ErrorCode::Unavailable, "presence is off in this channel's namespace").retry(Retry::Never)
}
