//! The channels of one shard: seats (who of this shard is subscribed) and homes (channels whose order this shard gives
//! out). Runs on the shard's thread, between turns; talks to the hubs of other shards by letters.
//!
//! Order: a home handles requests one by one and sends answers and broadcasts in that order; letters of one sender arrive
//! in order. So a subscriber is seated exactly between the last event of its catch-up and the first live one: no hole,
//! no double.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use crate::{
    channel::{
        ask::Ask,
        burst::Burst,
        catch_up::{Gap, Since},
        desk::{DeskRequest, Desks},
        directory::{Channel, Directory},
        homes::{Homes, Outgoing, unused},
        message::{Answer, Audience, HomeRequest, Letter, Notice, Origin, Spread, Whisper},
        overflow::Overflows,
        pursuit::Pursuits,
        seat::Seat,
        storage::{News, Storage, What},
        under_way::UnderWay,
    },
    hooks::Hooks,
    id::ConnectionId,
    protocol::{
        close::Close,
        error::{ErrorCode, Fault},
        frame::GapReason,
    },
    shard::{Behaviour, Hub, Network, Post},
    telemetry::{Metrics, Tracer},
};

/// How often homes are asked whether they may go.
const FORGET_EVERY_MS: u32 = 10_000;

/// See the module's text.
pub struct ChannelHub {
    pub(super) directory: Arc<Directory>,
    metrics: Metrics,
    presence_interval_ms: u32,
    pub(super) seats: HashMap<Arc<Channel>, Seat>,
    pub(super) homes: Homes,
    pub(super) paused: HashMap<ConnectionId, Vec<(Arc<Channel>, Since)>>,
    pub(super) overflows: Overflows,
    /// Events that are about to be offered to the subscribers of this shard.
    pub(super) burst: Burst,
    pub(super) pursuits: Pursuits,
    pub(super) desks: Desks,
    told_presence_at: u32,
    forgot_at: u32,
    pub(super) under_way: UnderWay,
    /// 0: any.
    pub(super) sessions_per_user: usize,
    hooks: Hooks,
    pub(super) tracer: Tracer,
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
    /// Connections that are behind.
    pub pursuits: usize,
    /// Sessions at the desks that are here.
    pub sessions: usize,
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
            pursuits: Pursuits::default(),
            desks: Desks::default(),
            told_presence_at: 0,
            forgot_at: 0,
            under_way: UnderWay::default(),
            sessions_per_user: 0,
            hooks: Hooks::default(),
            tracer: Tracer::default(),
        }
    }

    /// With a store: channels of durable namespaces are kept there.
    #[must_use]
    pub fn with_storage(mut self, storage: Storage) -> Self {
        self.homes = self.homes.with_storage(storage);
        self
    }

    /// With at most so many sessions of one user, parked ones included; 0: any.
    #[must_use]
    pub fn with_sessions_per_user(mut self, most: u32) -> Self {
        self.sessions_per_user = most as usize;
        self
    }

    /// With a backend that is told when a client is gone.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// With somebody who traces publications.
    #[must_use]
    pub fn with_tracer(mut self, tracer: Tracer) -> Self {
        self.homes = self.homes.with_tracer(tracer.clone());
        self.tracer = tracer;
        self
    }

    /// What it remembers, for looking whether it is back to nothing.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn traces(&self) -> HubTraces {
        let (homes, subscribers) = self.homes.traces();
        let (overflows, pursuits, sessions) = (self.overflows.len(), self.pursuits.len(), self.desks.len());
        let (seats, paused) = (self.seats.len(), self.paused.len());
        HubTraces { seats, paused, overflows, pursuits, sessions, homes, subscribers }
    }

    /// Sends a request to the channel's home, which may be here.
    pub(super) fn ask_home<B>(
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
            Origin::Pursuer(to) => {
                let page = if let Answer::Page(page) = answer { Some(page) } else { None };
                if to.shard() == post.shard() {
                    self.turn_page(&channel, to, page, post);
                } else {
                    self.under_way.pursuer = None;
                    post.send(to.shard(), Letter::Page { channel, to, page });
                }
            }
            // The caller may have gone; the answer goes with it.
            Origin::Call(caller) => drop(caller.send(answer)),
            Origin::Nobody => {}
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
}

