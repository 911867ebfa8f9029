//! What is measured: a server started for the run (`--bin`), a peer (`--peer`) or a server that runs already (`--url`), and
//! the options that every measurement shares.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::{
    dialect::Dialect,
    dice::Dice,
    peer::Peer,
    process::{Cpu, Memory, memory},
    report::Report,
    server::Server,
    swarm::Swarm,
};

/// A generator publishes and connects faster than any client should, so these limits are out of the way in every run.
const SETS: [&str; 2] = ["limits.publish_per_second=1000000", "limits.publish_burst=1000000"];

/// Options of every measurement.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetOptions {
    /// Server binary to start for the run
    #[arg(long, default_value = "target/release/dormouse")]
    pub(crate) bin: PathBuf,
    /// Configuration for the started server, in addition to the raised publish limits
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Measure a server that runs already, at this address or URL
    #[arg(long, conflicts_with = "sets")]
    url: Option<String>,
    /// Measure another server instead: the name of a folder in --peers, or `raw`, which only accepts
    #[arg(long, conflicts_with_all = ["sets", "url"])]
    peer: Option<String>,
    /// Where the other servers are
    #[arg(long, default_value = "bench/peers")]
    pub(crate) peers: PathBuf,
    /// Process id of the server at --url, for its memory and processor time
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Loopback addresses to connect from, 127.0.0.1 and up
    #[arg(long, default_value_t = 8)]
    pub(crate) sources: u8,
    /// Seed of masks and jitter
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Smaller and shorter, to see that everything works
    #[arg(long)]
    pub(crate) quick: bool,
    /// Append the figures to this file, one JSON object on a line
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl TargetOptions {
    /// The full size, or the one for `--quick`, unless it was given.
    pub(crate) fn size<T>(&self, given: Option<T>, full: T, quick: T) -> T {
        given.unwrap_or(if self.quick { quick } else { full })
    }

    /// All `--set`s of the started server: the generator's, the measurement's, the user's, later ones winning.
    pub(crate) fn all_sets(&self, measurement: &[String]) -> Vec<String> {
        SETS.iter().map(|set| (*set).to_owned()).chain(measurement.iter().chain(&self.sets).cloned()).collect()
    }

    /// Starts the server, or finds the running one.
    pub(crate) fn open(&self, measurement: &[String]) -> Result<Target> {
        if let Some(url) = &self.url {
            let address = resolve(url)?;
            return Ok(Target {
                address,
                pid: self.pid,
                server: None,
                dialect: Dialect::Dormouse,
                note: String::new(),
            });
        }
        Ok(match self.peer.as_deref() {
            None => {
                let sets = self.all_sets(measurement);
                let server = Server::serve(&self.bin, "127.0.0.1:0", &sets)?;
                Target {
                    note: format!("started for this run; --set {}", sets.join(" --set ")),
                    ..Target::started(server)
                }
            }
            Some("raw") => {
                let server = Server::start(&std::env::current_exe()?, &["raw-accept".to_owned()])?;
                Target { dialect: Dialect::Bare, note: "accepts and holds".to_owned(), ..Target::started(server) }
            }
            Some(name) => {
                let peer = Peer::open(&self.peers.join(name))?;
                let note = format!("{}: {}; has not: {}", peer.version()?, peer.about.settings, peer.about.lacks);
                Target { dialect: peer.about.dialect, note, ..Target::started(peer.serve()?) }
            }
        })
    }

    /// Client connections to `address`, for what has no protocol.
    pub(crate) fn swarm(&self, address: SocketAddr) -> Result<Swarm> {
        Ok(Swarm::new(address, self.sources, Dice::new(self.seed))?)
    }

    /// Client connections to a target, which keep its protocol's rules by themselves.
    pub(crate) fn clients(&self, target: &Target) -> Result<Swarm> {
        let mut swarm = self.swarm(target.address)?;
        swarm.answer(target.dialect.answers());
        Ok(swarm)
    }
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pid: Option<u32>,
    pub(crate) server: Option<Server>,
    pub(crate) dialect: Dialect,
    /// What it is and how it runs.
    note: String,
}

impl Target {
    /// A server that was started with settings of its own.
    pub(crate) fn started(server: Server) -> Self {
        let (address, pid) = (server.address, Some(server.pid()));
        Self { address, pid, server: Some(server), dialect: Dialect::Dormouse, note: "started for this run".to_owned() }
    }

    /// Puts a restarted server, started with the same settings, in the place of the one before.
    pub(crate) fn replace(&mut self, server: Server) {
        self.pid = Some(server.pid());
        self.server = Some(server);
    }

    /// For the `Host` header.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The server's memory now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        memory(self.pid.context("memory of a server at --url needs its --pid")?)
    }

    /// The server's processor time until now; nothing is known about a server without a pid.
    pub(crate) fn cpu(&self) -> Result<Option<Cpu>> {
        self.pid.map(Cpu::of).transpose()
    }

    /// An error that carries the server's last log lines.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match self.server.as_ref().map(Server::last_words) {
            Some(words) if !words.is_empty() => anyhow!("{error:#}\nthe server's last log lines:\n{words}"),
            _ => error,
        }
    }

    /// Says what the server ran with.
    pub(crate) fn describe(&self, report: &mut Report) {
        match &self.server {
            Some(_) => report.context("server", &*self.note),
            None => report.context("server", format!("found at {}; its configuration is not known here", self.address)),
        }
    }
}

fn resolve(url: &str) -> Result<SocketAddr> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let found = authority.to_socket_addrs().with_context(|| format!("{url} is not host:port"))?.next();
    match found {
        Some(address) => Ok(address),
        None => bail!("{url} has no address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_every_shape_lead_to_their_address() {
        let expected = SocketAddr::from(([127, 0, 0, 1], 8080));
        for url in ["127.0.0.1:8080", "http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/gateway"] {
            assert_eq!(resolve(url).unwrap(), expected);
        }
        assert!(resolve("http://127.0.0.1").is_err());
    }
}
