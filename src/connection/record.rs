//! The whole state of one connection between turns. A million of these are the server's memory, so the inline part is
//! small, and everything an unidentified connection lacks is behind one pointer that turns share until they change it.

use std::{rc::Rc, sync::Arc};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use triomphe::Arc as Shared;

use crate::{
    channel::{Change, Channel, Purpose, Since, Tag},
    clock::Now,
    connection::{rate::Rate, secret},
    id::SessionSecret,
    protocol::{
        encoding::Encoding,
        frame::{MembershipState, SubscriptionState},
        request::Status,
    },
    shard::Description,
    token::Grant,
};

/// How far a connection has come.
///
/// ```text
/// Unidentified ── identify ──▶ Welcoming ── all channels answered ──▶ Ready
///      │                        ▲     ▲                            │     │
///      │                        │     └──────── renewal ───────────┘     │
///      └── 10 s, or the         └─ resume ─ Parked ◀──── socket lost ────┘
///          socket lost ──▶ freed            │
///                                           └── resume window over ──▶ freed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Said hello, waits for `identify`.
    Unidentified,
    /// Identified; `ready` waits for the answers of the channels it will list.
    Welcoming,
    /// In use.
    Ready,
    /// In use, and without a socket for now.
    Parked,
}

/// See the module's text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub(crate) identity: Option<Shared<Identity>>,
    pub(crate) publishes: Rate,
    /// When the connection was opened (unidentified), or the minute of bad frames began ([`Now::ms`]).
    pub(crate) since_ms: u32,
    /// When the token's time is over, unix seconds; 0: never.
    pub(crate) expires: u32,
    /// Publishes refused in the minute of `since_ms`.
    pub(crate) refused: u16,
    /// Undecodable frames in that minute.
    pub(crate) bad_frames: u16,
    pub(crate) phase: Phase,
    pub(crate) encoding: Encoding,
    /// Raised with every lost socket; tells answers to earlier sockets from those to this one.
    pub(crate) socket: u8,
    /// How the user wants to be seen.
    pub(crate) status: Status,
}

/// What an identified connection has.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) user: CompactString,
    #[serde(with = "secret")]
    pub(crate) secret: SessionSecret,
    pub(crate) subscriptions: SmallVec<[Subscription; 1]>,
    /// What most connections have none of, most of the time.
    pub(crate) rare: Option<Box<Rare>>,
}

/// What an identified connection has for a moment, or only under some tokens.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Rare {
    /// The secret before; good until the client shows that it got the new one.
    #[serde(with = "secret::option")]
    pub(crate) previous: Option<SessionSecret>,
    /// When the client asked to go on with `previous`. A socket that asked before is one that it has left since.
    #[serde(default)]
    pub(crate) claimed_at: u64,
    /// What the token opens; `None`: all channels.
    pub(crate) grants: Option<Rc<[Grant]>>,
    /// A `ready` under way.
    pub(crate) welcome: Option<Welcome>,
    /// Channels whose homes are being asked to subscribe this connection, but for those of a `ready`.
    #[serde(default)]
    pub(crate) entering: Vec<CompactString>,
    /// Memberships that have changed while something about their channels was being asked.
    #[serde(default)]
    pub(crate) changes: Vec<(Arc<Channel>, Change)>,
}

impl Identity {
    /// The rare part, for setting something in it; [`Identity::tidy`] frees it when that is gone again.
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// What the token opens; `None`: all channels.
    pub(crate) fn grants(&self) -> Option<&[Grant]> {
        self.rare.as_ref()?.grants.as_deref()
    }

    /// The session secret before this one, and since when it is that.
    pub(crate) fn previous(&self) -> Option<(&SessionSecret, u64)> {
        let rare = self.rare.as_ref()?;
        Some((rare.previous.as_ref()?, rare.claimed_at))
    }

    /// Frees the rare part when nothing is in it.
    pub(crate) fn tidy(&mut self) {
        self.rare.take_if(|rare| {
            let Rare { previous, claimed_at: _, grants, welcome, entering, changes } = &**rare;
            let lasts = previous.is_some() || grants.is_some();
            !lasts && welcome.is_none() && entering.is_empty() && changes.is_empty()
        });
    }
}

/// One subscription.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Subscription {
    pub(crate) channel: Arc<Channel>,
    /// `presence` frames are wanted.
    pub(crate) watches: bool,
}

