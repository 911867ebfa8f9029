//! What a hub can do to its shard: tell connections things, close them, and write to other shards. Borrowed from the
//! shard for one call; it cannot run turns, so a hub is never re-entered.

use std::sync::Arc;

use crate::{
    clock::{Clock, Now},
    id::ConnectionId,
    protocol::close::Close,
    shard::{
        behaviour::{Behaviour, Class, Hub},
        inbox::Inbox,
        ledger::{Drop, Ledger},
        mailbox::Full,
        network::Network,
        poller::Poller,
        probe::Probe,
        run_queue::RunQueue,
        table::{Awake, Slot, Table},
        traced::Traced,
        transfer::Letter,
    },
    telemetry::Span,
};

/// Spare [`Awake`] boxes: a burst that wakes the same connections again does not go through the allocator.
pub(super) struct Spare<M> {
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is kept")]
    boxes: Vec<Box<Awake<M>>>,
    /// Dormant connections woken since the last tick.
    pub(super) woken: u64,
}

/// Boxes kept for the next burst, and messages one of them may keep room for.
const KEEP_BOXES: usize = 4096;
const KEEP_MESSAGES: usize = 64;

impl<M> Default for Spare<M> {
    fn default() -> Self {
        Self { boxes: Vec::new(), woken: 0 }
    }
}

impl<M> Spare<M> {
    pub(super) fn take(&mut self) -> Box<Awake<M>> {
        self.boxes.pop().unwrap_or_default()
    }

    /// Wakes a dormant connection because something came for it.
    fn wake(&mut self) -> Box<Awake<M>> {
        self.woken += 1;
        self.take()
    }

    /// Takes back an idle box.
    pub(super) fn put(&mut self, mut awake: Box<Awake<M>>) {
        if self.boxes.len() < KEEP_BOXES {
            awake.mailbox.shrink(KEEP_MESSAGES);
            awake.unread = Vec::new();
            awake.outbox = Default::default();
            awake.corked = false;
            self.boxes.push(awake);
        }
    }

    /// Gives all memory back; called when the shard has been quiet.
    pub(super) fn clear(&mut self) {
        self.boxes = Vec::new();
    }
}

/// See the module's text.
pub struct Post<'a, B: Behaviour, N: Network = Poller> {
    pub(super) now: Now,
    pub(super) shard: u16,
    pub(super) capacity: usize,
    pub(super) table: &'a mut Table<B::Record, B::Message, N::Socket>,
    pub(super) queue: &'a mut RunQueue,
    pub(super) spare: &'a mut Spare<B::Message>,
    pub(super) clock: Clock,
    pub(super) probe: &'a mut Probe,
    pub(super) traced: &'a mut Traced,
    pub(super) ledger: &'a mut Ledger,
    pub(super) closes: &'a mut Vec<(ConnectionId, Close)>,
    pub(super) peers: &'a [Arc<Inbox<Letter<B, N>>>],
}

