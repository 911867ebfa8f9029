//! Publications to one group of subscribers with a fixed number on their way at once. Drives the fan-out of a server and
//! the raw floor alike, so that both are measured by the same client work.

use std::{ops::Range, time::Duration};

use anyhow::{Result, bail};

use crate::{
    census::Census,
    client::Happening,
    clock,
    histogram::Histogram,
    message::{Op, op},
    swarm::{Key, Swarm},
};

/// No delivery for this long is a failure.
const STALLED: Duration = Duration::from_secs(15);

impl Pace {
    /// How long to wait for deliveries before looking whether a publication is due.
    fn patience(self) -> Duration {
        match self {
            Self::Window(_) => Duration::from_millis(100),
            Self::PerSecond(rate) => Duration::from_secs_f64((0.25 / rate).clamp(0.0002, 0.1)),
        }
    }
}

/// What the subscribers received.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) publications: u64,
    pub(crate) deliveries: u64,
    pub(crate) took: Duration,
    /// From saying a publication to reading it, for each subscriber.
    pub(crate) latency: Histogram,
    /// Of all deliveries, without frame headers.
    pub(crate) bytes: u64,
    /// The last delivery.
    pub(crate) sample: Vec<u8>,
}

impl Rounds {
    /// Mean payload of a delivery.
    pub(crate) fn payload(&self) -> f64 {
        self.bytes as f64 / self.deliveries.max(1) as f64
    }
}

/// When the next publication is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Never more than so many ahead of the slowest subscriber.
    Window(u64),
    /// So many a second, however long they take: a slow server does not slow the clock it is measured by.
    PerSecond(f64),
}

/// Calls `publish` with 1, 2, 3 … for `span`, at `pace`, then waits for the rest. The k-th event of a subscriber is the k-th publication: a gap ends the run.
pub(crate) fn drive(
    swarm: &mut Swarm,
    subscribers: &Range<Key>,
    pace: Pace,
    span: Duration,
    mut publish: impl FnMut(&mut Swarm, u64),
) -> Result<Rounds> {
    let start = clock::now();
    let mut sent = Vec::new();
    // Subscribers that still miss each publication.
    let mut missing: Vec<usize> = Vec::new();
    let mut received = vec![0usize; subscribers.len()];
    let mut done = 0u64;
    let mut rounds = Rounds {
        publications: 0,
        deliveries: 0,
        took: Duration::ZERO,
        latency: Histogram::new(),
        bytes: 0,
        sample: Vec::new(),
    };
    let mut census = Census::default();
    let mut progress = start;
    loop {
        let elapsed = start.elapsed();
        let running = elapsed < span;
        let due = |published: u64| match pace {
            Pace::Window(window) => (published - done < window).then(clock::now),
            Pace::PerSecond(rate) => Some(start + Duration::from_secs_f64(published as f64 / rate))
                .filter(|planned| *planned <= start + elapsed),
        };
        while let Some(planned) = due(rounds.publications).filter(|_| running) {
            rounds.publications += 1;
            sent.push(planned);
            missing.push(subscribers.len());
            publish(swarm, rounds.publications);
        }
        if !running && done == rounds.publications {
            break;
        }
        let before = rounds.deliveries;
        // Read anew for each connection, not for each event of it: they arrive together.
        let mut now = clock::now();
        let mut reading = None;
        swarm.turn(pace.patience(), |key, happening| {
            let event = match &happening {
                Happening::Message(message) if op(message) == Op::Event && subscribers.contains(&key) => *message,
                _ => return census.hear(key, &happening),
            };
            if reading != Some(key) {
                reading = Some(key);
                now = clock::now();
            }
            let place = &mut received[key - subscribers.start];
            if let (Some(sent), Some(missing)) = (sent.get(*place), missing.get_mut(*place)) {
                rounds.latency.record(now.saturating_duration_since(*sent));
                *missing -= 1;
                done += u64::from(*missing == 0);
            }
            *place += 1;
            rounds.deliveries += 1;
            rounds.bytes += event.len() as u64;
            if rounds.deliveries.is_multiple_of(4096) || rounds.sample.is_empty() {
                rounds.sample.clear();
                rounds.sample.extend_from_slice(event);
            }
        })?;
        census.content()?;
        if rounds.deliveries > before || done == rounds.publications {
            progress = clock::now();
        } else if clock::now().duration_since(progress) > STALLED {
            bail!("stalled at {} deliveries of {} publications", rounds.deliveries, rounds.publications);
        }
    }
    rounds.took = start.elapsed();
    Ok(rounds)
}
