//! Requests of a session: from a handle's command to the frame, and from the reply to whoever waits.
//!
//! A `subscribe` looks its cursor up each time it is sent. What an answer means for the session is taken over in the same step
//! as the reply, because the events that follow it are judged by the new cursor.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tracing::debug;

use crate::{
    client::{
        error::ClientError,
        event::{Joined, Notice, Receipt, Subscribed},
        place::{Place, Wanted},
        queue::Queue,
        request::{Answer, Kind, MOST, Next, Request, Ticket},
        session::Session,
        wire::{self, Reply},
    },
    protocol::frame::{Roster, Standing},
};

/// What a handle asks of the driver.
pub(super) enum Command {
    /// A request.
    Ask(Request),
    /// A channel, and who listens to it.
    Subscribe {
        /// Which.
        channel: String,
        /// As asked for.
        wanted: Wanted,
        /// The listener's.
        queue: Arc<Queue>,
        /// Told the first answer.
        answer: Answer,
    },
    /// Say goodbye; the driver's end is the answer.
    Close,
}

impl Session {
    /// Serves a handle.
    pub(super) fn serve(&mut self, command: Command) {
        self.sweep();
        match command {
            Command::Ask(mut request) => {
                if let Kind::Status(status) = request.kind {
                    self.status = Some(status);
                }
                if !self.habits.retry {
                    request.max_tries = 1;
                }
                self.ask(request);
            }
            Command::Subscribe { channel, wanted, queue, answer } => self.subscribe(channel, wanted, queue, answer),
            // The driver's own.
            Command::Close => {}
        }
    }

    fn subscribe(&mut self, channel: String, wanted: Wanted, queue: Arc<Queue>, answer: Answer) {
        if self.places.get(&channel).is_some_and(|place| !place.implicit) {
            drop(answer.send(Err(ClientError::AlreadySubscribed(channel))));
            return;
        }
        self.places.insert(channel.clone(), Place::wanted(wanted, queue));
        let mut request = Request::new("subscribe", String::new(), Kind::Subscribe(channel)).answering(answer);
        if !self.habits.retry {
            request.max_tries = 1;
        }
        self.ask(request);
    }

    /// A channel that was open is wanted back in any case.
    pub(super) fn resubscribe(&mut self, channel: String) {
        let mut request = Request::new("subscribe", String::new(), Kind::Subscribe(channel));
        request.max_tries = u32::MAX;
        self.ask(request);
    }

    /// Keeps a request and sends it when there is a socket.
    pub(super) fn ask(&mut self, request: Request) {
        if !request.repeat && !self.live {
            return request.settle(Err(ClientError::ConnectionLost));
        }
        match self.requests.add(request) {
            Ok(ticket) => {
                if let Some(place) = self.opening_of(ticket) {
                    place.opening = Some(ticket);
                }
                if self.live {
                    self.transmit(ticket);
                }
            }
            Err(request) => self.fail(request, ClientError::Overloaded(MOST)),
        }
    }

    /// The place that this request subscribes.
    fn opening_of(&mut self, ticket: Ticket) -> Option<&mut Place> {
        match self.requests.kind(ticket)? {
            Kind::Subscribe(channel) => self.places.get_mut(channel),
            _ => None,
        }
    }

    /// Writes a request's frame. A frame above the limit would cost the whole socket; here it costs one request.
    pub(super) fn transmit(&mut self, ticket: Ticket) {
        let Some((id, request)) = self.requests.send(ticket) else { return };
        let frame = match &request.kind {
            Kind::Subscribe(channel) => {
                let fields = self.places.get(channel).map(|place| serde_json::to_string(&place.fields(channel)));
                wire::request(request.op, id, &fields.and_then(Result::ok).unwrap_or_default())
            }
            _ => wire::request(request.op, id, &request.fields),
        };
        let (bytes, limit) = (frame.len(), self.max_frame_bytes);
        if bytes <= limit {
            self.out.push_back(frame);
        } else if let Some(request) = self.requests.take(ticket) {
            self.fail(request, ClientError::TooLarge { bytes, limit });
        }
    }

