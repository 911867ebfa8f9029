//! `identify`: who the client is, and the way to `ready`: fresh, resumed on the record of an earlier connection, or a
//! renewed token. What follows until `ready` is in `welcome.rs`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use compact_str::CompactString;
use smallvec::SmallVec;
use triomphe::Arc as Shared;

use crate::{
    channel::{Ask, Since},
    connection::{
        access,
        actor::ConnectionActor,
        backend::{self, Identifying, Stage},
        opening::{Opening, Ticket},
        record::{Arrival, Identity, Phase, Record},
        welcome,
    },
    hooks::Answer,
    id::{SessionSecret, SessionToken},
    protocol::{
        close::Close,
        error::{ErrorCode, Fault},
        frame::Frame,
        name::{self, ChannelName},
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

/// The first `identify`, from the handshake's URL.
pub(crate) fn by_url(record: &mut Record, token: &str, opening: &Opening, stage: Stage<'_>, turn: &mut ConnectionTurn) {
    let first = Identify { token: token.to_owned(), resume: None, cursors: None, status: None };
    identify(record, first, opening.subscribe.clone(), stage, turn);
}

/// The first `identify`, from a frame or from the handshake's URL.
pub(crate) fn identify(
    record: &mut Record,
    identify: Identify,
    subscribe: Vec<String>,
    stage: Stage<'_>,
    turn: &mut ConnectionTurn,
) {
    let cursors: Vec<_> = identify.cursors.unwrap_or_default().into_iter().collect();
    let channels = subscribe.iter().chain(cursors.iter().map(|(name, _)| name)).map(String::as_str).collect();
    let Some(claims) = authenticate(record, &identify.token, channels, stage, turn) else { return };
    let mut wishes = Wishes { cursors, subscribe, status: identify.status };
    wishes.drop_refused(record, stage, turn);
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

/// Whom a token stands for, by our keys and by the backend. `None`: it is being asked, or the connection has been ended over
/// a wrong one.
fn authenticate(
    record: &Record,
    token: &str,
    channels: Vec<&str>,
    stage: Stage<'_>,
    turn: &mut ConnectionTurn,
) -> Option<Claims> {
    let settings = turn.settings();
    let known = match settings.authenticate(token, turn.now().unix_ms) {
        Ok(known) => known,
        Err(message) => return refuse(record, &Fault::new(ErrorCode::AuthFailed, message), turn),
    };
    if stage.is_fresh() {
        let user = known.as_ref().map(|claims| claims.user.as_str());
        let client = Identifying { user, token, channels };
        return if backend::asks_about_client(record, stage, client, turn) { None } else { known };
    }
    turn.release();
    let claims = match stage.answer() {
        None | Some(Answer::Allowed { claims: None, .. }) => known,
        Some(Answer::Allowed { claims: Some(claims), .. }) => Some(claims.clone()),
        Some(Answer::Denied(why)) => return refuse(record, &Fault::new(ErrorCode::AuthFailed, why.clone()), turn),
        Some(Answer::Unknown(why)) => return refuse(record, &Fault::new(ErrorCode::Unavailable, why.clone()), turn),
    };
    let named = claims.filter(|claims| name::check_user(&claims.user).is_ok());
    if named.is_none() {
        let fault = Fault::new(ErrorCode::Unavailable, "the application did not say who this is");
        return refuse(record, &fault, turn);
    }
    named
}

/// Ends the connection of a client that is not let in.
fn refuse<T>(record: &Record, fault: &Fault, turn: &mut ConnectionTurn) -> Option<T> {
    turn.send(record.encoding, &Frame::failure(None, fault));
    turn.close(if fault.code == ErrorCode::AuthFailed { Close::AUTH_FAILED } else { Close::TRY_AGAIN_LATER });
    None
}

/// A second `identify`: a renewed token, where tokens expire.
pub(crate) fn renew(
    record: &mut Record,
    id: Option<RequestId>,
    renewal: &Identify,
    stage: Stage<'_>,
    turn: &mut ConnectionTurn,
) {
    if !turn.settings().renews_tokens() {
        let fault =
            Fault::new(ErrorCode::BadRequest, "already identified; only a token that can expire can be renewed");
        return turn.send(record.encoding, &Frame::failure(id, &fault));
    }
    let Some(claims) = authenticate(record, &renewal.token, Vec::new(), stage, turn) else { return };
    if record.identity.as_ref().is_some_and(|identity| identity.user != claims.user) {
        let fault = Fault::new(ErrorCode::AuthFailed, "the new token is for another user");
        refuse::<()>(record, &fault, turn);
        return;
    }
    set_claims(record, &claims);
    close_forbidden(record, turn);
    welcome::begin(record, Arrival::Renewed, Vec::new(), turn);
}

impl Wishes {
    /// Tells of the channels that the backend does not open, and wishes for them no more.
    fn drop_refused(&mut self, record: &Record, stage: Stage<'_>, turn: &mut ConnectionTurn) {
        let settings = turn.settings();
        let names: BTreeSet<String> =
            self.subscribe.iter().chain(self.cursors.iter().map(|(name, _)| name)).cloned().collect();
        for name in names {
            if let Err(fault) = backend::may_enter(stage, &name, &settings) {
                turn.send(record.encoding, &Frame::failure(None, &fault));
                self.subscribe.retain(|wanted| *wanted != name);
                self.cursors.retain(|(wanted, _)| *wanted != name);
            }
        }
    }
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
    let wishes = wishes(record, &ticket.cursors, &ticket.subscribe, turn);
    welcome::begin(record, Arrival::Resumed, wishes, turn);
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
    let wishes = self::wishes(record, &wishes.cursors, &wishes.subscribe, turn);
    welcome::begin(record, Arrival::Fresh, wishes, turn);
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

/// The channels a client asks for with its identity, by name or with a cursor; those it may have. The others are told at
/// once.
fn wishes(
    record: &Record,
    cursors: &[(String, Cursor)],
    wanted: &[String],
    turn: &mut ConnectionTurn,
) -> Vec<(CompactString, Option<Since>)> {
    let cursors: BTreeMap<&str, &Cursor> = cursors.iter().map(|(name, cursor)| (name.as_str(), cursor)).collect();
    let most = turn.settings().subscriptions;
    let mut room = most.saturating_sub(record.channels().len());
    let mut seen = HashSet::new();
    let names = wanted.iter().map(String::as_str).chain(cursors.keys().copied());
    let mut wishes = Vec::new();
    for name in names.filter(|name| seen.insert(*name)) {
        let is_known = record.subscription(name).is_some();
        let allowed = ChannelName::new(name)
            .map_err(|error| Fault::new(ErrorCode::BadRequest, error.to_string()))
            .and_then(|_| access::check(record, &turn.settings().rules, Action::Subscribe, name))
            .and_then(|()| (is_known || room > 0).then_some(()).ok_or_else(|| too_many(most)));
        match allowed {
            Ok(()) => {
                room -= usize::from(!is_known);
                wishes.push((name.into(), cursors.get(name).map(|cursor| since(cursor))));
            }
            Err(fault) => turn.send(record.encoding, &Frame::failure(None, &fault)),
        }
    }
    wishes
}

pub(crate) fn too_many(most: usize) -> Fault {
    Fault::new(ErrorCode::TooLarge, format!("a connection has at most {most} subscriptions"))
}
