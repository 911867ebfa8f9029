//! The table of records: dense chunks of generation-tagged slots. A dormant connection is one slot here and its file
//! descriptor, nothing else.
//!
//! The table owns slots and knows nothing of turns. A freed slot changes its tag, so an old id finds nothing.

use std::net::TcpStream;

use crate::{
    id::ConnectionId,
    shard::{
        mailbox::Mailbox,
        output::Output,
        run_queue::Place,
        transport::{Extra, Transport},
    },
    tls::Session,
    websocket::Reader,
};

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

/// One connection. Its size times a million is the server's memory: a test prints it and fails when it grows.
pub(super) struct Slot<R, M, S = TcpStream> {
    /// `None`: free.
    pub(super) record: Option<R>,
    /// Everything a connection needs only while something is going on.
    pub(super) awake: Option<Box<Awake<M>>>,
    /// `None`: parked.
    pub(super) socket: Option<S>,
    tag: u32,
    /// 1, and one more after each crash.
    pub(super) generation: u32,
    /// When the client last proved life, or the socket was lost ([`crate::clock::Now::ms`]).
    pub(super) heard_ms: u32,
    /// In the run queue.
    pub(super) place: Place,
    /// The socket may have bytes for us.
    pub(super) readable: bool,
    /// The client has ended its side of the socket.
    pub(super) ended: bool,
    /// Client frames and deliveries wait ([`super::Turn::hold`]).
    pub(super) held: bool,
    /// The mailbox has overflowed since it was last empty.
    pub(super) overflowed: bool,
    /// Messages on the socket may be compressed.
    pub(super) compressed: bool,
}

/// What a connection has while it is awake.
pub(super) struct Awake<M> {
    pub(super) mailbox: Mailbox<M>,
    /// What the socket did not take yet.
    pub(super) outbox: Output,
    /// An unfinished frame or message.
    pub(super) reader: Reader,
    /// Bytes read and not yet looked at.
    pub(super) unread: Vec<u8>,
    /// What waits in the outbox is kept back until there is more ([`super::core::Core::uncork`]).
    pub(super) corked: bool,
}

impl<M> Default for Awake<M> {
    fn default() -> Self {
        let (mailbox, outbox, reader) = (Mailbox::default(), Output::default(), Reader::default());
        Self { mailbox, outbox, reader, unread: Vec::new(), corked: false }
    }
}

impl<M> Awake<M> {
    /// Nothing is kept for this connection: it may sleep.
    pub(super) fn is_idle(&self) -> bool {
        self.mailbox.is_empty() && self.outbox.is_empty() && self.reader.is_idle() && self.unread.is_empty()
    }
}

impl<R, M, S> Slot<R, M, S> {
    fn free(tag: u32) -> Self {
        Self {
            record: None,
            awake: None,
            socket: None,
            tag,
            generation: 1,
            heard_ms: 0,
            place: Place::default(),
            readable: false,
            ended: false,
            held: false,
            overflowed: false,
            compressed: false,
        }
    }
}

/// A slot and the TLS session on its socket.
type WithTls<'a, R, M, S> = (&'a mut Slot<R, M, S>, Option<&'a mut Session>);

/// See the module's text.
pub(super) struct Table<R, M, S = TcpStream> {
    shard: u16,
    chunks: Vec<Box<[Slot<R, M, S>]>>,
    /// By slot; as long as the last slot that has ever had one.
    extras: Vec<Option<Box<Extra>>>,
    free: Vec<u32>,
    live: usize,
    parked: usize,
}

impl<R, M, S> Table<R, M, S> {
    pub(super) fn new(shard: u16) -> Self {
        Self { shard, chunks: Vec::new(), extras: Vec::new(), free: Vec::new(), live: 0, parked: 0 }
    }

    /// Slots that exist, free ones included: the range the sweeper walks.
    pub(super) fn span(&self) -> u32 {
        (self.chunks.len() * CHUNK) as u32
    }

    /// Connections, parked ones included.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Connections without a socket.
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// Takes a slot for `record`; `None` when the shard holds as many as an id can name.
    pub(super) fn insert(&mut self, record: R, transport: Transport<S>, heard_ms: u32) -> Option<u32> {
        if self.free.is_empty() {
            let start = self.span();
            if start as usize + CHUNK > ConnectionId::MAX_SLOTS {
                return None;
            }
            self.chunks.push((0..CHUNK).map(|_| Slot::free(1)).collect());
            self.free.extend((start..start + CHUNK as u32).rev());
        }
        let index = self.free.pop()?;
        let slot = &mut self.chunks[index as usize >> CHUNK_BITS][index as usize & (CHUNK - 1)];
        let Transport { socket, extra, compressed } = transport;
        *slot = Slot { record: Some(record), socket: Some(socket), heard_ms, compressed, ..Slot::free(slot.tag) };
        self.put_extra(index, extra);
        self.live += 1;
        Some(index)
    }