    /// The server's answer to one try.
    pub(super) fn reply(&mut self, reply: Reply) {
        let Some(ticket) = self.requests.answered(reply.id) else { return };
        let fault = match reply.outcome {
            Ok(ok) => {
                if let Some(request) = self.requests.take(ticket) {
                    self.take_over(&request.kind, &ok);
                    request.settle(Ok(ok));
                }
                return;
            }
            Err(fault) => fault,
        };
        match self.requests.failed(ticket, &fault) {
            Next::Again { after, tries } => {
                let pause = after + tries.map(|tries| self.backoff.pause(tries)).unwrap_or_default();
                debug!(code = ?fault.code, ?pause, "a request is sent again");
                self.timers.pause(ticket, pause);
            }
            Next::Settle => {
                if let Some(request) = self.requests.take(ticket) {
                    self.fail(request, ClientError::Refused(fault));
                }
            }
        }
    }

    /// What the answer means for us.
    fn take_over(&mut self, kind: &Kind, ok: &RawValue) {
        match kind {
            Kind::Plain | Kind::Status(_) => {}
            Kind::Subscribe(channel) => {
                let Some(answer) = self.read::<Subscribed>(ok) else { return };
                if let Some(place) = self.places.get_mut(channel) {
                    place.subscribed(&answer);
                }
                if let Some(roster) = answer.presence {
                    self.shared.tell(Notice::Roster(channel.clone(), roster));
                }
            }
            Kind::Unsubscribe(channel) => {
                // A session resumed in between had brought it back, and its cursor would do so again.
                if self.places.get(channel).is_some_and(|place| place.implicit) {
                    self.places.remove(channel);
                }
            }
            Kind::Roster(channel) => {
                if let Some(roster) = self.read::<Roster>(ok) {
                    self.shared.tell(Notice::Roster(channel.clone(), roster));
                }
            }
            Kind::Join => {
                let Some(joined) = self.read::<Joined>(ok) else { return };
                if !self.places.contains_key(&joined.channel) {
                    self.place(&joined.channel).established(&joined.epoch, joined.offset, None);
                }
                let began = self.shared.memberships().joined(&joined);
                if let Some(membership) = began {
                    self.shared.tell(Notice::Membership(membership));
                }
            }
            Kind::Leave(channel) => self.left(channel),
            Kind::Ack(channel) => {
                let Some(Standing { delivered, read }) = self.read(ok) else { return };
                let user = self.shared.vitals().user.clone();
                self.moved(&Receipt { channel: channel.clone(), user, delivered, read });
            }
        }
    }

    fn read<T: DeserializeOwned>(&self, ok: &RawValue) -> Option<T> {
        let read = serde_json::from_str(ok.get());
        read.map_err(|error: serde_json::Error| self.shared.tell(Notice::Failed(error.into()))).ok()
    }

    /// Ends a request that has failed; a channel that cannot be subscribed is not wanted any more.
    fn fail(&mut self, request: Request, error: ClientError) {
        if let Kind::Subscribe(channel) = &request.kind
            && let Some(place) = self.places.remove(channel)
        {
            place.queue.iter().filter(|_| !place.implicit).for_each(|queue| queue.end(error.clone()));
        }
        if request.answer.is_none() {
            self.shared.tell(Notice::Failed(error.clone()));
        }
        request.settle(Err(error));
    }

    /// Listeners have taken events, or have gone: asks for what was dropped, unsubscribes where nobody listens.
    pub(super) fn sweep(&mut self) {
        self.unsubscribe_abandoned();
        if self.live && self.shared.level.has_room(false) {
            let behind = self.places.iter().filter(|(_, place)| place.behind && place.opening.is_none());
            let behind: Vec<String> = behind.map(|(channel, _)| channel.clone()).collect();
            behind.into_iter().for_each(|channel| self.resubscribe(channel));
        }
    }

    fn unsubscribe_abandoned(&mut self) {
        let gone = |place: &Place| place.queue.as_ref().is_some_and(|queue| queue.is_abandoned());
        let gone: Vec<String> =
            self.places.iter().filter(|(_, place)| gone(place)).map(|(channel, _)| channel.clone()).collect();
        for channel in gone {
            let Some(place) = self.places.get_mut(&channel) else { continue };
            if place.implicit {
                // The inbox is gone, the membership is not.
                place.queue = None;
                continue;
            }
            let opening = place.opening;
            self.places.remove(&channel);
            if let Some(request) = opening.and_then(|ticket| self.requests.take(ticket)) {
                request.settle(Err(ClientError::Ended));
            }
            let fields = serde_json::json!({ "channel": channel }).to_string();
            self.ask(Request::new("unsubscribe", fields, Kind::Unsubscribe(channel)));
        }
    }
}
