//! `dormouse chaos`: faults at a rate for a time against a running server, chosen by a seed, and what became of the node.
//!
//! `plan` decides, `rate` and the seed say how often and which, `attack` carries out, `aftermath` looks at the node before
//! and after; this file parses arguments and tells the result.

mod aftermath;
mod attack;
mod plan;
mod rate;

use std::{sync::Arc, thread, time::Duration};

use serde_json::{Value, json};

use self::{
    aftermath::Look,
    attack::{Done, Outcome, Stop},
    plan::{Kind, Mix, Place, Plan},
    rate::Rate,
};
use super::{Answer, Failure, api, table::Table};

/// Longer than anybody watches.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Inject faults into a running server at a rate, and see whether it minds
///
/// Which faults, where and in which order follows from the seed; which connections they hit is the server's choice. Ends with
/// a table and the node's ledger. Exit code 1: the ledger does not balance, or the server went away. Needs `chaos.enabled`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  dormouse chaos --rate 1000/s --for 60s --seed 7      a thousand panics a second: in turns, jobs and wakes
  dormouse chaos --faults panic,stall,drop --for 5s    equally many of each
  dormouse chaos --faults panic=999,panic_shard=1      a shard now and then
  dormouse chaos --faults stall --where job --ms 500   jobs that hang")]
pub(super) struct Args {
    /// Faults in a stretch of time, such as 1000/s or 30/m
    #[arg(long, default_value = "100/s", value_name = "RATE")]
    rate: Rate,
    /// For how long, such as 60s
    #[arg(long = "for", default_value = "10s", value_name = "TIME", value_parser = time)]
    time: Duration,
    /// The same seed gives the same faults in the same order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which: panic, stall, drop, panic_shard, panic_actor, store_delay, store_fail; NAME=9 makes one nine times as frequent
    #[arg(long, value_delimiter = ',', default_value = "panic", value_name = "FAULT", value_parser = plan::weighted)]
    faults: Vec<(Kind, u32)>,
    /// Where panics and stalls happen
    #[arg(long = "where", value_enum, value_delimiter = ',', default_value = "turn,job,wake", value_name = "PLACE")]
    places: Vec<Place>,
    /// How long a stall or a fault of the store lasts, in milliseconds
    #[arg(long, default_value_t = 100, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    ms: u64,
    /// How long to wait at the end until no event is pending
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = time)]
    settle: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: api::Server,
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let mix = Mix::new(&args.faults, &args.places).map_err(Failure::usage)?;
    let before = Look::take(&args.server)?;
    enabled(&args.server)?;
    let actors = before.actors();
    if mix.wants_actors() && actors.is_empty() {
        return Err(Failure::new("the server lists no actors that panic_actor could hit"));
    }
    let stop = interruptible()?;
    let orders = plan::orders(Plan::new(mix, args.seed), args.rate, args.time);
    let stall = Duration::from_millis(args.ms);
    let done = attack::carry_out(&args.server, orders, args.time, |order| order.body(&actors, stall), &stop);
    // A second interruption ends the waiting too.
    let stop = if done.interrupted { interruptible()? } else { stop };
    let after = match done.away {
        Some(_) => None,
        None => Look::when_quiet(&args.server, args.settle, &stop).ok(),
    };
    Ok(Verdict { args, done: &done, before: &before, after: after.as_ref() }.answer())
}

/// Asks for a fault that hits nobody.
fn enabled(server: &api::Server) -> Result<(), Failure> {
    let nobody = json!({"fault": "panic", "target": {"connections": ["nobody"]}});
    match server.post("/v1/chaos", &nobody)? {
        Ok(_) => Ok(()),
        Err(refused) if refused.status == 404 => Err(Failure::new(
            "chaos.enabled is off on the server: start it with `dormouse serve --set chaos.enabled=true` to inject faults",
        )),
        Err(refused) => Err(Failure::new(refused.message)),
    }
}

/// A stop that the next Ctrl-C pulls.
fn interruptible() -> Result<Arc<Stop>, Failure> {
    let stop = Arc::new(Stop::default());
    let pulled = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    // Ends with the process: nobody waits for a Ctrl-C that does not come.
    thread::spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            pulled.stop();
        }
    });
    Ok(stop)
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("write a time above 0, such as 60s".to_owned()),
        Ok(time) if time > LONGEST => Err("at most 24h".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}: write a time such as 60s or 5m")),
    }
}

