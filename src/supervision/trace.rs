//! The calls that led to a panic, captured while it happens and given names later, elsewhere.
//!
//! Capturing walks the stack: some microseconds, on the thread that crashed. Naming reads debug information: milliseconds,
//! the first time many more, and std holds a lock over both that makes a capture wait for whoever names. So nothing is
//! captured while something is named: a crash then goes without its calls rather than its shard without its time.

use std::{
    backtrace::Backtrace,
    cell::RefCell,
    sync::{Mutex, PoisonError, TryLockError},
};

use super::{Crashes, crash_report::portable};

/// Held while names are looked up.
static NAMING: Mutex<()> = Mutex::new(());

thread_local! {
    /// Who is asked, on this thread, whether a panic is worth its calls.
    static ASKED: RefCell<Option<Crashes>> = const { RefCell::new(None) };
}

/// A panic that deserves a file, and the calls that led to it unless somebody was naming others.
#[derive(Debug)]
pub struct Trace(Option<Box<Backtrace>>);

/// From now on panics of this thread in a [`super::catch_traced`] bring a trace when `crashes` wants a file of them.
pub fn trace_for(crashes: &Crashes) {
    ASKED.set(Some(crashes.clone()));
}

impl Trace {
    /// Called where the panic happens.
    pub(super) fn capture(place: &str) -> Option<Self> {
        let wanted = ASKED.try_with(|asked| {
            asked.try_borrow().is_ok_and(|asked| asked.as_ref().is_some_and(|crashes| crashes.wants_file(place)))
        });
        if !wanted.unwrap_or(false) {
            return None;
        }
        let free = match NAMING.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        Some(Self(free.map(|_guard| Box::new(Backtrace::force_capture()))))
    }

    /// For a test's draft.
    #[cfg(test)]
    pub(super) fn without_calls() -> Self {
        Self(None)
    }

    /// The calls by name and place, the innermost first: without those of the panic itself, and without those around the
    /// catch, which are the same for every turn.
    #[must_use]
    pub fn names(&self) -> Option<Vec<String>> {
        let backtrace = self.0.as_ref()?;
        let guard = NAMING.lock().unwrap_or_else(PoisonError::into_inner);
        let text = backtrace.to_string();
        drop(guard);
        Some(between_catch_and_panic(&text))
    }
}

/// Calls that a panic makes on its way to the hook.
const OF_THE_PANIC: &[&str] =
    &["rust_begin_unwind", "core::panicking::", "std::panicking::panic_handler", "begin_panic"];
/// The call that every turn begins with, and the one around it, for when the compiler has dissolved the first.
const TURN: &str = "evidence::play";
const CATCH: &str = "catch::catch_traced";

/// `  7: name` and `       at file:line:column` become one line.
fn between_catch_and_panic(text: &str) -> Vec<String> {
    let mut calls: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.trim_start().strip_prefix("at "), line.split_once(": ")) {
            (Some(place), _) => {
                if let Some(call) = calls.last_mut() {
                    call.push_str(" at ");
                    call.push_str(short(place));
                }
            }
            (None, Some((_, name))) => calls.push(name.to_owned()),
            (None, None) => {}
        }
    }
    let of_panic = |call: &String| OF_THE_PANIC.iter().any(|known| call.contains(known));
    let begin = calls.iter().take_while(|call| !call.contains(CATCH)).collect::<Vec<_>>();
    let begin = begin.iter().rposition(|call| of_panic(call)).map_or(0, |last| last + 1);
    let turn = calls.iter().position(|call| call.contains(TURN)).map(|turn| turn + 1);
    let end = turn.or_else(|| calls.iter().position(|call| call.contains(CATCH))).unwrap_or(calls.len());
    calls.drain(begin..end.max(begin)).collect()
}

/// A place without the folders of the machine it was built on.
fn short(place: &str) -> &str {
    let place = place.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/")).unwrap_or(place);
    portable(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_shows_the_calls_between_the_catch_and_the_panic() {
        let text = "   0: dormouse::supervision::catch::record\n             at /rustc/abc/library/core/src/a.rs:1:2\n   \
                    1: core::panicking::panic_fmt\n   2: dormouse::connection::request::serve\n             \
                    at /home/x/.cargo/registry/src/index-1/crate-1.0/src/b.rs:3:4\n   3: dormouse::shard::evidence::play\n   \
                    4: dormouse::supervision::catch::catch_traced\n   5: core::panicking::else\n";
        let calls = between_catch_and_panic(text);
        assert_eq!(
            calls,
            ["dormouse::connection::request::serve at crate-1.0/src/b.rs:3:4", "dormouse::shard::evidence::play"]
        );
        assert_eq!(between_catch_and_panic("0: a\n1: b\n"), ["a", "b"]);
        assert_eq!(short(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs:1:1")), "src/lib.rs:1:1");
    }
}
