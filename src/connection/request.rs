//! The requests of an identified client, one function per op. What a channel's home must decide is asked of the hub and
//! answered later, in `delivery.rs`.

use compact_str::CompactString;

use crate::{
    channel::{Ask, HomeRequest, Publication, Purpose, Since, Subscriber},
    connection::{
        access,
        actor::ConnectionActor,
        backend::{self, Stage},
        identify, lifecycle, membership,
        rate::Rate,
        record::{Identity, Record},
    },
    hooks::{Hook, Question},
    id::SessionToken,
    protocol::{
        close::Close,
        data,
        error::{ErrorCode, Fault},
        frame::{Frame, Outcome, Standing},
        name,
        request::{Ack, Chaos, ChaosFault, History, Publish, Request, RequestId, Rpc, Signal, Status, Subscribe},
    },
    shard::{self, Turn},
    token::Action,
};

type ConnectionTurn = Turn<ConnectionActor>;
type Served = Result<(), Fault>;

/// The longest idempotency key and signal kind.
const MAX_WORD_BYTES: usize = 255;
/// Events of a page of history, unless the client says how many …
const DEFAULT_HISTORY: usize = 100;
/// … and at most.
const MOST_HISTORY: usize = 1000;
/// The longest stall a client may ask for.
const MAX_STALL_MS: u64 = 60_000;

/// Serves one request; a fault becomes its reply.
pub(crate) fn serve(
    record: &mut Record,
    id: Option<RequestId>,
    request: Request<'_>,
    stage: Stage<'_>,
    turn: &mut ConnectionTurn,
) {
    let served = match request {
        Request::Subscribe(subscribe) => self::subscribe(record, id, subscribe, stage, turn),
        Request::Unsubscribe(on) => unsubscribe(record, id, on.channel.as_str(), turn),
        Request::Publish(publish) => self::publish(record, id, &publish, stage, turn),
        Request::Signal(signal) => self::signal(record, id, &signal, turn),
        Request::Presence(on) => look(record, id, on.channel.as_str(), HomeRequest::Roster, turn),
        Request::Members(on) => look(record, id, on.channel.as_str(), HomeRequest::Members, turn),
        Request::Status(set) => status(record, id, set.status, turn),
        Request::Whoami => whoami(record, id, turn),
        Request::Rpc(rpc) => self::rpc(record, id, &rpc, stage, turn),
        Request::Chaos(chaos) => self::chaos(record, id, &chaos, turn),
        Request::Join(on) => join(record, id, on.channel.as_str(), stage, turn),
        Request::Leave(on) => take_share(record, TENTH, turn)
            .and_then(|()| user(record))
            .map(|user| ask_home(record, id, on.channel.as_str(), HomeRequest::Leave { user }, turn)),
        Request::Ack(ack) => self::ack(record, id, &ack, turn),
        Request::History(history) => self::history(record, id, &history, turn),
        // Served before anything else.
        Request::Identify(_) | Request::Heartbeat => Ok(()),
    };
    if let Err(fault) = served {
        turn.send(record.encoding, &Frame::failure(id, &fault));
    }
}

/// Asks about a channel what whoever may subscribe to it may know.
fn look(
    record: &mut Record,
    id: Option<RequestId>,
    channel: &str,
    request: HomeRequest,
    turn: &mut ConnectionTurn,
) -> Served {
    take_share(record, TENTH, turn)?;
    may(record, Action::Subscribe, channel, turn)?;
    ask_home(record, id, channel, request, turn);
    Ok(())
}

fn done(record: &Record, id: Option<RequestId>, outcome: Outcome<'_>, turn: &mut ConnectionTurn) {
    if let Some(id) = id {
        turn.send(record.encoding, &Frame::ok(id, outcome));
    }
}

fn identity(record: &Record) -> Result<&Identity, Fault> {
    record.identity.as_deref().ok_or_else(|| Fault::new(ErrorCode::NotIdentified, "identify first"))
}

/// Whether the user may; asked before anything of a channel's home is.
fn may(record: &Record, action: Action, channel: &str, turn: &ConnectionTurn) -> Served {
    access::check(record, &turn.settings().rules, action, channel)
}

fn ask_home(record: &Record, id: Option<RequestId>, channel: &str, request: HomeRequest, turn: &mut ConnectionTurn) {
    turn.ask(Ask::OfHome { channel: channel.into(), tag: record.tag(Purpose::Request(id)), request });
}

