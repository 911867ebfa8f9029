//! `dormouse kill`: crashes actors of a running server, to see that nobody notices. Closing a connection is something else:
//! `DELETE /v1/connections/{id}`.

use serde_json::{Value, json};

use super::{Answer, Failure, api};

/// Crash actors of a running server, whose connections should go on
///
/// The next turn of each panics; its supervisor brings it back on the same socket. Needs `chaos.enabled` on the server.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse kill 0-17           the actor of one connection
  dormouse kill --count 100    of a hundred, chosen by chance
  dormouse kill --fraction 0.1 of every tenth")]
#[group(id = "target", required = true, multiple = false, args = ["id", "count", "fraction"])]
pub(super) struct Args {
    /// The connection's id
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// This many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// This part of all: more than 0, at most 1
    #[arg(long, value_name = "F", value_parser = fraction)]
    fraction: Option<f64>,
    /// Print the server's answer as it is
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: api::Server,
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let body = json!({"fault": "panic", "target": target(args)});
    let answer = args.server.post("/v1/chaos", &body)?.map_err(|refused| match (refused.status, &args.id) {
        (404, Some(_)) if refused.message.starts_with("there is no connection") => Failure::new(refused.message),
        // Both "no such endpoint" and "no such connection" are a 404; the server's words tell them apart.
        (404, Some(id)) if !refused.message.contains("chaos") => Failure::new(format!(
            "there is no connection {id}, or chaos.enabled is off on the server, which said: {}",
            refused.message
        )),
        (404, _) => Failure::new(
            "chaos.enabled is off on the server: start it with `dormouse serve --set chaos.enabled=true` to crash actors",
        ),
        _ => Failure::new(refused.message),
    })?;
    if args.json {
        return Ok(Answer::new(api::pretty(&answer)));
    }
    Ok(Answer::new(match answer["hit"].as_u64() {
        Some(0) => "no actor was hit".to_owned(),
        Some(1) => "crashed 1 actor".to_owned(),
        Some(hit) => format!("crashed {hit} actors"),
        None => return Err(Failure::new(format!("{} answered without a number of hits", args.server.url()))),
    }))
}

fn target(args: &Args) -> Value {
    match (&args.id, args.count, args.fraction) {
        (Some(id), ..) => json!({"connection": id}),
        (_, Some(count), _) => json!({"count": count}),
        (.., fraction) => json!({"fraction": fraction}),
    }
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(part) if part > 0.0 && part <= 1.0 => Ok(part),
        _ => Err("write a number above 0 and up to 1, such as 0.1".to_owned()),
    }
}
