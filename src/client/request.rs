//! Every request until it is settled: `queued ⇄ sent (id) → settled`, with a pause between two tries. Pure.
//!
//! Never settles one twice, never sends one again on its own that is not safe to repeat. Bounded by [`MOST`].

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::{
    client::error::ClientError,
    protocol::{
        error::{ErrorCode, Fault, Retry},
        request::{RequestId, Status},
    },
};

/// Requests that may wait for an answer.
pub(super) const MOST: usize = 1_024;
/// How often a request is sent at most, after errors that allow it.
pub(super) const MAX_TRIES: u32 = 5;
/// A request that crashed its actor twice would crash it a third time.
const MAX_CRASHES: u32 = 2;

/// A request's name on this side; rises, so the order of tickets is the order of asking.
pub(super) type Ticket = u64;

/// What comes back.
pub(super) type Answer = oneshot::Sender<Result<Box<RawValue>, ClientError>>;

/// What the session has to do with an answer before it is passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// Take over cursor and roster.
    Subscribe(String),
    /// Forget the channel for good.
    Unsubscribe(String),
    /// Tell the roster of this channel.
    Roster(String),
    /// The membership has begun.
    Join,
    /// The membership in this channel has ended.
    Leave(String),
    /// Our own cursors in this channel have moved.
    Ack(String),
    /// The status is to be kept for the next socket.
    Status(Status),
}

/// One request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) op: &'static str,
    /// A JSON object; of a `subscribe` nothing, its fields are looked up each time.
    pub(super) fields: String,
    pub(super) kind: Kind,
    /// Safe to send again when the answer was lost.
    pub(super) repeat: bool,
    /// Sent again after errors that allow it, so often.
    pub(super) max_tries: u32,
    /// `None`: our own, nobody waits.
    pub(super) answer: Option<Answer>,
    phase: Phase,
    tries: u32,
    crashes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Queued,
    /// Each sending has an id of its own, so no reply can meet the wrong try.
    Sent(RequestId),
    Paused,
}

impl Request {
    pub(super) fn new(op: &'static str, fields: String, kind: Kind) -> Self {
        let phase = Phase::Queued;
        Self { op, fields, kind, repeat: true, max_tries: MAX_TRIES, answer: None, phase, tries: 0, crashes: 0 }
    }

    /// Not safe to send again when the answer was lost.
    pub(super) fn once(mut self) -> Self {
        self.repeat = false;
        self
    }

    /// Somebody waits for it.
    pub(super) fn answering(mut self, answer: Answer) -> Self {
        self.answer = Some(answer);
        self
    }

    /// Whether anybody still wants the answer; what is our own is always wanted.
    fn is_wanted(&self) -> bool {
        self.answer.as_ref().is_none_or(|answer| !answer.is_closed())
    }

    /// Ends it.
    pub(super) fn settle(self, outcome: Result<Box<RawValue>, ClientError>) {
        if let Some(answer) = self.answer {
            // Whoever asked may have stopped waiting.
            drop(answer.send(outcome));
        }
    }
}

/// What to do about a failed try.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Tell it.
    Settle,
    /// Send it again, after this and a random time that grows with the tries.
    Again {
        /// Asked for by the server.
        after: Duration,
        /// So far; `None`: at once.
        tries: Option<u32>,
    },
}

/// All unsettled requests.
#[derive(Debug, Default)]
pub(super) struct Requests {
    all: BTreeMap<Ticket, Request>,
    sent: HashMap<RequestId, Ticket>,
    last_ticket: Ticket,
    last_id: RequestId,
}

impl Requests {
    /// Keeps a request until it is settled; gives it back when too many wait.
    pub(super) fn add(&mut self, request: Request) -> Result<Ticket, Request> {
        if self.all.len() >= MOST {
            // Those that nobody waits for any more need not be sent.
            self.all.retain(|_, request| request.is_wanted() || matches!(request.phase, Phase::Sent(_)));
            if self.all.len() >= MOST {
                return Err(request);
            }
        }
        self.last_ticket += 1;
        self.all.insert(self.last_ticket, request);
        Ok(self.last_ticket)
    }

    /// Gives a request its next id and counts the try. `None` when nobody waits for it any more, or it is on its way.
    pub(super) fn send(&mut self, ticket: Ticket) -> Option<(RequestId, &Request)> {
        if self.all.get(&ticket).is_some_and(|request| !request.is_wanted()) {
            drop(self.take(ticket));
        }
        let request = self.all.get_mut(&ticket).filter(|request| !matches!(request.phase, Phase::Sent(_)))?;
        self.last_id += 1;
        request.phase = Phase::Sent(self.last_id);
        request.tries += 1;
        self.sent.insert(self.last_id, ticket);
        Some((self.last_id, request))
    }

    /// What the session has to do with its answer.
    pub(super) fn kind(&self, ticket: Ticket) -> Option<&Kind> {
        self.all.get(&ticket).map(|request| &request.kind)
    }

