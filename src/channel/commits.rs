//! The durable homes of one shard and the store: how a home is opened and loaded, how a publication gets its place once it is
//! on disk, and what is answered when it cannot get there.
//!
//! A home hears of its events by the store's answers. When one of those shows an offset that does not follow the head, or
//! says that nobody knows what was kept, the home reads what it has missed: no event on disk stays unheard.

use std::sync::Arc;

use crate::{
    channel::{
        backlog::{Offered, Stage, Task},
        directory::Channel,
        home::{Home, Publication, Published},
        homes::{Homes, Outgoing},
        message::{Answer, HomeRequest, Origin, Spread},
        reader::Loaded,
        storage::{News, Storage, What, fault},
        traced,
    },
    clock::Now,
    protocol::error::{ErrorCode, Fault},
    store::{Appended, StoreError},
};

/// Requests that may wait at the homes of one shard for the store.
const MOST_WAITING: usize = 65_536;

/// What becomes of a request to a durable home.
pub(super) enum Admission {
    /// It needs nothing of the store.
    Serve(Origin, HomeRequest),
    /// It will be a [`Task`], or the store has it now.
    Waits,
    /// Done.
    Answered(Origin, Answer),
    /// Nothing will come of it.
    Refused(Origin, Fault),
}

/// What the hub does next for a durable home.
pub(super) enum Step {
    /// As any request.
    Serve(Origin, HomeRequest),
    /// News first, then the answer.
    Tell(Option<Outgoing>, Option<(Origin, Answer)>),
}

impl Homes {
    /// Whether the store has a say in this channel.
    pub(super) fn is_durable(&self, channel: &Channel) -> bool {
        channel.namespace.durable && self.storage.is_some()
    }

    /// Takes a request to a durable home.
    pub(super) fn admit(
        &mut self,
        channel: &Arc<Channel>,
        origin: Origin,
        request: HomeRequest,
        now: Now,
    ) -> Admission {
        self.make(channel, now);
        let Self { homes, storage: Some(storage), waiting, .. } = self else {
            return Admission::Serve(origin, request);
        };
        let Some(home) = homes.get_mut(channel) else { return Admission::Serve(origin, request) };
        if home.backlog().is_clear() {
            return home.take_on(storage, origin, request, now);
        }
        // Who leaves must not be forgotten: nobody will say it again, and there are no more of them than came.
        if *waiting >= MOST_WAITING && !matches!(origin, Origin::Nobody) {
            let fault = Fault::new(ErrorCode::Overloaded, "too many wait for the store, try again later");
            return Admission::Refused(origin, fault);
        }
        *waiting += 1;
        home.backlog().requests.push_back((origin, request));
        if matches!(home.backlog().stage, Stage::New) {
            home.open(storage);
        }
        Admission::Waits
    }

    /// The store says something.
    pub(super) fn hear(&mut self, News { channel, what }: News) {
        let Self { homes, storage: Some(storage), .. } = self else { return };
        let Some(home) = homes.get_mut(&channel) else { return };
        match what {
            What::Opened(Ok(extent)) if extent.head == 0 && !home.backlog().known => {
                home.begin(extent, Vec::new());
                home.backlog().known = true;
                home.backlog().stage = Stage::Open;
            }
            What::Opened(Ok(_)) => home.load(storage),
            What::Opened(Err(error)) => home.backlog().stage = Stage::Closed(fault(&error)),
            What::Loaded(Ok(loaded)) => home.take_in(loaded),
            What::Loaded(Err(error)) if home.backlog().known => {
                home.backlog().blind = true;
                home.backlog().stage = Stage::Open;
                tracing::error!(channel = %channel.name, %error, "going on without what the store may have kept");
            }
            What::Loaded(Err(error)) => home.backlog().stage = Stage::Closed(fault(&error)),
            What::Stored { ticket, outcome } => home.backlog().land(ticket, outcome),
            // These are settled, not heard.
            What::Done { .. } | What::Paged { .. } | What::Listed { .. } => {}
            What::Interrupted => home.backlog().in_doubt = true,
        }
    }

    /// The next thing a durable home has to do; `None` when it waits, or has nothing.
    pub(super) fn take(&mut self, channel: &Arc<Channel>) -> Option<Task> {
        let Self { homes, storage, waiting, .. } = self;
        let home = homes.get_mut(channel)?;
        let refusal = match &home.backlog().stage {
            Stage::Opening | Stage::Loading => return None,
            Stage::New | Stage::Open => None,
            Stage::Closed(fault) => Some(fault.clone()),
        };
        if let Some(event) = home.backlog().found.pop_front() {
            return Some(Task::Found(event));
        }
        if home.misses_something() {
            home.backlog().in_doubt = false;
            home.load(storage.as_ref()?);
            return matches!(home.backlog().stage, Stage::Open).then(|| self.take(channel)).flatten();
        }
        if let Some((offered, outcome)) = home.backlog().landed.pop_front() {
            return Some(Task::Landed(offered, outcome));
        }
        home.backlog().blind = false;
        let Some((origin, request)) = home.backlog().requests.pop_front() else {
            if refusal.is_some() {
                // The next request tries again.
                home.backlog().stage = Stage::New;
            }
            return None;
        };
        *waiting = waiting.saturating_sub(1);
        Some(Task::Request(origin, request, refusal))
    }

