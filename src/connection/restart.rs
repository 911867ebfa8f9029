//! The first turn of a new generation: whoever waited for the crashed turn is told, and what that turn was to begin is begun
//! again. A request is answered, never repeated; an event or a gap is told as lost; an opening or a resume, which nobody
//! could ask for a second time, is repeated.
//!
//! Called through `actor.rs` after every crash. Must leave nobody waiting for an answer, and no channel's home with a
//! subscriber that the record does not know.

use std::sync::Arc;

use crate::{
    channel::{Answer, Ask, Channel, Event, Gap, Membership, Notice, Purpose, Subscriber, Tag},
    connection::{
        actor::ConnectionActor,
        backend::{self, Asked},
        delivery, frame, identify, lifecycle, membership,
        opening::{Opening, Ticket},
        record::Record,
        welcome,
    },
    protocol::{
        encoding::Payload,
        error::{ErrorCode, Fault},
        frame::{Frame, GapReason},
        request::{RequestId, peek_id},
    },
    shard::{Crash, Mail, Turn},
};

type ConnectionTurn = Turn<ConnectionActor>;

/// What the crashed turn was handling, as far as the next generation needs it.
pub(crate) struct Restart<'a> {
    mail: Option<Lost<'a>>,
    retried: bool,
    gave_up: bool,
}

enum Lost<'a> {
    Opened(&'a Opening),
    Claimed(&'a Ticket),
    Refused(&'a Ticket),
    Frame(Payload<'a>),
    Event(&'a Event),
    Gap(&'a Channel, Gap),
    Answer(&'a Arc<Channel>, Tag, &'a Answer),
    Membership(&'a Membership),
    Asked(&'a Asked),
    Whisper,
    Other,
}

impl<'a> Restart<'a> {
    pub(crate) fn of(crash: &Crash<'a, ConnectionActor>) -> Self {
        let lost = |mail: &Mail<'a, ConnectionActor>| match *mail {
            Mail::Opened(opening) => Lost::Opened(opening),
            Mail::Claimed(ticket) => Lost::Claimed(ticket),
            Mail::Refused(ticket) => Lost::Refused(ticket),
            Mail::Frame(payload) => Lost::Frame(payload),
            Mail::Message(Notice::Event(event)) => Lost::Event(event),
            Mail::Message(Notice::Gap(missed)) => Lost::Gap(&missed.channel, missed.gap),
            Mail::Message(Notice::Answer(home)) => Lost::Answer(&home.channel, home.tag, &home.answer),
            Mail::Message(Notice::Membership(change)) => Lost::Membership(change),
            Mail::Message(Notice::Whisper(_)) => Lost::Whisper,
            Mail::Job(Ok(Some(asked))) => Lost::Asked(asked),
            _ => Lost::Other,
        };
        Self { mail: crash.mail.map(lost), retried: crash.retried, gave_up: crash.gave_up }
    }
}

/// The actor is back.
pub(crate) fn restarted(record: &mut Record, restart: Restart<'_>, turn: &mut ConnectionTurn) {
    let Restart { mail, retried, gave_up } = restart;
    let (mut request, mut lost) = (None, 0);
    match mail {
        Some(Lost::Frame(payload)) => {
            request = frame::json(record.encoding, payload).ok().and_then(|json| peek_id(&json));
            lost = u32::from(request.is_none());
            crashed(record, request, turn);
        }
        // Nothing is consumed yet, it is tried once more.
        _ if retried => {}
        Some(Lost::Event(event)) => {
            lost = 1;
            let gap = Gap { from: event.offset, to: event.offset, reason: GapReason::Crash };
            delivery::gap(record, &event.channel.name, gap, turn);
        }
        Some(Lost::Gap(channel, gap)) => delivery::gap(record, &channel.name, gap, turn),
        Some(Lost::Answer(channel, tag, answer)) => {
            if let Answer::Subscribed { subscriber, .. } = answer {
                unseat(record, channel, tag, subscriber, turn);
            }
            lost = 1;
            match tag.purpose {
                // Asked by a socket that is gone: nobody here waits for it.
                _ if tag.socket != record.socket => {}
                Purpose::Welcome => welcome::unanswered(record, turn),
                Purpose::Entry => membership::entered(record, &channel.name, turn),
                Purpose::Request(id) | Purpose::Subscription(id) => {
                    if tag.purpose == Purpose::Subscription(id) {
                        membership::entered(record, &channel.name, turn);
                    }
                    request = id;
                    lost = u32::from(id.is_none());
                    crashed(record, id, turn);
                }
            }
        }
        // Without it the session would hear too much, or too little: it is told again.
        Some(Lost::Membership(change)) => membership::changed(record, change, turn),
        Some(Lost::Whisper) => lost = 1,
        // A connection that is closed anyway begins nothing.
        _ if gave_up => {}
        Some(Lost::Asked(asked)) => match asked.json() {
            Some(json) => {
                // What waited for the answers of an `identify` goes on; the client asks again.
                turn.release();
                request = peek_id(json);
                lost = u32::from(request.is_none());
                crashed(record, request, turn);
            }
            None => backend::answered(record, asked, turn),
        },
        Some(Lost::Opened(opening)) => lifecycle::opened(record, opening, turn),
        Some(Lost::Claimed(ticket)) => identify::claimed(record, ticket, turn),
        Some(Lost::Refused(ticket)) => identify::refused(record, ticket, turn),
        Some(Lost::Other) | None => {}
    }
    if !gave_up {
        let generation = turn.generation();
        turn.send(record.encoding, &Frame::Restarted { generation, request, lost });
    }
}

/// A subscription that the home has counted and the client will not hear of is given up again; one it had before goes on.
fn unseat(record: &mut Record, channel: &Arc<Channel>, tag: Tag, subscriber: &Subscriber, turn: &mut ConnectionTurn) {
    if subscriber.inherits && tag.purpose != Purpose::Welcome {
        return delivery::seat(record, channel, subscriber);
    }
    if let Some(identity) = record.identity_mut() {
        identity.subscriptions.retain(|own| own.channel != *channel);
    }
    turn.ask(Ask::Unsubscribe { channel: Arc::clone(channel), user: subscriber.user.clone() });
}

/// The one reply of a request whose turn crashed.
fn crashed(record: &Record, request: Option<RequestId>, turn: &mut ConnectionTurn) {
    if request.is_some() {
        let fault = Fault::new(ErrorCode::Crashed, "the actor crashed while it served this request");
        turn.send(record.encoding, &Frame::failure(request, &fault));
    }
}