impl<B: Behaviour, N: Network> Post<'_, B, N> {
    /// The time of this round.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// The shard this hub serves.
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// Shards of the node.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.peers.len()
    }

    /// The id of a live connection of this shard.
    #[must_use]
    pub fn id(&self, index: u32) -> Option<ConnectionId> {
        self.table.id(index)
    }

    /// Whether `connection` still lives here.
    #[must_use]
    pub fn is_live(&self, connection: ConnectionId) -> bool {
        self.table.find(connection).is_some()
    }

    /// Whether `connection` lives here and waits for `message`.
    #[must_use]
    pub fn awaits(&self, connection: ConnectionId, message: &B::Message) -> bool {
        let slot = self.table.find(connection).and_then(|index| self.table.get(index));
        slot.and_then(|slot| slot.record.as_ref()).is_some_and(|record| B::awaits(record, message))
    }

    /// Offers a delivery to the connection in slot `index`.
    ///
    /// # Errors
    /// The message comes back when the mailbox is full; the ledger has then counted it as dropped, and
    /// [`Hub::drained`] will say when there is room.
    pub fn offer(&mut self, index: u32, message: B::Message) -> Result<(), Full<B::Message>> {
        let Some(slot) = self.table.get_mut(index) else { return Ok(()) };
        let class = B::class(&message);
        if class == Class::Event {
            self.ledger.offered += 1;
        }
        let awake = slot.awake.get_or_insert_with(|| self.spare.wake());
        match awake.mailbox.offer(message, class, self.now.micros as u32, self.capacity) {
            Ok(()) => {
                self.queue.push(index, &mut slot.place);
                Ok(())
            }
            Err(full) => {
                slot.overflowed = true;
                if class == Class::Event {
                    self.ledger.drop(Drop::Overflow, 1);
                }
                Err(full)
            }
        }
    }

    /// Offers events to the connection in slot `index`, in their order, and returns how many its mailbox took. The others
    /// are counted as dropped, and [`Hub::drained`] will say when there is room.
    pub fn offer_all(&mut self, index: u32, events: impl ExactSizeIterator<Item = B::Message>) -> usize {
        let all = events.len();
        let Some(slot) = self.table.get_mut(index) else { return all };
        let awake = slot.awake.get_or_insert_with(|| self.spare.wake());
        let taken = awake.mailbox.extend(events, self.now.micros as u32, self.capacity);
        self.queue.push(index, &mut slot.place);
        self.ledger.offered += taken as u64;
        if taken < all {
            self.refuse(index, all - taken);
        }
        taken
    }

    /// The present, in microseconds of the clock: for what takes long.
    #[must_use]
    pub fn micros(&self) -> u64 {
        self.clock.micros()
    }

    /// Whether the shard would measure how long another delivery takes.
    #[must_use]
    pub fn wants_to_follow(&self) -> bool {
        self.probe.is_free()
    }

    /// Measures the first of `taken` events that were just offered to the connection in slot `index`, until the kernel has
    /// it; `since`: when it got its offset, in microseconds of the clock.
    pub fn follow(&mut self, index: u32, taken: usize, since: u64) {
        if let Some((connection, ahead)) = self.last_but(index, taken) {
            self.probe.follow(connection, since, ahead);
        }
    }

    /// Ends `span` when the kernel has the last but so many, itself included, of the events that wait for the connection in slot
    /// `index`.
    pub fn trace(&mut self, index: u32, last: usize, span: Span) {
        if let Some((connection, ahead)) = self.last_but(index, last) {
            let name = connection.to_string();
            self.traced.follow(connection, ahead, self.now.micros, span.with("connection", name));
        }
    }

    /// Whose slot `index` is, and how many events wait before the last so many.
    fn last_but(&self, index: u32, last: usize) -> Option<(ConnectionId, u64)> {
        let awake = self.table.get(index)?.awake.as_ref().filter(|_| last > 0)?;
        let waiting = awake.outbox.events() + awake.mailbox.pending_events(B::class);
        Some((self.table.id(index)?, waiting.saturating_sub(last as u64)))
    }

    /// Counts events that do not reach the connection in slot `index`, be it that the hub itself keeps them from it (an
    /// untold gap goes before them).
    pub fn refuse(&mut self, index: u32, events: usize) {
        if let Some(slot) = self.table.get_mut(index) {
            slot.overflowed = true;
            self.ledger.offered += events as u64;
            self.ledger.drop(Drop::Overflow, events as u64);
        }
    }

    /// Queues a message beyond the mailbox's bound: answers, and catch-ups whose size the hub has bounded. `false`: the
    /// connection is gone.
    pub fn tell(&mut self, connection: ConnectionId, message: B::Message) -> bool {
        let Some(index) = self.table.find(connection) else { return false };
        let Some(slot) = self.table.get_mut(index) else { return false };
        let class = B::class(&message);
        if class == Class::Event {
            self.ledger.offered += 1;
        }
        Self::queue(slot, index, message, class, self.now, self.spare, self.queue);
        true
    }

    fn queue(
        slot: &mut Slot<B::Record, B::Message, N::Socket>,
        index: u32,
        message: B::Message,
        class: Class,
        now: Now,
        spare: &mut Spare<B::Message>,
        queue: &mut RunQueue,
    ) {
        let awake = slot.awake.get_or_insert_with(|| spare.wake());
        awake.mailbox.force(message, class, now.micros as u32);
        queue.push(index, &mut slot.place);
    }

    /// [`Hub::drained`] will say when the connection in slot `index` has handled all deliveries that wait for it.
    pub fn remind(&mut self, index: u32) {
        if let Some(slot) = self.table.get_mut(index) {
            slot.overflowed = true;
            self.queue.push(index, &mut slot.place);
        }
    }

    /// Takes back waiting deliveries that `unwanted` picks; the ledger counts events among them as unsubscribed.
    pub fn withdraw(&mut self, connection: ConnectionId, unwanted: impl Fn(&B::Message) -> bool) {
        let Some(index) = self.table.find(connection) else { return };
        let Some(awake) = self.table.get_mut(index).and_then(|slot| slot.awake.as_mut()) else { return };
        let events = awake.mailbox.withdraw(unwanted, B::class);
        self.ledger.drop(Drop::Unsubscribed, events);
    }

    /// Closes a connection's socket once the hub has returned; its record is parked.
    pub fn close(&mut self, connection: ConnectionId, close: Close) {
        self.closes.push((connection, close));
    }

    /// Writes to the hub of another shard; for what an admitted request makes necessary.
    pub fn send(&self, shard: u16, letter: <B::Hub as Hub<B>>::Letter) {
        if let Some(peer) = self.peers.get(usize::from(shard)) {
            peer.send(Letter::Hub(letter));
        }
    }

    /// Every shard can take more letters: new work may be admitted.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.peers.iter().all(|peer| !peer.is_full())
    }
}
