//! The meaning of a connection: what each frame and timer leads to, who gets an event, how it goes on without a socket.
//!
//! Takes frames, commands and timers one by one and does no I/O: what is to be sent stands in `out`, and `leave` says that
//! the socket is to be left. Driven by `driver.rs`; its other parts are
//! `welcome.rs` (identify, ready), `exchange.rs` (requests) and `receipts.rs` (memberships, acknowledgements).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tracing::debug;

use crate::{
    client::{
        backoff::Backoff,
        error::ClientError,
        event::{Event, Gap, Notice, State},
        place::Place,
        queue::Queue,
        receipts::ACKNOWLEDGE,
        request::Requests,
        shared::Shared,
        timers::{Due, Timer, Timers},
        wire::{self, Frame},
    },
    protocol::{close::Close, request::Status},
};

/// How long a `heartbeat_ack` may take before the socket counts as dead.
const ACK: Duration = Duration::from_secs(10);

/// What the application chose once for all sockets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Requests are sent again after errors that allow it.
    pub(super) retry: bool,
    /// What was taken in channels where we are a member is acknowledged by itself.
    pub(super) acknowledge: bool,
}

/// The socket is to be left: with this code, and the next one opened after this time, or as backoff says.
#[derive(Debug)]
pub(super) struct Leave {
    pub(super) close: Close,
    pub(super) wait: Option<Duration>,
}

