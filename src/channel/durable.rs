//! What a hub does with the durable homes of its shard: takes requests to them in order, and works off what they have to do
//! when the store has answered. How a home and the store get on is in `commits.rs`.

use std::sync::Arc;

use crate::{
    channel::{
        commits::{Admission, Step},
        desk::DeskRequest,
        directory::Channel,
        errands::{Brought, Settled},
        hub::{ChannelHub, Channeled},
        message::{Answer, HomeRequest, Origin},
        storage::{News, What},
    },
    shard::{Network, Post},
};

impl ChannelHub {
    /// Takes a request to a channel that lives here.
    pub(super) fn at_home<B>(
        &mut self,
        channel: Arc<Channel>,
        origin: Origin,
        request: HomeRequest,
        post: &mut Post<'_, B, impl Network>,
    ) where
        B: Channeled,
    {
        if !self.homes.is_durable(&channel) {
            return self.serve(channel, origin, request, post);
        }
        match self.homes.admit(&channel, origin, request, post.now()) {
            Admission::Serve(origin, request) => self.serve(channel, origin, request, post),
            Admission::Answered(origin, answer) => self.answer(channel, origin, answer, post),
            Admission::Refused(origin, fault) => self.answer(channel, origin, Answer::Failed(fault), post),
            Admission::Waits => {
                self.under_way.owed = None;
                self.work_off(channel, post);
            }
        }
    }

    /// The store has something to say to a home of this shard.
    pub(super) fn hear_news<B>(&mut self, news: News, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        let channel = Arc::clone(&news.channel);
        match news.what {
            What::Done { ticket, outcome } => self.settle(&channel, ticket, Brought::Outcome(outcome), post),
            What::Listed { ticket, members } => self.settle(&channel, ticket, Brought::Members(members), post),
            What::Paged { ticket, page } => self.settle(&channel, ticket, Brought::Events(page), post),
            _ => {
                self.homes.hear(news);
                self.work_off(channel, post);
            }
        }
    }

    /// An errand of a durable home is back.
    fn settle<B>(&mut self, channel: &Arc<Channel>, ticket: u64, brought: Brought, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        match self.homes.waits_for(channel, ticket) {
            Some(Origin::Connection(to, tag)) => self.under_way.owed = Some((*to, *tag)),
            Some(Origin::Pursuer(pursuer)) => self.under_way.pursuer = Some(*pursuer),
            _ => {}
        }
        if let Some(Settled { origin, answer, told }) = self.homes.settle(channel, ticket, brought) {
            // The sessions first: who asked hears nothing of his own membership behind the answer.
            if let Some(membership) = told {
                let user = membership.user.clone();
                self.ask_desk(&user, DeskRequest::Tell(membership), post);
            }
            self.answer(Arc::clone(channel), origin, answer, post);
        }
        (self.under_way.owed, self.under_way.pursuer) = (None, None);
    }

    /// Does what a durable home has to do, until it waits for the store again. Each task leaves its queue alone, so a panic
    /// costs that one.
    pub(super) fn work_off<B>(&mut self, channel: Arc<Channel>, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        self.under_way.durable = Some(Arc::clone(&channel));
        while let Some(task) = self.homes.take(&channel) {
            (self.under_way.owed, self.under_way.pursuer) = match task.origin() {
                Some(Origin::Connection(to, tag)) => (Some((*to, *tag)), None),
                Some(Origin::Pursuer(pursuer)) => (None, Some(*pursuer)),
                _ => (None, None),
            };
            self.under_way.stored = task.stored();
            match self.homes.perform(&channel, task, post.now()) {
                Some(Step::Serve(origin, request)) => self.serve(Arc::clone(&channel), origin, request, post),
                Some(Step::Tell(news, answer)) => {
                    if let Some(news) = news {
                        self.send_out(&news, post);
                    }
                    if let Some((origin, answer)) = answer {
                        self.answer(Arc::clone(&channel), origin, answer, post);
                    }
                }
                None => {}
            }
            (self.under_way.owed, self.under_way.pursuer, self.under_way.stored) = (None, None, None);
        }
        self.under_way.durable = None;
    }
}
