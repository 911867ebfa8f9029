//! TEMPORARY: holds the place of the node until it is wired, so that the command line compiles against its entry point.

use crate::config::Config;

/// Runs a node until it is told to stop.
///
/// # Errors
/// Always, for now.
pub fn serve(_config: Config) -> anyhow::Result<()> {
    anyhow::bail!("the node is not wired yet")
}