/// Everything there is to tell.
struct Verdict<'a> {
    args: &'a Args,
    done: &'a Done,
    before: &'a Look,
    after: Option<&'a Look>,
}

impl Verdict<'_> {
    fn answer(&self) -> Answer {
        let problem = self.problem();
        let result = if self.args.json { api::pretty(&self.json(problem.as_deref())) } else { self.text() };
        Answer { result, note: problem.clone(), code: u8::from(problem.is_some()) }
    }

    /// What makes the exit code 1.
    fn problem(&self) -> Option<String> {
        if let Some(away) = &self.done.away {
            return Some(format!("the server went away: {away}"));
        }
        let Some(after) = self.after else {
            return Some("the server went away: it did not answer at the end".to_owned());
        };
        if !after.is_same(self.before) {
            return Some("the server went away: another process answers in its place".to_owned());
        }
        (!after.balances()).then(|| "the ledger does not balance".to_owned())
    }

    fn reached(&self) -> f64 {
        self.done.sum(|outcome| outcome.asked - outcome.refused) as f64 / self.done.took.as_secs_f64().max(f64::EPSILON)
    }

    fn text(&self) -> String {
        let Self { args, done, .. } = self;
        let mut lines = vec![format!(
            "seed {}: {} faults asked for in {:.1} s, {:.1}/s reached of {} wanted{}",
            args.seed,
            done.sum(|outcome| outcome.asked),
            done.took.as_secs_f64(),
            self.reached(),
            args.rate,
            if done.interrupted { ", interrupted" } else { "" }
        )];
        if done.late > 0 {
            lines.push(format!(
                "{} faults were not asked for in time: the server answers slower than they come",
                done.late
            ));
        }
        let mut table = Table::new(["FAULT", "WHERE", "REQUESTS", "FAULTS", "HITS", "REFUSED"]);
        for ((kind, place), outcome) in &done.outcomes {
            let Outcome { requests, asked, hits, refused, .. } = outcome;
            let counts = [requests, asked, hits, refused].map(u64::to_string);
            let [requests, asked, hits, refused] = counts;
            let place = place.map_or("", Place::name).to_owned();
            table.row([kind.name().to_owned(), place, requests, asked, hits, refused]);
        }
        lines.push(table.to_string());
        let complaints =
            done.outcomes.iter().filter_map(|((kind, _), outcome)| Some((kind, outcome.complaint.as_ref()?)));
        lines.extend(complaints.map(|(kind, words)| format!("{} refused: {words}", kind.name())));
        if let Some(after) = self.after {
            lines.push(format!("connections {} before, {} after", self.before.connections(), after.connections()));
            lines.push(format!("restarts    {}", after.restarts().saturating_sub(self.before.restarts())));
            lines.push(format!(
                "ledger      {} offered {} {} delivered + {} dropped + {} pending",
                after.offered(),
                if after.balances() { "=" } else { "≠" },
                after.delivered(),
                after.dropped(),
                after.pending()
            ));
            if !after.is_quiet() {
                lines.push(format!("not quiet within {}", humantime::format_duration(args.settle)));
            }
        }
        lines.join("\n")
    }

    fn json(&self, problem: Option<&str>) -> Value {
        let Self { args, done, .. } = self;
        let faults = done.outcomes.iter().map(|((kind, place), outcome)| {
            json!({"fault": kind, "where": place, "requests": outcome.requests, "asked": outcome.asked,
                "hits": outcome.hits, "refused": outcome.refused, "complaint": outcome.complaint})
        });
        json!({
            "seed": args.seed,
            "rate": {"wanted": args.rate.per_second(), "reached": self.reached()},
            "seconds": done.took.as_secs_f64(),
            "late": done.late,
            "interrupted": done.interrupted,
            "faults": faults.collect::<Vec<_>>(),
            "before": {"connections": self.before.connections(), "restarts": self.before.restarts()},
            "after": self.after.map(|after| json!({
                "connections": after.connections(), "restarts": after.restarts(),
                "quiet": after.is_quiet(), "balances": after.balances(), "ledger": after.0["ledger"]})),
            "problem": problem,
        })
    }
}
