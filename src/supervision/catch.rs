//! The one wrapper around `catch_unwind`, and the process-wide panic hook that tells it where a panic happened. Panics that
//! are caught here are values: the hook does not print them. All others still reach the hook that was there before.
//!
//! Called for every turn, so it costs two writes to a thread-local and allocates nothing unless something panics. It is
//! no shield against a panic in a `drop` that runs while another panic unwinds: Rust aborts the process then, and the
//! hook prints both. So nothing that an actor owns may panic in its `drop`.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    io::Write as _,
    mem,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    pin::Pin,
    sync::Once,
    task::{Context, Poll, ready},
};

use super::{CrashReport, Trace, crash_report::text};

/// Set in [`GUARD`] while [`PANICS`] holds something that a catch must clear away.
const RECORDED: u32 = 1 << 31;
/// Set in [`GUARD`] while the innermost catch wants a trace.
const TRACED: u32 = 1 << 30;
/// The rest of [`GUARD`].
const DEPTH: u32 = !(RECORDED | TRACED);

thread_local! {
    /// How many catches this thread is in, [`RECORDED`] and [`TRACED`].
    static GUARD: Cell<u32> = const { Cell::new(0) };
    /// Panics of this thread that no catch has taken yet, with the depth they happened at, outermost first. Several
    /// only when code that runs during unwinding catches panics itself.
    static PANICS: RefCell<Vec<(u32, Caught)>> = const { RefCell::new(Vec::new()) };
}

/// A panic that was caught, with all that is known of it.
#[derive(Debug)]
pub struct Caught {
    /// What and where.
    pub report: CrashReport,
    /// Present when a file is wanted of it ([`super::trace_for`]).
    pub trace: Option<Box<Trace>>,
}

/// Runs `work`; a panic becomes a [`CrashReport`]. Whatever `work` could change is the caller's to restore or discard:
/// that is why no unwind safety is asked for.
///
/// # Errors
/// The report of the panic.
#[inline]
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, CrashReport> {
    catch_as(0, work).map_err(|caught| caught.report)
}

/// As [`catch`], with the panic's trace.
///
/// # Errors
/// The panic.
#[inline]
pub fn catch_traced<T>(work: impl FnOnce() -> T) -> Result<T, Caught> {
    catch_as(TRACED, work)
}

#[inline]
fn catch_as<T>(traced: u32, work: impl FnOnce() -> T) -> Result<T, Caught> {
    let outside = GUARD.get();
    GUARD.set(((outside & !TRACED) | traced) + 1);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let inside = GUARD.get();
    GUARD.set((inside & RECORDED) | (outside & !RECORDED));
    match result {
        Ok(value) => {
            if inside & RECORDED != 0 {
                // Somebody else caught a panic in there; it is no concern of the next catch.
                take((outside & DEPTH) + 1);
            }
            Ok(value)
        }
        Err(payload) => Err(report((outside & DEPTH) + 1, payload)),
    }
}

/// A future that is polled under [`catch`]; after a panic it is not polled again.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Guarded<F> {
    /// `None` once it is done. Dropped under a catch too.
    future: Option<Pin<Box<F>>>,
}

/// Guards a future as [`catch`] guards a call.
pub fn guard<F: Future>(future: F) -> Guarded<F> {
    Guarded { future: Some(Box::pin(future)) }
}

impl<F: Future> Future for Guarded<F> {
    type Output = Result<F::Output, CrashReport>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.future.as_mut() else { return Poll::Pending };
        let polled = match catch(|| future.as_mut().poll(cx)) {
            Ok(polled) => Ok(ready!(polled)),
            Err(report) => Err(report),
        };
        let done = self.future.take();
        let dropped = catch(|| drop(done));
        Poll::Ready(polled.and_then(|value| dropped.map(|()| value)))
    }
}

