//! What passes between hubs, homes and connections: letters (hub to hub), requests and answers of homes, notices (hub to a
//! connection). What a turn asks of its hub is in `ask.rs`. Types only; `hub.rs` moves them.

use std::{rc::Rc, sync::Arc};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::{
    channel::{
        ask::Subscriber,
        catch_up::{CatchUp, Gap, Page, Since},
        desk::DeskRequest,
        directory::Channel,
        home::{Event, Publication, Published},
        shared_frame::SharedFrame,
        storage::News,
    },
    id::{ConnectionId, Epoch},
    protocol::{
        error::Fault,
        frame::{Members, MembershipState, Roster, Standing},
        request::{RequestId, Status},
    },
};

/// What a home is asked.
#[derive(Debug)]
pub enum HomeRequest {
    /// One more subscriber.
    Subscribe {
        /// Who.
        subscriber: Subscriber,
        /// From where.
        since: Since,
    },
    /// One less.
    Unsubscribe {
        /// Who.
        user: CompactString,
        /// Of which shard.
        shard: u16,
    },
    /// A place for a publication.
    Publish(Publication),
    /// Something ephemeral for everybody but the sender.
    Signal {
        /// Who.
        from: CompactString,
        /// What.
        kind: CompactString,
        /// More.
        data: Option<Box<RawValue>>,
    },
    /// Who is here.
    Roster,
    /// Who belongs here.
    Members,
    /// The user is seen otherwise.
    SetStatus {
        /// Who.
        user: CompactString,
        /// How.
        status: Status,
    },
    /// A durable membership begins; what the user's sessions hear of it is the home's to say.
    Join {
        /// Whose.
        user: CompactString,
    },
    /// It ends.
    Leave {
        /// Whose.
        user: CompactString,
    },
    /// A user's cursors move forward.
    Acknowledge {
        /// Whose.
        user: CompactString,
        /// At least to here.
        to: Standing,
    },
    /// What comes after this offset, for a subscriber who is behind.
    Page {
        /// Exclusive.
        after: u64,
    },
    /// Kept events.
    History {
        /// The oldest after this.
        after: Option<u64>,
        /// The newest before this.
        before: Option<u64>,
        /// At most so many.
        limit: usize,
    },
    /// Its numbers.
    Describe,
}

/// What a home answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `Subscribe`.
    Subscribed {
        /// What comes before live events.
        catch_up: CatchUp,
        /// When watched.
        roster: Option<Roster>,
        /// As asked.
        subscriber: Subscriber,
    },
    /// To `Publish`.
    Published(Published),
    /// To `Signal`.
    Signalled,
    /// To `Join`.
    Joined {
        /// Life of the numbering.
        epoch: Epoch,
        /// Newest offset.
        head: u64,
        /// Where the user stands.
        standing: Standing,
    },
    /// To `Leave`; whether it ended anything.
    Left(bool),
    /// To `Acknowledge`: where the user stands now.
    Standing(Standing),
    /// To `Page`; for the hub alone.
    #[serde(skip)]
    Page(Page),
    /// To `Enroll`.
    Memberships(Vec<MembershipState>),
    /// To `Roster`.
    Roster(Roster),
    /// To `Members`.
    Members(Members),
    /// To `History`.
    History {
        /// Rising.
        events: Vec<Arc<Event>>,
        /// There is more in that direction.
        more: bool,
    },
    /// To `Describe`.
    Described(Description),
    /// It could not be done.
    Failed(Fault),
}

/// A channel's numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// Name.
    pub channel: String,
    /// Life of the numbering.
    pub epoch: Epoch,
    /// Newest offset.
    pub offset: u64,
    /// Subscribed connections.
    pub subscribers: u32,
    /// Present users, where the namespace tracks them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<usize>,
}

/// What an answer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Which of the record's sockets asked: an answer to a request of an earlier socket is no answer on this one.
    pub socket: u8,
    /// What was asked for.
    pub purpose: Purpose,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A request of the client, perhaps without an id.
    Request(Option<RequestId>),
    /// A subscription the client asked for: its further requests are held until the answer.
    Subscription(Option<RequestId>),
    /// A subscription that `ready` will list.
    Welcome,
    /// A subscription that a membership brings.
    Entry,
}

/// Where an answer goes.
#[derive(Debug)]
pub enum Origin {
    /// To a connection.
    Connection(ConnectionId, Tag),
    /// To the HTTP side.
    Call(oneshot::Sender<Answer>),
    /// To the hub of a connection that is behind.
    Pursuer(ConnectionId),
    /// Nowhere.
    Nobody,
}

