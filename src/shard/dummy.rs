//! Sockets that are no kernel objects, for measuring what an actor costs without one. A dummy is as large as a descriptor
//! and has a value to spare as that has, so a slot with one is laid out like a server's; what it reads is the same phrase
//! for all dummies of a thread, what is written to it is counted and forgotten.
//!
//! Of no use to a server. No system call is made here, so none is in what is measured with it.

use std::{
    cell::{Cell, RefCell},
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
};

use crate::shard::{
    network::{Network, Socket},
    poller::{Ready, Subject},
};

/// Edges taken at once, as many as the kernel's poller gives for one system call.
const BATCH: usize = 1024;

thread_local! {
    /// What every dummy of this thread says when it speaks.
    static PHRASE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Bytes written to dummies of this thread.
    static WRITTEN: Cell<u64> = const { Cell::new(0) };
}

/// The server's end of nothing.
#[derive(Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Dummy {
    /// Nothing to read.
    Quiet = 1,
    /// The phrase is to be read.
    Speaking = 2,
}

// What a slot costs in a server is only told by one of the same size.
const _: () = assert!(size_of::<Dummy>() == size_of::<TcpStream>());
const _: () = assert!(size_of::<Option<Dummy>>() == size_of::<Option<TcpStream>>());

impl Read for Dummy {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if *self == Self::Quiet {
            return Err(ErrorKind::WouldBlock.into());
        }
        *self = Self::Quiet;
        PHRASE.with_borrow(|phrase| {
            into[..phrase.len()].copy_from_slice(phrase);
            Ok(phrase.len())
        })
    }
}

impl Write for Dummy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.set(WRITTEN.get() + bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Dummy {
    fn end(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a shard learns which dummies speak.
#[derive(Debug, Default)]
pub(super) struct Dummies {
    ready: Vec<u32>,
}

impl Dummies {
    /// Sets what all dummies of this thread say from now on.
    pub(super) fn say(phrase: &[u8]) {
        PHRASE.with_borrow_mut(|said| phrase.clone_into(said));
    }

    /// Bytes written to dummies of this thread so far.
    pub(super) fn written() -> u64 {
        WRITTEN.get()
    }

    /// The dummy of the connection in slot `index` is readable.
    pub(super) fn edge(&mut self, index: u32) {
        self.ready.push(index);
    }

    /// No edge waits to be taken.
    pub(super) fn is_quiet(&self) -> bool {
        self.ready.is_empty()
    }
}

impl Network for Dummies {
    type Socket = Dummy;

    fn add(&self, _: &Dummy, _: Subject) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _: &Dummy, _: Subject) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Dummy) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, mut each: impl FnMut(Ready)) -> io::Result<bool> {
        let rest = self.ready.len().saturating_sub(BATCH);
        for index in self.ready.drain(rest..) {
            each(Ready { subject: Subject::Connection(index), readable: true, ended: false });
        }
        Ok(rest > 0)
    }
}
