//! Opens many connections, some at a time, and waits until each is where it should be. The beginning of every
//! measurement, and all of the handshake storm.

use std::{
    collections::HashMap,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    client::Happening,
    clock,
    histogram::Histogram,
    message::{Op, number, op},
    swarm::{Key, Swarm},
};

/// Nothing for this long while connections are being opened: the server is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// When a connection counts as there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// After the handshake, or the connect of a raw line.
    Opened,
    /// After `ready`: identified and subscribed.
    Ready,
}

/// A crowd that has arrived.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) keys: Range<Key>,
    pub(crate) took: Duration,
    /// From dialling to arrival, for each.
    pub(crate) each: Histogram,
    /// From the last `hello`; the contract's default when none came.
    pub(crate) heartbeat: Duration,
}

/// Opens `count` more connections, at most `concurrency` on their way at once. `request` gives the handshake of each, or
/// nothing for a raw line. Events that arrive meanwhile are dropped.
pub(crate) fn gather(
    swarm: &mut Swarm,
    count: usize,
    concurrency: usize,
    arrival: Arrival,
    request: impl Fn(usize) -> Option<String>,
) -> Result<Crowd> {
    gather_beside(swarm, count, concurrency, arrival, request, |_, _| {})
}

/// The same beside others that are open already: `heard` is told all that happens meanwhile.
pub(crate) fn gather_beside(
    swarm: &mut Swarm,
    count: usize,
    concurrency: usize,
    arrival: Arrival,
    request: impl Fn(usize) -> Option<String>,
    mut heard: impl FnMut(Key, &Happening<'_>),
) -> Result<Crowd> {
    let start = clock::now();
    let mut underway: HashMap<Key, Instant> = HashMap::new();
    let (mut first, mut dialled, mut heartbeat) = (None, 0, Duration::from_secs(45));
    let mut each = Histogram::new();
    let mut lost = None;
    let mut progress = start;
    while each.count() < count as u64 {
        while dialled < count && underway.len() < concurrency.max(1) {
            let key = swarm.dial(request(dialled).as_deref()).context("cannot connect")?;
            first.get_or_insert(key);
            underway.insert(key, clock::now());
            dialled += 1;
        }
        let arrived = each.count();
        swarm.turn(Duration::from_millis(100), |key, happening| {
            heard(key, &happening);
            let there = match &happening {
                Happening::Opened => arrival == Arrival::Opened,
                Happening::Message(message) => match op(message) {
                    Op::Hello => {
                        let interval = number(message, r#""heartbeat_ms":"#);
                        heartbeat = interval.map_or(heartbeat, Duration::from_millis);
                        false
                    }
                    Op::Ready => arrival == Arrival::Ready,
                    _ => false,
                },
                Happening::Pong => false,
                Happening::Closed(ending) => {
                    lost.get_or_insert(format!("connection {key}: {ending}"));
                    false
                }
            };
            if there && let Some(dialled) = underway.remove(&key) {
                each.record(clock::now().duration_since(dialled));
            }
        })?;
        if let Some(lost) = lost.take() {
            bail!("lost a connection when {} of {count} had arrived: {lost}", each.count());
        }
        if each.count() > arrived {
            progress = clock::now();
        } else if clock::now().duration_since(progress) > PATIENCE {
            bail!("{} of {count} connections arrived, then nothing for {PATIENCE:?}", each.count());
        }
    }
    let first = first.unwrap_or_default();
    Ok(Crowd { keys: first..first + count, took: start.elapsed(), each, heartbeat })
}

/// Ends the sessions of `keys` with close 1000 and waits until all have heard it.
pub(crate) fn dismiss(swarm: &mut Swarm, keys: Range<Key>) -> Result<()> {
    keys.for_each(|key| swarm.hang_up(key));
    let deadline = clock::now() + PATIENCE;
    while swarm.open() > 0 {
        swarm.turn(Duration::from_millis(100), |_, _| {})?;
        if clock::now() > deadline {
            bail!("{} connections were not closed within {PATIENCE:?} of asking", swarm.open());
        }
    }
    Ok(())
}
