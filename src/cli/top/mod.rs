//! `dormouse top`: what the dashboard shows, in one screen of a terminal. It asks `GET /v1/live`, as `figures.rs` and
//! `screen.rs` say it; `terminal.rs` is the only file that touches the terminal.

mod figures;
mod screen;
mod terminal;

use std::{
    io::{self, IsTerminal as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    screen::{Screen, View},
    terminal::{Key, Terminal},
};
use super::{Answer, Failure, api, connections::Sort};
use crate::clock::Clock;

/// Watch a running server: a screen like the dashboard, redrawn
///
/// Keys: q quits; m, o, r and i sort connections by mailbox, outbox, restarts or idleness.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse top
  dormouse top --interval 5s --sort outbox
  dormouse top --once                                  one screen as plain text
  dormouse top --json | jq .point.delivery             one sample as JSON")]
pub(super) struct Args {
    /// Time between two looks, from 1s to 10s
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = interval)]
    interval: Duration,
    /// What makes a connection worse
    #[arg(long, value_enum, default_value = "mailbox")]
    sort: Sort,
    /// Print one screen and end; also where the output is no terminal
    #[arg(long)]
    once: bool,
    /// Print one sample of the server as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: api::Server,
}

/// How soon a key or a signal is noticed at the latest.
const ATTENTION: Duration = Duration::from_millis(200);

pub(super) fn run(args: Args) -> Result<Answer, Failure> {
    let first = look(&args.server, args.interval)?;
    if args.json {
        return Ok(Answer::new(api::pretty(&first)));
    }
    let is_terminal = io::stdout().is_terminal();
    if args.once || !is_terminal {
        let width = is_terminal.then(terminal::width).flatten();
        let view = View { sort: args.sort, url: args.server.url(), trouble: None };
        return Ok(Answer::new(Screen::new(&first, view).text(width)));
    }
    watch(args, first)
}

/// One sample of the server.
fn look(server: &api::Server, every: Duration) -> Result<Value, Failure> {
    let sample = server.get(&format!("/v1/live?every_ms={}", every.as_millis()))?;
    let sample = sample.map_err(|refused| match refused.status {
        404 | 426 => Failure::new(format!("the server at {} is too old for this command", server.url())),
        _ => Failure::new(refused.message),
    })?;
    if sample["point"].is_object() { Ok(sample) } else { Err(Failure::new("the server answered without a sample")) }
}

/// Redraws until somebody wants to leave.
fn watch(args: Args, first: Value) -> Result<Answer, Failure> {
    let (stopped, clock) = (told_to_stop()?, Clock::start());
    let Args { interval, mut sort, server, .. } = args;
    let url = server.url().to_owned();
    let (ask, looks) = looking(server, interval);
    let mut terminal = Terminal::enter()?;
    let (mut sample, mut trouble, mut due, mut asked) = (first, None, clock.elapsed() + interval, false);
    loop {
        let view = View { sort, url: &url, trouble: trouble.as_deref() };
        terminal.draw(|width, height| Screen::new(&sample, view).lines(width, height))?;
        loop {
            if stopped.load(Relaxed) {
                return Ok(Answer::default());
            }
            if !asked && clock.elapsed() >= due {
                // There is room for one, and none is under way.
                asked = ask.try_send(()).is_ok();
            }
            match terminal.key(ATTENTION)? {
                Some(Key::Quit) => return Ok(Answer::default()),
                Some(Key::Sort(by)) => sort = by,
                Some(Key::Resized) => {}
                None => match looks.try_recv() {
                    Ok(looked) => {
                        (due, asked) = (clock.elapsed() + interval, false);
                        match looked {
                            Ok(looked) => (sample, trouble) = (looked, None),
                            Err(failure) => trouble = Some(failure.message),
                        }
                    }
                    Err(_) => continue,
                },
            }
            break;
        }
    }
}

/// A thread that looks whenever it is asked, so that a server that hangs does not make the keys hang.
fn looking(server: api::Server, every: Duration) -> (SyncSender<()>, Receiver<Result<Value, Failure>>) {
    let ((ask, asked), (tell, looks)) = (sync_channel(1), sync_channel(1));
    // Ends with the process, or when nobody asks any more.
    thread::spawn(move || {
        while asked.recv().is_ok() {
            if tell.send(look(&server, every)).is_err() {
                return;
            }
        }
    });
    (ask, looks)
}

/// Set by what ends a process from outside: the terminal must be as it was before.
fn told_to_stop() -> Result<Arc<AtomicBool>, Failure> {
    let stopped = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stopped);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let signals = {
        let _context = runtime.enter();
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal)
    };
    let [terminate, interrupt, hangup] = signals;
    let (mut terminate, mut interrupt, mut hangup) = (terminate?, interrupt?, hangup?);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        told.store(true, Relaxed);
    });
    Ok(stopped)
}

fn interval(text: &str) -> Result<Duration, String> {
    const WRONG: &str = "write a time from 1s to 10s";
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}: {WRONG}"))?;
    let fits = (Duration::from_secs(1)..=Duration::from_secs(10)).contains(&time);
    if fits { Ok(time) } else { Err(WRONG.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_one_to_ten_seconds() {
        assert_eq!(interval("1500ms"), Ok(Duration::from_millis(1_500)));
        assert_eq!(interval("10s"), Ok(Duration::from_secs(10)));
        for wrong in ["999ms", "11s", "5", ""] {
            assert!(interval(wrong).is_err_and(|told| told.contains("1s to 10s")), "{wrong}");
        }
    }
}
