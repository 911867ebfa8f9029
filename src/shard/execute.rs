//! How a turn runs: on a copy of the record, under a catch; then record and effects are committed together, or the crash
//! is told to the next generation of the actor.

use std::sync::Arc;

use tracing::Level;

#[cfg(feature = "simulation")]
use crate::shard::faults::{self, Defect};
use crate::{
    clock::Now,
    id::ConnectionId,
    protocol::close::Close,
    shard::{
        OnStall,
        behaviour::{Behaviour, Cause, Class, Crash, JobFailure, Mail, Subject},
        core::Core,
        evidence::{Written, play},
        ledger::Drop,
        network::Network,
        output::Mark,
        slowest::SlowTurn,
        turn::Effects,
    },
    supervision::{self, Caught, CrashReport, Fingerprints, Trace, Verdict},
};

/// What a service loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on with this connection.
    Go,
    /// Its message goes back into the mailbox and is tried once more.
    Retry,
    /// Its socket or its record is gone.
    Stop,
    /// Its socket goes to the record in [`Core::moving`].
    Move,
}

/// Every turn over something that did not wait in a mailbox with others of its kind, for who asks for it: `telemetry.log =
/// "info,dormouse::turns=debug"`.
const TURNS: &str = "dormouse::turns";

/// Restarts that may crash over telling what the crashed turn was handling.
const TELLINGS: u32 = 2;

impl<B: Behaviour, N: Network> Core<B, N> {
    /// One turn, with everything that may follow from it. `retriable`: a crash does not consume the message.
    pub(super) fn run(&mut self, index: u32, mail: Mail<'_, B>, retriable: bool) -> Next {
        let counted = matches!(mail, Mail::Message(message) if B::class(message) == Class::Event);
        let events = self.turn.output.events();
        match self.attempt(index, mail) {
            Ok(()) => {
                if counted && self.turn.output.events() == events {
                    self.ledger.drop(Drop::Unsubscribed, 1);
                }
                self.commit(index)
            }
            Err(report) => self.crashed(index, mail, &report, retriable),
        }
    }

    /// wake → receive → sleep on a copy. The record is replaced only when all three returned.
    pub(super) fn attempt(&mut self, index: u32, mail: Mail<'_, B>) -> Result<(), CrashReport> {
        let Some(id) = self.table.id(index) else { return Ok(()) };
        let Some(slot) = self.table.get_mut(index) else { return Ok(()) };
        let Some(record) = slot.record.as_ref() else { return Ok(()) };
        let mark = self.turn.mark();
        let began = self.clock.micros();
        self.now.micros = began;
        self.turn.begin(self.now, id, slot.generation);
        self.turn.set_compressed(slot.compressed);
        self.beat.begin(began, id.to_bits(), kind(&mail));
        let turn = &mut self.turn;
        let result = supervision::catch_traced(|| {
            #[cfg(feature = "simulation")]
            faults::turn(id, faults::Moment::Begin);
            let record = play(record.clone(), mail, turn);
            #[cfg(feature = "simulation")]
            faults::turn(id, faults::Moment::End);
            record
        });
        self.beat.end();
        let took = self.clock.micros() - began;
        self.stats.turn(self.turn.current_label(), took as f64 * 1e-6);
        if self.slowest.wants(took) {
            self.slowest.keep(slow_turn::<B>(self.turn.current_label(), id, took, self.now));
        }
        let slow = took >= self.options.turn_warn.as_micros() as u64;
        if slow || tracing::enabled!(target: TURNS, Level::DEBUG) {
            let Subject { session, request } = subject(id, record, &mail);
            let (generation, kind) = (slot.generation, B::LABELS.get(self.turn.current_label()));
            if slow {
                self.stats.slow_turns.inc();
                tracing::warn!(connection = %id, session, request, kind, took_us = took, "slow turn");
            }
            tracing::debug!(target: TURNS, connection = %id, generation, session, request, kind, took_us = took, "turn");
        }
        // Far too late counts as a crash by policy, so that nothing of it happens and its client is told. The turns that tell
        // of a crash or park a session are spared: there is nobody behind them.
        let too_late = took >= self.options.turn_stall.as_micros() as u64 && self.options.on_stall != OnStall::Keep;
        let result = match result {
            Ok(_) if too_late && !matches!(mail, Mail::Restarted(_) | Mail::Detached { .. }) => {
                self.stalled = true;
                Err(Caught { report: CrashReport::stalled(), trace: None })
            }
            result => result,
        };
        match result {
            Ok(record) => {
                #[cfg(feature = "simulation")]
                if faults::has(Defect::SkippedCommit) {
                    return Ok(());
                }
                slot.record = Some(record);
                Ok(())
            }
            Err(caught) => Err(self.undo(index, mail, caught, (mark, began))),
        }
    }