impl<F> Drop for Guarded<F> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && let Err(crash) = catch(|| drop(future))
        {
            tracing::error!(place = &*crash.place, panic = &*crash.own_words(), "panic while a future was cancelled");
        }
    }
}

impl CrashReport {
    /// For code that has to call `catch_unwind` itself: the report of the panic it has just caught on this thread. Such
    /// a panic was printed, unless it happened inside a [`catch`].
    #[must_use]
    pub fn from_panic(payload: Box<dyn Any + Send>) -> Self {
        report(GUARD.get() & DEPTH, payload).report
    }
}

/// The last panic of this thread that nobody has taken, if the hook is installed.
#[must_use]
pub fn take_last() -> Option<CrashReport> {
    take(GUARD.get() & DEPTH).map(|caught| caught.report)
}

/// Installs the hook, once per process. Without it reports have no place and caught panics are printed.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !record(info) {
                previous(info);
            }
        }));
    });
}

/// Remembers a panic; `true` when a catch will take it, so that printing it would be noise.
fn record(info: &PanicHookInfo<'_>) -> bool {
    let report = CrashReport::new(info.payload_as_str().unwrap_or(text(&())), info.location());
    let guard = GUARD.get();
    let depth = guard & DEPTH;
    let trace = if guard & TRACED != 0 { Trace::capture(&report.place).map(Box::new) } else { None };
    // A thread that is ending has no place to remember: its panic is printed.
    let recorded = PANICS.try_with(|panics| {
        let mut panics = panics.try_borrow_mut().ok()?;
        let older = panics.pop_if(|(at, _)| *at >= depth && depth > 0);
        panics.retain(|(at, _)| *at < depth);
        panics.push((depth, Caught { report, trace }));
        Some(older)
    });
    let Ok(Some(older)) = recorded else { return false };
    if depth == 0 {
        return false;
    }
    GUARD.set(guard | RECORDED);
    // A second panic before the first was caught: either other code caught that one, or this one is in a `drop` during
    // unwinding and the process is about to abort. Then these lines are all that remains.
    let Some((_, older)) = older else { return true };
    let _ = writeln!(std::io::stderr(), "panicked again, after: {}", older.report);
    false
}

/// Removes what panicked at `depth` or deeper and gives the last of it.
#[cold]
fn take(depth: u32) -> Option<Caught> {
    let taken = PANICS.try_with(|panics| {
        let mut panics = panics.try_borrow_mut().ok()?;
        let kept = panics.partition_point(|(at, _)| *at < depth);
        let last = panics.drain(kept..).next_back();
        let left = panics.last().is_some_and(|(at, _)| *at > 0);
        GUARD.set(if left { GUARD.get() | RECORDED } else { GUARD.get() & !RECORDED });
        last
    });
    taken.ok().flatten().map(|(_, caught)| caught)
}

