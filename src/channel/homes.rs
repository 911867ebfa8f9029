//! The homes of one shard: every channel whose order this shard gives out. Serves requests to them and says what is to
//! be spread; the hub carries it. Knows no connection and no mailbox.
//!
//! A home is made by the first request to its channel and forgotten when nothing depends on it any more.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rand::{RngCore, SeedableRng, rngs::StdRng};

use crate::{
    channel::{
        catch_up::Found,
        directory::{Channel, Directory},
        home::Home,
        message::{Answer, Audience, Description, HomeRequest, Origin, Spread, Whisper},
        presence::Presence,
        shared_frame::SharedFrame,
        storage::Storage,
        traced,
    },
    clock::Now,
    id::Epoch,
    protocol::{
        error::{ErrorCode, Fault, Retry},
        frame::{Frame, Members, Roster, Standing},
    },
    telemetry::{Metrics, Tracer},
};

/// See the module's text.
pub(super) struct Homes {
    shard: u16,
    directory: Arc<Directory>,
    pub(super) metrics: Metrics,
    random: StdRng,
    pub(super) homes: HashMap<Arc<Channel>, Home>,
    /// What durable homes stand on. Without it they are like the others.
    pub(super) storage: Option<Storage>,
    /// Requests that wait at durable homes.
    pub(super) waiting: usize,
    /// Homes whose watchers have something to be told.
    restless: HashSet<Arc<Channel>>,
    /// Homes with receipts to tell.
    pub(super) receipting: HashSet<Arc<Channel>>,
    pub(super) tracer: Tracer,
}

/// What a home has for the subscribers of all shards.
pub(super) struct Outgoing {
    /// Subscribers per shard: where there are none, nothing is sent.
    pub(super) to: Vec<u32>,
    pub(super) what: Spread,
}

impl Homes {
    /// No homes yet. `seed` decides the epochs.
    pub(super) fn new(shard: u16, directory: Arc<Directory>, metrics: Metrics, seed: [u8; 32]) -> Self {
        Self {
            shard,
            directory,
            metrics,
            random: StdRng::from_seed(seed),
            homes: HashMap::new(),
            storage: None,
            waiting: 0,
            restless: HashSet::new(),
            receipting: HashSet::new(),
            tracer: Tracer::default(),
        }
    }

    /// With a store behind the channels that are durable.
    pub(super) fn with_storage(self, storage: Storage) -> Self {
        Self { storage: Some(storage), ..self }
    }

