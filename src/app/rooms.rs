//! The rooms of one shard: seats (who of this shard hears which room) and homes (the rooms that live here). Runs on the
//! shard's thread, between turns; writes to the rooms of other shards by letters.
//!
//! Order: a home folds one telling after the other and sends it out before the next; letters of one sender arrive in their
//! order. So a snapshot of the room stands exactly between the last telling that is in it and the first that is not.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    rc::Rc,
    sync::Arc,
};

use super::{
    App, Connection, Failure,
    homes::Homes,
    letter::{Letter, Request, Ticket},
    notice::{Ask, Failed, Notice, Snapshot, Telling},
    seat::Seat,
};
use crate::{
    id::ConnectionId,
    shard::{Hub, Network, Post},
};

/// See the module's text.
pub(crate) struct Rooms<A: App> {
    seats: HashMap<Arc<str>, Seat>,
    homes: Homes<A>,
    /// Where each connection that is behind is so.
    behind: HashMap<ConnectionId, Vec<Arc<str>>>,
    ticket: Ticket,
    /// Decides which room lives where, and is nobody else's to know: names that all have one home would burden it.
    salt: u64,
    under_way: UnderWay<A>,
}

/// What a panic would leave half done.
#[derive(Default)]
enum UnderWay<A: App> {
    #[default]
    Nothing,
    /// A room's home serves it.
    Asked { room: Arc<str>, from: ConnectionId, ticket: Option<Ticket>, told: Option<Arc<A::Told>> },
    /// It is handed to the members of this shard.
    Spread(Arc<str>),
}

impl<A: App> Rooms<A> {
    pub(crate) fn new(salt: u64) -> Self {
        Self {
            seats: HashMap::new(),
            homes: Homes::default(),
            behind: HashMap::new(),
            ticket: Ticket::default(),
            salt,
            under_way: UnderWay::Nothing,
        }
    }

    /// How many seats, connections that are behind, and rooms there are, for looking whether it is back to nothing.
    #[cfg(test)]
    pub(super) fn traces(&self) -> [usize; 3] {
        [self.seats.len(), self.behind.len(), self.homes.len()]
    }

    fn home_of(&self, room: &str, shards: usize) -> u16 {
        let mut hasher = DefaultHasher::new();
        (self.salt, room).hash(&mut hasher);
        (hasher.finish() % shards.max(1) as u64) as u16
    }

    /// One text for all who know the room here.
    fn intern(&self, room: &str) -> Arc<str> {
        self.seats.get_key_value(room).map_or_else(|| room.into(), |(name, _)| Arc::clone(name))
    }

    fn next_ticket(&mut self) -> Ticket {
        self.ticket.0 += 1;
        self.ticket
    }

    fn ask_home(
        &mut self,
        room: Arc<str>,
        from: ConnectionId,
        request: Request<A>,
        post: &mut Post<'_, Connection<A>, impl Network>,
    ) {
        let home = self.home_of(&room, post.shards());
        if home == post.shard() {
            self.serve(room, from, request, post);
        } else {
            post.send(home, Letter::Home { room, from, request });
        }
    }

    /// A room that lives here is asked something.
    fn serve(
        &mut self,
        room: Arc<str>,
        from: ConnectionId,
        request: Request<A>,
        post: &mut Post<'_, Connection<A>, impl Network>,
    ) {
        match request {
            Request::Look { ticket, enters } => {
                let name = Arc::clone(&room);
                self.under_way = UnderWay::Asked { room: name, from, ticket: Some(ticket), told: None };
                let snapshot = self.homes.look(&room, from.shard(), enters);
                self.under_way = UnderWay::Nothing;
                if from.shard() == post.shard() {
                    self.arrive(from, ticket, snapshot, post);
                } else {
                    post.send(from.shard(), Letter::Snapshot { to: from, ticket, snapshot });
                }
            }
            Request::Leave => self.homes.leave(&room, from.shard(), post.now()),
            Request::Tell(told) => {
                let (name, what) = (Arc::clone(&room), Some(Arc::clone(&told)));
                self.under_way = UnderWay::Asked { room: name, from, ticket: None, told: what };
                let Some((telling, members)) = self.homes.tell(&room, from, Arc::clone(&told)) else {
                    self.under_way = UnderWay::Nothing;
                    let failed = Failed { room, told: Some(told), why: Failure::NotEntered };
                    return Self::fail(from, None, failed, &mut self.seats, post);
                };
                let telling = Arc::new(telling);
                let own = usize::from(post.shard());
                for (shard, _) in members.iter().enumerate().filter(|&(shard, &count)| count > 0 && shard != own) {
                    post.send(shard as u16, Letter::Told(Arc::clone(&telling)));
                }
                self.spread(telling, post);
            }
        }
    }

    /// Offers something that was told to the members of this shard.
    fn spread(&mut self, telling: Arc<Telling<A>>, post: &mut Post<'_, Connection<A>, impl Network>) {
        self.under_way = UnderWay::Spread(Arc::clone(&telling.room));
        let telling = Rc::new(telling);
        if let Some(seat) = self.seats.get_mut(&telling.room) {
            let offer = |index: &u32| post.offer(*index, Notice::Told(Rc::clone(&telling))).is_err();
            let full: Vec<u32> = seat.members.iter().filter(offer).collect();
            for connection in full.into_iter().filter_map(|index| post.id(index)) {
                if seat.fall_behind(connection) {
                    self.behind.entry(connection).or_default().push(Arc::clone(&telling.room));
                }
            }
        }
        self.under_way = UnderWay::Nothing;
    }

