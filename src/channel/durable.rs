//! What a hub does with the durable homes of its shard: takes requests to them in order, and works off what they have to do
//! when the store has answered. How a home and the store get on is in `commits.rs`.

use std::sync::Arc;

use crate::{
    channel::{
        commits::{Admission, Step},
        directory::Channel,
        hub::{ChannelHub, Channeled},
        message::{Answer, HomeRequest, Origin},
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
            Admission::Refused(origin, fault) => self.answer(channel, origin, Answer::Failed(fault), post),
            Admission::Waits => {
                self.under_way.owed = None;
                self.work_off(channel, post);
            }
        }
    }

    /// Does what a durable home has to do, until it waits for the store again. Each task leaves its queue alone, so a panic
    /// costs that one.
    pub(super) fn work_off<B>(&mut self, channel: Arc<Channel>, post: &mut Post<'_, B, impl Network>)
    where
        B: Channeled,
    {
        self.under_way.durable = Some(Arc::clone(&channel));
        while let Some(task) = self.homes.take(&channel) {
            self.under_way.owed = match task.origin() {
                Some(Origin::Connection(to, tag)) => Some((*to, *tag)),
                _ => None,
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
            (self.under_way.owed, self.under_way.stored) = (None, None);
        }
        self.under_way.durable = None;
    }
}