    /// With somebody who traces publications.
    pub(super) fn with_tracer(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// Makes the home of a channel, if there is none.
    pub(super) fn make(&mut self, channel: &Arc<Channel>, now: Now) {
        home(&mut self.homes, &self.directory, &mut self.random, channel, now);
    }

    /// Serves a request to a channel that lives here.
    pub(super) fn serve(
        &mut self,
        channel: &Arc<Channel>,
        origin: &Origin,
        request: HomeRequest,
        now: Now,
    ) -> (Answer, Option<Outgoing>) {
        let home = home(&mut self.homes, &self.directory, &mut self.random, channel, now);
        let shard = match origin {
            Origin::Connection(id, _) => usize::from(id.shard()),
            Origin::Call(_) | Origin::Pursuer(_) | Origin::Nobody => usize::from(self.shard),
        };
        let mut outgoing = None;
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
                    traced::published(&self.tracer, &event, origin, &home.subscribers, now.micros);
                    outgoing = Some(Outgoing { to: home.subscribers.clone(), what: Spread::Event(event) });
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
                let sender = match origin {
                    Origin::Connection(id, _) => Some(*id),
                    _ => None,
                };
                let whisper = Whisper { channel: Arc::clone(channel), frame, audience: Audience::AllBut(sender) };
                outgoing = Some(Outgoing { to: home.subscribers.clone(), what: Spread::Whisper(Arc::new(whisper)) });
                Answer::Signalled
            }
            HomeRequest::Roster => match &mut home.presence {
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
                // Without a store there is nothing but what the home holds.
                let (events, more) = match home.history(after, before, limit, now) {
                    Found::Here(found) => found,
                    Found::Stored(_) => (Vec::new(), true),
                };
                Answer::History { events, more }
            }
            HomeRequest::Page { after } => match home.page(after, now) {
                Found::Here(page) => Answer::Page(page),
                Found::Stored(_) => Answer::Page(home.stored_page(after, Vec::new())),
            },
            HomeRequest::Members
            | HomeRequest::Join { .. }
            | HomeRequest::Leave { .. }
            | HomeRequest::Acknowledge { .. } => Answer::Failed(no_memberships()),
            HomeRequest::Describe => Answer::Described(Description {
                channel: channel.name.to_string(),
                epoch: home.epoch,
                offset: home.head,
                subscribers: home.subscribers.iter().sum(),
                present: home.presence.as_ref().map(Presence::count),
            }),
        };
        if home.presence.as_ref().is_some_and(|presence| presence.has_changes()) {
            self.restless.insert(Arc::clone(channel));
        }
        (answer, outgoing)
    }

    /// What has changed in who is here, since the last call, for the watchers of each channel.
    pub(super) fn take_presence(&mut self) -> Vec<Outgoing> {
        let mut restless: Vec<_> = std::mem::take(&mut self.restless).into_iter().collect();
        // Always the same order for the same events: a simulation must repeat itself.
        restless.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        restless.into_iter().filter_map(|channel| self.changes(channel)).collect()
    }

    /// Receipts that may be told by now, for the subscribers of each channel.
    pub(super) fn take_receipts(&mut self, now: Now) -> Vec<Outgoing> {
        let mut all = Vec::new();
        if self.receipting.is_empty() {
            return all;
        }
        let mut receipting: Vec<_> = self.receipting.drain().collect();
        receipting.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for channel in receipting {
            let Some(home) = self.homes.get_mut(&channel) else { continue };
            let told = home.receipts.take(home.subscribers.iter().sum(), now.unix_ms);
            all.extend(told.into_iter().map(|(user, standing)| {
                let frame = SharedFrame::new(&Frame::Receipt { channel: &channel.name, user: &user, standing });
                let whisper = Whisper { channel: Arc::clone(&channel), frame, audience: Audience::AllBut(None) };
                Outgoing { to: home.subscribers.clone(), what: Spread::Whisper(Arc::new(whisper)) }
            }));
            if !home.receipts.is_empty() {
                self.receipting.insert(channel);
            }
        }
        all
    }

    fn changes(&mut self, channel: Arc<Channel>) -> Option<Outgoing> {
        let home = self.homes.get_mut(&channel)?;
        let changes = home.presence.as_mut()?.take_changes()?;
        let frame = SharedFrame::new(&Frame::Presence {
            channel: &channel.name,
            joined: &changes.joined,
            left: &changes.left,
            changed: &changes.changed,
            count: changes.count,
        });
        let whisper = Whisper { channel, frame, audience: Audience::Watchers };
        Some(Outgoing { to: home.subscribers.clone(), what: Spread::Whisper(Arc::new(whisper)) })
    }

    /// Homes, and subscribers counted in them.
    #[cfg(feature = "simulation")]
    pub(super) fn traces(&self) -> (usize, u32) {
        (self.homes.len(), self.homes.values().flat_map(|home| &home.subscribers).sum())
    }

    /// Drops homes that nothing depends on.
    pub(super) fn forget(&mut self, now: Now) {
        let directory = &self.directory;
        self.homes.retain(|channel, home| {
            let forget = home.is_forgettable(now);
            if forget {
                directory.remove(&channel.name);
            }
            !forget
        });
    }
}

/// The home of a channel, made if need be.
fn home<'a>(
    homes: &'a mut HashMap<Arc<Channel>, Home>,
    directory: &Directory,
    random: &mut StdRng,
    channel: &Arc<Channel>,
    now: Now,
) -> &'a mut Home {
    homes.entry(Arc::clone(channel)).or_insert_with(|| {
        directory.keep(channel);
        let shards = usize::from(directory.shards());
        Home::new(Arc::clone(channel), Epoch::new(random.next_u64()), shards, now)
    })
}

/// What a channel answers that nobody has used.
pub(super) fn unused(channel: &Channel, request: &HomeRequest) -> Answer {
    match request {
        HomeRequest::Roster if channel.namespace.presence => Answer::Roster(Roster { count: 0, users: Vec::new() }),
        HomeRequest::Roster => Answer::Failed(no_presence()),
        HomeRequest::History { .. } => Answer::History { events: Vec::new(), more: false },
        HomeRequest::Members | HomeRequest::Leave { .. } | HomeRequest::Acknowledge { .. }
            if !channel.namespace.durable =>
        {
            Answer::Failed(no_memberships())
        }
        HomeRequest::Members => Answer::Members(Members::default()),
        HomeRequest::Leave { .. } => Answer::Left(false),
        HomeRequest::Acknowledge { .. } => Answer::Standing(Standing::default()),
        _ => Answer::Signalled,
    }
}

fn no_memberships() -> Fault {
    let message = "memberships and cursors are kept in durable namespaces, and this channel's is not";
    Fault::new(ErrorCode::Unavailable, message).retry(Retry::Never)
}

fn no_presence() -> Fault {
    Fault::new(ErrorCode::Unavailable, "presence is off in this channel's namespace").retry(Retry::Never)
}