    /// Frees a slot; what it held is returned for its last rites.
    pub(super) fn remove(&mut self, index: u32) -> Option<Slot<R, M, S>> {
        let slot = self.get_mut(index)?;
        let next = Slot::free(slot.tag.wrapping_add(1) & 0x00ff_ffff);
        let old = std::mem::replace(slot, next);
        self.live -= 1;
        if old.socket.is_none() {
            self.parked -= 1;
        }
        self.put_extra(index, None);
        self.free.push(index);
        Some(old)
    }

    /// Takes the socket away: the connection is parked.
    pub(super) fn detach(&mut self, index: u32) -> Option<Transport<S>> {
        let slot = self.get_mut(index)?;
        let (socket, compressed) = (slot.socket.take()?, slot.compressed);
        self.parked += 1;
        let extra = self.extras.get_mut(index as usize).and_then(Option::take);
        Some(Transport { socket, extra, compressed })
    }

    /// Gives a parked connection a socket.
    pub(super) fn attach(&mut self, index: u32, transport: Transport<S>) {
        let Some(slot) = self.get_mut(index) else { return };
        slot.compressed = transport.compressed;
        if slot.socket.replace(transport.socket).is_none() {
            self.parked -= 1;
        }
        self.put_extra(index, transport.extra);
    }

    fn put_extra(&mut self, index: u32, extra: Option<Box<Extra>>) {
        let index = index as usize;
        if extra.is_some() && self.extras.len() <= index {
            self.extras.resize_with(index + 1, || None);
        }
        if let Some(place) = self.extras.get_mut(index) {
            *place = extra;
        }
    }

    /// A live slot.
    pub(super) fn get(&self, index: u32) -> Option<&Slot<R, M, S>> {
        let slot = self.chunks.get(index as usize >> CHUNK_BITS)?.get(index as usize & (CHUNK - 1))?;
        slot.record.is_some().then_some(slot)
    }

    /// A live slot.
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Slot<R, M, S>> {
        let slot = self.chunks.get_mut(index as usize >> CHUNK_BITS)?.get_mut(index as usize & (CHUNK - 1))?;
        slot.record.is_some().then_some(slot)
    }

    /// A live slot and the TLS session on its socket.
    pub(super) fn get_with_tls(&mut self, index: u32) -> Option<WithTls<'_, R, M, S>> {
        let slot = self.chunks.get_mut(index as usize >> CHUNK_BITS)?.get_mut(index as usize & (CHUNK - 1))?;
        let tls = self.extras.get_mut(index as usize).and_then(|extra| extra.as_mut()?.tls.as_mut());
        slot.record.is_some().then_some((slot, tls))
    }

    /// The index of a connection that is still the one `id` was given to.
    pub(super) fn find(&self, id: ConnectionId) -> Option<u32> {
        let slot = self.get(id.index())?;
        (id.shard() == self.shard && slot.tag == id.tag()).then_some(id.index())
    }

    /// The id of a live slot.
    pub(super) fn id(&self, index: u32) -> Option<ConnectionId> {
        self.get(index).map(|slot| ConnectionId::new(self.shard, index, slot.tag))
    }

    /// All live slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Slot<R, M, S>)> {
        let slots = self.chunks.iter().flat_map(|chunk| chunk.iter());
        slots.enumerate().filter(|(_, slot)| slot.record.is_some()).map(|(index, slot)| (index as u32, slot))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn socket() -> Transport {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        TcpStream::connect(listener.local_addr().expect("bound")).expect("connects").into()
    }

    #[test]
    fn an_old_id_finds_nothing_after_the_slot_was_given_away() {
        let mut table = Table::<u8, ()>::new(3);
        let first = table.insert(1, socket(), 0).expect("room");
        let id = table.id(first).expect("live");
        assert_eq!(table.find(id), Some(first));
        table.remove(first);
        assert_eq!(table.find(id), None);
        let second = table.insert(2, socket(), 0).expect("room");
        assert_eq!(second, first, "a freed slot is used again");
        assert_eq!(table.find(id), None);
        assert_ne!(table.id(second), Some(id));
    }

    #[test]
    fn parking_and_attaching_keep_the_count() {
        let mut table = Table::<u8, ()>::new(0);
        let index = table.insert(1, socket(), 0).expect("room");
        let taken = table.detach(index).expect("attached");
        assert_eq!((table.live(), table.parked()), (1, 1));
        assert!(table.detach(index).is_none(), "a parked connection has no socket to take");
        table.attach(index, taken);
        assert_eq!((table.live(), table.parked()), (1, 0));
        table.detach(index);
        table.remove(index);
        assert_eq!((table.live(), table.parked()), (0, 0));
    }

    #[test]
    fn a_slot_stays_as_small_as_it_is() {
        /// 32 bytes, one of whose states is free to mean "no record".
        #[expect(dead_code, reason = "only its size counts")]
        struct Record(Box<u8>, [u64; 3]);

        let bytes = size_of::<Slot<Record, ()>>();
        println!("a slot with a record of {} bytes: {bytes} bytes", size_of::<Record>());
        assert_eq!((size_of::<Record>(), size_of::<Option<Record>>()), (32, 32));
        assert!(bytes <= 64, "{bytes} bytes, times a million connections");
    }
}
