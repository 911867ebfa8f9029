//! What the application's backend decides with us. A request that it is to decide waits in a job for the answers and then
//! comes by a second time, with them: handlers are the same both times and learn from [`Stage`] which it is. Nothing of it
//! stands in the record, so a crash between costs what any crash costs.

use std::{collections::BTreeMap, future::Future, time::Duration};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    connection::{actor::ConnectionActor, frame, identify, opening::Opening, record::Record, settings::Settings},
    hooks::{Answer, Hook, Question},
    protocol::{
        error::{ErrorCode, Fault},
        name,
    },
    shard::{Turn, Work},
    token::Action,
};

type ConnectionTurn = Turn<ConnectionActor>;

/// Calls have deadlines of their own, and those that keep their order wait for each other; a job that takes longer hangs.
const JOB_DEADLINE: Duration = Duration::from_secs(180);

/// A request and what the backend says of it.
#[derive(Serialize, Deserialize)]
pub struct Asked {
    pub(crate) origin: Origin,
    /// Of the socket that asked: nobody else wants the answer.
    socket: u8,
    answers: Answers,
}

impl Asked {
    /// The client's frame, if the request was one.
    pub(crate) fn json(&self) -> Option<&str> {
        match &self.origin {
            Origin::Frame(json) => Some(json),
            Origin::Opening(_) => None,
        }
    }
}

/// Where the request came from.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// A frame, as JSON.
    Frame(String),
    /// The handshake's URL.
    Opening(Opening),
}

/// The answers to one request.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// To the question about the request itself.
    request: Option<Answer>,
    /// About channels that an `identify` subscribes.
    channels: BTreeMap<String, Answer>,
}

/// How often a request has come by.
#[derive(Clone, Copy)]
pub(crate) enum Stage<'a> {
    /// From the client, in a frame: its JSON.
    Frame(&'a str),
    /// From the client, in its handshake's URL.
    Opening(&'a Opening),
    /// With the answers.
    Answered(&'a Answers),
}

impl<'a> Stage<'a> {
    /// What the backend says of the request itself.
    pub(crate) fn answer(self) -> Option<&'a Answer> {
        match self {
            Self::Frame(_) | Self::Opening(_) => None,
            Self::Answered(answers) => answers.request.as_ref(),
        }
    }

    /// What a yes brings along; nothing where nobody was asked.
    ///
    /// # Errors
    /// What the client is told otherwise.
    pub(crate) fn allowed(self) -> Result<Option<&'a RawValue>, Fault> {
        self.answer().map_or(Ok(None), allowed)
    }

    /// What is to come by again; `None`: it has.
    fn origin(self) -> Option<Origin> {
        match self {
            Self::Frame(json) => Some(Origin::Frame(json.to_owned())),
            Self::Opening(opening) => Some(Origin::Opening(opening.clone())),
            Self::Answered(_) => None,
        }
    }

    /// Not asked about yet.
    pub(crate) fn is_fresh(self) -> bool {
        !matches!(self, Self::Answered(_))
    }
}

/// Lets a request wait for the answer to one question. Publications of a connection that wait so go on in their order.
pub(crate) fn ask(record: &Record, stage: Stage<'_>, question: Question, turn: &mut ConnectionTurn) {
    let Some(origin) = stage.origin() else { return };
    let in_order = question.hook() == Hook::Publish;
    let asking = turn.settings().hooks.ask(turn.connection().to_string(), question);
    let socket = record.socket;
    let work = async move {
        let answers = Answers { request: Some(asking.await), ..Answers::default() };
        Some(Asked { origin, socket, answers })
    };
    let work = Work::Async(Box::pin(work));
    if in_order {
        turn.job_in_order(JOB_DEADLINE, work);
    } else {
        turn.job(JOB_DEADLINE, work);
    }
}

/// Lets a subscription or a membership wait until the backend has allowed it, if it is asked about that channel. `true`: it
/// waits.
pub(crate) fn asks_to_enter(
    record: &Record,
    stage: Stage<'_>,
    channel: &str,
    action: Action,
    turn: &mut ConnectionTurn,
) -> Result<bool, Fault> {
    if !stage.is_fresh() {
        return stage.allowed().map(|_| false);
    }
    let Some(identity) = &record.identity else { return Ok(false) };
    if !turn.settings().hooks.asks_about(Hook::Subscribe, name::namespace(channel)) {
        return Ok(false);
    }
    let question =
        Question::Subscribe { user: identity.user.to_string(), channel: channel.to_owned(), action: action.name() };
    ask(record, stage, question, turn);
    Ok(true)
}

