//! What a hub does with the desks of its shard: sessions come and go, and hear of the memberships of their users.
//!
//! A session stands at its desk before the store is asked which memberships there are, and a change is told after it is on
//! disk: so whatever changes while a session begins is in the answer, or is told behind it, or both.

use crate::{
    channel::{
        desk::DeskRequest,
        hub::{ChannelHub, Channeled},
        message::{Answer, Letter, Membership, Notice, Origin, Tag},
        storage::fault,
    },
    id::ConnectionId,
    protocol::error::{ErrorCode, Fault},
    shard::{Network, Post},
};

impl ChannelHub {
    /// Writes to the desk of a user, which may be here.
    pub(super) fn ask_desk<B>(&mut self, user: &str, request: DeskRequest, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        let desk = self.directory.desk(user);
        if desk == post.shard() {
            self.at_desk(user, request, post);
        } else {
            post.send(desk, Letter::Desk { user: user.into(), request });
        }
    }

    /// Serves the desk of a user that is here.
    pub(super) fn at_desk<B>(&mut self, user: &str, request: DeskRequest, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        let hash = self.directory.hash(user);
        match request {
            DeskRequest::Enroll(session, tag) => {
                self.under_way.owed = Some((session, tag));
                let most = self.sessions_per_user;
                if most > 0 && !self.desks.has_room(hash, session, most) {
                    let message = format!("{user} has {most} sessions, as many as one user may have");
                    let fault = Fault::new(ErrorCode::RateLimited, message);
                    self.under_way.owed = None;
                    return self.answer_session(session, tag, Answer::Failed(fault), post);
                }
                self.desks.enroll(hash, session);
                let storage = self.homes.storage.as_ref();
                let found = storage.map_or(Ok(Some(Vec::new())), |storage| storage.memberships(user, session, tag));
                match found {
                    Ok(Some(found)) => self.answer_session(session, tag, Answer::Memberships(found), post),
                    // Comes from the store's reader.
                    Ok(None) => {}
                    Err(fault) => self.answer_session(session, tag, Answer::Failed(fault), post),
                }
                self.under_way.owed = None;
            }
            DeskRequest::Found(session, tag, found) => {
                self.under_way.owed = Some((session, tag));
                let answer = found.map_or_else(|error| Answer::Failed(fault(&error)), Answer::Memberships);
                self.answer_session(session, tag, answer, post);
            }
            DeskRequest::Away => self.desks.see(user, post.now().unix_ms),
            DeskRequest::Farewell(session) => {
                self.desks.farewell(hash, session);
                self.desks.see(user, post.now().unix_ms);
            }
            DeskRequest::Tell(change) => {
                let sessions: Vec<_> = self.desks.sessions(hash).collect();
                for to in sessions {
                    if to.shard() == post.shard() {
                        Self::pass_on(to, change.clone(), post);
                    } else {
                        post.send(to.shard(), Letter::Change { to, change: change.clone() });
                    }
                }
            }
            DeskRequest::Describe(caller) => {
                let person = self.desks.describe(hash, user);
                match &self.homes.storage {
                    // The caller may have gone; the answer goes with it. One that is dropped says that there is none.
                    None => drop(caller.send(person)),
                    Some(storage) => storage.describe(user.into(), person, caller),
                }
            }
        }
    }

    /// Tells a session of this shard that a membership has begun or ended.
    pub(super) fn pass_on<B>(to: ConnectionId, change: Membership, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        post.tell(to, Notice::Membership(Box::new(change)));
    }

    fn answer_session<B>(
        &mut self,
        session: ConnectionId,
        tag: Tag,
        answer: Answer,
        post: &mut Post<'_, B, impl Network>,
    ) where
        B: Channeled,
    {
        // Nobody looks at the channel of such an answer.
        let channel = self.directory.imagine("");
        self.answer(channel, Origin::Connection(session, tag), answer, post);
    }
}
