//! The calls that led to a panic: addresses, taken down while it happens, and names, looked up later and elsewhere.
//!
//! Taking down walks the stack: some microseconds, on the thread that crashed. Looking up reads the program's debug
//! information: a fifth of a second and seventy megabytes that stay, so a server has a process of its own do it
//! (`dormouse names`), once for each way that leads to a panic. Addresses are told to it as distances from a function that
//! both have, for the same program lies elsewhere in each process.

use std::{
    cell::RefCell,
    ffi::c_void,
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use backtrace::{Backtrace, BytesOrWideString};

use super::{Crashes, crash_report::portable};

thread_local! {
    /// Who is asked, on this thread, whether a panic is worth its calls.
    static ASKED: RefCell<Option<Crashes>> = const { RefCell::new(None) };
}

/// A panic that deserves a file: where the calls that led to it are, the innermost first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trace(Vec<isize>);

/// From now on panics of this thread in a [`super::catch_traced`] bring a trace when `crashes` wants a file of them.
pub fn trace_for(crashes: &Crashes) {
    ASKED.set(Some(crashes.clone()));
}

/// What all distances are counted from.
#[inline(never)]
fn anchor() -> usize {
    anchor as fn() -> usize as usize
}

impl Trace {
    /// Called where the panic happens.
    pub(super) fn capture(place: &str) -> Option<Self> {
        let asks = |asked: &RefCell<Option<Crashes>>| {
            let asked = asked.try_borrow().ok()?;
            asked.as_ref().filter(|crashes| crashes.wants_file(place)).map(|_| ())
        };
        ASKED.try_with(asks).ok()??;
        let distance = |frame: &backtrace::BacktraceFrame| (frame.ip() as usize).wrapping_sub(anchor()) as isize;
        Some(Self(Backtrace::new_unresolved().frames().iter().map(distance).collect()))
    }

    /// Reads what `to_text` has written; `None`: it is something else.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        text.split_whitespace().map(|distance| distance.parse().ok()).collect::<Option<_>>().map(Self)
    }

    /// The distances, for another process of this program.
    fn to_text(&self) -> String {
        self.0.iter().map(|distance| format!("{distance}\n")).collect()
    }

    /// The calls by name and place, the innermost first: without those of the panic itself, and without those around the
    /// turn, which are the same for every turn. Reads this program's debug information.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut calls = Vec::new();
        for distance in &self.0 {
            let address = anchor().wrapping_add_signed(*distance) as *mut c_void;
            backtrace::resolve(address, |symbol| {
                let Some(name) = symbol.name() else { return };
                let file = symbol.filename_raw().map(|file: BytesOrWideString<'_>| file.to_string());
                let place = file.zip(symbol.lineno()).map(|(file, line)| format!(" at {}:{line}", short(&file)));
                calls.push(format!("{name:#}{}", place.unwrap_or_default()));
            });
        }
        between_turn_and_panic(calls)
    }

    /// The same, looked up by `program`, which must be this one.
    ///
    /// # Errors
    /// It cannot be started, or does not answer.
    pub(super) fn names_by(&self, program: &Path) -> io::Result<Vec<String>> {
        let mut child = Command::new(program)
            .arg("names")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        // Dropped behind the text: the child reads to the end.
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(self.to_text().as_bytes()));
        let output = child.wait_with_output()?;
        written?;
        if !output.status.success() {
            return Err(io::Error::other(format!("looking up names ended with {}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }
}

/// Calls that a panic makes on its way to the hook.
const OF_THE_PANIC: &[&str] =
    &["rust_begin_unwind", "core::panicking::", "std::panicking::panic_handler", "begin_panic"];
/// The call that every turn begins with (with and without its path, as the compiler writes it), and the one around it, for
/// when the first has been dissolved.
const TURN: &[&str] = &["evidence::play", "play<"];
const CATCH: &str = "catch_traced";

fn between_turn_and_panic(mut calls: Vec<String>) -> Vec<String> {
    let turn = calls.iter().position(|call| TURN.iter().any(|known| call.contains(known))).map(|turn| turn + 1);
    let end = turn.or_else(|| calls.iter().position(|call| call.contains(CATCH))).unwrap_or(calls.len());
    let of_panic = |call: &String| OF_THE_PANIC.iter().any(|known| call.contains(known));
    let begin = calls[..end].iter().rposition(of_panic).map_or(0, |last| last + 1);
    calls.drain(begin..end).collect()
}

/// A file without the folders of the machine it was built on.
fn short(file: &str) -> &str {
    let file = file.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/")).unwrap_or(file);
    portable(file.strip_prefix("./").unwrap_or(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_shows_the_calls_between_the_turn_and_the_panic() {
        let calls = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for turn in ["dormouse::shard::evidence::play at src/shard/evidence.rs:3", "play<X> at src/shard/evidence.rs:3"]
        {
            let all = [
                "core::panicking::panic_fmt at a.rs:1",
                "serve at b.rs:2",
                turn,
                "x::catch_traced",
                "core::panicking::y",
            ];
            assert_eq!(between_turn_and_panic(calls(&all)), ["serve at b.rs:2", turn]);
        }
        assert_eq!(between_turn_and_panic(calls(&["a", "catch_traced<X> at c.rs:1", "b"])), ["a"]);
        assert_eq!(between_turn_and_panic(calls(&["a", "b"])), ["a", "b"]);
        assert_eq!(short("/home/x/.cargo/registry/src/index-1/crate-1.0/src/b.rs"), "crate-1.0/src/b.rs");
        assert_eq!(short(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")), "src/lib.rs");
    }

    #[test]
    fn a_trace_survives_its_text() {
        let trace = Trace(vec![1, -20, 0]);
        assert_eq!(Trace::of_text(&trace.to_text()), Some(trace));
        assert_eq!(Trace::of_text("1 x"), None);
    }
}