/// A `ready` that waits: first for the user's memberships, then for its channels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) arrival: Arrival,
    /// What the client asked for: channels, and from where on.
    pub(crate) wishes: Vec<(CompactString, Option<Since>)>,
    /// `None` until they have come.
    pub(crate) memberships: Option<Vec<MembershipState>>,
    /// Channels in the order `ready` lists them.
    pub(crate) order: Vec<CompactString>,
    pub(crate) waiting: usize,
    pub(crate) states: Vec<SubscriptionState>,
}

/// What a `ready` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arrival {
    /// A session begins.
    Fresh,
    /// One goes on, on another socket.
    Resumed,
    /// One goes on, with another token.
    Renewed,
}

impl Record {
    /// A fresh connection.
    pub(crate) fn new(encoding: Encoding, now: Now) -> Self {
        Self {
            identity: None,
            publishes: Rate::default(),
            since_ms: now.ms(),
            expires: 0,
            refused: 0,
            bad_frames: 0,
            phase: Phase::Unidentified,
            encoding,
            socket: 0,
            status: Status::Online,
        }
    }

    /// The identity, for changing; copied first if another turn may still need the old one.
    pub(crate) fn identity_mut(&mut self) -> Option<&mut Identity> {
        self.identity.as_mut().map(Shared::make_mut)
    }

    /// What ties an answer to this socket.
    pub(crate) fn tag(&self, purpose: Purpose) -> Tag {
        Tag { socket: self.socket, purpose }
    }

    pub(crate) fn subscription(&self, channel: &str) -> Option<&Subscription> {
        let subscriptions = self.identity.as_ref().map(|identity| &identity.subscriptions)?;
        subscriptions.iter().find(|subscription| *subscription.channel.name == *channel)
    }

    /// Whether events of `channel` are wanted; asked for every delivery, so pointers before names.
    pub(crate) fn is_subscribed(&self, channel: &Arc<Channel>) -> bool {
        self.identity.as_ref().is_some_and(|identity| {
            identity.subscriptions.iter().any(|own| Arc::ptr_eq(&own.channel, channel) || own.channel == *channel)
        })
    }

    pub(crate) fn channels(&self) -> Vec<Arc<Channel>> {
        let subscriptions = self.identity.iter().flat_map(|identity| &identity.subscriptions);
        subscriptions.map(|subscription| Arc::clone(&subscription.channel)).collect()
    }

    /// What operators see of it.
    pub(crate) fn describe(&self) -> Description {
        Description {
            user: self.identity.as_ref().map(|identity| identity.user.to_string()),
            subscriptions: self.channels().iter().map(|channel| channel.name.to_string()).collect(),
        }
    }

    /// The minute in which bad frames and refusals are counted; a new one forgets them.
    pub(crate) fn roll_minute(&mut self, now: Now) {
        if now.ms_since(self.since_ms) >= 60_000 {
            (self.since_ms, self.bad_frames, self.refused) = (now.ms(), 0, 0);
        }
    }

    /// Bytes on the heap, by the sizes asked for.
    pub(crate) fn heap_bytes(&self) -> usize {
        let Some(identity) = &self.identity else { return 0 };
        let counts = size_of::<usize>();
        let user = if identity.user.is_heap_allocated() { identity.user.capacity() } else { 0 };
        let subscriptions = if identity.subscriptions.spilled() {
            identity.subscriptions.capacity() * size_of::<Subscription>()
        } else {
            0
        };
        let rare = if identity.rare.is_some() { size_of::<Rare>() } else { 0 };
        counts + size_of::<Identity>() + user + subscriptions + rare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_connection_structures_have_not_grown() {
        println!("record {} bytes, identity {} bytes", size_of::<Record>(), size_of::<Identity>());
        assert!(size_of::<Record>() <= 32, "{}", size_of::<Record>());
        assert!(size_of::<Identity>() <= 72, "{}", size_of::<Identity>());
    }

    #[test]
    fn a_new_minute_forgets_bad_frames() {
        let at = |ms: u64| Now { micros: ms * 1000, unix_ms: ms };
        let mut record = Record::new(Encoding::Json, at(0));
        record.bad_frames = 9;
        record.roll_minute(at(59_999));
        assert_eq!(record.bad_frames, 9);
        record.roll_minute(at(60_000));
        assert_eq!(record.bad_frames, 0);
    }
}
