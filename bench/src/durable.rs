//! `durable`: what acknowledged publishing costs, beside a loop that only appends and syncs; then what a channel costs that has
//! become long (`long_channel.rs`).

use std::{fs::File, io::Write as _, ops::Range, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    client::Happening,
    clock,
    crowd::{Arrival, gather},
    figures::median,
    histogram::Histogram,
    long_channel::{self, BYTES},
    message::{self, Op, number, op},
    report::{Report, Unit},
    swarm::{Key, Swarm},
    target::{Target, TargetOptions},
};

/// Options of `durable`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Publishers, each with one publication on its way
    #[arg(long, default_value_t = 64)]
    publishers: usize,
    /// How long they publish [default: 10s, quick 2s]
    #[arg(long, value_parser = humantime::parse_duration)]
    seconds: Option<Duration>,
    /// Where the store and the raw file are; on the disk to be measured
    #[arg(long, default_value = "target")]
    folder: PathBuf,
    /// Events in the long channel [default: 1000000, quick 50000]
    #[arg(long)]
    long: Option<u64>,
    #[command(flatten)]
    target: TargetOptions,
}

/// Turns of the disk and the server.
const ROUNDS: u32 = 5;
/// A reply that takes longer does not come.
const STALLED: Duration = Duration::from_secs(10);
const CHANNEL: &str = "chat:durable";

/// Runs it and says whether everything came.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let folder = options.folder.canonicalize()?.join(format!("durable-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = measure(options, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    result
}

fn measure(options: &Options, folder: &std::path::Path) -> Result<bool> {
    let seconds = options.target.size(options.seconds, Duration::from_secs(10), Duration::from_secs(2));
    let long = options.target.size(options.long, 1_000_000, 50_000);
    let mut report = Report::new("durable: acknowledged publishing, and a long channel");
    let sets = [
        format!("store.path={}", folder.join("store").display()),
        "channels.chat.history_events=2000000".to_owned(),
        "channels.chat.catch_up_limit=1000000".to_owned(),
    ];
    let target = options.target.open(&sets)?;
    let mut swarm = options.target.swarm(target.address)?;
    let publishers = gather_publishers(options, &target, &mut swarm).map_err(|error| target.explain(error))?;
    let mut raw = Raw::new(folder, options.publishers)?;
    let (mut replies, mut rates) = (Histogram::new(), Vec::new());
    // In turns: what the disk gives changes from one second to the next.
    for _ in 0..ROUNDS {
        let floor = raw.append(seconds / ROUNDS)?;
        let published = publish(&publishers, &mut swarm, seconds / ROUNDS, &mut replies);
        rates.push((published.map_err(|error| target.explain(error))?, floor));
    }
    let middle = |of: fn(&(f64, f64)) -> f64| {
        median(&rates.iter().map(of).collect::<Vec<_>>()).context("there was no turn of the disk and the server")
    };
    let note =
        format!("groups of {} × {BYTES} bytes, fdatasync after each; the middle of {ROUNDS} turns", options.publishers);
    report.figure("raw append + fdatasync", middle(|(_, raw)| *raw)?.0, Unit::PerSecond, note);
    report.spread("one of its groups", &raw.times, "");
    let note = format!("{} publishers, one on its way each", options.publishers);
    report.figure("acknowledged publishes", middle(|(published, _)| *published)?.0, Unit::PerSecond, note);
    let (ratio, low, high) = middle(|(published, raw)| published / raw * 100.0)?;
    report.at_least("of raw", ratio, Unit::Percent, 50.0, format!("turn by turn: {low:.0} – {high:.0} %"));
    report.spread("publish to reply", &replies, "");
    let p99 = replies.quantile(0.99).as_secs_f64() * 1e6;
    let note = format!("4 × store.commit; one raw group's p99 is {:?}", raw.times.quantile(0.99));
    report.goal("publish to reply, p99", p99, Unit::Micros, 8_000.0, note);
    long_channel::fill(&target, &mut swarm, long).map_err(|error| target.explain(error))?;
    long_channel::stream(&options.target, &target, long, &mut report).map_err(|error| target.explain(error))?;
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

/// What the disk gives: groups of as many records as there are publishers, appended to one file.
struct Raw {
    file: File,
    group: usize,
    /// Of all groups.
    times: Histogram,
}

impl Raw {
    fn new(folder: &std::path::Path, group: usize) -> Result<Self> {
        Ok(Self { file: File::create(folder.join("raw"))?, group, times: Histogram::new() })
    }

    /// Records a second.
    fn append(&mut self, time: Duration) -> Result<f64> {
        let bytes = vec![b'x'; self.group * BYTES];
        let (began, mut groups) = (clock::now(), 0u64);
        while began.elapsed() < time {
            let asked = clock::now();
            self.file.write_all(&bytes)?;
            self.file.sync_data()?;
            self.times.record(asked.elapsed());
            groups += 1;
        }
        Ok((groups * self.group as u64) as f64 / began.elapsed().as_secs_f64())
    }
}

fn gather_publishers(options: &Options, target: &Target, swarm: &mut Swarm) -> Result<Range<Key>> {
    let host = target.host();
    let request = |index: usize| Some(message::gateway(&host, &format!("publisher{index}"), None));
    Ok(gather(swarm, options.publishers, 64, Arrival::Ready, request)?.keys)
}

/// Acknowledged publications a second; each publisher says the next when he has the reply to the last. Ends when all have
/// theirs.
fn publish(publishers: &Range<Key>, swarm: &mut Swarm, time: Duration, times: &mut Histogram) -> Result<f64> {
    let text = message::publish(CHANNEL, Some(1), 0, BYTES - 17);
    let mut sent = vec![clock::now(); publishers.len()];
    publishers.clone().for_each(|key| swarm.say(key, text.as_bytes()));
    let (began, mut acknowledged, mut under_way) = (clock::now(), 0u64, publishers.len());
    let mut refused = None;
    while under_way > 0 {
        let mut again = Vec::with_capacity(publishers.len());
        swarm.turn(Duration::from_millis(20), |key, happening| match happening {
            Happening::Message(text) if op(text) == Op::Reply && publishers.contains(&key) => {
                if number(text, r#""offset":"#).is_none() {
                    refused = Some(String::from_utf8_lossy(text).into_owned());
                }
                acknowledged += 1;
                times.record(sent[key - publishers.start].elapsed());
                again.push(key);
            }
            _ => {}
        })?;
        if let Some(refused) = refused {
            bail!("not published: {refused}");
        }
        under_way -= again.len();
        let goes_on = began.elapsed() < time;
        for key in again.into_iter().filter(|_| goes_on) {
            sent[key - publishers.start] = clock::now();
            swarm.say(key, text.as_bytes());
            under_way += 1;
        }
        if began.elapsed() > time + STALLED {
            bail!("{under_way} publishers have no reply");
        }
    }
    Ok(acknowledged as f64 / began.elapsed().as_secs_f64())
}
