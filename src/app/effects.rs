//! What a turn asks for: a list, so that a test reads what happened and nothing happens before the turn has returned.

use std::time::Duration;

use serde::Serialize;

use super::App;
use crate::{clock::Now, id::ConnectionId, protocol::close::Close};

/// One thing that is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<T> {
    /// See [`Effects::text`].
    Text(String),
    /// See [`Effects::binary`].
    Binary(Vec<u8>),
    /// See [`Effects::enter`].
    Enter(Box<str>),
    /// See [`Effects::leave`].
    Leave(Box<str>),
    /// See [`Effects::tell`].
    Tell(Box<str>, T),
    /// See [`Effects::wake_after`]; `None`: not any more.
    Wake(Option<Duration>),
    /// See [`Effects::close`].
    Close(Close),
}

/// The effects of one turn, and what it may know besides its state and its message. `Effects::default()` is for tests: the
/// first moment of the clock, and a connection nobody has.
pub struct Effects<A: App> {
    now: Now,
    connection: ConnectionId,
    list: Vec<Effect<A::Told>>,
}

impl<A: App> Default for Effects<A> {
    fn default() -> Self {
        Self::new(Now { micros: 0, unix_ms: 0 }, ConnectionId::from_bits(0))
    }
}

impl<A: App> Effects<A> {
    /// None yet, of a turn at that time.
    #[must_use]
    pub fn new(now: Now, connection: ConnectionId) -> Self {
        Self { now, connection, list: Vec::new() }
    }

    /// The time of this turn.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Whose turn it is.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Sends a text to the own client.
    pub fn text(&mut self, text: impl Into<String>) {
        self.list.push(Effect::Text(text.into()));
    }

    /// Sends a value to the own client, as JSON.
    ///
    /// # Panics
    /// When it has no form in JSON (keys of a map that are no texts): the turn has crashed then.
    pub fn json(&mut self, value: &impl Serialize) {
        let json = serde_json::to_string(value);
        assert!(json.is_ok(), "what is sent must have a form in JSON: {json:?}");
        self.list.extend(json.map(Effect::Text));
    }

    /// Sends bytes to the own client.
    pub fn binary(&mut self, bytes: impl Into<Vec<u8>>) {
        self.list.push(Effect::Binary(bytes.into()));
    }

    /// Becomes a member of a room; answered by [`Message::Entered`](super::Message::Entered). Whoever is one already gets the
    /// room as it is once more.
    pub fn enter(&mut self, room: &str) {
        self.list.push(Effect::Enter(room.into()));
    }

    /// Is no member any more: nothing of the room comes after this turn. Unnecessary for a connection that ends.
    pub fn leave(&mut self, room: &str) {
        self.list.push(Effect::Leave(room.into()));
    }

    /// Tells a room something that this connection has entered, if only a moment ago. The connection hears it as every other
    /// member does: then it has happened.
    pub fn tell(&mut self, room: &str, told: A::Told) {
        self.list.push(Effect::Tell(room.into(), told));
    }

    /// Brings [`Message::Woken`](super::Message::Woken) after so long (of at most 20 days, and up to a second late), in the
    /// place of an earlier one that has not come yet.
    pub fn wake_after(&mut self, time: Duration) {
        self.list.push(Effect::Wake(Some(time)));
    }

    /// Takes [`Effects::wake_after`] back.
    pub fn sleep_on(&mut self) {
        self.list.push(Effect::Wake(None));
    }

    /// Closes the socket behind everything sent so far; [`Message::Closed`](super::Message::Closed) follows.
    ///
    /// # Panics
    /// When it cannot be sent: the code must be 1000 or 3000 to 4999, the reason 123 bytes at most. The turn has crashed then.
    pub fn close(&mut self, code: u16, reason: &'static str) {
        assert!(code == Close::BYE.code || (3000..5000).contains(&code), "{code} is no code that closes a socket");
        assert!(reason.len() <= MOST_REASON, "a reason of {} bytes does not fit into a close frame", reason.len());
        self.list.push(Effect::Close(Close { code, name: reason }));
    }

    /// All so far, in their order.
    pub fn take(&mut self) -> Vec<Effect<A::Told>> {
        std::mem::take(&mut self.list)
    }
}

/// RFC 6455 §5.5: a control frame has 125 bytes, two are the code.
const MOST_REASON: usize = 123;
