//! `echo`: messages that come straight back from `/v1/echo`: the engine without channels or protocol.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    client::Happening,
    clock,
    crowd::gather,
    histogram::Histogram,
    load::{Load, Span},
    report::{Report, Unit},
    target::{Target, TargetOptions},
};

/// Digits of the time stamp that each message begins with.
const STAMP: usize = 16;

/// No echo for this long is a failure.
const STALLED: Duration = Duration::from_secs(15);

/// Options of `echo`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Connections [default: 1000, quick 200]
    #[arg(long)]
    connections: Option<usize>,
    /// Messages on their way on each
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// Bytes of a message, at least 16
    #[arg(long, default_value_t = 32)]
    bytes: usize,
    /// Length of the run, after a warm-up of an eighth [default: 10, quick 2]
    #[arg(long)]
    seconds: Option<u64>,
    #[command(flatten)]
    target: TargetOptions,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let target = options.target.open(&["echo.enabled=true".to_owned()])?;
    let count = options.target.size(options.connections, 1_000, 200).max(1);
    let span = Duration::from_secs(options.target.size(options.seconds, 10, 2));
    let (echoes, load) = measure(options, &target, count, span).map_err(|error| target.explain(error))?;
    let mut report = Report::new("echo: messages straight back");
    report.figure(
        "connections",
        count as f64,
        Unit::Count,
        format!("{} on their way on each", options.pipeline.max(1)),
    );
    let rate = echoes.times.count() as f64 / load.wall.as_secs_f64();
    report.figure("messages", rate, Unit::PerSecond, format!("of {} bytes, there and back", options.bytes.max(STAMP)));
    report.must_be("messages that came back changed", echoes.changed, 0, "");
    report.spread("round trip", &echoes.times, "");
    load.describe(&mut report, "message", echoes.times.count());
    target.describe(&mut report);
    report.finish(options.target.json.as_deref())
}

struct Echoes {
    times: Histogram,
    changed: u64,
}

fn measure(options: &Options, target: &Target, count: usize, span: Duration) -> Result<(Echoes, Load)> {
    let host = target.host();
    let mut swarm = options.target.clients(target)?;
    let (request, arrival) = target.dialect.echo(&host);
    let crowd = gather(&mut swarm, count, 256, arrival, |_| Some(request.clone()))?;
    let start = clock::now();
    let (head, tail) = target.dialect.around_echo();
    let mut said = [head, &vec![b'x'; options.bytes.max(STAMP)], tail].concat();
    let mut stamp = move || {
        let nanos = start.elapsed().as_nanos() as u64;
        said[head.len()..][..STAMP].copy_from_slice(format!("{nanos:016x}").as_bytes());
        said.clone()
    };
    for key in crowd.keys.clone() {
        (0..options.pipeline.max(1)).for_each(|_| swarm.say(key, &stamp()));
    }
    let mut back = Vec::new();
    let mut lost = None;
    let mut echoes = Echoes { times: Histogram::new(), changed: 0 };
    let (warm_up, mut begun) = (span / 8, None);
    let mut progress = start;
    loop {
        let elapsed = start.elapsed();
        if begun.is_none() && elapsed >= warm_up {
            echoes.times = Histogram::new();
            begun = Some(Span::begin(target)?);
        }
        if let Some(begun) = &begun
            && elapsed >= warm_up + span
        {
            return Ok((echoes, begun.end(target)?));
        }
        swarm.turn(Duration::from_millis(50), |key, happening| match happening {
            Happening::Message(message) => {
                let inner = message.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail)).unwrap_or(message);
                match sent_at(inner, options.bytes.max(STAMP)) {
                    Some(sent) => echoes.times.record(start.elapsed().saturating_sub(sent)),
                    None => echoes.changed += 1,
                }
                back.push(key);
            }
            Happening::Closed(ending) => lost = lost.take().or_else(|| Some(format!("connection {key}: {ending}"))),
            Happening::Opened | Happening::Pong => {}
        })?;
        if let Some(lost) = lost {
            bail!("lost a connection: {lost}");
        }
        if !back.is_empty() {
            progress = clock::now();
        } else if clock::now().duration_since(progress) > STALLED {
            bail!("no echo for {STALLED:?}");
        }
        back.drain(..).for_each(|key| swarm.say(key, &stamp()));
    }
}

/// The time a message carries, if it is one of ours as it was sent.
fn sent_at(message: &[u8], length: usize) -> Option<Duration> {
    let (stamp, rest) = message.split_at_checked(STAMP)?;
    let whole = message.len() == length && rest.iter().all(|byte| *byte == b'x');
    let nanos = u64::from_str_radix(std::str::from_utf8(stamp).ok()?, 16).ok()?;
    whole.then(|| Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_as_it_was_sent_counts() {
        assert_eq!(sent_at(b"00000000000000ffxxxx", 20), Some(Duration::from_nanos(255)));
        assert_eq!(sent_at(b"00000000000000ffxxx", 20), None);
        assert_eq!(sent_at(b"00000000000000ffxxxy", 20), None);
        assert_eq!(sent_at(b"short", 20), None);
    }
}