fn subscribe(
    record: &mut Record,
    id: Option<RequestId>,
    subscribe: Subscribe<'_>,
    stage: Stage<'_>,
    turn: &mut ConnectionTurn,
) -> Served {
    let channel = subscribe.channel.as_str();
    may(record, Action::Subscribe, channel, turn)?;
    pay(record, TENTH, stage, turn)?;
    let identity = identity(record)?;
    // Subscribing again keeps the place and replays what is asked for: after a fresh `ready` a client so adds `presence`.
    let again = record.subscription(channel).is_some();
    let most = turn.settings().subscriptions;
    if !again && identity.subscriptions.len() >= most {
        return Err(identify::too_many(most));
    }
    if !again && backend::asks_to_enter(record, stage, channel, Action::Subscribe, turn)? {
        return Ok(());
    }
    let identity = self::identity(record)?;
    let since = match (subscribe.from, subscribe.last) {
        (Some(cursor), _) => Since::Cursor { epoch: cursor.epoch.parse().ok(), offset: cursor.offset },
        (None, Some(last)) => Since::Last(last),
        (None, None) => Since::Head,
    };
    let subscriber = Subscriber {
        user: identity.user.clone(),
        status: record.status,
        watches: subscribe.presence.unwrap_or(false),
        inherits: again,
        replaces: again && matches!(since, Since::Cursor { .. }),
    };
    membership::enter(record, Purpose::Subscription(id), channel, subscriber, since, turn);
    Ok(())
}

fn unsubscribe(record: &mut Record, id: Option<RequestId>, channel: &str, turn: &mut ConnectionTurn) -> Served {
    let not_subscribed = || Fault::new(ErrorCode::NotFound, format!("not subscribed to {channel}"));
    let identity = record.identity_mut().ok_or_else(not_subscribed)?;
    let at = identity.subscriptions.iter().position(|own| *own.channel.name == *channel).ok_or_else(not_subscribed)?;
    let subscription = identity.subscriptions.remove(at);
    identity.subscriptions.shrink_to_fit();
    let user = identity.user.clone();
    turn.ask(Ask::Unsubscribe { channel: subscription.channel, user });
    done(record, id, Outcome::Done {}, turn);
    Ok(())
}

fn user(record: &Record) -> Result<CompactString, Fault> {
    identity(record).map(|identity| identity.user.clone())
}

fn join(
    record: &mut Record,
    id: Option<RequestId>,
    channel: &str,
    stage: Stage<'_>,
    turn: &mut ConnectionTurn,
) -> Served {
    may(record, Action::Join, channel, turn)?;
    pay(record, TENTH, stage, turn)?;
    let user = user(record)?;
    let most = turn.settings().subscriptions;
    if record.subscription(channel).is_none() && record.channels().len() >= most {
        return Err(identify::too_many(most));
    }
    if backend::asks_to_enter(record, stage, channel, Action::Join, turn)? {
        return Ok(());
    }
    ask_home(record, id, channel, HomeRequest::Join { user }, turn);
    Ok(())
}

fn ack(record: &mut Record, id: Option<RequestId>, ack: &Ack<'_>, turn: &mut ConnectionTurn) -> Served {
    let channel = ack.channel.as_str();
    if ack.delivered.is_none() && ack.read.is_none() {
        return Err(Fault::new(ErrorCode::BadRequest, "give `delivered`, `read` or both"));
    }
    may(record, Action::Subscribe, channel, turn)?;
    take_share(record, TENTH, turn)?;
    let (user, read) = (user(record)?, ack.read.unwrap_or(0));
    // Reading implies delivery.
    let to = Standing { delivered: ack.delivered.unwrap_or(0).max(read), read };
    ask_home(record, id, channel, HomeRequest::Acknowledge { user, to }, turn);
    Ok(())
}

fn history(record: &mut Record, id: Option<RequestId>, history: &History<'_>, turn: &mut ConnectionTurn) -> Served {
    let channel = history.channel.as_str();
    may(record, Action::Subscribe, channel, turn)?;
    take_share(record, TENTH, turn)?;
    let limit = history.limit.map_or(DEFAULT_HISTORY, |limit| usize::try_from(limit).unwrap_or(MOST_HISTORY));
    let (after, before, limit) = (history.after, history.before, limit.min(MOST_HISTORY));
    ask_home(record, id, channel, HomeRequest::History { after, before, limit }, turn);
    Ok(())
}

fn publish(
    record: &mut Record,
    id: Option<RequestId>,
    publish: &Publish<'_>,
    stage: Stage<'_>,
    turn: &mut ConnectionTurn,
) -> Served {
    let (channel, key) = (publish.channel.as_str(), publish.key.as_ref().map(|key| &*key.0));
    check_word("key", key.unwrap_or("-"))?;
    may(record, Action::Publish, channel, turn)?;
    // Before its data is looked at: whoever says too much is not read to the end.
    pay(record, WHOLE, stage, turn)?;
    data::check(publish.data)?;
    let from = identity(record)?.user.clone();
    if stage.is_fresh() && turn.settings().hooks.asks_about(Hook::Publish, name::namespace(channel)) {
        let (user, channel) = (from.to_string(), channel.to_owned());
        let (data, key) = (publish.data.to_owned(), key.map(str::to_owned));
        backend::ask(record, stage, Question::Publish { user, channel, data, key }, turn);
        return Ok(());
    }
    let instead = stage.allowed()?;
    // The client's own has been looked at.
    instead.map_or(Ok(()), data::check)?;
    let data = instead.unwrap_or(publish.data).to_owned();
    let publication = Publication { from, data, key: key.map(Into::into) };
    ask_home(record, id, channel, HomeRequest::Publish(publication), turn);
    Ok(())
}

