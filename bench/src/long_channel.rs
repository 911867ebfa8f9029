//! A channel that has become long: filled with events, streamed from its start, and looked into at random.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

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

/// Bytes of `data` of a durable publication.
pub(crate) const BYTES: usize = 200;
const LONG: &str = "chat:long";

/// Publishes until the long channel is long, many at once.
pub(crate) fn fill(target: &Target, swarm: &mut Swarm, count: u64) -> Result<()> {
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
pub(crate) fn stream(options: &TargetOptions, target: &Target, count: u64, report: &mut Report) -> Result<()> {
    let mut swarm = options.swarm(target.address)?;
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
    let mut dice = Dice::new(options.seed);
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
                return Err(anyhow!("no page within 10 s")).context("history");
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
