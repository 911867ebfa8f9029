//! `identify`: who the client is, and the way to `ready`: fresh, resumed on the record of an earlier connection, or a
//! renewed token. Until every channel has answered, frames and deliveries are held back, so that `ready` comes first.

use std::{collections::BTreeMap, sync::Arc};

use smallvec::SmallVec;
use triomphe::Arc as Shared;

use crate::{
    channel::{Ask, Channel, HomeRequest, Purpose, Since, Subscriber},
    connection::{
        access,
        actor::{ConnectionActor, Ticket},
        record::{Identity, Phase, Record, Welcome},
    },
    id::{SessionSecret, SessionToken},
    protocol::{
        close::Close,
        error::{ErrorCode, Fault},
        frame::{Frame, SubscriptionState},
        name::ChannelName,
        request::{Cursor, Identify, RequestId, Status},
    },
    shard::Turn,
    token::{Action, Claims},
};

type ConnectionTurn = Turn<ConnectionActor>;

/// What a client asks for besides its identity.
pub(crate) struct Wishes {
    pub(crate) cursors: Vec<(String, Cursor)>,
    pub(crate) subscribe: Vec<String>,
    pub(crate) status: Option<Status>,
}

/// The first `identify`, from a frame or from the handshake's URL.
pub(crate) fn identify(record: &mut Record, identify: Identify, subscribe: Vec<String>, turn: &mut ConnectionTurn) {
    let Some(claims) = authenticate(record, &identify.token, turn) else { return };
    let cursors = identify.cursors.unwrap_or_default().into_iter().collect();
    let wishes = Wishes { cursors, subscribe, status: identify.status };
    let earlier = identify.resume.and_then(|token| token.parse::<SessionToken>().ok());
    match earlier.filter(|token| token.connection != turn.connection()) {
        Some(token) => {
            let Wishes { cursors, subscribe, status } = wishes;
            let (secret, asked_at, encoding) = (token.secret, turn.now().micros, record.encoding);
            let ticket = Ticket { secret, asked_at, claims, encoding, status, cursors, subscribe };
            turn.transfer(token.connection, ticket);
        }
        None => begin(record, &claims, &wishes, turn),
    }
}

/// Checks a token; a wrong one ends the connection.
fn authenticate(record: &Record, token: &str, turn: &mut ConnectionTurn) -> Option<Claims> {
    match turn.settings().authenticate(token, turn.now().unix_ms) {
        Ok(claims) => Some(claims),
        Err(message) => {
            let fault = Fault::new(ErrorCode::AuthFailed, message);
            turn.send(record.encoding, &Frame::failure(None, &fault));
            turn.close(Close::AUTH_FAILED);
            None
        }
    }
}

/// A second `identify`: a renewed token, where tokens expire.
pub(crate) fn renew(record: &mut Record, id: Option<RequestId>, renewal: &Identify, turn: &mut ConnectionTurn) {
    if !turn.settings().renews_tokens() {
        let fault = Fault::new(ErrorCode::BadRequest, "already identified; only a jwt can be renewed");
        return turn.send(record.encoding, &Frame::failure(id, &fault));
    }
    let Some(claims) = authenticate(record, &renewal.token, turn) else { return };
    if record.identity.as_ref().is_some_and(|identity| identity.user != claims.user) {
        let fault = Fault::new(ErrorCode::AuthFailed, "the new token is for another user");
        turn.send(record.encoding, &Frame::failure(None, &fault));
        return turn.close(Close::AUTH_FAILED);
    }
    set_claims(record, &claims);
    close_forbidden(record, turn);
    let tag = record.tag(Purpose::Welcome);
    let describe =
        |channel: Arc<Channel>| Ask::OfHome { channel: (&*channel.name).into(), tag, request: HomeRequest::Describe };
    let asks = record.channels().into_iter().map(describe).collect();
    welcome(record, asks, true, turn);
}

