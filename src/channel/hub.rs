//! The channels of one shard: seats (who of this shard is subscribed) and homes (channels whose order this shard gives
//! out). Runs on the shard's thread, between turns; talks to the hubs of other shards by letters.
//!
//! Order: a home handles requests one by one and sends answers and broadcasts in that order; letters of one sender arrive
//! in order. So a subscriber is seated exactly between the last event of its catch-up and the first live one: no hole,
//! no double.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use compact_str::CompactString;

use crate::{
    channel::{
        burst::Burst,
        directory::{Channel, Directory},
        home::{Gap, Since},
        homes::{Homes, Outgoing, unused},
        message::{Answer, Ask, Audience, HomeAnswer, HomeRequest, Letter, Notice, Origin, Spread, Tag, Whisper},
        overflow::Overflows,
        seat::Seat,
        storage::{News, Storage, What},
        under_way::UnderWay,
    },
    id::ConnectionId,
    protocol::{
        error::{ErrorCode, Fault},
        frame::GapReason,
    },
    shard::{Behaviour, Hub, Network, Post},
    telemetry::Metrics,
};

/// How often homes are asked whether they may go.
const FORGET_EVERY_MS: u32 = 10_000;

/// See the module's text.
pub struct ChannelHub {
    directory: Arc<Directory>,
    metrics: Metrics,
    presence_interval_ms: u32,
    pub(super) seats: HashMap<Arc<Channel>, Seat>,
    pub(super) homes: Homes,
    pub(super) paused: HashMap<ConnectionId, Vec<(Arc<Channel>, Since)>>,
    pub(super) overflows: Overflows,
    /// Events that are about to be offered to the subscribers of this shard.
    pub(super) burst: Burst,
    told_presence_at: u32,
    forgot_at: u32,
    pub(super) under_way: UnderWay,
}

/// What a hub remembers.
#[cfg(feature = "simulation")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubTraces {
    /// Channels with subscribers on this shard.
    pub seats: usize,
    /// Parked sessions with paused subscriptions.
    pub paused: usize,
    /// Connections with untold gaps.
    pub overflows: usize,
    /// Channels that live here.
    pub homes: usize,
    /// Subscribers those have counted.
    pub subscribers: u32,
}

/// A behaviour whose connections speak with a [`ChannelHub`].
pub trait Channeled: Behaviour<Message = Notice, Ask = Ask, Hub = ChannelHub> {}

impl<B: Behaviour<Message = Notice, Ask = Ask, Hub = ChannelHub>> Channeled for B {}

impl ChannelHub {
    /// The hub of one shard. `seed` decides its epochs.
    #[must_use]
    pub fn new(
        shard: u16,
        directory: Arc<Directory>,
        metrics: Metrics,
        presence_interval_ms: u32,
        seed: [u8; 32],
    ) -> Self {
        Self {
            homes: Homes::new(shard, Arc::clone(&directory), metrics.clone(), seed),
            directory,
            metrics,
            presence_interval_ms,
            seats: HashMap::new(),
            paused: HashMap::new(),
            overflows: Overflows::default(),
            burst: Burst::default(),
            told_presence_at: 0,
            forgot_at: 0,
            under_way: UnderWay::default(),
        }
    }

    /// With a store: channels of durable namespaces are kept there.
    #[must_use]
    pub fn with_storage(mut self, storage: Storage) -> Self {
        self.homes = self.homes.with_storage(storage);
        self
    }

