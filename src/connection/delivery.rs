//! What a connection passes on to its client: events, signals, presence, gaps, and the answers of channel homes.

use std::sync::Arc;

use crate::{
    channel::{
        Answer, Ask, CatchUp, Change, Channel, Event, Gap, HomeAnswer, Notice, Purpose, Subscriber, Tag, Whisper,
    },
    connection::{
        actor::ConnectionActor,
        membership,
        record::{Record, Subscription},
        welcome,
    },
    protocol::{
        error::{ErrorCode, Fault},
        frame::{Frame, Outcome, Roster, SubscriptionState},
        request::RequestId,
    },
    shard::Turn,
};

type ConnectionTurn = Turn<ConnectionActor>;

/// An event, unless the client has unsubscribed while it waited.
pub(crate) fn event(record: &Record, event: &Event, turn: &mut ConnectionTurn) {
    if record.is_subscribed(&event.channel) {
        turn.frame(event.frame.bytes(record.encoding, turn.compresses()), true);
    }
}

pub(crate) fn whisper(record: &Record, whisper: &Whisper, turn: &mut ConnectionTurn) {
    if record.is_subscribed(&whisper.channel) {
        turn.frame(whisper.frame.bytes(record.encoding, turn.compresses()), false);
    }
}

pub(crate) fn gap(record: &Record, channel: &str, gap: Gap, turn: &mut ConnectionTurn) {
    if record.subscription(channel).is_some() {
        let Gap { from, to, reason } = gap;
        turn.send(record.encoding, &Frame::Gap { channel, from, to, reason });
    }
}

/// A channel's home has answered an earlier ask of this connection.
pub(crate) fn answer(record: &mut Record, answer: &HomeAnswer, turn: &mut ConnectionTurn) {
    let HomeAnswer { channel, tag, answer } = answer;
    if let Answer::Subscribed { subscriber, .. } = answer {
        if !subscriber.inherits && record.is_subscribed(channel) {
            // Counted twice: two asked at once.
            turn.ask(Ask::Surplus { channel: Arc::clone(channel), user: subscriber.user.clone() });
        }
        seat(record, channel, subscriber);
    }
    if tag.socket != record.socket {
        // Asked by a socket that is gone: nobody here waits for it.
        return;
    }
    match answer {
        Answer::Subscribed { catch_up, roster, .. } => match tag.purpose {
            Purpose::Welcome => welcome::answered(record, Some(state(channel, catch_up)), turn),
            Purpose::Entry => membership::entered(record, &channel.name, turn),
            Purpose::Request(id) | Purpose::Subscription(id) => {
                membership::entered(record, &channel.name, turn);
                reply_subscribed(record, id, channel, catch_up, roster.as_ref(), turn);
            }
        },
        Answer::Described(description) => {
            let state = SubscriptionState {
                channel: description.channel.clone(),
                epoch: description.epoch,
                offset: description.offset,
                recovered: true,
            };
            welcome::answered(record, Some(state), turn);
        }
        Answer::Published(published) => {
            let outcome =
                Outcome::Published { offset: published.offset, at: published.at, duplicate: published.duplicate };
            reply(record, *tag, outcome, turn);
        }
        Answer::Roster(roster) => reply(record, *tag, Outcome::Roster(roster), turn),
        Answer::Members(members) => reply(record, *tag, Outcome::Members(members), turn),
        Answer::Signalled => reply(record, *tag, Outcome::Done {}, turn),
        Answer::Failed(fault) => failed(record, *tag, channel, fault, turn),
        Answer::History { events, more } => history(record, *tag, events, *more, turn),
        Answer::Memberships(memberships) => welcome::enrolled(record, memberships, turn),
        Answer::Joined { epoch, head, standing } => {
            let change = Change::Joined { epoch: *epoch, delivered: standing.delivered, new: false };
            membership::change(record, channel, change, turn);
            reply(record, *tag, Outcome::Joined { channel: &channel.name, epoch: *epoch, offset: *head }, turn);
        }
        Answer::Left(was_member) => {
            if *was_member {
                membership::left(record, channel, turn);
            }
            reply(record, *tag, Outcome::Done {}, turn);
        }
        Answer::Standing(standing) => reply(record, *tag, Outcome::Standing(*standing), turn),
        Answer::Page(_) => {
            let fault = Fault::new(ErrorCode::Internal, "an answer nobody asked for");
            failed(record, *tag, channel, &fault, turn);
        }
    }
}

/// The home has counted this connection in: the record says so too.
pub(crate) fn seat(record: &mut Record, channel: &Arc<Channel>, subscriber: &Subscriber) {
    if let Some(identity) = record.identity_mut() {
        match identity.subscriptions.iter_mut().find(|own| own.channel == *channel) {
            Some(own) => own.watches = subscriber.watches,
            None => {
                identity.subscriptions.push(Subscription { channel: Arc::clone(channel), watches: subscriber.watches })
            }
        }
    }
}

/// What becomes of an answer that nobody will handle: a seat must not outlive whoever it was taken for.
pub(crate) fn unheard(notice: &Notice) -> Option<Ask> {
    let Notice::Answer(home) = notice else { return None };
    let HomeAnswer { channel, answer: Answer::Subscribed { subscriber, .. }, .. } = &**home else { return None };
    let channel = Arc::clone(channel);
    Some(if subscriber.inherits {
        // The record knows this subscription, and gives it up when it goes.
        Ask::Pause { user: subscriber.user.clone(), channels: vec![channel], undelivered: 0, told: false }
    } else {
        Ask::Unsubscribe { channel, user: subscriber.user.clone() }
    })
}

fn state(channel: &Channel, catch_up: &CatchUp) -> SubscriptionState {
    SubscriptionState {
        channel: channel.name.to_string(),
        epoch: catch_up.epoch,
        offset: catch_up.head,
        recovered: catch_up.recovered,
    }
}

fn reply_subscribed(
    record: &Record,
    id: Option<RequestId>,
    channel: &Channel,
    catch_up: &CatchUp,
    presence: Option<&Roster>,
    turn: &mut ConnectionTurn,
) {
    let Some(id) = id else { return };
    let &CatchUp { epoch, head, recovered, .. } = catch_up;
    let outcome = Outcome::Subscribed { channel: &channel.name, epoch, offset: head, recovered, presence };
    turn.send(record.encoding, &Frame::ok(id, outcome));
}

fn reply(record: &Record, tag: Tag, outcome: Outcome<'_>, turn: &mut ConnectionTurn) {
    if let Purpose::Request(Some(id)) = tag.purpose {
        turn.send(record.encoding, &Frame::ok(id, outcome));
    }
}

fn history(record: &Record, tag: Tag, events: &[Arc<Event>], more: bool, turn: &mut ConnectionTurn) {
    let events: Vec<_> = events.iter().filter_map(|event| event.as_listed()).collect();
    reply(record, tag, Outcome::History { events: &events, more }, turn);
}

/// A home could not do it; whoever waited for it goes on.
fn failed(record: &mut Record, tag: Tag, channel: &Channel, fault: &Fault, turn: &mut ConnectionTurn) {
    match tag.purpose {
        Purpose::Welcome => welcome::failed(record, fault, turn),
        Purpose::Entry => {
            membership::entered(record, &channel.name, turn);
            turn.send(record.encoding, &Frame::failure(None, fault));
        }
        // No release: it may be another request's answer that everything is held for.
        Purpose::Request(id) => turn.send(record.encoding, &Frame::failure(id, fault)),
        Purpose::Subscription(id) => {
            membership::entered(record, &channel.name, turn);
            turn.send(record.encoding, &Frame::failure(id, fault));
        }
    }
}