/// See the file's head.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) habits: Habits,
    /// Frames to be sent; never more than there are requests, channels and a heartbeat.
    pub(super) out: VecDeque<String>,
    pub(super) timers: Timers,
    pub(super) leave: Option<Leave>,
    pub(super) backoff: Backoff,
    pub(super) token: String,
    /// The next socket needs another token.
    pub(super) ask_token: bool,
    /// There is somebody to ask for one.
    pub(super) can_ask: bool,
    /// The token in use came after a refusal: a second refusal is final.
    pub(super) token_renewed: bool,
    pub(super) resume: Option<String>,
    pub(super) status: Option<Status>,
    pub(super) live: bool,
    pub(super) heartbeat: Duration,
    pub(super) max_frame_bytes: usize,
    /// The socket was not read for a while, so a missing `heartbeat_ack` says nothing.
    was_full: bool,
    pub(super) places: BTreeMap<String, Place>,
    pub(super) requests: Requests,
    /// For the events of channels that nobody here subscribed.
    inbox: Option<Arc<Queue>>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, habits: Habits, backoff: Backoff, inbox: Option<Arc<Queue>>) -> Self {
        Self {
            shared,
            habits,
            out: VecDeque::new(),
            timers: Timers::default(),
            leave: None,
            backoff,
            token: String::new(),
            ask_token: false,
            can_ask: false,
            token_renewed: false,
            resume: None,
            status: None,
            live: false,
            heartbeat: Duration::from_secs(45),
            max_frame_bytes: usize::MAX,
            was_full: false,
            places: BTreeMap::new(),
            requests: Requests::default(),
            inbox,
        }
    }

    /// Whether the socket is to be read: there is room for events, or a reply stands behind them.
    pub(super) fn may_read(&mut self) -> bool {
        let may = self.requests.any_sent() || self.shared.level.has_room(false);
        self.was_full |= !may;
        may
    }

    /// One frame of the server.
    pub(super) fn hear(&mut self, text: &str) {
        match wire::decode(text) {
            Ok(Frame::Event(event)) => self.event(event),
            Ok(Frame::Reply(reply)) => self.reply(reply),
            Ok(Frame::Hello(hello)) => self.hello(&hello),
            Ok(Frame::Ready(ready)) => self.ready(ready),
            Ok(Frame::HeartbeatAck) => self.timers.stop(Timer::HeartbeatAck),
            Ok(Frame::Gap(gap)) => self.gap(gap),
            Ok(Frame::Reconnect { after, reason }) => {
                self.timers.start(Timer::Leave, self.backoff.part_of(after));
                self.shared.tell(Notice::Reconnect { after, reason });
            }
            Ok(Frame::Receipt(receipt)) => {
                if receipt.user == self.shared.vitals().user {
                    self.moved(&receipt);
                }
                self.shared.tell(Notice::Receipt(receipt));
            }
            Ok(Frame::Began(membership)) => self.began(membership),
            Ok(Frame::Left(channel)) => self.left(&channel),
            Ok(Frame::Error { id: Some(id), fault }) if self.requests.awaits(id) => {
                self.reply(wire::Reply { id, outcome: Err(fault) });
            }
            Ok(Frame::Error { fault, .. }) => self.shared.tell(Notice::Failed(ClientError::Refused(fault))),
            Ok(Frame::Notice(notice)) => {
                if let Notice::Restarted { generation, .. } = notice {
                    let mut vitals = self.shared.vitals();
                    (vitals.generation, vitals.restarts) = (generation, vitals.restarts + 1);
                }
                self.shared.tell(notice);
            }
            Ok(Frame::Unknown) => {}
            Err(error) => self.shared.tell(Notice::Failed(error.into())),
        }
    }

    fn event(&mut self, event: Event) {
        let offset = event.offset;
        let room = self.shared.level.has_room(true);
        let place = self.place(&event.channel);
        // No hole: after the first that is dropped all are, until the server begins again from the cursor.
        place.behind |= !room && place.queue.is_some();
        if place.behind {
            return;
        }
        if !self.place(&event.channel).admit(offset) {
            self.shared.vitals().doubles += 1;
            return;
        }
        let (changed, delivered, own) = {
            let (mut memberships, vitals) = (self.shared.memberships(), self.shared.vitals());
            let changed = memberships.heard(&event, &vitals.user);
            let delivered = memberships.get(&event.channel).map(|membership| membership.delivered);
            (changed, delivered, event.from == vitals.user)
        };
        if let Some(membership) = changed {
            self.shared.tell(Notice::Membership(membership));
        }
        let owes = self.habits.acknowledge && delivered.is_some_and(|delivered| offset > delivered);
        let Some(place) = self.places.get_mut(&event.channel) else { return };
        if delivered.is_none() && !own {
            place.remember(offset);
        }
        // Where nobody listens nothing is delivered, and so it comes again for whoever listens later.
        let Some(queue) = &place.queue else { return };
        queue.push(event);
        place.owes_ack |= owes;
        if owes && !self.timers.runs(Timer::Acknowledge) {
            self.timers.start(Timer::Acknowledge, ACKNOWLEDGE);
        }
    }

    /// The channel as we know it, or as one that nobody here has asked for.
    pub(super) fn place(&mut self, channel: &str) -> &mut Place {
        if !self.places.contains_key(channel) {
            self.places.insert(channel.to_owned(), Place::implicit(self.inbox.clone()));
        }
        self.places.entry(channel.to_owned()).or_default()
    }

    fn gap(&mut self, gap: Gap) {
        let place = self.place(&gap.channel);
        if !place.is_news(&gap) {
            return;
        }
        if let Some(queue) = &place.queue {
            queue.missed(&gap);
        }
        self.shared.tell(Notice::Gap(gap));
    }

    /// A timer has fallen due.
    pub(super) fn due(&mut self, due: Due) {
        let leave = |close, wait| Some(Leave { close, wait });
        match due {
            Due::Request(ticket) => {
                if self.requests.rested(ticket) && self.live {
                    self.transmit(ticket);
                }
            }
            Due::Timer(Timer::Opening) => self.leave = leave(Close::HEARTBEAT_TIMEOUT, None),
            Due::Timer(Timer::Steady) => self.backoff.reset(),
            Due::Timer(Timer::Beat) => {
                self.out.push_back(wire::HEARTBEAT.to_owned());
                self.timers.start(Timer::Beat, self.heartbeat);
                if !self.timers.runs(Timer::HeartbeatAck) {
                    self.was_full = false;
                    self.timers.start(Timer::HeartbeatAck, ACK);
                }
            }
            Due::Timer(Timer::HeartbeatAck) if std::mem::take(&mut self.was_full) => {
                self.timers.start(Timer::HeartbeatAck, ACK);
            }
            Due::Timer(Timer::HeartbeatAck) => self.leave = leave(Close::HEARTBEAT_TIMEOUT, None),
            Due::Timer(Timer::Leave) => self.leave = leave(Close::DRAINING, Some(Duration::ZERO)),
            Due::Timer(Timer::Acknowledge) => self.acknowledge(),
        }
    }

    /// The socket is gone. How long to wait for the next one, or why there will be none.
    pub(super) fn lost(
        &mut self,
        code: Option<u16>,
        reason: &str,
        wait: Option<Duration>,
    ) -> Result<Duration, ClientError> {
        self.live = false;
        self.leave = None;
        self.out.clear();
        self.timers.stop_all();
        let mut wait = wait;
        if let Some(code) = code.filter(|code| Close::is_final(*code)) {
            let refused = [Close::AUTH_FAILED.code, Close::TOKEN_EXPIRED.code].contains(&code);
            if !refused || !self.can_ask || self.token_renewed {
                return Err(ClientError::Closed { code, reason: reason.to_owned() });
            }
            (self.ask_token, self.token_renewed, wait) = (true, true, Some(Duration::ZERO));
        }
        for request in self.requests.lost() {
            request.settle(Err(ClientError::ConnectionLost));
        }
        let wait = wait.unwrap_or_else(|| self.backoff.next());
        debug!(?code, reason, ?wait, "no socket");
        self.shared.trouble(reason);
        if self.shared.state() == State::Live {
            self.shared.become_state(State::Reconnecting);
        }
        Ok(wait)
    }

    /// For good: whatever is unsettled is told why, and listeners hear of nothing more.
    pub(super) fn end(&mut self, why: &ClientError) {
        self.live = false;
        for request in self.requests.drain() {
            request.settle(Err(why.clone()));
        }
        let queues = std::mem::take(&mut self.places).into_values().filter_map(|place| place.queue);
        queues.chain(self.inbox.take()).for_each(|queue| queue.end(why.clone()));
        self.shared.end(why.clone());
    }
}

/// Also when the runtime ends before the connection does.
impl Drop for Session {
    fn drop(&mut self) {
        self.end(&ClientError::Ended);
    }
}
