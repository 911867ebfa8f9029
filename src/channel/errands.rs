//! What the store does for a durable home beside its publications: memberships, cursors, history, pages. An errand leaves with
//! a ticket and its outcome is looked at when it comes back, in no order with the events.

use std::sync::Arc;

use compact_str::CompactString;

use crate::{
    channel::{
        backlog::Errand,
        catch_up::{Found, PAGE},
        commits::Admission,
        directory::Channel,
        home::{Event, Home},
        homes::Homes,
        message::{Answer, Change, HomeRequest, Membership, Origin},
        storage::{Storage, fault},
    },
    clock::Now,
    protocol::{error::Fault, frame::Members, name},
    store::{Outcome, StoreError, Write},
};

/// What came of an errand: somebody is answered, and perhaps a user's sessions hear of a change.
pub(super) struct Settled {
    pub(super) origin: Origin,
    pub(super) answer: Answer,
    pub(super) told: Option<Membership>,
}

impl Settled {
    fn new(origin: Origin, answer: Answer) -> Self {
        Self { origin, answer, told: None }
    }
}

/// What the store brings back.
pub(super) enum Brought {
    Outcome(Result<Outcome, StoreError>),
    Events(Result<(Vec<Arc<Event>>, bool), StoreError>),
    Members(Result<Members, StoreError>),
}

impl Home {
    /// Begins a request whose time has come: what needs the store leaves for it, the rest is served here.
    pub(super) fn take_on(&mut self, storage: &Storage, origin: Origin, request: HomeRequest, now: Now) -> Admission {
        let (errand, write) = match request {
            HomeRequest::Publish(publication) => {
                return match self.offer(storage, origin, publication, now) {
                    Ok(()) => Admission::Waits,
                    Err((origin, fault)) => Admission::Refused(origin, fault),
                };
            }
            HomeRequest::History { after, before, limit } => match self.history(after, before, limit, now) {
                Found::Here((events, more)) => {
                    return Admission::Answered(origin, Answer::History { events, more });
                }
                Found::Stored(range) => {
                    let ticket = self.backlog().ticket();
                    let sent = storage.page(&self.channel, ticket, range, limit);
                    return self.sent(sent, ticket, origin, Errand::History { range, before });
                }
            },
            HomeRequest::Page { after } => match self.page(after, now) {
                Found::Here(page) => return Admission::Answered(origin, Answer::Page(page)),
                Found::Stored(range) => {
                    let ticket = self.backlog().ticket();
                    let sent = storage.page(&self.channel, ticket, range, PAGE);
                    return self.sent(sent, ticket, origin, Errand::Page { after });
                }
            },
            HomeRequest::Members => {
                let ticket = self.backlog().ticket();
                let sent = storage.members(&self.channel, ticket);
                return self.sent(sent, ticket, origin, Errand::Members);
            }
            HomeRequest::Join { user } => {
                let write = Write::Join { channel: self.name(), user: user.clone() };
                (Errand::Join { user, asked: true }, write)
            }
            HomeRequest::Leave { user } => {
                // The next publication makes both members again.
                self.backlog().paired = false;
                let write = Write::Leave { channel: self.name(), user: user.clone() };
                (Errand::Leave { user }, write)
            }
            HomeRequest::Acknowledge { user, to } => {
                if let Some(presence) = &mut self.presence {
                    presence.touch(&user, now.unix_ms);
                }
                let (channel, delivered, read) = (self.name(), to.delivered, to.read);
                let write = Write::Acknowledge { channel, user: user.clone(), delivered, read };
                (Errand::Acknowledge { user }, write)
            }
            request => return Admission::Serve(origin, request),
        };
        let ticket = self.backlog().ticket();
        let sent = storage.write(&self.channel, ticket, write);
        self.sent(sent, ticket, origin, errand)
    }

    fn sent(&mut self, sent: Result<(), Fault>, ticket: u64, origin: Origin, errand: Errand) -> Admission {
        match sent {
            Ok(()) => {
                self.backlog().errands.insert(ticket, (origin, errand));
                Admission::Waits
            }
            Err(fault) => Admission::Refused(origin, fault),
        }
    }