/// The report of a caught panic.
#[cold]
fn report(depth: u32, payload: Box<dyn Any + Send>) -> Caught {
    let unplaced = CrashReport::new(text(&*payload), None);
    // `resume_unwind` passes no hook, so what was recorded last may be another panic: then its place would be a lie.
    let recorded = take(depth).filter(|recorded| recorded.report.message == unplaced.message);
    let caught = recorded.unwrap_or(Caught { report: unplaced, trace: None });
    // A payload may panic in its own drop; that one is left alone, for it may do so again.
    if let Err(worse) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(worse);
    }
    caught
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash<T>(work: impl FnOnce() -> T) -> CrashReport {
        install();
        catch(work).err().expect("it panics")
    }

    #[test]
    fn a_panic_becomes_its_message_and_place() {
        let line = line!() + 1;
        let report = crash(|| panic!("number {}", 7));
        assert_eq!(&*report.message, "number 7");
        assert_eq!(&*report.place, format!("src/supervision/catch.rs:{line}:31"));
        assert!(take_last().is_none(), "the report was taken");
    }

    #[test]
    fn a_value_passes_through() {
        assert_eq!(catch(|| 7), Ok(7));
        assert_eq!(GUARD.get(), 0);
    }

    #[test]
    fn a_place_is_where_the_caller_went_wrong_not_inside_the_library() {
        let nothing: Option<u8> = std::hint::black_box(None);
        assert!(crash(|| nothing.unwrap()).place.starts_with("src/supervision/catch.rs:"));
    }

    #[test]
    fn a_payload_that_is_no_text_is_caught_with_its_place() {
        let report = crash(|| panic::panic_any(7_u64));
        assert_eq!(&*report.message, "panic without a text");
        assert!(report.place.starts_with("src/supervision/catch.rs:"), "{report}");
    }

    #[test]
    fn nested_catches_take_each_their_own_panic() {
        let outer = crash(|| {
            let inner = crash(|| panic!("inner"));
            assert_eq!(&*inner.message, "inner");
            panic!("outer");
        });
        assert_eq!(&*outer.message, "outer");
        assert_eq!(GUARD.get(), 0);
    }

    #[test]
    fn a_catch_inside_a_drop_during_unwinding_leaves_the_first_panic_its_place() {
        struct Cleaner;
        impl Drop for Cleaner {
            fn drop(&mut self) {
                assert_eq!(&*crash(|| panic!("inner")).message, "inner");
            }
        }
        let report = crash(|| {
            let _cleaner = Cleaner;
            panic!("outer")
        });
        assert_eq!(&*report.message, "outer");
        assert_ne!(&*report.place, CrashReport::NOWHERE);
        assert_eq!(GUARD.get(), 0);
        assert!(take_last().is_none());
    }

    #[test]
    fn a_panic_that_other_code_caught_is_not_taken_for_a_later_one() {
        let resumed = crash(|| {
            let _ = panic::catch_unwind(|| panic!("swallowed"));
            panic::resume_unwind(Box::new("resumed"));
        });
        assert_eq!((&*resumed.message, &*resumed.place), ("resumed", CrashReport::NOWHERE));
        assert_eq!(catch(|| panic::catch_unwind(|| panic!("swallowed")).is_err()), Ok(true));
        assert_eq!(GUARD.get(), 0);
        assert!(PANICS.with_borrow(Vec::is_empty));
    }

    #[test]
    fn code_with_its_own_catch_can_take_the_report() {
        install();
        let payload = panic::catch_unwind(|| panic!("own")).expect_err("it panics");
        let report = CrashReport::from_panic(payload);
        assert_eq!(&*report.message, "own");
        assert!(report.place.starts_with("src/supervision/catch.rs:"));
        assert!(panic::catch_unwind(|| panic!("again")).is_err());
        assert_eq!(catch(|| 1), Ok(1));
        assert_eq!(take_last().map(|report| report.message), Some("again".into()), "a catch leaves it where it is");
        assert!(take_last().is_none());
    }

    #[test]
    fn a_payload_that_panics_when_dropped_does_no_harm() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("a payload's drop");
            }
        }
        let report = crash(|| panic::panic_any(Bomb));
        assert_eq!(&*report.message, "panic without a text");
        assert_eq!(GUARD.get(), 0);
    }

    #[test]
    fn each_thread_has_its_own_panics() {
        let here = crash(|| {
            let there = std::thread::spawn(|| crash(|| panic!("there"))).join().expect("caught there");
            assert_eq!(&*there.message, "there");
            panic!("here")
        });
        assert_eq!(&*here.message, "here");
    }

    #[actix_rt::test]
    async fn a_guarded_future_reports_a_panic_after_it_had_to_wait() {
        install();
        let report = guard(async {
            tokio::task::yield_now().await;
            panic!("later")
        });
        let report: Result<(), _> = report.await;
        assert_eq!(&*report.expect_err("it panics").message, "later");
        assert_eq!(guard(async { 7 }).await, Ok(7));
    }
}
