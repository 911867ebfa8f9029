//! What a simulation breaks: panics in turns and between them, at a moment it has chosen, and defects that were put in on
//! purpose to see whether it finds them. Kept per thread, because a simulation is one thread; nothing is random here.
//!
//! Only compiled for simulations. The shard asks at the places where things can go wrong ([`turn`], [`between`], [`has`]).

use std::{cell::RefCell, time::Duration};

use crate::id::ConnectionId;

/// A planned panic inside a turn.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    /// So many turns of the thread go before it.
    pub after: u32,
    /// Before the turn has done anything, or after it has done everything.
    pub moment: Moment,
    /// Further turns of the same connection that panic too, lowest bit first: its restart, the retry, …
    pub then: u8,
}

/// When in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing has happened yet.
    Begin,
    /// Everything has happened, nothing is committed.
    End,
}

/// A turn that crashed, whatever the reason.
#[derive(Clone, Copy, Debug)]
pub struct Crashed {
    /// Whose it was.
    pub connection: ConnectionId,
    /// What it handled.
    pub kind: &'static str,
    /// When, since the clock's start.
    pub at: Duration,
}

/// A defect to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A turn's effects are carried out, its record is thrown away.
    SkippedCommit,
    /// What a turn asked for is carried out although it crashed.
    EffectsOfACrash,
    /// A crash empties the connection's queue (and tells the ledger).
    ForgottenMailbox,
    /// All connections of a shard spend one restart budget.
    SharedBudget,
    /// New output goes before what waits for the socket already.
    ReorderedFlush,
    /// A connection with something left to do is not queued again.
    LostWakeup,
    /// A delivery whose turn crashed is dropped at once (and the ledger told).
    DroppedRetry,
}

impl Defect {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SkippedCommit,
        Self::EffectsOfACrash,
        Self::ForgottenMailbox,
        Self::SharedBudget,
        Self::ReorderedFlush,
        Self::LostWakeup,
        Self::DroppedRetry,
    ];
}

#[derive(Default)]
struct Faults {
    strike: Option<Strike>,
    /// The connection that was struck, and which of its next turns are too.
    follow: Option<(ConnectionId, u8, Moment)>,
    /// Steps between turns until the one that panics.
    escape: Option<u32>,
    crashed: Vec<Crashed>,
    /// A defect shows every so many times.
    defect: Option<(Defect, u32, u32)>,
}

thread_local! {
    static FAULTS: RefCell<Faults> = RefCell::default();
}

/// Forgets everything planned and everything that happened.
pub fn clear() {
    FAULTS.take();
}

/// Plans a panic in a turn, instead of one planned before.
pub fn strike(strike: Strike) {
    FAULTS.with_borrow_mut(|faults| faults.strike = Some(strike));
}

/// Plans a panic outside of every turn, that many steps from now.
pub fn escape(after: u32) {
    FAULTS.with_borrow_mut(|faults| faults.escape = Some(after));
}

/// No planned panic happens any more; defects stay.
pub fn calm() {
    FAULTS.with_borrow_mut(|faults| (faults.strike, faults.follow, faults.escape) = (None, None, None));
}

/// Puts a defect in that shows at every `every`th occasion.
pub fn introduce(defect: Defect, every: u32) {
    FAULTS.with_borrow_mut(|faults| faults.defect = Some((defect, every.max(1), 0)));
}

/// Turns that crashed since the last call.
#[must_use]
pub fn take_crashed() -> Vec<Crashed> {
    FAULTS.with_borrow_mut(|faults| std::mem::take(&mut faults.crashed))
}

/// A turn is at this moment; panics when that was planned.
#[expect(clippy::panic, reason = "planned by a simulation")]
pub(super) fn turn(connection: ConnectionId, moment: Moment) {
    if FAULTS.with_borrow_mut(|faults| faults.hits(connection, moment)) {
        panic!("simulation: a turn panics at its {moment:?}");
    }
}

/// A shard is between two turns; panics when that was planned.
#[expect(clippy::panic, reason = "planned by a simulation")]
pub(super) fn between() {
    let due = FAULTS.with_borrow_mut(|faults| match &mut faults.escape {
        Some(0) => faults.escape.take().is_some(),
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    });
    if due {
        panic!("simulation: a panic between turns");
    }
}

/// A turn has crashed.
pub(super) fn crashed(connection: ConnectionId, kind: &'static str, micros: u64) {
    let crashed = Crashed { connection, kind, at: Duration::from_micros(micros) };
    FAULTS.with_borrow_mut(|faults| faults.crashed.push(crashed));
}

/// Here the defect would show, if this is the one put in and it is time.
pub(super) fn has(asked: Defect) -> bool {
    FAULTS.with_borrow_mut(|faults| match &mut faults.defect {
        Some((defect, every, seen)) if *defect == asked => {
            *seen += 1;
            *seen % *every == 0
        }
        _ => false,
    })
}

impl Faults {
    fn hits(&mut self, connection: ConnectionId, moment: Moment) -> bool {
        if let Some((struck, then, at)) = &mut self.follow
            && *struck == connection
            && *at == moment
        {
            let hit = *then & 1 == 1;
            *then >>= 1;
            if *then == 0 {
                self.follow = None;
            }
            return hit;
        }
        let Some(strike) = &mut self.strike else { return false };
        if strike.moment != moment {
            return false;
        }
        if strike.after > 0 {
            strike.after -= 1;
            return false;
        }
        self.follow = (strike.then != 0).then_some((connection, strike.then, Moment::Begin));
        self.strike = None;
        true
    }
}
