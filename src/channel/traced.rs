//! What is told of a publication that is traced: its home's part, and each shard's. The home and the shards find out by
//! themselves which publications those are, so nothing travels for it.
//!
//! ```text
//! publish                       at the home: from the request until it has its place, and the disk if it must
//! ├─ commit                     a durable channel: until the store has it
//! └─ fan out                    on each shard with subscribers: until all are offered it
//!    └─ deliver                 to some of them: until the kernel has it
//! ```
//!
//! Of the deliveries on a shard one is followed, and one more for each tenfold of subscribers: a broadcast to a million is as
//! many spans as one to ten, but for six.

use roaring::RoaringBitmap;

use crate::{
    channel::{
        home::Event,
        message::{Origin, Purpose, Tag},
    },
    telemetry::{Span, Tracer},
};

/// The home has given `event` its place, at `now` in microseconds of the clock, for so many subscribers on each shard.
pub(super) fn published(tracer: &Tracer, event: &Event, origin: &Origin, subscribers: &[u32], now: u64) {
    let Some(trace) = tracer.trace(&event.channel.name, event.offset, event.at) else { return };
    let durable = event.channel.namespace.durable;
    if durable {
        trace.part("commit", 0, event.since).end(now);
    }
    let mut span = trace
        .root("publish", event.since)
        .with("channel", event.channel.name.to_string())
        .with("offset", event.offset as i64)
        .with("durable", durable)
        .with("bytes", event.frame.json().len() as i64)
        .with("subscribers", subscribers.iter().map(|&count| i64::from(count)).sum::<i64>());
    if let Origin::Connection(connection, Tag { purpose, .. }) = origin {
        span = span.with("connection", connection.to_string());
        if let Purpose::Request(Some(request)) = purpose {
            span = span.with("request", request.to_string());
        }
    }
    span.end(now);
}

/// The part of a shard in the publications of one burst that are traced.
#[derive(Default)]
pub(super) struct FanOut(Vec<Offering>);

/// One of them.
struct Offering {
    /// Which of the burst.
    nth: usize,
    span: Span,
    /// The subscribers whose deliveries are followed, by slot, rising.
    followed: Vec<u32>,
}

impl FanOut {
    /// Which of `events` are traced, all of one channel with these subscribers here.
    pub(super) fn of<'a>(
        tracer: &Tracer,
        shard: u16,
        events: impl Iterator<Item = &'a Event>,
        members: &RoaringBitmap,
        now: u64,
    ) -> Self {
        if !tracer.is_on() || members.is_empty() {
            return Self::default();
        }
        let traced = events.enumerate().filter_map(|(nth, event)| {
            let trace = tracer.trace(&event.channel.name, event.offset, event.at).filter(|_| event.since > 0)?;
            let span = trace.part("fan out", u64::from(shard), now);
            let span = span.with("shard", i64::from(shard)).with("subscribers", members.len() as i64);
            Some(Offering { nth, span, followed: some_of(members, event.offset) })
        });
        Self(traced.collect())
    }

    /// Nothing of the burst is traced.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The spans of deliveries to this subscriber, each with its place in the burst; `taken`: how many of the burst it took.
    pub(super) fn deliveries(&self, index: u32, taken: usize, now: u64) -> impl Iterator<Item = (usize, Span)> + '_ {
        let offered = self.0.iter().filter(move |offering| offering.nth < taken);
        let followed = offered.filter(move |offering| offering.followed.binary_search(&index).is_ok());
        followed.map(move |offering| (offering.nth, offering.span.part("deliver", u64::from(index), now)))
    }

    /// All are offered.
    pub(super) fn end(self, now: u64) {
        self.0.into_iter().for_each(|offering| offering.span.end(now));
    }
}

/// One of these, and one more for each tenfold; others each time.
fn some_of(members: &RoaringBitmap, offset: u64) -> Vec<u32> {
    let all = members.len();
    let count = 1 + u64::from(all.max(1).ilog10());
    let places = (0..count).map(|nth| (offset + nth * all / count) % all);
    let mut some: Vec<u32> = places.filter_map(|place| members.select(place as u32)).collect();
    some.sort_unstable();
    some
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followed_deliveries_grow_with_the_tenfold_of_subscribers() {
        for (members, expected) in [(1, 1), (9, 1), (10, 2), (99, 2), (1_000, 4), (100_000, 6)] {
            let members: RoaringBitmap = (0..members).map(|index| index * 3).collect();
            for offset in [0, 1, 77, u64::from(u32::MAX)] {
                let some = some_of(&members, offset);
                assert_eq!(some.len(), expected, "of {}", members.len());
                assert!(some.iter().all(|&index| members.contains(index)));
                assert!(some.is_sorted_by(|one, next| one < next), "each once: {some:?}");
            }
        }
    }
}
