//! `dormouse publish`: one event to a channel of a running server.

use serde_json::{Value, json};

use super::{Answer, Failure, api};

/// Publish an event to a channel of a running server
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse publish chat:lobby '{\"text\":\"the server restarts at noon\"}' --from ops
  dormouse publish live:score '[2,1]'
  dormouse publish chat:lobby '\"just text\"' --key build-1234     a second time changes nothing")]
pub(super) struct Args {
    /// The channel, such as chat:lobby
    channel: String,
    /// The event's data; a text needs its double quotes
    #[arg(value_name = "JSON")]
    data: String,
    /// In whose name
    #[arg(long, value_name = "USER")]
    from: Option<String>,
    /// Publishes once: the same key again gives the first event's offset
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Print the server's answer as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: api::Server,
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let data: Value = serde_json::from_str(&args.data).map_err(|error| {
        Failure::usage(format!("the data is not JSON ({error}): a text needs its double quotes, as in '\"hello\"'"))
    })?;
    let mut body = json!({"channel": args.channel, "data": data});
    for (name, value) in [("from", &args.from), ("key", &args.key)] {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    let answer = args
        .server
        .post("/v1/publish", &body)?
        .map_err(|refused| Failure::new(format!("not published: {}", refused.message)))?;
    if args.json {
        return Ok(Answer::new(api::pretty(&answer)));
    }
    let offset = &answer["offset"];
    Ok(Answer::new(if answer["duplicate"] == json!(true) {
        format!("already published to {} at offset {offset}", args.channel)
    } else {
        format!("published to {} at offset {offset}", args.channel)
    }))
}
