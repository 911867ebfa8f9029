//! Other servers, one folder each under `bench/peers/`: `install` builds or fetches what it needs, `version` tells it,
//! `serve PORT` is the server, and `peer.json` says how it is spoken to, how it runs and what it has not.
//!
//! Called by the target, which starts one for a measurement, and by the comparison, which lists them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{dialect::Dialect, server::Server};

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) folder: PathBuf,
    pub(crate) about: About,
}

/// `peer.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    pub(crate) dialect: Dialect,
    /// Whether it can send a message back to who said it.
    pub(crate) echo: bool,
    /// How it runs: processes, threads, what differs from its defaults.
    pub(crate) settings: String,
    /// What Dormouse does in the same measurement and this one does not.
    pub(crate) lacks: String,
}

impl Peer {
    /// The peer in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("peer.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let about =
            serde_json::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))?;
        Ok(Self { folder: folder.canonicalize()?, about })
    }

    /// Builds or fetches what is missing.
    pub(crate) fn install(&self) -> Result<()> {
        let status = Command::new(self.folder.join("install")).status().context("cannot run install")?;
        if !status.success() {
            bail!("{} failed: {status}", self.folder.join("install").display());
        }
        Ok(())
    }

    /// Name and version in a line.
    pub(crate) fn version(&self) -> Result<String> {
        let output = Command::new(self.folder.join("version")).output().context("cannot run version")?;
        let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || line.is_empty() {
            bail!("{} says nothing", self.folder.join("version").display());
        }
        Ok(line)
    }

    /// Starts it on a free port.
    pub(crate) fn serve(&self) -> Result<Server> {
        Server::on_a_free_port(&self.folder.join("serve"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_can_be_installed_started_and_told_from_the_others() {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let mut seen = 0;
        for entry in fs::read_dir(peers).unwrap().flatten().filter(|entry| entry.path().join("serve").exists()) {
            let peer = Peer::open(&entry.path()).unwrap();
            assert!(!peer.about.settings.is_empty() && !peer.about.lacks.is_empty(), "{peer:?}");
            assert!(["install", "version"].iter().all(|script| peer.folder.join(script).exists()), "{peer:?}");
            seen += 1;
        }
        assert_eq!(seen, 9, "peers");
    }
}
