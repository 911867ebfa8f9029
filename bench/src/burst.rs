//! A burst over every connection of a density run, to see whether the memory comes back after it.

use std::{ops::Range, time::Duration};

use anyhow::{Result, bail};

use crate::{
    census::Census,
    clock,
    crowd::gather,
    dialect::Dialect,
    swarm::{Key, Swarm},
};

/// No delivery for this long ends the wait.
const STALLED: Duration = Duration::from_secs(20);

/// Publications on their way at once. Few, as the burst is to pass through the outboxes, not to overrun them.
const WINDOW: u64 = 4;

/// What a burst was.
#[derive(Debug)]
pub(crate) struct Burst {
    pub(crate) publications: u64,
    pub(crate) deliveries: u64,
    pub(crate) took: Duration,
}

/// Publishes `events` times `bytes` to each of `channels`, so that each connection receives `events`; returns when all
/// have. The publisher comes and goes.
pub(crate) fn send(
    swarm: &mut Swarm,
    (dialect, host): (Dialect, &str),
    crowd: &Range<Key>,
    channels: &[String],
    events: u64,
    bytes: usize,
    census: &mut Census,
) -> Result<Burst> {
    let request = |_| Some(dialect.publisher(host));
    let publisher = gather(swarm, 1, 1, dialect.publishing(), request)?.keys.start;
    let start = clock::now();
    let before = census.events;
    let most = crowd.len().div_ceil(channels.len()) as u64;
    let expected = crowd.len() as u64 * events;
    let mut asked = 0;
    let mut progress = clock::now();
    let mut plan =
        (1..=events).flat_map(|n| channels.iter().enumerate().map(move |(place, channel)| (n, place, channel)));
    while census.events - before < expected {
        while asked < census.events - before + most * WINDOW
            && let Some((n, place, channel)) = plan.next()
        {
            swarm.say(publisher, dialect.publication(channel, n, bytes).as_bytes());
            // Connection i is in channel i mod k, so the first channels may have one more.
            asked += (crowd.len() / channels.len() + usize::from(place < crowd.len() % channels.len())) as u64;
        }
        let heard = census.events;
        swarm.turn(Duration::from_millis(100), |key, happening| census.hear(key, &happening))?;
        census.content()?;
        if census.events > heard {
            progress = clock::now();
        } else if clock::now().duration_since(progress) > STALLED {
            bail!("the burst stalled at {} of {expected} deliveries", census.events - before);
        }
    }
    let burst = Burst { publications: events * channels.len() as u64, deliveries: expected, took: start.elapsed() };
    let open = swarm.open();
    swarm.hang_up(publisher);
    while swarm.open() >= open {
        // Its end is wanted, so it is not the census's business.
        swarm.turn(Duration::from_millis(100), |key, happening| {
            if key != publisher {
                census.hear(key, &happening);
            }
        })?;
    }
    Ok(burst)
}
