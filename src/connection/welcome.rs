//! From an identity to its `ready`: the user's desk is asked for his memberships, then every channel's home for a place. Until
//! all have answered, frames and deliveries are held back, so that `ready` comes first.
//!
//! ```text
//! begin ──enroll──→ enrolled ──subscribe, resume──→ answered … answered ──→ ready
//! ```

use std::collections::HashSet;

use crate::{
    channel::{Ask, HomeRequest, Purpose, Since, Subscriber},
    connection::{
        access,
        actor::ConnectionActor,
        identify, membership,
        record::{Arrival, Identity, Phase, Record, Welcome},
    },
    id::SessionToken,
    protocol::{
        close::Close,
        error::{ErrorCode, Fault},
        frame::{Frame, MembershipState, SubscriptionState},
    },
    shard::Turn,
    token::Action,
};

type ConnectionTurn = Turn<ConnectionActor>;
type Wish = (compact_str::CompactString, Option<Since>);

/// Asks which memberships there are, and holds everything back until `ready`.
pub(crate) fn begin(record: &mut Record, arrival: Arrival, wishes: Vec<Wish>, turn: &mut ConnectionTurn) {
    record.phase = Phase::Welcoming;
    turn.hold();
    let (order, states) = (Vec::new(), Vec::new());
    if let Some(identity) = record.identity_mut() {
        identity.rare_mut().welcome = Some(Welcome { arrival, wishes, memberships: None, order, waiting: 0, states });
    }
    enroll(record, turn);
}

fn enroll(record: &Record, turn: &mut ConnectionTurn) {
    if let Some(identity) = &record.identity {
        turn.ask(Ask::Enroll { user: identity.user.clone(), tag: record.tag(Purpose::Welcome) });
    }
}

/// The memberships are here: now the channels are asked.
pub(crate) fn enrolled(record: &mut Record, memberships: &[MembershipState], turn: &mut ConnectionTurn) {
    let settings = turn.settings();
    let may = |membership: &&MembershipState| {
        access::check(record, &settings.rules, Action::Subscribe, &membership.channel).is_ok()
    };
    let memberships: Vec<MembershipState> = memberships.iter().filter(may).cloned().collect();
    let Some(identity) = record.identity.clone() else { return };
    let Some((arrival, wishes)) = expected(&identity) else { return };
    let asks = match arrival {
        Arrival::Renewed => describe(record),
        Arrival::Fresh | Arrival::Resumed => subscribe(record, &identity, &wishes, &memberships, turn),
    };
    let Some(identity) = record.identity_mut() else { return };
    let Some(welcome) = identity.rare.as_mut().and_then(|rare| rare.welcome.as_mut()) else { return };
    welcome.memberships = Some(memberships);
    welcome.waiting = asks.len();
    welcome.order = asks.iter().filter_map(Ask::channel).map(Into::into).collect();
    let nobody_asked = asks.is_empty();
    for ask in asks {
        turn.ask(ask);
    }
    if nobody_asked {
        ready(record, turn);
    }
}

/// What is to be made of the memberships, if nothing has been made of them yet.
fn expected(identity: &Identity) -> Option<(Arrival, Vec<Wish>)> {
    let welcome = identity.rare.as_ref()?.welcome.as_ref()?;
    welcome.memberships.is_none().then(|| (welcome.arrival, welcome.wishes.clone()))
}

fn describe(record: &Record) -> Vec<Ask> {
    let tag = record.tag(Purpose::Welcome);
    let channels = record.channels().into_iter();
    channels
        .map(|channel| Ask::OfHome { channel: (&*channel.name).into(), tag, request: HomeRequest::Describe })
        .collect()
}

/// Goes on with the subscriptions of the session, and asks for those that the client and the memberships want besides.
fn subscribe(
    record: &Record,
    identity: &Identity,
    wishes: &[Wish],
    memberships: &[MembershipState],
    turn: &mut ConnectionTurn,
) -> Vec<Ask> {
    let tag = record.tag(Purpose::Welcome);
    // A cursor of the client's goes before the one that is kept for him: it may be further, or of another device.
    let since = |name: &str| {
        let wish = wishes.iter().find(|(wish, _)| *wish == *name).and_then(|(_, since)| since.clone());
        let kept = || memberships.iter().find(|membership| membership.channel == *name).map(cursor);
        wish.or_else(kept)
    };
    let subscriber = |watches, inherits| Subscriber {
        user: identity.user.clone(),
        status: record.status,
        watches,
        inherits,
        replaces: inherits,
    };
    let resumed = identity.subscriptions.iter().map(|own| Ask::Resume {
        channel: own.channel.clone(),
        tag,
        cursor: since(&own.channel.name),
        subscriber: subscriber(own.watches, true),
    });
    let mut asks: Vec<Ask> = resumed.collect();
    let most = turn.settings().subscriptions;
    let mut seen: HashSet<&str> = identity.subscriptions.iter().map(|own| &*own.channel.name).collect();
    let wanted = wishes.iter().map(|(name, _)| name.as_str());
    for name in wanted.chain(memberships.iter().map(|membership| membership.channel.as_str())) {
        if !seen.insert(name) {
            continue;
        }
        if asks.len() >= most {
            turn.send(record.encoding, &Frame::failure(None, &identify::too_many(most)));
            continue;
        }
        let (since, subscriber) = (since(name).unwrap_or(Since::Head), subscriber(false, false));
        asks.push(Ask::OfHome { channel: name.into(), tag, request: HomeRequest::Subscribe { subscriber, since } });
    }
    asks
}

fn cursor(membership: &MembershipState) -> Since {
    Since::Cursor { epoch: Some(membership.epoch), offset: membership.standing.delivered }
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

/// An answer was lost in a crash: a channel's is done without, the memberships are asked for again.
pub(crate) fn unanswered(record: &mut Record, turn: &mut ConnectionTurn) {
    if record.identity.as_deref().and_then(expected).is_some() {
        enroll(record, turn);
    } else {
        answered(record, None, turn);
    }
}

/// An answer is that it could not be done.
pub(crate) fn failed(record: &mut Record, fault: &Fault, turn: &mut ConnectionTurn) {
    if record.identity.as_deref().and_then(expected).is_none() {
        turn.send(record.encoding, &Frame::failure(None, fault));
        return answered(record, None, turn);
    }
    if fault.code == ErrorCode::Crashed {
        return enroll(record, turn);
    }
    // Going on as if there were no memberships would be a silent loss.
    turn.send(record.encoding, &Frame::failure(None, fault));
    turn.close(Close::RATE_LIMITED);
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
    let resumed = welcome.arrival != Arrival::Fresh;
    if resumed {
        // After a resume the client came with it; after a renewal on a live connection it holds the one before.
        let rare = identity.rare_mut();
        if rare.previous.is_none() {
            (rare.previous, rare.claimed_at) = (Some(before), 0);
        }
    }
    identity.secret = secret;
    identity.tidy();
    let session = SessionToken { connection: turn.connection(), secret }.to_string();
    let frame = Frame::Ready {
        user: &identity.user,
        session,
        resumed,
        generation: turn.generation(),
        subscriptions: &welcome.states,
        memberships: &welcome.memberships.unwrap_or_default(),
    };
    turn.send(encoding, &frame);
    if resumed {
        turn.ask(Ask::Resumed);
    }
    membership::settle(record, turn);
}
