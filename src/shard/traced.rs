//! Deliveries of traced events, until the kernel has taken them: their spans end then. There are a handful of them at a time, of
//! all that are under way; where there is none, a write pays one comparison.
//!
//! `probe.rs` measures one delivery after the other for a histogram; these here are chosen by the hub, with their events.

use crate::{clock::Now, id::ConnectionId, shard::probe::PATIENCE_MICROS, telemetry::Span};

/// More at once are not followed.
const MOST: usize = 64;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Traced(Vec<Followed>);

#[derive(Debug)]
struct Followed {
    connection: ConnectionId,
    /// How many events the kernel takes of this connection until it is this one's turn, itself included.
    left: u64,
    /// In microseconds of the clock.
    since: u64,
    span: Span,
}

impl Traced {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Follows a delivery to `connection` that has `ahead` others before it.
    pub(super) fn follow(&mut self, connection: ConnectionId, ahead: u64, since: u64, span: Span) {
        if self.0.len() < MOST {
            self.0.push(Followed { connection, left: ahead + 1, since, span });
        }
    }

    /// The kernel has taken `count` more events of this connection.
    pub(super) fn delivered(&mut self, connection: Option<ConnectionId>, count: u64, micros: u64) {
        for followed in self.0.iter_mut().filter(|followed| Some(followed.connection) == connection) {
            followed.left = followed.left.saturating_sub(count);
        }
        self.0.extract_if(.., |followed| followed.left == 0).for_each(|followed| followed.span.end(micros));
    }

    /// Time passes.
    pub(super) fn tick(&mut self, now: Now) {
        let late = |followed: &mut Followed| now.micros.saturating_sub(followed.since) > PATIENCE_MICROS;
        self.0.extract_if(.., late).for_each(|followed| followed.span.fail(now.micros, "not taken within 10 s"));
    }
}