/// What a yes brings along, or what the client is told otherwise.
fn allowed(answer: &Answer) -> Result<Option<&RawValue>, Fault> {
    match answer {
        Answer::Allowed { data, .. } => Ok(data.as_deref()),
        Answer::Denied(why) => Err(Fault::new(ErrorCode::Forbidden, why.clone())),
        Answer::Unknown(why) => Err(Fault::new(ErrorCode::Unavailable, why.clone())),
    }
}

/// Whom an `identify` is for, and where it wants to go.
pub(crate) struct Identifying<'a> {
    /// `None`: the backend is to say.
    pub(crate) user: Option<&'a str>,
    pub(crate) token: &'a str,
    /// Channels it asks for.
    pub(crate) channels: Vec<&'a str>,
}

/// Lets an `identify` wait until the backend has said who the client is and where it may go: first the one, then all of the
/// others at once. Client frames wait as well. `true`: it waits.
pub(crate) fn asks_about_client(
    record: &Record,
    stage: Stage<'_>,
    client: Identifying<'_>,
    turn: &mut ConnectionTurn,
) -> bool {
    let settings = turn.settings();
    if settings.hooks.are_none() {
        return false;
    }
    let Some(origin) = stage.origin() else { return false };
    let Identifying { user, token, channels } = client;
    let asked_about = |channel: &&str| settings.hooks.asks_about(Hook::Subscribe, name::namespace(channel));
    let channels: Vec<String> =
        channels.into_iter().filter(asked_about).take(settings.subscriptions).map(str::to_owned).collect();
    let connect = settings.hooks.asks(Hook::Connect);
    if !connect && channels.is_empty() {
        return false;
    }
    let (user, connection, socket) = (user.map(str::to_owned), turn.connection().to_string(), record.socket);
    let token = settings.backend_knows_tokens().then(|| token.to_owned());
    turn.hold();
    let work = async move {
        let answers = answers(&settings, connection, (user, token), connect, channels).await;
        Some(Asked { origin, socket, answers })
    };
    turn.job(JOB_DEADLINE, Work::Async(Box::pin(work)));
    true
}

fn answers(
    settings: &Settings,
    connection: String,
    (user, token): (Option<String>, Option<String>),
    connect: bool,
    channels: Vec<String>,
) -> impl Future<Output = Answers> + use<> {
    let hooks = settings.hooks.clone();
    async move {
        let mut answers = Answers::default();
        if connect {
            let question = Question::Connect { user: user.clone(), token };
            answers.request = Some(hooks.ask(connection.clone(), question).await);
        }
        let named = match &answers.request {
            Some(Answer::Allowed { claims: Some(claims), .. }) => Some(claims.user.clone()),
            Some(Answer::Denied(_) | Answer::Unknown(_)) => return answers,
            _ => user,
        };
        let Some(user) = named else { return answers };
        let asking = channels.into_iter().map(|channel| {
            let question = Question::Subscribe { user: user.clone(), channel: channel.clone(), action: "subscribe" };
            let asking = hooks.ask(connection.clone(), question);
            async { (channel, asking.await) }
        });
        answers.channels = join_all(asking).await.into_iter().collect();
        answers
    }
}

/// Whether the backend lets a client that identifies into a channel.
///
/// # Errors
/// What the client is told otherwise.
pub(crate) fn may_enter(stage: Stage<'_>, channel: &str, settings: &Settings) -> Result<(), Fault> {
    match stage {
        Stage::Answered(answers) => match answers.channels.get(channel) {
            Some(answer) => allowed(answer).map(|_| ()),
            None if settings.hooks.asks_about(Hook::Subscribe, name::namespace(channel)) => {
                Err(Fault::new(ErrorCode::TooLarge, "more channels than one connection may subscribe"))
            }
            None => Ok(()),
        },
        Stage::Frame(_) | Stage::Opening(_) => Ok(()),
    }
}

/// The answers are there: the request goes on.
pub(crate) fn answered(record: &mut Record, asked: &Asked, turn: &mut ConnectionTurn) {
    // A socket that is gone asked; whoever has the record now asks for himself.
    if asked.socket != record.socket {
        return;
    }
    let stage = Stage::Answered(&asked.answers);
    match &asked.origin {
        Origin::Frame(json) => frame::serve(record, json, stage, turn),
        Origin::Opening(opening) => {
            if let Some(token) = &opening.token {
                identify::by_url(record, token, opening, stage, turn);
            }
        }
    }
}
