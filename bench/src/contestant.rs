//! One row of a comparison: Dormouse, a peer, or a floor that no server passes. Runs one measurement on it in a process of
//! its own, so that each trial begins with a fresh server and a fresh generator.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{clock, density, peer::Peer, process::family};

/// The figures of a trial by name, as `--json` writes them.
pub(crate) type Figures = Map<String, Value>;

/// A trial that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(240);

/// See the file's head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Contestant {
    /// Its folder below `bench/peers/`, or `dormouse`, or `raw`.
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) command: String,
    pub(crate) settings: String,
    pub(crate) lacks: String,
    pub(crate) echo: bool,
}

/// The name of the floor's row.
pub(crate) const FLOOR: &str = "raw";
/// The name of our own row.
pub(crate) const DORMOUSE: &str = "dormouse";
/// Rows of actors that are no servers.
pub(crate) const MODELS: [&str; 2] = ["tokio", "actix"];

impl Contestant {
    pub(crate) fn dormouse() -> Self {
        Self {
            name: DORMOUSE.to_owned(),
            version: format!("Dormouse {}", env!("CARGO_PKG_VERSION")),
            command: "dormouse serve".to_owned(),
            settings: "a shard for each core, publish limits raised".to_owned(),
            lacks: "–".to_owned(),
            echo: true,
        }
    }

    pub(crate) fn floor() -> Self {
        Self {
            name: FLOOR.to_owned(),
            version: "raw loop, no server".to_owned(),
            command: "dormouse-bench raw-accept, raw-send".to_owned(),
            settings: "a loop of one system call for each socket".to_owned(),
            lacks: "everything".to_owned(),
            echo: false,
        }
    }

    /// Actors one could have instead of ours.
    pub(crate) fn model(name: &str) -> Self {
        let (version, settings) = match name {
            "tokio" => ("tokio task", "a bounded mpsc channel of 16 each, current-thread runtime"),
            _ => ("actix actor", "`Actor::start`, its own mailbox of 16, one arbiter"),
        };
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            command: format!("dormouse-actors {name}"),
            settings: settings.to_owned(),
            lacks: "no server: actors without a session, a budget or a restart".to_owned(),
            echo: false,
        }
    }

    /// Actors and nothing else.
    pub(crate) fn is_model(&self) -> bool {
        MODELS.contains(&self.name.as_str())
    }

    /// Takes part where actors without sockets are compared.
    pub(crate) fn has_actors(&self) -> bool {
        self.is_model() || self.name == DORMOUSE
    }

    /// A peer whose folder holds what it needs.
    pub(crate) fn peer(name: &str, peer: &Peer) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            version: peer.version()?,
            command: format!("bench/peers/{name}/serve PORT"),
            settings: peer.about.settings.clone(),
            lacks: peer.about.lacks.clone(),
            echo: peer.about.echo,
        })
    }

    /// Starts a measurement on this server.
    pub(crate) fn start(&self, site: &Site, arguments: &[String]) -> Result<Trial> {
        let json = site.scratch.join(format!("{}-{}.json", self.name, site.next()));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).arg("--json").arg(&json);
        let actors = arguments.first().is_some_and(|measurement| measurement == "actors");
        match self.name.as_str() {
            name if actors => command.args(["--model", name]).arg("--bin").arg(&site.bin),
            DORMOUSE => command.arg("--bin").arg(&site.bin),
            // Of a fan-out the floor is another one than of connections: it knows by itself.
            FLOOR if arguments.iter().any(|argument| argument == "--floor-only") => &mut command,
            name => command.args(["--peer", name]).arg("--peers").arg(&site.peers),
        };
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Trial { child, json, since: clock::now(), output, lines: Vec::new() })
    }
}

/// Where things are.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) bin: PathBuf,
    pub(crate) peers: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) counter: std::cell::Cell<u64>,
}

impl Site {
    fn next(&self) -> u64 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }
}

/// A measurement under way.
#[derive(Debug)]
pub(crate) struct Trial {
    child: Child,
    json: PathBuf,
    since: Instant,
    output: BufReader<ChildStdout>,
    lines: Vec<String>,
}

impl Trial {
    /// Waits until only time has to pass, or the trial is over.
    pub(crate) fn until_resting(&mut self) -> Result<()> {
        for line in self.output.by_ref().lines() {
            let line = line?;
            if line == density::RESTING {
                break;
            }
            self.lines.push(line);
        }
        Ok(())
    }

    /// Its figures, once it has ended; several when it has measured everything several times.
    pub(crate) fn figures(mut self) -> Result<Vec<Figures>> {
        // Tables are small: the pipes hold them until the process has ended.
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if self.since.elapsed() > LIMIT {
                bail!("took longer than {LIMIT:?}");
            }
            thread::park_timeout(Duration::from_millis(10));
        };
        let mut words = Vec::new();
        self.lines.extend(self.output.by_ref().lines().map_while(Result::ok));
        if let Some(errors) = self.child.stderr.take() {
            words.extend(BufReader::new(errors).lines().map_while(Result::ok));
        }
        if !status.success() {
            words.extend(self.lines.iter().filter(|line| line.starts_with("FAILED")).cloned());
            bail!("{}", words.first().map_or_else(|| status.to_string(), |word| word.chars().take(200).collect()));
        }
        let text = fs::read_to_string(&self.json).context("a trial wrote no figures")?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Its server would outlive it.
            let family: Vec<String> = family(self.child.id()).iter().map(u32::to_string).collect();
            let _ = Command::new("/bin/sh").args(["-c", r#"kill -KILL "$@""#, "kill"]).args(family).status();
            let _ = self.child.wait();
        }
        let _ = fs::remove_file(&self.json);
    }
}
