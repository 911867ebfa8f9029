//! A session and a new socket: what is said after `hello`, and what `ready` restores. Every wanted channel is back when this
//! is done, or asked for.

use std::time::Duration;

use crate::client::{
    event::{Notice, State},
    request::{Kind, Request},
    session::Session,
    timers::Timer,
    wire::{Hello, Identify, Ready},
};

/// Only a socket that was live this long resets the backoff: one that dies at once must not be reopened in a circle.
const STEADY: Duration = Duration::from_secs(5);

impl Session {
    pub(super) fn hello(&mut self, hello: &Hello) {
        self.heartbeat = hello.heartbeat();
        self.max_frame_bytes = hello.max_frame_bytes;
        self.shared.vitals().node.clone_from(&hello.node);
        let cursors = self.places.iter().filter_map(|(channel, place)| Some((&**channel, place.cursor.as_ref()?)));
        let identify = Identify {
            op: "identify",
            token: &self.token,
            resume: self.resume.as_deref(),
            cursors: cursors.collect(),
            status: self.status,
        };
        match serde_json::to_string(&identify) {
            Ok(frame) => self.out.push_back(frame),
            Err(error) => self.shared.tell(Notice::Failed(error.into())),
        }
    }

    pub(super) fn ready(&mut self, ready: Ready) {
        let Ready { user, session, resumed, generation, subscriptions, memberships } = ready;
        self.timers.stop(Timer::Opening);
        self.timers.start(Timer::Steady, STEADY);
        // The first beat at a random moment, so that clients who came back together do not beat together.
        self.timers.start(Timer::Beat, self.backoff.part_of(self.heartbeat));
        self.resume = Some(session);
        self.token_renewed = false;
        self.live = true;
        {
            let mut vitals = self.shared.vitals();
            (vitals.user, vitals.generation, vitals.sockets) = (user, generation, vitals.sockets + 1);
        }
        self.shared.memberships().replace(memberships);
        self.shared.tell(Notice::Ready { resumed, generation });
        let mut listed = Vec::with_capacity(subscriptions.len());
        for told in subscriptions {
            let membership = self.shared.memberships().get(&told.channel).cloned();
            let place = self.place(&told.channel);
            if place.opening.is_none() {
                place.established(&told.epoch, told.offset, membership.as_ref());
            }
            listed.push(told.channel);
        }
        self.restore(&listed, resumed);
        self.acknowledge_again();
        for ticket in self.requests.queued() {
            self.transmit(ticket);
        }
        self.shared.become_state(State::Live);
    }

    /// Brings back every wanted channel that the server does not list.
    fn restore(&mut self, listed: &[String], resumed: bool) {
        let open = self.places.iter().filter(|(_, place)| place.opening.is_none() && !place.implicit);
        let open: Vec<(String, bool)> = open.map(|(channel, place)| (channel.clone(), place.wanted.presence)).collect();
        for (channel, presence) in open {
            // A cursor subscribes a channel without presence, so a fresh session has to be asked for that.
            if !listed.contains(&channel) || (presence && !resumed) {
                self.resubscribe(channel);
            } else if presence {
                let fields = serde_json::json!({ "channel": channel }).to_string();
                self.ask(Request::new("presence", fields, Kind::Roster(channel)));
            }
        }
    }
}
