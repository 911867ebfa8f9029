//! `dormouse replay FILE`: the turn of a crash file once more, in a process that has nothing else to do; or the test that
//! keeps it from crashing again.

use std::{fmt::Write as _, fs, path::PathBuf};

use crate::{
    cli::{Answer, Failure},
    node,
    shard::Outcome,
    supervision::{BUILD, CrashFile},
};

/// Run a crashed turn again, from its crash file
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Args {
    /// A file of supervision.crash_dir
    file: PathBuf,
    /// Print a Rust test of the turn instead of running it
    #[arg(long)]
    test: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  the turn panicked at the same place (with --test: the test is printed)
  1  the file cannot be read
  2  it is no crash file of this program
  3  the turn panicked at another place
  4  the turn did not panic";

/// The outcomes that are no success, and no failure of this program either.
const ANOTHER_PLACE: u8 = 3;
const NO_PANIC: u8 = 4;

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let name = args.file.display();
    let bytes = fs::read(&args.file).map_err(|error| Failure::new(format!("cannot read {name}: {error}")))?;
    let bad = |error: &dyn std::fmt::Display| Failure { message: format!("{name}: {error}"), code: 2 };
    let text = String::from_utf8(bytes).map_err(|error| bad(&error))?;
    let file = CrashFile::read(&text).map_err(|error| bad(&error))?;
    let warning =
        || format!("warning: {name} is of build {}, this is {BUILD}: the turn may run differently", file.build);
    let note = (file.build != BUILD).then(warning);
    if args.test {
        let behaviour = node::behaviour_of(&file).map_err(|error| bad(&error))?;
        let result = test(&file, behaviour).map_err(|error| bad(&error))?;
        return Ok(Answer { result, note, code: 0 });
    }
    let replayed = node::replay(&text).map_err(|error| bad(&error))?;
    let mut result = match &replayed.panic {
        Some(report) => format!("panic: {}\n   at: {}\n", report.message, report.place),
        None => String::new(),
    };
    let (said, code) = match replayed.outcome() {
        Outcome::SamePlace => ("same place".to_owned(), 0),
        Outcome::AnotherPlace => (format!("another place: it was {}, with {}", file.place, file.panic), ANOTHER_PLACE),
        Outcome::NoPanic => (format!("no panic: it was at {}, with {}", file.place, file.panic), NO_PANIC),
    };
    result.push_str(&said);
    Ok(Answer { result, note, code })
}

/// A test that fails for as long as the turn panics.
fn test(file: &CrashFile, behaviour: &str) -> Result<String, serde_json::Error> {
    let CrashFile { place, panic, build, .. } = file;
    // The calls are of the build that crashed; the test is for those after it.
    let kept = CrashFile { backtrace: Vec::new(), ..file.clone() };
    let json = serde_json::to_string_pretty(&kept)?;
    let fence = "#".repeat(longest_fence(&json) + 1);
    let words: String =
        place.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let mut test = String::new();
    // Writing to a text cannot fail.
    let _ = write!(
        test,
        "/// It panicked at {place} in build {build}:\n\
         /// {panic:?}\n\
         #[test]\n\
         fn the_turn_that_panicked_at_{words}_returns() {{\n    \
             let crash = r{fence}\"{json}\"{fence};\n    \
             let replayed = dormouse::{behaviour}::replay(crash).expect(\"a crash file\");\n    \
             assert_eq!(replayed.panic, None, \"the turn still panics\");\n\
         }}"
    );
    Ok(test)
}

/// The most `#` in a row behind a quotation mark: a raw string needs one more.
fn longest_fence(text: &str) -> usize {
    text.split('"').skip(1).map(|after| after.len() - after.trim_start_matches('#').len()).max().unwrap_or(0)
}