    /// What it remembers, for looking whether it is back to nothing.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn traces(&self) -> HubTraces {
        let (homes, subscribers) = self.homes.traces();
        let overflows = self.overflows.len();
        HubTraces { seats: self.seats.len(), paused: self.paused.len(), overflows, homes, subscribers }
    }

    /// Sends a request to the channel's home, which may be here.
    fn ask_home<B>(
        &mut self,
        channel: Arc<Channel>,
        origin: Origin,
        request: HomeRequest,
        post: &mut Post<'_, B, impl Network>,
    ) where
        B: Channeled,
    {
        if channel.home == post.shard() {
            self.at_home(channel, origin, request, post);
        } else {
            post.send(channel.home, Letter::Home { channel, origin, request });
        }
    }

    /// Serves a request to a channel that lives here: its news first, then the answer.
    pub(super) fn serve<B>(
        &mut self,
        channel: Arc<Channel>,
        origin: Origin,
        request: HomeRequest,
        post: &mut Post<'_, B, impl Network>,
    ) where
        B: Channeled,
    {
        let (answer, outgoing) = self.homes.serve(&channel, &origin, request, post.now());
        if let Some(outgoing) = outgoing {
            self.send_out(&outgoing, post);
        }
        self.answer(channel, origin, answer, post);
    }

    /// Sends something once to every shard with subscribers.
    pub(super) fn send_out<B>(&mut self, Outgoing { to, what }: &Outgoing, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        // Here last: that is work of this hub's own, and a panic in it is nobody else's.
        let own = usize::from(post.shard());
        for (shard, _) in to.iter().enumerate().filter(|&(shard, &count)| count > 0 && shard != own) {
            post.send(shard as u16, Letter::Spread(what.clone()));
        }
        if to.get(own).is_some_and(|&count| count > 0) {
            self.spread(what, post);
        }
    }

    /// Offers something to the subscribers of this shard.
    fn spread<B>(&mut self, what: &Spread, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        match what {
            Spread::Event(event) => self.deliver(event, post),
            Spread::Whisper(whisper) => self.hear(whisper, post),
        }
    }

    pub(super) fn answer<B>(
        &mut self,
        channel: Arc<Channel>,
        origin: Origin,
        answer: Answer,
        post: &mut Post<'_, B, impl Network>,
    ) where
        B: Channeled,
    {
        match origin {
            Origin::Connection(to, tag) if to.shard() == post.shard() => self.arrive(channel, to, tag, answer, post),
            Origin::Connection(to, tag) => {
                self.under_way.owed = None;
                post.send(to.shard(), Letter::Answer { channel, to, tag, answer });
            }
            // The caller may have gone; the answer goes with it.
            Origin::Call(caller) => drop(caller.send(answer)),
            Origin::Nobody => {}
        }
    }

    /// An answer reaches the shard of the connection that asked.
    fn arrive<B>(
        &mut self,
        channel: Arc<Channel>,
        to: ConnectionId,
        tag: Tag,
        answer: Answer,
        post: &mut Post<'_, B, impl Network>,
    ) where
        B: Channeled,
    {
        let notice = Notice::answer(channel, tag, answer);
        let awaited = post.awaits(to, &notice);
        let (channel, mut catch_up, roster, subscriber) = match notice {
            Notice::Answer(home) if matches!(home.answer, Answer::Subscribed { .. }) => {
                let HomeAnswer { channel, answer, .. } = *home;
                let Answer::Subscribed { catch_up, roster, subscriber } = answer else { return };
                (channel, catch_up, roster, subscriber)
            }
            notice => {
                self.under_way.owed = None;
                if awaited {
                    post.tell(to, notice);
                }
                return;
            }
        };
        if !awaited {
            self.under_way.owed = None;
            // Its socket, or its record, has gone while it asked: nobody has been told of it, so it is none. One that inherits
            // has its place by the record, whose farewell gives it back.
            if !subscriber.inherits {
                self.give_up_place(channel, subscriber.user, post);
            }
            return;
        }
        self.hand_out_burst(post);
        let seat = self.seats.entry(Arc::clone(&channel)).or_insert_with(|| Seat::new(catch_up.epoch, catch_up.head));
        (seat.epoch, seat.head) = (catch_up.epoch, catch_up.head);
        seat.add(to.index(), subscriber.watches);
        if subscriber.replaces || !subscriber.inherits {
            self.withdraw(&channel, to, post);
        }
        let (gap, missed) = (catch_up.gap, std::mem::take(&mut catch_up.missed));
        let answer = Answer::Subscribed { catch_up, roster, subscriber };
        self.under_way.owed = None;
        post.tell(to, Notice::answer(Arc::clone(&channel), tag, answer));
        // Left only where the replay does not replace what was waiting: then that is told first.
        if let Some(gap) = self.overflows.take_of(to.index(), &channel) {
            post.tell(to, Notice::gap(Arc::clone(&channel), gap));
        }
        if let Some(gap) = gap {
            post.tell(to, Notice::gap(channel, gap));
        }
        for event in missed {
            post.tell(to, Notice::Event(Rc::new(event)));
        }
    }

    /// Offers something ephemeral to those it is for.
    fn hear<B>(&mut self, whisper: &Arc<Whisper>, post: &mut Post<'_, B, impl Network>)
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
    fn give_up_place<B>(&mut self, channel: Arc<Channel>, user: CompactString, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        let request = HomeRequest::Unsubscribe { user, shard: post.shard() };
        self.ask_home(channel, Origin::Nobody, request, post);
    }

    /// Takes back what waits of `channel` for a connection that no longer wants it, or wants it again from its cursor.
    fn withdraw<B>(&mut self, channel: &Arc<Channel>, from: ConnectionId, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        self.overflows.forget(from.index(), channel);
        post.withdraw(from, |notice| match notice {
            Notice::Event(event) => event.channel == *channel,
            Notice::Gap(gap) => gap.channel == *channel,
            Notice::Whisper(_) | Notice::Answer(_) => false,
        });
    }

    pub(super) fn leave_seat(&mut self, channel: &Arc<Channel>, index: u32) -> bool {
        let Some(seat) = self.seats.get_mut(channel) else { return false };
        let was_seated = seat.members.contains(index);
        seat.remove(index);
        if seat.members.is_empty() {
            self.seats.remove(channel);
        }
        was_seated
    }
}

impl<B: Channeled> Hub<B> for ChannelHub {
    type Letter = Letter;