    /// Makes both users of a channel for two members, before its next publication.
    pub(super) fn pair_up(&mut self, storage: &Storage) -> Result<(), Fault> {
        if self.backlog().paired {
            return Ok(());
        }
        if let Some(Some((first, second))) = name::direct(&self.channel.name) {
            let users: [CompactString; 2] = [first.into(), second.into()];
            for user in &users[usize::from(first == second)..] {
                let ticket = self.backlog().ticket();
                storage.write(&self.channel, ticket, Write::Join { channel: self.name(), user: user.clone() })?;
                let errand = Errand::Join { user: user.clone(), asked: false };
                self.backlog().errands.insert(ticket, (Origin::Nobody, errand));
            }
        }
        self.backlog().paired = true;
        Ok(())
    }

    fn name(&self) -> CompactString {
        (&*self.channel.name).into()
    }

    fn joined(&mut self, origin: Origin, user: CompactString, asked: bool, outcome: &Outcome) -> Option<Settled> {
        let Outcome::Membership { changed, cursors } = *outcome else { return None };
        let (epoch, delivered) = (self.epoch, cursors.delivered);
        let channel = Arc::clone(&self.channel);
        // Who asks wants his sessions subscribed even if one of them has had enough before.
        let change = Change::Joined { epoch, delivered, new: changed };
        let told = (changed || asked).then_some(Membership { user, channel, change });
        let answer = Answer::Joined { epoch, head: self.head, standing: cursors.into() };
        Some(Settled { origin, answer, told })
    }
}

impl Homes {
    /// Who waits for an errand, for the case that its outcome crashes the hub.
    pub(super) fn waits_for(&self, channel: &Arc<Channel>, ticket: u64) -> Option<&Origin> {
        let errands = &self.homes.get(channel)?.backlog.as_ref()?.errands;
        errands.get(&ticket).map(|(origin, _)| origin)
    }

    /// An errand is back.
    pub(super) fn settle(&mut self, channel: &Arc<Channel>, ticket: u64, brought: Brought) -> Option<Settled> {
        let home = self.homes.get_mut(channel)?;
        let (origin, errand) = home.backlog().errands.remove(&ticket)?;
        Some(match (errand, brought) {
            (Errand::Join { user, asked }, Brought::Outcome(Ok(outcome))) => {
                return home.joined(origin, user, asked, &outcome);
            }
            (Errand::Leave { user }, Brought::Outcome(Ok(Outcome::Membership { changed, .. }))) => {
                let channel = Arc::clone(channel);
                let told = changed.then_some(Membership { user, channel, change: Change::Left });
                Settled { origin, answer: Answer::Left(changed), told }
            }
            (Errand::Acknowledge { user }, Brought::Outcome(Ok(Outcome::Acknowledged { moved, cursors }))) => {
                if moved && home.settings().receipts {
                    home.receipts.note(user, cursors.into());
                    self.receipting.insert(Arc::clone(channel));
                }
                Settled::new(origin, Answer::Standing(cursors.into()))
            }
            (Errand::History { range, before }, Brought::Events(Ok((events, more)))) => {
                let (events, more) = home.stored_history(range, before, events, more);
                Settled::new(origin, Answer::History { events, more })
            }
            (Errand::Page { after }, Brought::Events(events)) => {
                // What cannot be read will not arrive, and that is told.
                let events = events.map(|(events, _)| events).unwrap_or_default();
                Settled::new(origin, Answer::Page(home.stored_page(after, events)))
            }
            (Errand::Members, Brought::Members(Ok(mut members))) => {
                if let Some(presence) = &home.presence {
                    for member in &mut members.members {
                        member.last_seen = presence.last_seen(&member.user);
                    }
                }
                Settled::new(origin, Answer::Members(members))
            }
            (errand, Brought::Outcome(Err(error)) | Brought::Events(Err(error)) | Brought::Members(Err(error))) => {
                if let Errand::Join { .. } = errand {
                    home.backlog().paired = false;
                }
                Settled::new(origin, Answer::Failed(fault(&error)))
            }
            _ => return None,
        })
    }
}
