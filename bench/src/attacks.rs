//! `attacks`: floods, drips, nests, fragments and silence (`arsenal`), each against a server of its own with bystanders who
//! publish and hear all the while. The attackers must get the right answer, and the bystanders must notice nothing: no
//! disconnect, nothing lost, and the same p99 from publish to delivery.

use std::{thread, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    arsenal::ARSENAL,
    attack::Attack,
    attacks_judge,
    report::{Report, Unit},
    siege::{self, Evidence, Plan},
    target::TargetOptions,
};

/// With `--quick` so many attacks go on at once, each with its own server: no times are judged there.
const AT_ONCE: usize = 7;
/// With it limits are lower, as floods are smaller.
const QUICK_SETS: [&str; 4] = [
    "limits.publish_per_second=20",
    "limits.publish_burst=20",
    "limits.frames_per_second=600",
    "limits.bytes_per_second=1000000",
];

/// Options of `attacks`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only attacks whose names hold one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Bystanders [default: 400, quick 40]
    #[arg(long)]
    connections: Option<usize>,
    /// Channels they are spread over [default: 4, quick 2]
    #[arg(long)]
    channels: Option<usize>,
    /// Publications a second, over all channels [default: 100, quick 10]
    #[arg(long)]
    rate: Option<f64>,
    /// How often calm and attack take turns, in short phases; three times at least in long ones [default: 7, quick 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of a phase, calm or attack; attacks whose answer takes longer have longer ones [default: 3, quick 1]
    #[arg(long)]
    seconds: Option<u64>,
    #[command(flatten)]
    target: TargetOptions,
}

/// Runs all of them and says whether every promise held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let quick = options.target.quick;
    let size = &options.target;
    let plan = Plan {
        bystanders: size.size(options.connections, 400, 40),
        channels: size.size(options.channels, 4, 2).max(1),
        rate: size.size(options.rate, 100.0, 10.0),
        rounds: size.size(options.rounds, 7, 1).max(1),
        phase: Duration::from_secs(size.size(options.seconds, 3, 1)),
        calm: quick.then_some(Duration::from_millis(500)),
        quick,
        sets: if quick { QUICK_SETS.map(str::to_owned).to_vec() } else { Vec::new() },
    };
    let named =
        |attack: &&Attack| options.only.is_empty() || options.only.iter().any(|part| attack.name.contains(part));
    let mut attacks: Vec<&'static Attack> = ARSENAL.iter().filter(named).collect();
    if attacks.is_empty() {
        bail!("no attack is named so; there are: {}", ARSENAL.each_ref().map(|attack| attack.name).join(", "));
    }
    let evidence = if quick {
        // Those that take as long stand together.
        attacks.sort_by_key(|attack| attack.seconds);
        together(&attacks, &plan, &options.target)?
    } else {
        attacks.iter().map(|attack| in_turn(attack, &plan, &options.target)).collect::<Result<_>>()?
    };
    let mut report = Report::new("attacks: what the attackers are answered, and what others notice");
    let note = format!(
        "of each attack, in {} channels, {} publications a second; attackers in a process of their own (nice 19)",
        plan.channels, plan.rate
    );
    report.figure("bystanders", plan.bystanders as f64, Unit::Count, note);
    attacks_judge::judge(&evidence, !quick, &mut report);
    report.text("seed", options.target.seed.to_string(), "of masks and rubbish");
    report.finish(options.target.json.as_deref())
}

/// Some at a time.
fn together(attacks: &[&'static Attack], plan: &Plan, options: &TargetOptions) -> Result<Vec<Evidence>> {
    let mut all = Vec::new();
    for some in attacks.chunks(AT_ONCE) {
        let evidence = thread::scope(|scope| {
            let under_way: Vec<_> =
                some.iter().map(|attack| scope.spawn(move || siege::lay(attack, plan, options))).collect();
            let ended = under_way.into_iter().map(|one| one.join().ok().context("a thread panicked")?);
            ended.collect::<Result<Vec<_>>>()
        });
        all.extend(evidence?);
    }
    Ok(all)
}

/// One, and says which: a full run takes its time.
fn in_turn(attack: &'static Attack, plan: &Plan, options: &TargetOptions) -> Result<Evidence> {
    eprintln!("{} …", attack.name);
    siege::lay(attack, plan, options)
}