impl<B: Channeled> Hub<B> for ChannelHub {
    type Letter = Letter;

    fn ask(&mut self, from: ConnectionId, ask: Ask, post: &mut Post<'_, B, impl Network>) {
        if !matches!(ask, Ask::OfHome { request: HomeRequest::Publish(_), .. }) {
            self.hand_out_burst(post);
        }
        self.under_way.owed = match &ask {
            Ask::OfHome { tag, .. } | Ask::Resume { tag, .. } | Ask::Enroll { tag, .. } => Some((from, *tag)),
            _ => None,
        };
        match ask {
            Ask::OfHome { channel, tag, request } => {
                let creates = matches!(
                    request,
                    HomeRequest::Subscribe { .. } | HomeRequest::Publish(_) | HomeRequest::Join { .. }
                );
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
            Ask::Enroll { user, tag } => self.ask_desk(&user, DeskRequest::Enroll(from, tag), post),
            Ask::Surplus { channel, user } => self.give_up_place(channel, user, post),
            Ask::Pause { user, channels, undelivered, told } => {
                self.pause(from, channels, undelivered, told);
                self.ask_desk(&user, DeskRequest::Away, post);
            }
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
            Ask::Tell { disconnect } => self.hooks.tell(from.to_string(), disconnect),
            Ask::Farewell { channels, user } => {
                self.paused.remove(&from);
                self.overflows.take(from.index());
                self.pursuits.end(from.index());
                self.ask_desk(&user, DeskRequest::Farewell(from), post);
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
        self.under_way.pursuer = match &letter {
            Letter::Home { origin: Origin::Pursuer(pursuer), .. } => Some(*pursuer),
            _ => None,
        };
        match letter {
            Letter::Home { channel, origin, request } => self.at_home(channel, origin, request, post),
            Letter::Answer { channel, to, tag, answer } => self.arrive(channel, to, tag, answer, post),
            Letter::Spread(what) => self.spread(&what, post),
            Letter::Page { channel, to, page } => self.turn_page(&channel, to, page, post),
            Letter::Desk { user, request } => self.at_desk(&user, request, post),
            Letter::Abandon(pursuer) => post.close(pursuer, Close::GAVE_UP),
            Letter::Change { to, change } => Self::pass_on(to, change, post),
            Letter::Store(news) => self.hear_news(news, post),
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
        for (channel, after) in self.pursuits.due(connection.index()) {
            self.under_way.pursuer = Some(connection);
            self.ask_home(channel, Origin::Pursuer(connection), HomeRequest::Page { after }, post);
        }
        self.under_way.pursuer = None;
    }

    /// Homes and seats are kept: each of their changes is one step, and there is nothing they could be built again from.
    /// What a panic left undone is told: the request as crashed, the event as a gap to those it did not reach.
    fn crashed(&mut self, post: &mut Post<'_, B, impl Network>) {
        let UnderWay { owed, pursuer, stored, durable, events, reached } = std::mem::take(&mut self.under_way);
        if let Some(pursuer) = pursuer {
            if pursuer.shard() == post.shard() {
                post.close(pursuer, Close::GAVE_UP);
            } else {
                post.send(pursuer.shard(), Letter::Abandon(pursuer));
            }
        }
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
        let live = |index: &u32| *index >= reached && !self.pursuits.is_behind(*index, channel);
        for index in seat.members.iter().filter(live) {
            if let Some(id) = post.id(index) {
                post.tell(id, Notice::gap(Arc::clone(channel), gap));
            }
        }
    }

    fn tick(&mut self, post: &mut Post<'_, B, impl Network>) {
        self.under_way.owed = None;
        self.hand_out_burst(post);
        let now = post.now();
        for outgoing in self.homes.take_receipts(now) {
            self.send_out(&outgoing, post);
        }
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