    /// A turn that began at `began`, when the output stood at `mark`, has panicked: nothing of it happened.
    pub(super) fn undo(
        &mut self,
        index: u32,
        mail: Mail<'_, B>,
        Caught { report, trace }: Caught,
        (mark, began): (Mark, u64),
    ) -> CrashReport {
        if let Some(trace) = trace {
            self.keep_evidence(index, mail, (report.clone(), *trace));
        }
        #[cfg(feature = "simulation")]
        {
            if let Some(id) = self.table.id(index) {
                faults::crashed(id, kind(&mail), began);
            }
            if faults::has(Defect::EffectsOfACrash) {
                return report;
            }
        }
        #[cfg(not(feature = "simulation"))]
        let _ = began;
        self.turn.discard(mark);
        report
    }

    /// Has a file written of the turn that has just panicked: its record is still the one before.
    fn keep_evidence(&self, index: u32, mail: Mail<'_, B>, crash: (CrashReport, Trace)) {
        let Some(slot) = self.table.get(index) else { return };
        let (Some(record), Some(connection)) = (&slot.record, self.table.id(index)) else { return };
        // Writing down what a turn was given is code of the behaviour too.
        let written = supervision::catch(|| Some((serde_json::to_vec(record).ok()?, serde_json::to_vec(&mail).ok()?)));
        let Ok(Some((record, mail_json))) = written else {
            tracing::warn!(%connection, "a crashed turn cannot be written down");
            self.crashes.cannot_file();
            return;
        };
        let written = Written {
            now: self.now,
            connection,
            generation: slot.generation,
            read_before: self.turn.was_read_before(),
            seed: self.turn.seed(),
            record,
            mail: mail_json,
        };
        self.crashes.file(written.draft::<B>(kind(&mail), crash, Arc::clone(&self.settings)));
    }

    /// Carries out the effects of a turn that returned.
    pub(super) fn commit(&mut self, index: u32) -> Next {
        let Some(id) = self.table.id(index) else { return Next::Stop };
        let Effects { mut asks, jobs, close, end, hold, transfer } = std::mem::take(&mut self.turn.effects);
        for ask in asks.drain(..) {
            self.ask(id, ask);
        }
        self.turn.effects.asks = asks;
        for job in jobs {
            self.jobs.start(id, job);
        }
        if let Some(slot) = self.table.get_mut(index)
            && let Some(held) = hold
        {
            slot.held = held;
        }
        if let Some(close) = close {
            self.close(index, close);
        }
        if end {
            self.release(index);
        }
        if close.is_some() || end {
            return Next::Stop;
        }
        if let Some(to) = transfer {
            self.moving = Some(to);
            return Next::Move;
        }
        Next::Go
    }

    /// A turn panicked: count it, spend the budget, and let the next generation know. The socket, the session and the
    /// mailbox were never in the turn's hands, so nothing of them needs repair.
    pub(super) fn crashed(&mut self, index: u32, mail: Mail<'_, B>, report: &CrashReport, retriable: bool) -> Next {
        let next = self.restart(index, mail, report, retriable);
        if next != Next::Retry && matches!(mail, Mail::Message(message) if B::class(message) == Class::Event) {
            self.ledger.drop(Drop::Crash, 1);
        }
        next
    }