/// Whether a client with `ticket` may go on with the session of `record`.
pub(crate) fn admits(record: &Record, ticket: &Ticket) -> bool {
    let Some(identity) = record.identity.as_ref() else { return false };
    let is_known = match record.phase {
        Phase::Ready | Phase::Parked => true,
        // On its way back with a socket that may be dead already. One that has never been welcomed has no secret.
        Phase::Welcoming => identity.secret != SessionSecret::default(),
        Phase::Unidentified => false,
    };
    if !is_known {
        return false;
    }
    // Both secrets are compared whatever the first says, and each in constant time.
    let previous = identity.previous().is_some_and(|(previous, _)| same_secret(previous, &ticket.secret));
    let known = same_secret(&identity.secret, &ticket.secret) | previous;
    let overtaken = previous && identity.previous().is_some_and(|(_, claimed_at)| ticket.asked_at <= claimed_at);
    known && !overtaken && identity.user == ticket.claims.user
}

fn same_secret(a: &SessionSecret, b: &SessionSecret) -> bool {
    a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

/// This record goes on with a new socket.
pub(crate) fn claimed(record: &mut Record, ticket: &Ticket, turn: &mut ConnectionTurn) {
    record.encoding = ticket.encoding;
    set_claims(record, &ticket.claims);
    if let Some(identity) = record.identity_mut() {
        let rare = identity.rare_mut();
        (rare.previous, rare.claimed_at) = (Some(ticket.secret), ticket.asked_at);
    }
    record.status = ticket.status.unwrap_or(record.status);
    close_forbidden(record, turn);
    let mut cursors: BTreeMap<&str, &Cursor> =
        ticket.cursors.iter().map(|(channel, cursor)| (channel.as_str(), cursor)).collect();
    let Some(identity) = record.identity.clone() else { return };
    let known = identity.subscriptions.clone();
    let resumed: Vec<Ask> = known
        .iter()
        .map(|subscription| Ask::Resume {
            channel: subscription.channel.clone(),
            tag: record.tag(Purpose::Welcome),
            cursor: cursors.remove(&*subscription.channel.name).map(since),
            subscriber: Subscriber {
                user: identity.user.clone(),
                status: record.status,
                watches: subscription.watches,
                inherits: true,
                replaces: true,
            },
        })
        .collect();
    let wanted: Vec<&str> =
        ticket.subscribe.iter().map(String::as_str).filter(|name| record.subscription(name).is_none()).collect();
    let fresh = subscriptions(record, &cursors, &wanted, turn);
    welcome(record, resumed.into_iter().chain(fresh).collect(), true, turn);
}

/// The session asked for is not there: a fresh one begins, and the cursors count all the same.
pub(crate) fn refused(record: &mut Record, ticket: &Ticket, turn: &mut ConnectionTurn) {
    let wishes = Wishes { cursors: ticket.cursors.clone(), subscribe: ticket.subscribe.clone(), status: ticket.status };
    begin(record, &ticket.claims, &wishes, turn);
}

/// A fresh session.
fn begin(record: &mut Record, claims: &Claims, wishes: &Wishes, turn: &mut ConnectionTurn) {
    record.identity = Some(Shared::new(Identity {
        user: claims.user.as_str().into(),
        secret: SessionSecret::default(),
        subscriptions: SmallVec::new(),
        rare: None,
    }));
    record.status = wishes.status.unwrap_or_default();
    set_claims(record, claims);
    let cursors = wishes.cursors.iter().map(|(channel, cursor)| (channel.as_str(), cursor)).collect();
    let wanted: Vec<&str> = wishes.subscribe.iter().map(String::as_str).collect();
    let asks = subscriptions(record, &cursors, &wanted, turn);
    welcome(record, asks, false, turn);
}

fn set_claims(record: &mut Record, claims: &Claims) {
    // The field is 32 bits wide; a token that outlives the year 2106 does not expire.
    record.expires = claims.expires.map_or(0, |expires| u32::try_from(expires).map_or(0, |expires| expires.max(1)));
    let grants = claims.grants.as_ref().map(|grants| grants.as_slice().into());
    if let Some(identity) = record.identity_mut() {
        identity.rare_mut().grants = grants;
        identity.tidy();
    }
}

/// Ends subscriptions that the token of now no longer opens.
fn close_forbidden(record: &mut Record, turn: &mut ConnectionTurn) {
    for channel in record.channels() {
        let rules = &turn.settings().rules;
        let Err(fault) = access::check(record, rules, Action::Subscribe, &channel.name) else { continue };
        let Some(identity) = record.identity_mut() else { return };
        identity.subscriptions.retain(|own| own.channel != channel);
        let user = identity.user.clone();
        turn.send(record.encoding, &Frame::failure(None, &fault));
        turn.ask(Ask::Unsubscribe { channel, user });
    }
}

fn since(cursor: &Cursor) -> Since {
    Since::Cursor { epoch: cursor.epoch.parse().ok(), offset: cursor.offset }
}

/// Asks for channels that are not subscribed yet: those with cursors and those wanted by name. What may not be subscribed
/// is told at once.
fn subscriptions(
    record: &Record,
    cursors: &BTreeMap<&str, &Cursor>,
    wanted: &[&str],
    turn: &mut ConnectionTurn,
) -> Vec<Ask> {
    let Some(identity) = &record.identity else { return Vec::new() };
    let most = turn.settings().subscriptions;
    let mut names: Vec<&str> = wanted.to_vec();
    names.extend(cursors.keys());
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    let mut asks = Vec::new();
    for name in names {
        let allowed = ChannelName::new(name)
            .map_err(|error| Fault::new(ErrorCode::BadRequest, error.to_string()))
            .and_then(|_| access::check(record, &turn.settings().rules, Action::Subscribe, name))
            .and_then(|()| {
                let room = identity.subscriptions.len() + asks.len() < most;
                room.then_some(()).ok_or_else(|| too_many(most))
            });
        match allowed {
            Ok(()) => asks.push(Ask::OfHome {
                channel: name.into(),
                tag: record.tag(Purpose::Welcome),
                request: HomeRequest::Subscribe {
                    since: cursors.get(name).map_or(Since::Head, |cursor| since(cursor)),
                    subscriber: Subscriber {
                        user: identity.user.clone(),
                        status: record.status,
                        watches: false,
                        inherits: false,
                        replaces: false,
                    },
                },
            }),
            Err(fault) => turn.send(record.encoding, &Frame::failure(None, &fault)),
        }
    }
    asks
}

pub(crate) fn too_many(most: usize) -> Fault {
    Fault::new(ErrorCode::TooLarge, format!("a connection has at most {most} subscriptions"))
}

/// Asks, and holds everything back until all channels asked have answered.
fn welcome(record: &mut Record, asks: Vec<Ask>, resumed: bool, turn: &mut ConnectionTurn) {
    record.phase = Phase::Welcoming;
    turn.hold();
    let waiting = asks.len();
    let order = asks.iter().filter_map(Ask::channel).map(Into::into).collect();
    if let Some(identity) = record.identity_mut() {
        identity.rare_mut().welcome = Some(Welcome { order, waiting, resumed, states: Vec::new() });
    }
    for ask in asks {
        turn.ask(ask);
    }
    if waiting == 0 {
        ready(record, turn);
    }
}

/// One of the channels has answered; `None`: it could not be subscribed.
pub(crate) fn answered(record: &mut Record, state: Option<SubscriptionState>, turn: &mut ConnectionTurn) {
    let Some(identity) = record.identity_mut() else { return };
    let Some(welcome) = identity.rare.as_mut().and_then(|rare| rare.welcome.as_mut()) else { return };
    welcome.states.extend(state);
    welcome.waiting = welcome.waiting.saturating_sub(1);
    if welcome.waiting == 0 {
        ready(record, turn);
    }
}

fn ready(record: &mut Record, turn: &mut ConnectionTurn) {
    record.phase = Phase::Ready;
    turn.release();
    let secret = turn.secret();
    let encoding = record.encoding;
    let Some(identity) = record.identity_mut() else { return };
    let Some(mut welcome) = identity.rare_mut().welcome.take() else { return };
    let order = &welcome.order;
    welcome.states.sort_by_key(|state| order.iter().position(|name| *name == state.channel));
    let before = identity.secret;
    if welcome.resumed {
        // After a resume the client came with it; after a renewal on a live connection it holds the one before.
        let rare = identity.rare_mut();
        if rare.previous.is_none() {
            (rare.previous, rare.claimed_at) = (Some(before), 0);
        }
    }
    identity.secret = secret;
    identity.tidy();
    let session = SessionToken { connection: turn.connection(), secret }.to_string();
    let resumed = welcome.resumed;
    let frame = Frame::Ready {
        user: &identity.user,
        session,
        resumed,
        generation: turn.generation(),
        subscriptions: &welcome.states,
        memberships: [],
    };
    turn.send(encoding, &frame);
    if resumed {
        turn.ask(Ask::Resumed);
    }
}