    fn ask(&mut self, from: ConnectionId, ask: Ask, post: &mut Post<'_, B, impl Network>) {
        if !matches!(ask, Ask::OfHome { request: HomeRequest::Publish(_), .. }) {
            self.hand_out_burst(post);
        }
        self.under_way.owed = match &ask {
            Ask::OfHome { tag, .. } | Ask::Resume { tag, .. } => Some((from, *tag)),
            _ => None,
        };
        match ask {
            Ask::OfHome { channel, tag, request } => {
                let creates = matches!(request, HomeRequest::Subscribe { .. } | HomeRequest::Publish(_));
                if !post.has_room() {
                    let channel = self.directory.imagine(&channel);
                    let fault = Fault::new(ErrorCode::Overloaded, "the node is behind, try again later");
                    post.tell(from, Notice::answer(channel, tag, Answer::Failed(fault)));
                    return;
                }
                let known = self.directory.get(&channel).or_else(|| creates.then(|| self.directory.intern(&channel)));
                let Some(known) = known else {
                    // Asking about a channel nobody has used makes no channel.
                    let channel = self.directory.imagine(&channel);
                    let answer = unused(&channel, &request);
                    post.tell(from, Notice::answer(channel, tag, answer));
                    return;
                };
                self.ask_home(known, Origin::Connection(from, tag), request, post);
            }
            Ask::Unsubscribe { channel, user } => {
                self.leave_seat(&channel, from.index());
                self.withdraw(&channel, from, post);
                self.forget_paused(from, &channel);
                self.give_up_place(channel, user, post);
            }
            Ask::Pause { channels, undelivered, told } => self.pause(from, channels, undelivered, told),
            Ask::Resumed => drop(self.paused.remove(&from)),
            Ask::Resume { channel, tag, cursor, subscriber } => {
                // Remembered until the client has been told: its socket may be gone before.
                let since = cursor.or_else(|| self.paused_since(from, &channel)).unwrap_or(Since::Head);
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

    fn letter(&mut self, letter: Letter, post: &mut Post<'_, B, impl Network>) {
        match &letter {
            Letter::Spread(Spread::Event(_)) | Letter::Home { request: HomeRequest::Publish(_), .. } => {}
            _ => self.hand_out_burst(post),
        }
        self.under_way.owed = match &letter {
            Letter::Home { origin: Origin::Connection(to, tag), .. } | Letter::Answer { to, tag, .. } => {
                Some((*to, *tag))
            }
            _ => None,
        };
        match letter {
            Letter::Home { channel, origin, request } => self.at_home(channel, origin, request, post),
            Letter::Answer { channel, to, tag, answer } => self.arrive(channel, to, tag, answer, post),
            Letter::Spread(what) => self.spread(&what, post),
            Letter::Store(news) => {
                let channel = Arc::clone(&news.channel);
                self.homes.hear(news);
                self.work_off(channel, post);
            }
        }
    }

    fn has_more(&self) -> bool {
        !self.burst.is_empty()
    }

    fn hand_out(&mut self, post: &mut Post<'_, B, impl Network>) {
        self.under_way.owed = None;
        self.hand_out_burst(post);
    }

    fn drained(&mut self, connection: ConnectionId, post: &mut Post<'_, B, impl Network>) {
        self.under_way.owed = None;
        self.hand_out_burst(post);
        for (channel, gap) in self.overflows.take(connection.index()) {
            post.tell(connection, Notice::gap(channel, gap));
        }
    }

    /// Homes and seats are kept: each of their changes is one step, and there is nothing they could be built again from.
    /// What a panic left undone is told: the request as crashed, the event as a gap to those it did not reach.
    fn crashed(&mut self, post: &mut Post<'_, B, impl Network>) {
        let UnderWay { owed, stored, durable, events, reached } = std::mem::take(&mut self.under_way);
        if let Some((to, tag)) = owed {
            let crashed = || Fault::new(ErrorCode::Crashed, "the channel's shard crashed over this request");
            let answer = stored.map_or_else(|| Answer::Failed(crashed()), Answer::Published);
            // Nobody looks at the channel of a failure, or of a publication.
            let channel = self.directory.imagine("");
            if to.shard() == post.shard() {
                post.tell(to, Notice::answer(channel, tag, answer));
            } else {
                post.send(to.shard(), Letter::Answer { channel, to, tag, answer });
            }
        }
        if let Some(channel) = durable {
            // The rest of its tasks, and perhaps an event that is on disk and that nobody has been told of.
            post.send(post.shard(), Letter::Store(News { channel, what: What::Interrupted }));
        }
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        let (channel, gap) = (&first.channel, Gap { from: first.offset, to: last.offset, reason: GapReason::Crash });
        let Some(seat) = self.seats.get(channel) else { return };
        for index in seat.members.iter().filter(|index| *index >= reached) {
            if let Some(id) = post.id(index) {
                post.tell(id, Notice::gap(Arc::clone(channel), gap));
            }
        }
    }

    fn tick(&mut self, post: &mut Post<'_, B, impl Network>) {
        self.under_way.owed = None;
        self.hand_out_burst(post);
        let now = post.now();
        if now.ms_since(self.told_presence_at) >= self.presence_interval_ms {
            self.told_presence_at = now.ms();
            for outgoing in self.homes.take_presence() {
                self.send_out(&outgoing, post);
            }
        }
        if now.ms_since(self.forgot_at) >= FORGET_EVERY_MS {
            self.forgot_at = now.ms();
            self.homes.forget(now);
        }
    }
}
