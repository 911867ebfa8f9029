//! Many servers and as many client processes, each of these to its own server: how a machine whose processes may have only
//! so many descriptors holds more connections than that. All of them are in the caretaker's hands.
//!
//! Called by `million`.

use std::{path::Path, thread, time::Duration};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use serde_json::json;

use crate::{
    caretaker::{Caretaker, Duty},
    clock,
    million_crowd::{self, Task},
    node::{self, Node},
    process::Cpu,
    server::Server,
    team::Team,
};

/// Servers that are published to at the same time.
const LANES: usize = 4;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Fleet {
    servers: Vec<Server>,
    team: Team,
    pub(crate) server_pids: Vec<u32>,
    pub(crate) client_pids: Vec<u32>,
}

/// Processor time of a fleet until a moment.
#[derive(Debug)]
pub(crate) struct Effort {
    servers: Vec<Cpu>,
    clients: Vec<Cpu>,
    own: Cpu,
}

impl Fleet {
    /// Starts as many pairs as there are `shares`, each with that many connections to come.
    pub(crate) fn start(
        bin: &Path,
        sets: &[String],
        shares: &[usize],
        concurrency: usize,
        caretaker: &mut Caretaker,
    ) -> Result<Self> {
        let mut servers = Vec::with_capacity(shares.len());
        for _ in shares {
            let server = Server::serve(bin, "127.0.0.1:0", sets)?;
            caretaker.charge(&Duty::Folder(server.directory().to_owned()))?;
            caretaker.charge_process(server.pid())?;
            servers.push(server);
        }
        let mut team = Team::start("million-crowd", shares.len())?;
        team.pids().into_iter().try_for_each(|pid| caretaker.charge_process(pid))?;
        team.tell(|process| Task {
            address: servers[process].address,
            process: process as u64,
            connections: shares[process],
            concurrency,
            seed: 1 + process as u64,
        })?;
        let server_pids = servers.iter().map(Server::pid).collect();
        Ok(Self { server_pids, client_pids: team.pids(), servers, team })
    }

    /// The client processes.
    pub(crate) fn team(&mut self) -> &mut Team {
        &mut self.team
    }

    pub(crate) fn effort(&self) -> Result<Effort> {
        let of = |pids: &[u32]| pids.iter().map(|pid| Cpu::of(*pid)).collect::<Result<_>>();
        Ok(Effort { servers: of(&self.server_pids)?, clients: of(&self.client_pids)?, own: Cpu::own()? })
    }

    /// Publishes each server's message by its HTTP API, at a few servers at a time: each answers when it has served others.
    pub(crate) fn publish(&self) -> Result<()> {
        thread::scope(|scope| {
            let start = |lane| {
                let mut servers = self.servers.iter().enumerate().skip(lane).step_by(LANES);
                scope.spawn(move || servers.try_for_each(|(number, server)| publish(number, server)))
            };
            let lanes: Vec<_> = (0..LANES).map(start).collect();
            lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow!("a publisher has panicked"))?)
        })
    }

    /// What all servers say of themselves, added up.
    pub(crate) fn account(&self) -> Result<Account> {
        let mut account = Account::default();
        for server in &self.servers {
            account.add(&node::ask(server.address)?);
        }
        Ok(account)
    }

    /// Asks until as many sleep: whoever has just said a heartbeat is awake, and a server whose shard waits for a core
    /// answers without it.
    pub(crate) fn until_dormant(&self, connections: u64, patience: Duration) -> Result<Account> {
        let deadline = clock::now() + patience;
        loop {
            let account = self.account()?;
            if account.dormant >= connections || clock::now() > deadline {
                return Ok(account);
            }
            clock::rest(Duration::from_millis(500));
        }
    }

    /// The last log lines of the first server that has any worse than a notice.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.servers.iter().map(Server::last_words).find(|words| words.contains("WARN") || words.contains("ERROR"))
    }
}

fn publish(number: usize, server: &Server) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(60)))
        .max_idle_connections(0)
        .build()
        .into();
    let url = format!("http://{}/v1/publish", server.address);
    let message = json!({"channel": million_crowd::channel(), "from": "bench", "data": {"n": number}});
    agent.post(&url).send_json(message).with_context(|| format!("POST {url}"))?;
    Ok(())
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // All at once, clients first: they reset, so that a server's sockets wait for nobody. One after the other, those who
        // are left would go on with their heartbeats, and hear of each end.
        self.team.strike();
        self.servers.iter_mut().for_each(Server::strike);
    }
}

impl Effort {
    /// Used since `earlier` by servers and clients; the process that orders them about is a client.
    pub(crate) fn since(&self, earlier: &Self) -> (Duration, Duration) {
        let sum = |now: &[Cpu], then: &[Cpu]| now.iter().zip(then).map(|(now, then)| now.since(then)).sum::<Duration>();
        let clients = sum(&self.clients, &earlier.clients) + self.own.since(&earlier.own);
        (sum(&self.servers, &earlier.servers), clients)
    }
}

/// What the servers count.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Account {
    pub(crate) dormant: u64,
    pub(crate) offered: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
    pub(crate) pending: u64,
}

impl Account {
    fn add(&mut self, node: &Node) {
        self.dormant += node.connections.dormant;
        self.offered += node.ledger.offered;
        self.delivered += node.ledger.delivered;
        self.dropped += node.ledger.dropped();
        self.pending += node.ledger.pending;
    }
}
