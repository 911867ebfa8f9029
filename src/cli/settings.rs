//! The arguments by which `serve`, `check` and `token` find their configuration, so that all three see the same one.

use std::path::PathBuf;

use crate::config::Sources;

#[derive(clap::Args)]
pub(super) struct Settings {
    /// A configuration file; without it the defaults hold. config/dormouse.toml shows every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key over file and environment, such as limits.mailbox=2048; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// These arguments and the environment of the process.
    pub(super) fn sources(self, listen: Option<String>) -> Sources {
        Sources { file: self.config, environment: std::env::vars_os().collect(), set: self.set, listen }
    }
}
