//! Supervision: who may be started again after a crash, how often, and what is known of the crash. Knows actors and
//! panics; nothing of sockets, frames or channels.
//!
//! Read in this order: `policy` and `budget` say how many restarts are allowed, `crash_report` and `catch` turn a panic
//! into a value, `supervised` keeps an actix actor alive with them, `children` lists what is supervised, `fingerprint`
//! groups crashes, `crashes` counts them for the whole node
//! and has `crash_files` write some of them down, `watchdog` sees what a catch cannot: a turn that never returns.
//!
//! For readers of OTP: a *child* has a name and a policy (`max_restarts` and `within` are intensity and period) and is
//! *transient*: restarted after a crash, not after it stopped by itself. Strategy is one-for-one; who gives up tells
//! [`Children`], and the node decides.

mod beat;
mod budget;
mod catch;
mod children;
mod crash_file;
mod crash_files;
mod crash_report;
mod crashes;
mod exit;
mod fingerprint;
mod policy;
mod supervised;
mod trace;
mod watchdog;

pub use beat::Beat;
pub use budget::{Budget, Verdict};
pub use catch::{Caught, Guarded, catch, catch_traced, guard, install, take_last};
pub use children::{Child, ChildState, Children};
pub use crash_file::{BUILD, CrashFile, CrashFileError};
pub use crash_files::{Counters, CrashFiles, Describe, Draft, Folder, Outbox};
pub use crash_report::CrashReport;
pub use crashes::{CrashLine, Crashes};
pub use exit::Exit;
pub use fingerprint::{Fingerprint, Fingerprints, Site};
pub use policy::{Backoff, Policy};
pub use trace::{Trace, trace_for};
pub use watchdog::{Stall, Watchdog};
