//! A connection actor of your own: one trait, [`App`], two pure functions, and the engine does the rest. Its connections are
//! supervised, sleep as packed bytes, come back on their own sockets after a crash, and leave crash files that [`replay`]
//! plays again. [`Server`](crate::node::Server) serves it at a path beside the gateway.
//!
//! ```
//! use dormouse::app::{App, Effect, Effects, Message};
//!
//! /// Everybody who is connected counts together.
//! struct Counter;
//!
//! impl App for Counter {
//!     const NAME: &'static str = "counter";
//!     type State = (); // what one connection remembers
//!     type Room = i64; // what all members of a room see
//!     type Told = i64; // what they tell each other
//!
//!     fn receive(_: (), message: Message<'_, Self>, effects: &mut Effects<Self>) {
//!         match message {
//!             Message::Opened(_) => effects.enter("lobby"),
//!             Message::Text(by) => effects.tell("lobby", by.parse().expect("a number")),
//!             Message::Entered { state, .. } | Message::Told { state, .. } => effects.text(state.to_string()),
//!             Message::Restarted { .. } => effects.text("that was no number"),
//!             _ => {}
//!         }
//!     }
//!
//!     fn fold(room: i64, told: &i64) -> i64 {
//!         room + told
//!     }
//! }
//!
//! // A unit test of it is one call:
//! let mut effects = Effects::default();
//! Counter::receive((), Message::Text("5"), &mut effects);
//! assert_eq!(effects.take(), [Effect::Tell("lobby".into(), 5)]);
//!
//! // And the server is a line: dormouse::node::Server::at("127.0.0.1:8080")?.mount::<Counter>("/counter").run()
//! ```
//!
//! # What is promised
//! - A turn ([`App::receive`]) happens as a whole or not at all: state and effects are kept together when it has returned, and
//!   dropped together when it panicked. Then the connection goes on with the state of before and hears
//!   [`Message::Restarted`]; nobody else notices. One that crashes more often than `supervision.max_restarts` is closed.
//! - A room lives on one shard, which [folds](App::fold) what is told one by one and numbers it: all members hear the same in
//!   the same order. Who enters gets the room as it is and then everything that follows: no hole, no double.
//! - A member whose mailbox (`limits.mailbox`) is full misses tellings and is told so: it hears [`Message::Skipped`] with the
//!   room as it is once it has handled what it holds.
//! - Rooms are memory: one that nobody has been in for a minute is forgotten, and sooner when more than 1,024 of a shard are
//!   empty. A connection ends with its socket.
//!
//! Read this file, `message.rs` and `effects.rs`; `actor.rs` is what turns them into a [`Behaviour`](crate::shard::Behaviour),
//! `rooms.rs` and `homes.rs` are the rooms. Started by `node`.

mod actor;
mod effects;
mod homes;
mod letter;
mod mail;
mod message;
mod notice;
mod opening;
mod record;
mod redact;
mod rooms;
mod seat;
mod settings;
#[cfg(test)]
mod tests;

use serde::{Serialize, de::DeserializeOwned};

use crate::shard::{self, ReplayError, Replayed, filler};

pub(crate) use actor::Connection;
pub use effects::{Effect, Effects};
pub use message::{Failure, Message};
pub use opening::Opening;
pub(crate) use rooms::Rooms;
pub(crate) use settings::Settings;

/// What a connection is and does. Implemented by a type that is nothing but its name: no value of it is ever made.
///
/// Both functions are pure. No I/O, no clock ([`Effects::now`] is the time), nothing that blocks: a shard runs all turns of
/// its connections one after the other. States, rooms and what is told must be possible to write as JSON and read back, for
/// crash files; between turns a state is kept as MessagePack, so that it costs its bytes and nothing else.
pub trait App: Sized + 'static {
    /// Its name: of its actors (`NAME-0` …), in crash files and in the HTTP API. Small letters, digits and `-`.
    const NAME: &'static str;
    /// Sub-protocols it speaks. The first that a client offers is agreed on, see [`Opening::protocol`].
    const PROTOCOLS: &'static [&'static str] = &[];

    /// What one connection remembers from turn to turn. Operators see it in the API.
    type State: Serialize + DeserializeOwned + Default + 'static;
    /// What the members of a room share. Cloned for each telling, and kept for as long as a member has to hear of it: keep it
    /// small, or its big parts behind an `Arc`.
    type Room: Serialize + DeserializeOwned + Clone + Default + Send + Sync + 'static;
    /// What connections tell a room.
    type Told: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// One turn: the state after `message`, and what is to happen because of it. Effects happen in their order, after the turn
    /// has returned.
    fn receive(state: Self::State, message: Message<'_, Self>, effects: &mut Effects<Self>) -> Self::State;

    /// The room after something was told. Runs at the room's home, in the order all members hear. When it panics, the room
    /// stays as it was and the teller hears [`Message::Failed`].
    fn fold(room: Self::Room, told: &Self::Told) -> Self::Room;

    /// What crash files show of a client's text while `supervision.crash_payloads` is off. As it stands, a text of the same
    /// length. Keep the words of your protocol and hide what people write: then crashes over the former replay.
    #[must_use]
    fn redact(text: &str) -> String {
        filler(text)
    }
}

/// Plays the turn of a crash file.
///
/// # Errors
/// It is no crash file of this app: what is wrong, and where.
pub fn replay<A: App>(json: &str) -> Result<Replayed, ReplayError> {
    shard::replay::<Connection<A>>(json, |settings| serde::Deserialize::deserialize(settings))
}
