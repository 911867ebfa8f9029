//! How the subscribers of a shard come and go: a home's answer seats them, with what they missed in front of everything live;
//! pages follow for those who are far behind. Part of the hub, which calls it.

use std::{rc::Rc, sync::Arc};

use compact_str::CompactString;

use crate::{
    channel::{
        catch_up::Page,
        directory::Channel,
        hub::{ChannelHub, Channeled},
        message::{Answer, HomeAnswer, HomeRequest, Notice, Origin, Tag},
        seat::Seat,
    },
    id::ConnectionId,
    protocol::close::Close,
    shard::{Network, Post},
};

impl ChannelHub {
    /// An answer reaches the shard of the connection that asked.
    pub(super) fn arrive<B>(
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
        // Who subscribes once more and is behind already stays so: what he asks for comes with his pages.
        let goes_on = self.pursuits.is_behind(to.index(), &channel);
        let behind = catch_up.behind.filter(|_| !goes_on);
        if let Some(after) = behind {
            self.pursuits.begin(to.index(), &channel, after);
        }
        let answer = Answer::Subscribed { catch_up, roster, subscriber };
        self.under_way.owed = None;
        post.tell(to, Notice::answer(Arc::clone(&channel), tag, answer));
        // Left only where the replay does not replace what was waiting: then that is told first.
        if let Some(gap) = self.overflows.take_of(to.index(), &channel) {
            post.tell(to, Notice::gap(Arc::clone(&channel), gap));
        }
        if let Some(gap) = gap {
            post.tell(to, Notice::gap(Arc::clone(&channel), gap));
        }
        for event in missed.into_iter().filter(|_| !goes_on) {
            post.tell(to, Notice::Event(Rc::new(event)));
        }
        if let Some(after) = behind {
            self.ask_home(channel, Origin::Pursuer(to), HomeRequest::Page { after }, post);
        }
    }

    /// The next page of a connection that is behind has come; `None`: there is none to be had.
    pub(super) fn turn_page<B>(
        &mut self,
        channel: &Arc<Channel>,
        to: ConnectionId,
        page: Option<Page>,
        post: &mut Post<'_, B, impl Network>,
    ) where
        B: Channeled,
    {
        // What is held back lies before the page's end.
        self.hand_out_burst(post);
        self.under_way.pursuer = Some(to);
        let index = to.index();
        if post.id(index) != Some(to) {
            return;
        }
        let Some(Page { after, gap, events, is_last }) = page else {
            // The home crashed, or too many are behind: with another socket he begins where he is.
            if self.pursuits.is_behind(index, channel) {
                post.close(to, Close::GAVE_UP);
            }
            return;
        };
        if !self.pursuits.arrived(index, channel, after) {
            return;
        }
        let reached = events.last().map(|event| event.offset).or(gap.map(|gap| gap.to)).unwrap_or(after);
        if let Some(gap) = gap {
            post.tell(to, Notice::gap(Arc::clone(channel), gap));
        }
        for event in events {
            post.tell(to, Notice::Event(Rc::new(event)));
        }
        if is_last {
            // Live events of the home come behind its page, as they are spread.
            self.pursuits.end_of(index, channel);
        } else {
            self.pursuits.advance(index, channel, reached);
            post.remind(index);
        }
        self.under_way.pursuer = None;
    }

    /// Tells the home that one subscriber of this shard is gone.
    pub(super) fn give_up_place<B>(
        &mut self,
        channel: Arc<Channel>,
        user: CompactString,
        post: &mut Post<'_, B, impl Network>,
    ) where
        B: Channeled,
    {
        let request = HomeRequest::Unsubscribe { user, shard: post.shard() };
        self.ask_home(channel, Origin::Nobody, request, post);
    }

    /// Takes back what waits of `channel` for a connection that no longer wants it, or wants it again from its cursor.
    pub(super) fn withdraw<B>(
        &mut self,
        channel: &Arc<Channel>,
        from: ConnectionId,
        post: &mut Post<'_, B, impl Network>,
    ) where
        B: Channeled,
    {
        self.overflows.forget(from.index(), channel);
        self.pursuits.end_of(from.index(), channel);
        post.withdraw(from, |notice| match notice {
            Notice::Event(event) => event.channel == *channel,
            Notice::Gap(gap) => gap.channel == *channel,
            Notice::Whisper(_) | Notice::Membership(_) | Notice::Answer(_) => false,
        });
    }

    pub(super) fn leave_seat(&mut self, channel: &Arc<Channel>, index: u32) -> bool {
        let Some(seat) = self.seats.get_mut(channel) else { return false };
        let was_seated = seat.members.contains(index);
        self.pursuits.end_of(index, channel);
        seat.remove(index);
        if seat.members.is_empty() {
            self.seats.remove(channel);
        }
        was_seated
    }
}