    fn restart(&mut self, index: u32, mail: Mail<'_, B>, report: &CrashReport, retriable: bool) -> Next {
        let stalled = std::mem::take(&mut self.stalled);
        // When the turn began: unwinding it is most of what a restart costs. A stall is told elsewhere.
        let began = if stalled { self.clock.micros() } else { self.now.micros };
        let Some(id) = self.table.id(index) else { return Next::Stop };
        self.report(id, (kind(&mail), Some(mail)), report);
        #[cfg(feature = "simulation")]
        if faults::has(Defect::ForgottenMailbox)
            && let Some(awake) = self.table.get_mut(index).and_then(|slot| slot.awake.as_mut())
        {
            self.ledger.drop(Drop::Crash, awake.mailbox.drop_deliveries(B::class));
        }
        #[cfg(feature = "simulation")]
        let retriable = retriable && !faults::has(Defect::DroppedRetry);
        // A message that stalled once is not given the chance to do so again.
        let retriable = retriable && !stalled;
        let mut gave_up = self.spend(index) || (stalled && self.options.on_stall == OnStall::Close);
        // Others come again by themselves, or nobody waits for them.
        let is_missed = !matches!(mail, Mail::Silence | Mail::Fault(_) | Mail::Reconnect { .. } | Mail::Job(_));
        let (mut known, mut attempts) = (Some(&mail), 0);
        loop {
            let retried = retriable && !gave_up;
            let crash = Crash { mail: known, retried, gave_up };
            match self.attempt(index, Mail::Restarted(crash)) {
                Ok(()) => {
                    let next = self.commit(index);
                    self.stats.restart_seconds.observe((self.clock.micros() - began) as f64 * 1e-6);
                    if gave_up && next == Next::Go {
                        return self.give_up(index, id);
                    }
                    return if retried && next == Next::Go { Next::Retry } else { next };
                }
                Err(report) => {
                    self.report(id, ("restarted", Some(mail)), &report);
                    if known.is_none() {
                        // Nothing but a defect of the handler for restarts, and that one ends here.
                        if let Mail::Message(message) = mail
                            && retried
                        {
                            self.unheard(id, message);
                        }
                        return self.give_up(index, id);
                    }
                    gave_up |= self.spend(index);
                    attempts += 1;
                    if attempts == TELLINGS {
                        // What crashed the restarts too is not told any more. Going on as if nothing were missing would be
                        // a silent loss: a new socket and its cursors find out what is.
                        known = None;
                        gave_up |= is_missed && !retried;
                        if let Mail::Message(message) = mail
                            && gave_up
                        {
                            self.unheard(id, message);
                        }
                    }
                }
            }
        }
    }

    /// Nobody will ever handle this message: the hub must not wait for what would come of it.
    pub(super) fn unheard(&mut self, id: ConnectionId, message: &B::Message) {
        if let Ok(Some(ask)) = supervision::catch(|| B::unheard(message)) {
            self.ask(id, ask);
        }
    }

    /// One more generation; `true` when the budget does not allow it.
    pub(super) fn spend(&mut self, index: u32) -> bool {
        if let Some(slot) = self.table.get_mut(index) {
            slot.generation += 1;
        }
        #[cfg(feature = "simulation")]
        let index = if faults::has(Defect::SharedBudget) { 0 } else { index };
        let verdict = self.budgets.entry(index).or_default().spend(self.now.ms(), &self.options.policy);
        if verdict == Verdict::Restart {
            self.stats.restarts.inc();
        }
        verdict == Verdict::GiveUp
    }

    pub(super) fn give_up(&mut self, index: u32, id: ConnectionId) -> Next {
        self.stats.gave_up.inc();
        tracing::warn!(connection = %id, "restart budget spent, giving up");
        if self.table.get(index).is_some_and(|slot| slot.socket.is_some()) {
            self.close(index, Close::GAVE_UP);
        } else {
            self.release(index);
        }
        Next::Stop
    }