/// Between hubs, from the HTTP side and from the store.
#[derive(Debug)]
pub enum Letter {
    /// To the channel's home.
    Home {
        /// The channel.
        channel: Arc<Channel>,
        /// Who asks.
        origin: Origin,
        /// What.
        request: HomeRequest,
    },
    /// From a home to the shard of the connection that asked.
    Answer {
        /// The channel.
        channel: Arc<Channel>,
        /// The connection.
        to: ConnectionId,
        /// What it asked.
        tag: Tag,
        /// The answer.
        answer: Answer,
    },
    /// From a home to the hub of a connection that is behind.
    Page {
        /// The channel.
        channel: Arc<Channel>,
        /// The connection.
        to: ConnectionId,
        /// What comes next; `None`: it cannot be had.
        page: Option<Page>,
    },
    /// To the shard of a connection that is behind, and whose next page a hub has crashed over.
    Abandon(ConnectionId),
    /// From a home to every shard with subscribers.
    Spread(Spread),
    /// To the desk of a user.
    Desk {
        /// Whose.
        user: CompactString,
        /// What.
        request: DeskRequest,
    },
    /// From a desk to the shard of a session.
    Change {
        /// The session.
        to: ConnectionId,
        /// What has changed for its user.
        change: Membership,
    },
    /// From the store to a channel's home.
    Store(News),
}

/// A membership that begins or ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Membership {
    /// Whose.
    pub user: CompactString,
    /// Where.
    pub channel: Arc<Channel>,
    /// Which of the two.
    pub change: Change,
}

/// How a membership changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It begins; what comes after this is the user's to have.
    Joined {
        /// Life of the numbering.
        epoch: Epoch,
        /// His cursor.
        delivered: u64,
        /// It was not there before, so its sessions have to be told of it.
        new: bool,
    },
    /// It ends.
    Left,
}

impl Change {
    /// One change in place of two. Who has not been told that it is new still has to be.
    #[must_use]
    pub fn after(self, earlier: Self) -> Self {
        match (earlier, self) {
            (Self::Joined { new: untold, .. }, Self::Joined { epoch, delivered, new }) => {
                Self::Joined { epoch, delivered, new: new || untold }
            }
            _ => self,
        }
    }
}

/// Something for the subscribers of a channel.
#[derive(Clone, Debug)]
pub enum Spread {
    /// A publication.
    Event(Arc<Event>),
    /// A signal or presence frame.
    Whisper(Arc<Whisper>),
}

/// Something ephemeral for the subscribers of a channel.
#[derive(Debug, Serialize, Deserialize)]
pub struct Whisper {
    /// The channel.
    pub channel: Arc<Channel>,
    /// Ready for every socket.
    pub frame: SharedFrame,
    /// To whom.
    pub audience: Audience,
}

/// To whom a whisper goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// All subscribers but this connection.
    AllBut(Option<ConnectionId>),
    /// Those who asked for presence.
    Watchers,
}

/// What the hub tells a connection. Small, for a burst waits in thousands of mailboxes: what is rare is behind a pointer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A publication. Twice behind a pointer: the inner one is shared by shards, the outer one by the many mailboxes of a
    /// shard, which so count references without touching memory that another core counts in too.
    Event(Rc<Arc<Event>>),
    /// A signal or presence frame.
    Whisper(Rc<Arc<Whisper>>),
    /// Events that will not come.
    Gap(Box<ChannelGap>),
    /// The user has become a member somewhere, or is none any more.
    Membership(Box<Membership>),
    /// An answer to an earlier ask.
    Answer(Box<HomeAnswer>),
}

/// Events of a channel that will not come.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChannelGap {
    /// Of which channel.
    pub channel: Arc<Channel>,
    /// Which.
    pub gap: Gap,
}

/// What a channel's home answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct HomeAnswer {
    /// The channel.
    pub channel: Arc<Channel>,
    /// What was asked.
    pub tag: Tag,
    /// The answer.
    pub answer: Answer,
}

impl Notice {
    /// Events of `channel` will not come.
    #[must_use]
    pub fn gap(channel: Arc<Channel>, gap: Gap) -> Self {
        Self::Gap(Box::new(ChannelGap { channel, gap }))
    }

    /// The answer to what `tag` stands for.
    #[must_use]
    pub fn answer(channel: Arc<Channel>, tag: Tag, answer: Answer) -> Self {
        Self::Answer(Box::new(HomeAnswer { channel, tag, answer }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_two_words_since_mailboxes_hold_many() {
        assert_eq!(size_of::<Notice>(), 16);
    }
}
