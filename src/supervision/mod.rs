//! Supervision: who may be started again after a crash, how often, and what is known of the crash. Knows actors and
//! panics; nothing of sockets, frames or channels.
//!
//! Read in this order: `spec`, `policy` and `budget` say what is restarted and how often, `crash_report` and `catch` turn a
//! panic into a value, `supervised` keeps an actix actor alive with them, `supervisor` decides what follows when one gives
//! up, `children` is the tree as the node holds it and `drawing` shows it, `fingerprint` groups crashes, `crashes`
//! counts them for the whole node and has `crash_files` write some of them down, `watchdog` sees what a catch cannot: a turn that never returns.
//!
//! For readers of OTP: a [`ChildSpec`] has the restart type (permanent, transient, temporary), intensity and period
//! ([`Policy`]) and the shutdown time; a supervisor ([`SupervisorSpec`]) is one-for-one or rest-for-one. Two things differ.
//! A restarted actor keeps its address and its queue, so its clients hold no names that must be looked up again. And each
//! child has an intensity of its own: its supervisor's is spent by children that gave up, not by every crash.

mod beat;
mod budget;
mod catch;
mod child;
mod children;
mod crash_file;
mod crash_files;
mod crash_report;
mod crashes;
mod drawing;
mod exit;
mod fingerprint;
mod policy;
mod spec;
mod supervised;
mod supervisor;
mod trace;
mod watchdog;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use beat::Beat;
pub use budget::{Budget, Verdict};
pub use catch::{Caught, Guarded, catch, catch_traced, guard, install, take_last};
pub use child::{Child, ChildState};
pub use children::{Branch, Children};
pub use crash_file::{BUILD, CrashFile, CrashFileError};
pub use crash_files::{Counters, CrashFiles, Describe, Draft, Folder, Outbox};
pub use crash_report::CrashReport;
pub use crashes::{CrashLine, Crashes};
pub use exit::Exit;
pub use fingerprint::{Fingerprint, Fingerprints, Site};
pub use policy::{Backoff, Policy};
pub use spec::{ChildSpec, Part, Restart, Strategy, SupervisorSpec};
pub use trace::{Trace, trace_for};
pub use watchdog::{Stall, Watchdog};

/// Nothing that runs under these locks can panic half way, so a poisoned one holds nothing wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