    /// Counts and logs a crash over a mail, if there was one, that logs call `kind`.
    pub(super) fn report(
        &mut self,
        connection: ConnectionId,
        (kind, mail): (&'static str, Option<Mail<'_, B>>),
        report: &CrashReport,
    ) {
        let place = &*report.place;
        let listed = self.crashes.record(report, kind, Some(connection), self.now.unix_ms);
        if self.stats.crash(if listed { place } else { Fingerprints::OTHER }) {
            let Subject { session, request } = mail.map(|mail| self.subject(connection, &mail)).unwrap_or_default();
            let panic = report.own_words();
            tracing::warn!(%connection, session, request, kind, place, %panic, "actor crashed, restarting");
        } else {
            tracing::debug!(%connection, kind, place, "actor crashed, restarting");
        }
    }

    /// What the log calls a turn of this connection.
    fn subject(&self, connection: ConnectionId, mail: &Mail<'_, B>) -> Subject {
        let slot = self.table.find(connection).and_then(|index| self.table.get(index));
        slot.and_then(|slot| slot.record.as_ref()).map(|record| subject(connection, record, mail)).unwrap_or_default()
    }

    /// Something of a behaviour that must not panic did; its shard goes on without the answer.
    pub(super) fn defective(&mut self, what: &'static str, report: &CrashReport) {
        let place = &*report.place;
        let listed = self.crashes.record(report, what, None, self.now.unix_ms);
        if self.stats.crash(if listed { place } else { Fingerprints::OTHER }) {
            tracing::error!(shard = self.shard, what, place, panic = %report.own_words(), "a behaviour is defective, going on");
        }
    }

    pub(super) fn job_failed(&mut self, owner: ConnectionId, failure: &JobFailure) {
        match failure {
            JobFailure::Timeout => tracing::warn!(connection = %owner, "a job's deadline passed"),
            JobFailure::Crashed(report) => self.report(owner, ("job", None), report),
        }
    }

    /// The last turn of a socket, and the end of whatever waited for it.
    pub(super) fn detached(&mut self, index: u32, cause: Cause, undelivered: u64) {
        let mail = Mail::Detached { cause, undelivered };
        let mut parked = self.attempt(index, mail);
        if let Err(report) = &parked
            && let Some(id) = self.table.id(index)
        {
            self.report(id, ("detached", Some(mail)), report);
            // Once more, as with every delivery: a session must not end over one crash while its socket went.
            if !self.spend(index) {
                parked =
                    self.attempt(index, mail).inspect_err(|report| self.report(id, ("detached", Some(mail)), report));
            }
        }
        match parked {
            Ok(()) => {
                // Records without a socket are bounded too: beyond that a lost socket ends its session.
                if self.commit(index) == Next::Go && self.table.parked() > self.options.parked {
                    self.release(index);
                }
            }
            // Without its socket a connection that cannot even park has nobody left to serve.
            Err(_) => self.release(index),
        }
    }
}

/// A turn whose handler has this label.
pub(super) fn slow_turn<B: Behaviour>(label: usize, connection: ConnectionId, took_us: u64, now: Now) -> SlowTurn {
    SlowTurn { message: B::LABELS.get(label).copied().unwrap_or_default(), connection, took_us, at: now.unix_ms }
}

/// What the log calls a turn. Code of the behaviour, so it may panic.
fn subject<B: Behaviour>(connection: ConnectionId, record: &B::Record, mail: &Mail<'_, B>) -> Subject {
    supervision::catch(|| B::subject(connection, record, mail)).unwrap_or_default()
}

/// The word for a mail in logs and the watchdog's reports.
fn kind<B: Behaviour>(mail: &Mail<'_, B>) -> &'static str {
    match mail {
        Mail::Opened(_) => "opened",
        Mail::Frame(_) => "frame",
        Mail::Message(_) => "message",
        Mail::Silence => "silence",
        Mail::Detached { .. } => "detached",
        Mail::Claimed(_) => "claimed",
        Mail::Refused(_) => "refused",
        Mail::Restarted(_) => "restarted",
        Mail::Job(_) => "job",
        Mail::Reconnect { .. } => "reconnect",
        Mail::Fault(_) => "fault",
    }
}
