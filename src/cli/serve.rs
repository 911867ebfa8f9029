//! `dormouse serve`: reads the configuration and hands it to the node, which returns after a drain.

use super::{Answer, Failure, settings};
use crate::{config, node};

/// Run a server
///
/// Without arguments it listens on 127.0.0.1:8080 with open auth: the token is the user name. SIGTERM drains it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse serve
  dormouse serve --listen 127.0.0.1:9000 --set chaos.enabled=true --set heartbeat.interval=10s
  DORMOUSE__AUTH__MODE=jwt DORMOUSE__AUTH__KEYS=… dormouse serve --listen 0.0.0.0:8080 --config dormouse.toml")]
pub(super) struct Args {
    #[command(flatten)]
    settings: settings::Settings,
    /// Where to listen: an IP address and a port, 0 for any free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

pub(super) fn run(args: Args) -> Result<Answer, Failure> {
    let sources = args.settings.sources(args.listen);
    let loaded = config::load(&sources)?;
    let again = move || config::load(&sources).map(|loaded| loaded.config).map_err(|error| error.to_string());
    node::serve(loaded.config, again).map_err(|error| Failure::new(format!("{error:#}")))?;
    Ok(Answer::default())
}