/// A call of the application's own.
fn rpc(
    record: &mut Record,
    id: Option<RequestId>,
    rpc: &Rpc<'_>,
    stage: Stage<'_>,
    turn: &mut ConnectionTurn,
) -> Served {
    check_word("method", &rpc.method.0)?;
    pay(record, WHOLE, stage, turn)?;
    rpc.data.map_or(Ok(()), data::check)?;
    if !turn.settings().hooks.asks(Hook::Rpc) {
        return Err(Fault::new(ErrorCode::NotFound, "nobody answers calls here: this server has no hooks.rpc.url"));
    }
    if stage.is_fresh() {
        let (user, method) = (identity(record)?.user.to_string(), rpc.method.0.to_string());
        let question = Question::Rpc { user, method, data: rpc.data.map(ToOwned::to_owned) };
        backend::ask(record, stage, question, turn);
        return Ok(());
    }
    done(record, id, Outcome::Called { data: stage.allowed()? }, turn);
    Ok(())
}

/// What a publish or signal costs of the connection's share, and what anything else costs that other parts of the node
/// must answer.
const WHOLE: u32 = Rate::WHOLE;
const TENTH: u32 = 1;

/// As [`take_share`], of a request that may come by again: then it has paid.
fn pay(record: &mut Record, tenths: u32, stage: Stage<'_>, turn: &mut ConnectionTurn) -> Served {
    if stage.is_fresh() { take_share(record, tenths, turn) } else { Ok(()) }
}

/// Takes tenths of a publish from the connection's share.
fn take_share(record: &mut Record, tenths: u32, turn: &mut ConnectionTurn) -> Served {
    let (now, settings) = (turn.now(), turn.settings());
    let Err(wait) = record.publishes.take(settings.publish, tenths, now) else { return Ok(()) };
    record.roll_minute(now);
    record.refused = record.refused.saturating_add(1);
    if u32::from(record.refused) > settings.most_refused {
        turn.close(Close::RATE_LIMITED);
    }
    let after_ms = wait.as_micros().div_ceil(1000) as u64;
    Err(Fault::new(ErrorCode::RateLimited, "publishing faster than this connection may").after_ms(after_ms))
}

fn signal(record: &mut Record, id: Option<RequestId>, signal: &Signal<'_>, turn: &mut ConnectionTurn) -> Served {
    let channel = signal.channel.as_str();
    check_word("kind", &signal.kind.0)?;
    may(record, Action::Publish, channel, turn)?;
    signal.data.map_or(Ok(()), data::check)?;
    take_share(record, WHOLE, turn)?;
    let request = HomeRequest::Signal {
        from: identity(record)?.user.clone(),
        kind: (&*signal.kind.0).into(),
        data: signal.data.map(ToOwned::to_owned),
    };
    ask_home(record, id, channel, request, turn);
    Ok(())
}

fn check_word(field: &str, word: &str) -> Served {
    if word.is_empty() || word.len() > MAX_WORD_BYTES {
        let message = format!("`{field}` has {} bytes, 1 to {MAX_WORD_BYTES} are allowed", word.len());
        return Err(Fault::new(ErrorCode::BadRequest, message));
    }
    Ok(())
}

fn status(record: &mut Record, id: Option<RequestId>, status: Status, turn: &mut ConnectionTurn) -> Served {
    take_share(record, TENTH, turn)?;
    let channels = record.channels();
    record.status = status;
    let user = identity(record)?.user.clone();
    turn.ask(Ask::SetStatus { channels, user, status });
    done(record, id, Outcome::Done {}, turn);
    Ok(())
}

fn whoami(record: &Record, id: Option<RequestId>, turn: &mut ConnectionTurn) -> Served {
    let identity = identity(record)?;
    let connection = turn.connection();
    let outcome = Outcome::Whoami {
        user: &identity.user,
        session: SessionToken { connection, secret: identity.secret }.to_string(),
        connection,
        generation: turn.generation(),
        subscriptions: identity.subscriptions.iter().map(|own| &*own.channel.name).collect(),
    };
    done(record, id, outcome, turn);
    Ok(())
}

fn chaos(record: &Record, id: Option<RequestId>, chaos: &Chaos, turn: &mut ConnectionTurn) -> Served {
    if !turn.settings().chaos {
        let message = "chaos is off on this server; start it with --set chaos.enabled=true";
        return Err(Fault::new(ErrorCode::Forbidden, message));
    }
    let ms = chaos.ms.unwrap_or(1000).min(MAX_STALL_MS);
    lifecycle::fault(
        match chaos.fault {
            ChaosFault::Panic => shard::Fault::Panic,
            ChaosFault::Stall => shard::Fault::Stall(std::time::Duration::from_millis(ms)),
        },
        turn,
    );
    done(record, id, Outcome::Done {}, turn);
    Ok(())
}
