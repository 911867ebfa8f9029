//! The state of a connection between its turns: the app's own as MessagePack, so that whatever collections it likes cost
//! their contents and one allocation, and what the engine has to know besides.

use std::{marker::PhantomData, rc::Rc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::App;

/// See the module's text. 40 bytes and what they point to.
pub(crate) struct Record<A: App> {
    pub(super) state: Packed<A>,
    /// Rooms it is in, or has asked to enter: whatever a seat knows of it is here, so that its end finds all of them.
    pub(super) rooms: Option<Rc<Vec<Box<str>>>>,
    /// When it wants to be woken ([`crate::clock::Now::ms`]).
    pub(super) due: Option<u32>,
    /// When it was last sent a ping.
    pub(super) pinged: Option<u32>,
}

impl<A: App> Clone for Record<A> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), rooms: self.rooms.clone(), ..*self }
    }
}

/// A state as bytes.
pub(crate) struct Packed<A: App> {
    bytes: Rc<[u8]>,
    of: PhantomData<fn() -> A>,
}

impl<A: App> Clone for Packed<A> {
    fn clone(&self) -> Self {
        Self { bytes: Rc::clone(&self.bytes), of: PhantomData }
    }
}

impl<A: App> Packed<A> {
    /// # Panics
    /// When the state has no form in MessagePack: a turn that ends so has crashed.
    #[expect(clippy::panic, reason = "the turn that made such a state must not be committed")]
    pub(super) fn new(state: &A::State) -> Self {
        let bytes =
            rmp_serde::to_vec_named(state).unwrap_or_else(|error| panic!("a state that cannot be packed: {error}"));
        Self { bytes: bytes.into(), of: PhantomData }
    }

    /// The bytes of `state`; those at hand if they are the same.
    pub(super) fn with(self, state: &A::State) -> Self {
        let fresh = Self::new(state);
        // What cannot be read back would crash every turn from here on: in tests the one that made it is told.
        debug_assert!(fresh.read().is_ok(), "a state that cannot be read back: {:?}", fresh.read().err());
        if fresh.bytes == self.bytes { self } else { fresh }
    }

    /// # Panics
    /// When its types do not read what they have written.
    #[expect(clippy::panic, reason = "there is no state to go on with; the shard closes the connection in the end")]
    pub(super) fn unpack(&self) -> A::State {
        self.read().unwrap_or_else(|error| panic!("a state that cannot be unpacked: {error}"))
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn read(&self) -> Result<A::State, rmp_serde::decode::Error> {
        rmp_serde::from_slice(&self.bytes)
    }
}

impl<A: App> Record<A> {
    pub(super) fn is_in(&self, room: &str) -> bool {
        self.rooms.iter().any(|rooms| rooms.iter().any(|known| **known == *room))
    }

    pub(super) fn rooms(&self) -> &[Box<str>] {
        self.rooms.as_ref().map_or(&[], |rooms| rooms.as_slice())
    }

    pub(super) fn add(&mut self, room: &str) {
        if !self.is_in(room) {
            Rc::make_mut(self.rooms.get_or_insert_default()).push(room.into());
        }
    }

    pub(super) fn remove(&mut self, room: &str) {
        let Some(rooms) = &mut self.rooms else { return };
        Rc::make_mut(rooms).retain(|known| **known != *room);
        if rooms.is_empty() {
            self.rooms = None;
        }
    }
}

/// As a crash file has it: the state can be read.
#[derive(Serialize, Deserialize)]
#[serde(bound(serialize = "S: Serialize", deserialize = "S: Deserialize<'de>"))]
struct Shown<S> {
    state: S,
    rooms: Vec<Box<str>>,
    due: Option<u32>,
    pinged: Option<u32>,
}

impl<A: App> Serialize for Record<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (rooms, state) = (self.rooms().to_vec(), self.state.read().map_err(serde::ser::Error::custom)?);
        Shown { state, rooms, due: self.due, pinged: self.pinged }.serialize(serializer)
    }
}

impl<'de, A: App> Deserialize<'de> for Record<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Shown { state, rooms, due, pinged } = Shown::<A::State>::deserialize(deserializer)?;
        let rooms = (!rooms.is_empty()).then(|| Rc::new(rooms));
        Ok(Self { state: Packed::new(&state), rooms, due, pinged })
    }
}
