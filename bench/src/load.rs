//! Processor time over a span, of the server and of the generator beside it: every table shows both, since they share
//! the machine.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    clock,
    process::Cpu,
    report::{Report, Unit},
    target::Target,
};

/// A span that has begun.
#[derive(Debug)]
pub(crate) struct Span {
    since: Instant,
    own: Cpu,
    server: Option<Cpu>,
}

/// Processor time used in a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) wall: Duration,
    pub(crate) own: Duration,
    /// Unknown for a server without a pid.
    pub(crate) server: Option<Duration>,
}

impl Span {
    pub(crate) fn begin(target: &Target) -> Result<Self> {
        Ok(Self { since: clock::now(), own: Cpu::own()?, server: target.cpu()? })
    }

    pub(crate) fn end(&self, target: &Target) -> Result<Load> {
        let server = target.cpu()?.zip(self.server.as_ref()).map(|(now, then)| now.since(then));
        Ok(Load { wall: self.since.elapsed(), own: Cpu::own()?.since(&self.own), server })
    }
}

impl Load {
    /// Cores the server kept busy.
    pub(crate) fn server_cores(&self) -> Option<f64> {
        self.server.map(|used| used.as_secs_f64() / self.wall.as_secs_f64())
    }

    /// Cores the generator kept busy.
    pub(crate) fn own_cores(&self) -> f64 {
        self.own.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// Rows: the server's time for each of `count` things, and the cores of both sides.
    pub(crate) fn describe(&self, report: &mut Report, each: &str, count: u64) {
        match self.server {
            Some(used) => {
                let micros = used.as_secs_f64() * 1e6 / (count.max(1) as f64);
                report.figure(&format!("server CPU per {each}"), micros, Unit::Micros, "user and system, all threads");
            }
            None => report.text(&format!("server CPU per {each}"), "–", "unknown: a server at --url needs its --pid"),
        }
        if let Some(cores) = self.server_cores() {
            report.figure("server CPU", cores, Unit::Cores, "");
        }
        report.figure("load generator CPU", self.own_cores(), Unit::Cores, "one thread for all clients");
    }
}
