//! Memberships as one connection lives them: it is subscribed where its user becomes a member, and no longer where he leaves.
//! What changes while a channel's home is being asked waits for the answer, so that no two asks about one channel overtake
//! each other.

use std::sync::Arc;

use crate::{
    channel::{Ask, Change, Channel, HomeRequest, Membership, Purpose, Since, Subscriber},
    connection::{
        access,
        actor::ConnectionActor,
        identify,
        record::{Phase, Record},
    },
    protocol::frame::{Frame, MembershipState, Standing},
    shard::Turn,
    token::Action,
};

type ConnectionTurn = Turn<ConnectionActor>;

/// The user has become a member somewhere, or is none any more.
pub(crate) fn changed(record: &mut Record, membership: &Membership, turn: &mut ConnectionTurn) {
    // Desks tell users apart by a hash.
    if record.identity.as_ref().is_some_and(|identity| identity.user == membership.user) {
        change(record, &membership.channel, membership.change, turn);
    }
}

/// The same from the answer to a request of this connection.
pub(crate) fn change(record: &mut Record, channel: &Arc<Channel>, change: Change, turn: &mut ConnectionTurn) {
    match (record.phase, change) {
        // A session that comes back asks for the memberships there are.
        (Phase::Unidentified, _) | (Phase::Parked, Change::Joined { .. }) => {}
        (Phase::Parked, Change::Left) => leave(record, channel, turn),
        (Phase::Welcoming, _) => postpone(record, channel, change),
        (Phase::Ready, _) if is_entering(record, &channel.name) => postpone(record, channel, change),
        (Phase::Ready, _) => apply(record, channel, change, turn),
    }
}

/// The user has left by a request of this connection: no more events, and the desk tells all sessions, this one too.
pub(crate) fn left(record: &mut Record, channel: &Arc<Channel>, turn: &mut ConnectionTurn) {
    if record.phase == Phase::Ready && !is_entering(record, &channel.name) {
        leave(record, channel, turn);
    }
}

fn is_entering(record: &Record, channel: &str) -> bool {
    let rare = record.identity.as_ref().and_then(|identity| identity.rare.as_ref());
    rare.is_some_and(|rare| rare.entering.iter().any(|name| *name == *channel))
}

fn postpone(record: &mut Record, channel: &Arc<Channel>, change: Change) {
    let Some(identity) = record.identity_mut() else { return };
    let changes = &mut identity.rare_mut().changes;
    match changes.iter_mut().find(|(known, _)| known == channel) {
        Some((_, earlier)) => *earlier = change.after(*earlier),
        None => changes.push((Arc::clone(channel), change)),
    }
}

fn apply(record: &mut Record, channel: &Arc<Channel>, change: Change, turn: &mut ConnectionTurn) {
    let Change::Joined { epoch, delivered, new } = change else {
        turn.send(record.encoding, &Frame::Left { channel: &channel.name, left: true });
        return leave(record, channel, turn);
    };
    let settings = turn.settings();
    if access::check(record, &settings.rules, Action::Subscribe, &channel.name).is_err() {
        return;
    }
    if new {
        // Before the first event of who is subscribed by it; both cursors of a new member are at the head.
        let standing = Standing { delivered, read: delivered };
        let state =
            MembershipState { channel: channel.name.to_string(), epoch, offset: delivered, standing, unread: 0 };
        turn.send(record.encoding, &Frame::Joined(state));
    }
    if record.is_subscribed(channel) {
        return;
    }
    if record.channels().len() >= settings.subscriptions {
        let fault = identify::too_many(settings.subscriptions);
        return turn.send(record.encoding, &Frame::failure(None, &fault));
    }
    let Some(identity) = &record.identity else { return };
    let subscriber = Subscriber {
        user: identity.user.clone(),
        status: record.status,
        watches: false,
        inherits: false,
        replaces: false,
    };
    let since = Since::Cursor { epoch: Some(epoch), offset: delivered };
    enter(record, Purpose::Entry, &channel.name, subscriber, since, turn);
}

fn leave(record: &mut Record, channel: &Arc<Channel>, turn: &mut ConnectionTurn) {
    if !record.is_subscribed(channel) {
        return;
    }
    let Some(identity) = record.identity_mut() else { return };
    identity.subscriptions.retain(|own| own.channel != *channel);
    let user = identity.user.clone();
    turn.ask(Ask::Unsubscribe { channel: Arc::clone(channel), user });
}

/// Asks a channel's home for a subscription. The next request may be about this channel: it waits for the answer.
pub(crate) fn enter(
    record: &mut Record,
    purpose: Purpose,
    channel: &str,
    subscriber: Subscriber,
    since: Since,
    turn: &mut ConnectionTurn,
) {
    let tag = record.tag(purpose);
    let Some(identity) = record.identity_mut() else { return };
    identity.rare_mut().entering.push(channel.into());
    turn.ask(Ask::OfHome { channel: channel.into(), tag, request: HomeRequest::Subscribe { subscriber, since } });
    turn.hold();
}

/// The home has answered, whatever it said.
pub(crate) fn entered(record: &mut Record, channel: &str, turn: &mut ConnectionTurn) {
    let Some(identity) = record.identity_mut() else { return };
    let rare = identity.rare_mut();
    // A home that has crashed does not say which channel it was: one answer less is awaited all the same.
    let at = rare.entering.iter().position(|name| *name == *channel).unwrap_or(0);
    if at < rare.entering.len() {
        rare.entering.remove(at);
    }
    let is_free = rare.entering.is_empty();
    identity.tidy();
    if is_free {
        turn.release();
    }
    settle(record, turn);
}

/// Applies what had to wait and need not any more.
pub(crate) fn settle(record: &mut Record, turn: &mut ConnectionTurn) {
    let waiting = match record.identity.as_ref().and_then(|identity| identity.rare.as_ref()) {
        Some(rare) if !rare.changes.is_empty() => rare.changes.clone(),
        _ => return,
    };
    let (later, now): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|(channel, _)| is_entering(record, &channel.name));
    if let Some(identity) = record.identity_mut() {
        identity.rare_mut().changes = later;
        identity.tidy();
    }
    for (channel, change) in now {
        apply(record, &channel, change, turn);
    }
}

/// The socket is lost: nobody waits for answers any more.
pub(crate) fn interrupted(record: &mut Record, turn: &mut ConnectionTurn) {
    if record.identity.as_ref().is_none_or(|identity| identity.rare.is_none()) {
        return;
    }
    let Some(identity) = record.identity_mut() else { return };
    let rare = identity.rare_mut();
    rare.welcome = None;
    rare.entering.clear();
    let changes = std::mem::take(&mut rare.changes);
    identity.tidy();
    for (channel, _) in changes.iter().filter(|(_, change)| *change == Change::Left) {
        leave(record, channel, turn);
    }
}
