//! `durable`: what acknowledged publishing costs, beside a loop that only appends and syncs; and a channel that has become
//! long, streamed from its start and looked into at random.

use std::{fs::File, io::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    client::Happening,
    clock,
    crowd::{Arrival, gather},
    dice::Dice,
    histogram::Histogram,
    message::{self, Op, number, op},
    report::{Report, Unit},
    swarm::Swarm,
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

/// Bytes of `data`.
const BYTES: usize = 200;
const CHANNEL: &str = "chat:durable";
const LONG: &str = "chat:long";

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
    let raw = raw(folder, options.publishers, seconds)?;
    let sets = [
        format!("store.path={}", folder.join("store").display()),
        "channels.chat.history_events=2000000".to_owned(),
        "channels.chat.catch_up_limit=1000000".to_owned(),
    ];
    let target = options.target.open(&sets)?;
    let mut swarm = options.target.swarm(target.address)?;
    let published = publish(options, &target, &mut swarm, seconds).map_err(|error| target.explain(error))?;
    let note = format!("groups of {} × {BYTES} bytes, fdatasync after each", options.publishers);
    report.figure("raw append + fdatasync", raw, Unit::PerSecond, note);
    let note = format!("{} publishers, one on its way each", options.publishers);
    report.figure("acknowledged publishes", published.0, Unit::PerSecond, note);
    report.figure("of raw", published.0 / raw * 100.0, Unit::Percent, "the goal is half");
    report.spread("publish to reply", &published.1, "");
    fill(&target, &mut swarm, long).map_err(|error| target.explain(error))?;
    stream(options, &target, long, &mut report).map_err(|error| target.explain(error))?;
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

/// What the disk gives: groups of as many records as there are publishers.
fn raw(folder: &std::path::Path, group: usize, time: Duration) -> Result<f64> {
    let mut file = File::create(folder.join("raw"))?;
    let bytes = vec![b'x'; group * BYTES];
    let (began, mut groups) = (clock::now(), 0u64);
    while began.elapsed() < time {
        file.write_all(&bytes)?;
        file.sync_data()?;
        groups += 1;
    }
    Ok((groups * group as u64) as f64 / began.elapsed().as_secs_f64())
}

fn publish(options: &Options, target: &Target, swarm: &mut Swarm, time: Duration) -> Result<(f64, Histogram)> {
    let host = target.host();
    let request = |index: usize| Some(message::gateway(&host, &format!("publisher{index}"), None));
    let keys = gather(swarm, options.publishers, 64, Arrival::Ready, request)?.keys;
    let text = message::publish(CHANNEL, Some(1), 0, BYTES - 17);
    let mut sent = vec![clock::now(); swarm.open()];
    keys.clone().for_each(|key| swarm.say(key, text.as_bytes()));
    let (began, mut acknowledged, mut times) = (clock::now(), 0u64, Histogram::new());
    let mut refused = None;
    while began.elapsed() < time {
        let mut again = Vec::with_capacity(options.publishers);
        swarm.turn(Duration::from_millis(20), |key, happening| match happening {
            Happening::Message(text) if op(text) == Op::Reply => {
                if number(text, r#""offset":"#).is_none() {
                    refused = Some(String::from_utf8_lossy(text).into_owned());
                }
                acknowledged += 1;
                times.record(sent[key].elapsed());
                again.push(key);
            }
            _ => {}
        })?;
        if let Some(refused) = refused {
            bail!("not published: {refused}");
        }
        for key in again {
            sent[key] = clock::now();
            swarm.say(key, text.as_bytes());
        }
    }
    Ok((acknowledged as f64 / began.elapsed().as_secs_f64(), times))
}

/// Publishes until the long channel is long, many at once.
fn fill(target: &Target, swarm: &mut Swarm, count: u64) -> Result<()> {
    const WINDOW: u64 = 4_096;
    let publisher =
        gather(swarm, 1, 1, Arrival::Ready, |_| Some(message::gateway(&target.host(), "filler", None)))?.keys.start;
    let text = message::publish(LONG, Some(1), 0, BYTES - 17);
    let (mut said, mut replies, mut refused) = (0, 0, None);
    while replies < count {
        while said < count && said - replies < WINDOW {
            swarm.say(publisher, text.as_bytes());
            said += 1;
        }
        swarm.turn(Duration::from_millis(20), |key, happening| {
            if let Happening::Message(text) = happening
                && key == publisher
                && op(text) == Op::Reply
            {
                replies += 1;
                if number(text, r#""offset":"#).is_none() {
                    refused = Some(String::from_utf8_lossy(text).into_owned());
                }
            }
        })?;
        if let Some(refused) = refused {
            bail!("not published: {refused}");
        }
    }
    Ok(())
}

/// Subscribes from the start, and asks for pages of history anywhere.
fn stream(options: &Options, target: &Target, count: u64, report: &mut Report) -> Result<()> {
    let mut swarm = options.target.swarm(target.address)?;
    let host = target.host();
    let reader =
        gather(&mut swarm, 2, 2, Arrival::Ready, |n| Some(message::gateway(&host, &format!("reader{n}"), None)))?;
    let [reader, pager] = [reader.keys.start, reader.keys.start + 1];
    swarm.say(pager, format!(r#"{{"op":"subscribe","id":1,"channel":"{LONG}"}}"#).as_bytes());
    let mut epoch = String::new();
    while epoch.is_empty() {
        swarm.turn(Duration::from_millis(20), |_, happening| {
            if let Happening::Message(text) = happening
                && let Some(rest) =
                    String::from_utf8_lossy(text).split_once(r#""epoch":""#).map(|(_, rest)| rest.to_owned())
            {
                epoch = rest.split('"').next().unwrap_or_default().to_owned();
            }
        })?;
    }
    let before = target.memory()?.rss;
    let subscribe =
        format!(r#"{{"op":"subscribe","id":2,"channel":"{LONG}","from":{{"epoch":"{epoch}","offset":0}}}}"#);
    swarm.say(reader, subscribe.as_bytes());
    let (began, mut offset, mut wrong, mut most) = (clock::now(), 0, 0u64, before);
    let mut looked = clock::now();
    while offset < count {
        swarm.turn(Duration::from_millis(50), |key, happening| {
            if let Happening::Message(text) = happening
                && key == reader
            {
                match op(text) {
                    Op::Event => {
                        let next = number(text, r#""offset":"#).unwrap_or_default();
                        wrong += u64::from(next != offset + 1);
                        offset = next;
                    }
                    Op::Gap => wrong += 1,
                    _ => {}
                }
            }
        })?;
        if looked.elapsed() > Duration::from_millis(100) {
            most = most.max(target.memory()?.rss);
            looked = clock::now();
        }
        if began.elapsed() > Duration::from_secs(300) {
            bail!("the stream stands at {offset} of {count}");
        }
    }
    let took = began.elapsed().as_secs_f64();
    report.figure("long channel", count as f64, Unit::Count, "events, streamed from the first");
    report.figure("streamed", count as f64 / took, Unit::PerSecond, format!("in {took:.1} s"));
    report.must_be("events out of order or told as missing", wrong, 0, "");
    report.figure("server memory before", before, Unit::Bytes, "");
    report.figure("grown while streaming", most - before, Unit::Bytes, "the most seen");
    let mut pages = Histogram::new();
    let mut dice = Dice::new(options.target.seed);
    for id in 0..1_000u64 {
        let after = dice.roll() % count;
        let asked = clock::now();
        swarm.say(
            pager,
            format!(r#"{{"op":"history","id":{},"channel":"{LONG}","after":{after},"limit":100}}"#, id + 10).as_bytes(),
        );
        let mut answered = false;
        while !answered {
            swarm.turn(Duration::from_millis(20), |_, happening| {
                answered |= matches!(happening, Happening::Message(text) if op(text) == Op::Reply);
            })?;
            if asked.elapsed() > Duration::from_secs(10) {
                return Err(anyhow::anyhow!("no page within 10 s")).context("history");
            }
        }
        pages.record(asked.elapsed());
        // Within what a client may ask for.
        std::thread::park_timeout(Duration::from_millis(1));
    }
    report.spread("page of history", &pages, "100 events anywhere in it");
    report.goal("page p99", pages.quantile(0.99).as_secs_f64() * 1e6, Unit::Micros, 5_000.0, "");
    Ok(())
}