    /// Does it.
    pub(super) fn perform(&mut self, channel: &Arc<Channel>, task: Task, now: Now) -> Option<Step> {
        let Self { homes, storage, metrics, tracer, .. } = self;
        let home = homes.get_mut(channel)?;
        let spread = |home: &Home, event| Outgoing { to: home.subscribers.clone(), what: Spread::Event(event) };
        Some(match task {
            Task::Found(event) => {
                home.keep(Arc::clone(&event));
                metrics.events_published.inc();
                Step::Tell(Some(spread(home, event)), None)
            }
            Task::Landed(Offered { origin, publication, since, .. }, outcome) => match outcome {
                Err(error) => Step::Tell(None, Some((origin, Answer::Failed(fault(&error))))),
                Ok(appended) => {
                    let Appended { offset, at, duplicate, first, .. } = appended;
                    let published = Published { offset, at, duplicate };
                    let news = (!appended.duplicate && appended.offset > home.head).then(|| {
                        metrics.events_published.inc();
                        let event = home.place(&publication, published, since);
                        home.first = home.first.max(first);
                        traced::published(tracer, &event, &origin, &home.subscribers, now.micros);
                        spread(home, event)
                    });
                    Step::Tell(news, Some((origin, Answer::Published(published))))
                }
            },
            // Nobody hears that these could not be done, and they need nothing of the store.
            Task::Request(
                origin,
                request @ (HomeRequest::Unsubscribe { .. } | HomeRequest::SetStatus { .. }),
                Some(_),
            ) => Step::Serve(origin, request),
            Task::Request(origin, _, Some(fault)) => Step::Tell(None, Some((origin, Answer::Failed(fault)))),
            Task::Request(origin, request, None) => match home.take_on(storage.as_ref()?, origin, request, now) {
                Admission::Serve(origin, request) => Step::Serve(origin, request),
                Admission::Waits => Step::Tell(None, None),
                Admission::Answered(origin, answer) => Step::Tell(None, Some((origin, answer))),
                Admission::Refused(origin, fault) => Step::Tell(None, Some((origin, Answer::Failed(fault)))),
            },
        })
    }
}

impl Home {
    /// Gives the store a publication, or gives it back.
    pub(super) fn offer(
        &mut self,
        storage: &Storage,
        origin: Origin,
        publication: Publication,
        now: Now,
    ) -> Result<(), (Origin, Fault)> {
        self.touch(&publication.from, now);
        if let Err(fault) = self.pair_up(storage) {
            return Err((origin, fault));
        }
        let ticket = self.backlog().ticket();
        match storage.append(&self.channel, ticket, &publication) {
            Ok(()) => {
                self.backlog().push(Offered { ticket, origin, publication, since: now.micros });
                Ok(())
            }
            Err(fault) => Err((origin, fault)),
        }
    }

    fn open(&mut self, storage: &Storage) {
        if storage.knows(&self.channel) {
            return self.load(storage);
        }
        self.backlog().stage = match storage.open(&self.channel) {
            Ok(()) => Stage::Opening,
            Err(fault) => Stage::Closed(fault),
        };
    }

    fn load(&mut self, storage: &Storage) {
        let after = self.backlog().known.then_some(self.head);
        self.backlog().stage = match storage.load(&self.channel, after) {
            Ok(()) => Stage::Loading,
            Err(fault) if !self.backlog().known => Stage::Closed(fault),
            Err(_) => {
                self.backlog().blind = true;
                Stage::Open
            }
        };
    }

    /// What the disk has. The first time it is the past, later it is news.
    fn take_in(&mut self, Loaded { extent, events }: Loaded) {
        let (same, head) = (self.epoch == extent.epoch, self.head);
        let backlog = self.backlog();
        backlog.stage = Stage::Open;
        if !std::mem::replace(&mut backlog.known, true) || !same {
            return self.begin(extent, events);
        }
        backlog.found = events.into_iter().filter(|event| event.offset > head).collect();
        if backlog.found.is_empty() {
            // What has landed and is not kept on disk is still to be told.
            let landed = backlog.landed.iter().filter_map(|(_, outcome)| Some(outcome.as_ref().ok()?.offset)).min();
            self.head = head.max(extent.head.min(landed.map_or(u64::MAX, |offset| offset.saturating_sub(1))));
        }
    }

    /// Something is on disk that the subscribers have not heard of and that belongs before what comes next.
    fn misses_something(&mut self) -> bool {
        let (epoch, head) = (self.epoch, self.head);
        let backlog = self.backlog();
        if !backlog.known || backlog.blind {
            return false;
        }
        match backlog.landed.front() {
            Some((_, Ok(next))) if next.epoch != epoch => true,
            Some((_, Ok(next))) => next.offset > head + u64::from(!next.duplicate),
            Some((_, Err(StoreError::Crashed))) | None => backlog.in_doubt,
            Some((_, Err(_))) => false,
        }
    }
}
