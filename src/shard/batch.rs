//! Deliveries that wait together are handled together: their turns run one after the other under one catch and one look at
//! the clock, and what they ask for is carried out when the last of them has returned. That is what makes a burst cheap.
//!
//! It is no other life than one by one. Each turn still gets a copy of the record of the one before; a panic costs the turn
//! it happened in, and the ones before it stand. A turn that asks for more than frames is the last of its batch.

use std::rc::Rc;

#[cfg(feature = "simulation")]
use crate::shard::faults::{self, Defect};
use crate::{
    shard::{
        OnStall,
        behaviour::{Behaviour, Class, Mail},
        core::Core,
        evidence::play,
        execute::{Next, slow_turn},
        ledger::Drop,
        mailbox::Waiting,
        network::Network,
        output::Mark,
        rescue::{InHand, Rescued},
        stream::WRITE_AT,
    },
    supervision::{self, Caught, CrashReport},
};

/// How a batch went.
pub(super) enum Batch {
    /// No delivery waits.
    Empty,
    /// So many were handled.
    Done(usize, Next),
}

/// What stopped a batch before its end.
enum Broken {
    /// The turn over the next delivery must not be committed.
    Turn(Caught),
    /// The last turn was committed, but the record before it could not be dropped.
    Record(CrashReport),
}

impl<B: Behaviour, N: Network> Core<B, N> {
    /// Handles at most `most` of the deliveries that wait for a connection.
    pub(super) fn run_batch(&mut self, index: u32, most: usize) -> Batch {
        let Some(id) = self.table.id(index) else { return Batch::Empty };
        let Some(slot) = self.table.get_mut(index) else { return Batch::Empty };
        let (Some(record), Some(awake)) = (&mut slot.record, &mut slot.awake) else { return Batch::Empty };
        if !awake.mailbox.has_deliveries() {
            return Batch::Empty;
        }
        let began = self.clock.micros();
        self.now.micros = began;
        self.beat.begin(began, id.to_bits(), "message");
        let (turn, labels, now, clock) = (&mut self.turn, &mut self.labels, self.now, self.clock);
        let [warn, stall] = [self.options.turn_warn, self.options.turn_stall].map(|time| time.as_micros() as u64);
        let stall = if self.options.on_stall == OnStall::Keep { u64::MAX } else { stall };
        turn.set_compressed(slot.compressed);
        labels.clear();
        // What the turns that have returned leave.
        let (mut mark, mut unsubscribed) = (turn.mark(), 0);
        let (mut begun, mut slow, mut stalled) = (0, 0, false);
        let mut longest = (0, 0);
        let result = supervision::catch_traced(|| {
            let mut last = clock.coarse_micros();
            for waiting in awake.mailbox.deliveries().take(most) {
                begun += 1;
                turn.begin(now, id, slot.generation);
                #[cfg(feature = "simulation")]
                faults::turn(id, faults::Moment::Begin);
                let after = play(record.clone(), Mail::Message(&waiting.message), turn);
                #[cfg(feature = "simulation")]
                faults::turn(id, faults::Moment::End);
                let took = clock.coarse_micros() - last;
                last += took;
                if took >= warn {
                    slow += 1;
                    longest = longest.max((took, turn.current_label()));
                }
                if took >= stall {
                    stalled = true;
                    return;
                }
                let reached = turn.mark();
                let unwanted = reached.events == mark.events && B::class(&waiting.message) == Class::Event;
                labels.push(turn.current_label());
                mark = reached;
                #[cfg(feature = "simulation")]
                let after = if faults::has(Defect::SkippedCommit) { record.clone() } else { after };
                // What goes with the record before may panic in its drop; this one is in its place then.
                *record = after;
                unsubscribed += u64::from(unwanted);
                if !turn.effects.are_none() || turn.output.len() >= WRITE_AT {
                    return;
                }
            }
        });
        self.beat.end();
        let (took, handled) = (self.clock.micros() - began, labels.len());
        if slow > 0 {
            self.stats.slow_turns.inc_by(slow);
            tracing::warn!(connection = %id, turns = begun, slow, took_us = took, "slow turns");
        }
        let each = took as f64 * 1e-6 / begun.max(1) as f64;
        labels.iter().for_each(|&label| self.stats.turn(label, each));
        // The coarse clock may take too many milliseconds for one turn's, never more than all took.
        let mean = (took / begun.max(1) as u64, labels.first().copied().unwrap_or_else(|| turn.current_label()));
        let (longest, label) = mean.max((longest.0.min(took), longest.1));
        if self.slowest.wants(longest) {
            self.slowest.keep(slow_turn::<B>(label, id, longest, now));
        }
        let broken = match result {
            Ok(()) if stalled => Some(Broken::Turn(Caught { report: CrashReport::stalled(), trace: None })),
            Ok(()) => None,
            Err(caught) if begun > handled => Some(Broken::Turn(caught)),
            Err(caught) => Some(Broken::Record(caught.report)),
        };
        self.ledger.drop(Drop::Unsubscribed, unsubscribed);
        // The message of a turn whose record broke is in hand again, like every other whose service was interrupted.
        let done = handled - usize::from(matches!(broken, Some(Broken::Record(_))));
        for waiting in awake.mailbox.take_deliveries(done) {
            self.stats.wait_seconds.observe(f64::from((began as u32).wrapping_sub(waiting.since)) * 1e-6);
        }
        let Some(broken) = broken else { return Batch::Done(handled, self.commit(index)) };
        self.stalled = stalled;
        let next = awake.mailbox.next_delivery().map_or(Next::Go, |waiting| self.broken(index, waiting, broken, mark));
        Batch::Done(begun, next)
    }

    /// Goes on after what stopped a batch at `waiting`.
    fn broken(&mut self, index: u32, waiting: Waiting<B::Message>, broken: Broken, mark: Mark) -> Next {
        let began = self.now.micros;
        self.stats.wait_seconds.observe(f64::from((began as u32).wrapping_sub(waiting.since)) * 1e-6);
        let caught = match broken {
            Broken::Turn(caught) => caught,
            Broken::Record(report) => {
                self.turn.discard(mark);
                self.defective("record", &report);
                return self.interrupted_over(index, waiting);
            }
        };
        self.stats.turn(self.turn.current_label(), (self.clock.micros() - began) as f64 * 1e-6);
        let retriable = !waiting.tried;
        let mut hand = InHand { held: Some(Rescued::Message(waiting)), net: Rc::clone(&self.net) };
        let Some(Rescued::Message(waiting)) = &hand.held else { return Next::Go };
        let mail = Mail::Message(&waiting.message);
        let report = self.undo(index, mail, caught, (mark, began));
        let next = self.crashed(index, mail, &report, retriable);
        self.put_back(index, hand.held.take(), next);
        next
    }
}