    /// The request that a reply belongs to, which is not on its way any more.
    pub(super) fn answered(&mut self, id: RequestId) -> Option<Ticket> {
        let ticket = self.sent.remove(&id)?;
        if let Some(request) = self.all.get_mut(&ticket) {
            request.phase = Phase::Paused;
        }
        Some(ticket)
    }

    /// Whether a reply to this id is awaited.
    pub(super) fn awaits(&self, id: RequestId) -> bool {
        self.sent.contains_key(&id)
    }

    /// What a failed try leads to.
    pub(super) fn failed(&mut self, ticket: Ticket, fault: &Fault) -> Next {
        let Some(request) = self.all.get_mut(&ticket) else { return Next::Settle };
        request.crashes += u32::from(fault.code == ErrorCode::Crashed);
        let may = request.repeat && fault.retry != Retry::Never && request.tries < request.max_tries;
        if !may || request.crashes >= MAX_CRASHES || !request.is_wanted() {
            return Next::Settle;
        }
        let after = Duration::from_millis(fault.retry_after_ms.unwrap_or(0));
        let at_once = fault.retry == Retry::Now && after.is_zero() && request.tries == 1;
        Next::Again { after, tries: (!at_once).then_some(request.tries) }
    }

    /// Its pause is over; true when it is to be sent.
    pub(super) fn rested(&mut self, ticket: Ticket) -> bool {
        self.all.get_mut(&ticket).is_some_and(|request| {
            let rests = request.phase == Phase::Paused;
            request.phase = if rests { Phase::Queued } else { request.phase };
            rests
        })
    }

    /// Takes a request out, to be settled.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Request> {
        let request = self.all.remove(&ticket)?;
        if let Phase::Sent(id) = request.phase {
            self.sent.remove(&id);
        }
        Some(request)
    }

    /// The socket is lost: what was sent waits for the next one; what cannot be repeated is given back, to be settled.
    pub(super) fn lost(&mut self) -> Vec<Request> {
        self.sent.clear();
        let sent: Vec<Ticket> =
            self.all.iter().filter(|(_, one)| matches!(one.phase, Phase::Sent(_))).map(|(ticket, _)| *ticket).collect();
        let mut given_back = Vec::new();
        for ticket in sent {
            if self.all.get(&ticket).is_some_and(|request| !request.repeat) {
                given_back.extend(self.all.remove(&ticket));
            } else if let Some(request) = self.all.get_mut(&ticket) {
                request.phase = Phase::Queued;
            }
        }
        given_back
    }

    /// Those that wait for a socket, oldest first.
    pub(super) fn queued(&self) -> Vec<Ticket> {
        self.all.iter().filter(|(_, request)| request.phase == Phase::Queued).map(|(ticket, _)| *ticket).collect()
    }

    /// Whether a reply is on its way.
    pub(super) fn any_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// All of them, to be settled.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Request> + use<> {
        self.sent.clear();
        std::mem::take(&mut self.all).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Request {
        Request::new("whoami", "{}".to_owned(), Kind::Plain)
    }

    #[test]
    fn each_sending_has_an_id_of_its_own_and_a_late_reply_meets_nobody() {
        let mut requests = Requests::default();
        let ticket = requests.add(plain()).expect("room");
        let (first, _) = requests.send(ticket).expect("wanted");
        assert!(requests.lost().is_empty());
        assert_eq!(requests.queued(), [ticket]);
        let (second, _) = requests.send(ticket).expect("wanted");
        assert!(first != second && requests.answered(first).is_none());
        assert_eq!(requests.answered(second), Some(ticket));
    }

    #[test]
    fn what_is_not_safe_to_repeat_is_given_back_with_the_socket() {
        let mut requests = Requests::default();
        let unsafe_one = requests.add(plain().once()).expect("room");
        let queued = requests.add(plain().once()).expect("room");
        assert!(requests.send(unsafe_one).is_some());
        assert_eq!(requests.lost().len(), 1);
        assert_eq!(requests.queued(), [queued]);
    }

    #[test]
    fn tries_end_with_the_count_the_advice_or_the_second_crash() {
        let fault = |code| Fault::new(code, "x");
        let mut requests = Requests::default();
        let mut failures = |code| {
            let ticket = requests.add(plain()).expect("room");
            (1..=MAX_TRIES)
                .find(|_| {
                    let (id, _) = requests.send(ticket).expect("wanted");
                    requests.answered(id);
                    let next = requests.failed(ticket, &fault(code));
                    requests.rested(ticket);
                    next == Next::Settle
                })
                .expect("an end")
        };
        assert_eq!(failures(ErrorCode::Overloaded), MAX_TRIES);
        assert_eq!(failures(ErrorCode::Forbidden), 1);
        assert_eq!(failures(ErrorCode::Crashed), 2);
    }

    #[test]
    fn too_many_are_refused_and_those_that_nobody_waits_for_make_room() {
        let mut requests = Requests::default();
        let mut waiting = Vec::new();
        for _ in 0..MOST {
            let (answer, waits) = oneshot::channel();
            requests.add(plain().answering(answer)).expect("room");
            waiting.push(waits);
        }
        assert!(requests.add(plain()).is_err());
        drop(waiting.pop());
        assert!(requests.add(plain()).is_ok());
    }
}