    /// The room that a connection waits for.
    fn arrive(
        &mut self,
        to: ConnectionId,
        ticket: Ticket,
        snapshot: Snapshot<A>,
        post: &mut Post<'_, Connection<A>, impl Network>,
    ) {
        let Some(seat) = self.seats.get_mut(&snapshot.room) else { return };
        let Some(skipped) = seat.answer(to, ticket) else { return };
        // It is in the snapshot.
        post.withdraw(to, |notice| notice.is_told_in(&snapshot.room));
        post.tell(to, if skipped { Notice::Skipped(snapshot) } else { Notice::Entered(snapshot) });
    }

    /// Tells a connection, wherever it lives, that something did not happen.
    fn fail(
        to: ConnectionId,
        ticket: Option<Ticket>,
        failed: Failed<A>,
        seats: &mut HashMap<Arc<str>, Seat>,
        post: &mut Post<'_, Connection<A>, impl Network>,
    ) {
        if to.shard() != post.shard() {
            return post.send(to.shard(), Letter::Failed { to, ticket, failed });
        }
        if let (Some(ticket), Some(seat)) = (ticket, seats.get_mut(&failed.room)) {
            seat.refuse(to, ticket);
            if seat.is_empty() {
                seats.remove(&failed.room);
            }
        }
        post.tell(to, Notice::Failed(failed));
    }

    fn enter(&mut self, from: ConnectionId, room: &str, post: &mut Post<'_, Connection<A>, impl Network>) {
        let (room, ticket) = (self.intern(room), self.next_ticket());
        let enters = self.seats.get(&room).is_none_or(|seat| !seat.knows(from));
        if enters && !post.has_room() {
            let failed = Failed { room, told: None, why: Failure::Overloaded };
            return Self::fail(from, None, failed, &mut self.seats, post);
        }
        self.seats.entry(Arc::clone(&room)).or_default().ask(from, ticket);
        self.ask_home(room, from, Request::Look { ticket, enters }, post);
    }

    fn leave(&mut self, from: ConnectionId, room: &str, post: &mut Post<'_, Connection<A>, impl Network>) {
        let room = self.intern(room);
        let Some(seat) = self.seats.get_mut(&room) else { return };
        if !seat.leave(from) {
            return;
        }
        if seat.is_empty() {
            self.seats.remove(&room);
        }
        post.withdraw(from, |notice| notice.is_told_in(&room));
        self.ask_home(room, from, Request::Leave, post);
    }

    fn tell(
        &mut self,
        from: ConnectionId,
        room: &str,
        told: A::Told,
        post: &mut Post<'_, Connection<A>, impl Network>,
    ) {
        let (room, told) = (self.intern(room), Arc::new(told));
        let known = self.seats.get(&room).is_some_and(|seat| seat.knows(from));
        let why = if !known {
            Failure::NotEntered
        } else if !post.has_room() {
            Failure::Overloaded
        } else {
            return self.ask_home(room, from, Request::Tell(told), post);
        };
        Self::fail(from, None, Failed { room, told: Some(told), why }, &mut self.seats, post);
    }
}

impl<A: App> Hub<Connection<A>> for Rooms<A> {
    type Letter = Letter<A>;

    fn ask(&mut self, from: ConnectionId, ask: Ask<A>, post: &mut Post<'_, Connection<A>, impl Network>) {
        match ask {
            Ask::Enter(room) => self.enter(from, &room, post),
            Ask::Leave(room) => self.leave(from, &room, post),
            Ask::Tell(room, told) => self.tell(from, &room, told, post),
            Ask::Fail(room, told, why) => {
                let failed = Failed { room: room.into(), told: told.map(Arc::new), why };
                Self::fail(from, None, failed, &mut self.seats, post);
            }
            Ask::Farewell(rooms) => {
                self.behind.remove(&from);
                rooms.iter().for_each(|room| self.leave(from, room, post));
            }
        }
    }

    fn letter(&mut self, letter: Letter<A>, post: &mut Post<'_, Connection<A>, impl Network>) {
        match letter {
            Letter::Home { room, from, request } => self.serve(room, from, request, post),
            Letter::Snapshot { to, ticket, snapshot } => self.arrive(to, ticket, snapshot, post),
            Letter::Told(telling) => self.spread(telling, post),
            Letter::Failed { to, ticket, failed } => Self::fail(to, ticket, failed, &mut self.seats, post),
        }
    }

    fn drained(&mut self, connection: ConnectionId, post: &mut Post<'_, Connection<A>, impl Network>) {
        for room in self.behind.remove(&connection).unwrap_or_default() {
            let ticket = self.next_ticket();
            if self.seats.get_mut(&room).is_some_and(|seat| seat.catch_up(connection, ticket)) {
                self.ask_home(room, connection, Request::Look { ticket, enters: false }, post);
            }
        }
    }

    /// A fold, or the clone or the drop of something that is the app's, panicked. A room changes in one step and has not; whom
    /// a telling may not have reached is shown the room instead.
    fn crashed(&mut self, post: &mut Post<'_, Connection<A>, impl Network>) {
        match std::mem::take(&mut self.under_way) {
            UnderWay::Nothing => {}
            UnderWay::Asked { room, from, ticket, told } => {
                let failed = Failed { room, told, why: Failure::Crashed };
                Self::fail(from, ticket, failed, &mut self.seats, post);
            }
            UnderWay::Spread(room) => {
                let Some(seat) = self.seats.get_mut(&room) else { return };
                let members: Vec<_> = seat.members.iter().filter_map(|index| post.id(index)).collect();
                for connection in members {
                    if seat.fall_behind(connection) {
                        self.behind.entry(connection).or_default().push(Arc::clone(&room));
                        post.remind(connection.index());
                    }
                }
            }
        }
    }

    fn tick(&mut self, post: &mut Post<'_, Connection<A>, impl Network>) {
        self.homes.tick(post.now());
    }
}
