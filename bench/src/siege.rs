//! One attack on one server: a fresh server, bystanders with a steady load (a client process of `chaos`), and attackers in a
//! process aside. Calm and attack take turns; what everybody has seen comes back as evidence. Judges nothing.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{
    answers::Answers,
    attack::{Attack, SETS},
    attacker,
    chaos_crowd::{self, TAIL},
    chaos_judge::Phases,
    chaos_witness::Account,
    clock,
    histogram::Histogram,
    process::Cpu,
    scrape::Scrape,
    target::{Target, TargetOptions},
    team::Team,
};

/// A process that has not connected its share by then never will.
const ARRIVAL: Duration = Duration::from_secs(60);
/// After an attack: its sockets end, its sessions are parked, and none of that belongs to the calm that follows.
const AFTERMATH: Duration = Duration::from_millis(700);

/// A median of fewer rounds is none.
const FEWEST: usize = 3;

/// How the load of the bystanders is made up, and how long phases last.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) bystanders: usize,
    pub(crate) channels: usize,
    /// Publications a second.
    pub(crate) rate: f64,
    pub(crate) rounds: usize,
    /// At least; an attack that needs longer has longer ones.
    pub(crate) phase: Duration,
    /// The calm ones, when they are not to be as long.
    pub(crate) calm: Option<Duration>,
    /// Attacks as `--quick` has them.
    pub(crate) quick: bool,
    /// For the server, behind everything else.
    pub(crate) sets: Vec<String>,
}

impl Plan {
    /// How long a phase of an attack is, and how many rounds there are of it: long ones have fewer.
    fn phases(&self, attack: &Attack) -> (Duration, usize) {
        let phase = self.phase.max(Duration::from_secs(attack.seconds));
        let rounds = (self.phase * self.rounds as u32).as_secs_f64() / phase.as_secs_f64();
        (phase, (rounds.round() as usize).max(self.rounds.min(FEWEST)))
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) attack: &'static Attack,
    pub(crate) answers: Answers,
    pub(crate) account: Account,
    /// Publish to delivery of each calm phase, and of each attack.
    pub(crate) calm: Vec<Histogram>,
    pub(crate) hot: Vec<Histogram>,
    pub(crate) calm_load: Phases,
    /// `own` is the attackers'.
    pub(crate) hot_load: Phases,
    /// Beside their publisher.
    pub(crate) bystanders: usize,
}

/// Runs one.
pub(crate) fn lay(attack: &'static Attack, plan: &Plan, options: &TargetOptions) -> Result<Evidence> {
    let sets = SETS.iter().chain(attack.sets).map(|set| (*set).to_owned()).chain(plan.sets.iter().cloned());
    let target = options.open(&sets.collect::<Vec<_>>())?;
    if target.server.is_none() {
        bail!("each attack has a server of its own: no --url");
    }
    play(attack, plan, options, &target).map_err(|error| target.explain(error).context(attack.name))
}

fn play(attack: &'static Attack, plan: &Plan, options: &TargetOptions, target: &Target) -> Result<Evidence> {
    let mut crowd = Team::start("chaos-crowd", 1)?;
    crowd.tell(|process| chaos_crowd::Task {
        address: target.address,
        sources: options.sources,
        seed: options.seed,
        process,
        subscribers: plan.bystanders,
        channels: plan.channels,
        rate: plan.rate,
    })?;
    crowd.hear::<usize>(ARRIVAL)?;
    let mut attackers = Team::start_aside("attacker")?;
    attackers.tell(|_| attacker::Task {
        address: target.address,
        seed: options.seed,
        attack: attack.name.to_owned(),
        quick: plan.quick,
    })?;
    attackers.hear::<bool>(ARRIVAL)?;
    crowd.tell(|_| chaos_crowd::Order::Phase(0))?;
    clock::rest(AFTERMATH);
    let before = Scrape::take(target.address)?;
    let (mut calm_load, mut hot_load) = (Phases::default(), Phases::default());
    let (phase, rounds) = plan.phases(attack);
    for round in 0..rounds {
        crowd.tell(|_| chaos_crowd::Order::Phase(1 + 2 * round))?;
        last(plan.calm.unwrap_or(phase), target, (&crowd, &attackers), &mut calm_load)?;
        attackers.tell(|_| attacker::Order::Attack)?;
        crowd.tell(|_| chaos_crowd::Order::Phase(2 + 2 * round))?;
        last(phase, target, (&crowd, &attackers), &mut hot_load)?;
        attackers.tell(|_| attacker::Order::Rest)?;
        crowd.tell(|_| chaos_crowd::Order::Phase(0))?;
        clock::rest(AFTERMATH);
    }
    attackers.tell(|_| attacker::Order::Finish)?;
    let mut answers = attackers.hear::<Answers>(ARRIVAL)?.into_iter().next().unwrap_or_default();
    crowd.tell(|_| chaos_crowd::Order::Finish)?;
    let account = crowd.hear::<Account>(TAIL * 2)?.into_iter().next().unwrap_or_default();
    if attack.deaf {
        // They have not read it: the server says what it told them.
        let now = Scrape::take(target.address)?;
        let closed = r#"dormouse_closes_total{code="4002"}"#;
        let told = (now.sample(closed) - before.sample(closed)) as u64;
        if told > 0 {
            answers.insert("close 4002".to_owned(), told);
        }
    }
    let of_phases = |first: usize| {
        let phase = |round| {
            let of = |kind: &[Histogram]| kind.get(first + 2 * round).cloned().unwrap_or_else(Histogram::new);
            let mut all: Histogram = of(&account.bystanders);
            all.add(&of(&account.victims));
            all
        };
        (0..rounds).map(phase).collect()
    };
    let (calm, hot) = (of_phases(1), of_phases(2));
    Ok(Evidence { attack, answers, account, calm, hot, calm_load, hot_load, bystanders: plan.bystanders })
}

/// Lets a phase pass and adds the processor time of everybody in it.
fn last(phase: Duration, target: &Target, (crowd, attackers): (&Team, &Team), phases: &mut Phases) -> Result<()> {
    let read = || -> Result<(Option<Cpu>, Vec<Cpu>, Vec<Cpu>)> { Ok((target.cpu()?, crowd.cpu()?, attackers.cpu()?)) };
    let start = clock::now();
    let (server, clients, aside) = read()?;
    clock::rest(phase);
    let (server_now, clients_now, aside_now) = read()?;
    phases.wall += start.elapsed();
    let grown = |now: &[Cpu], then: &[Cpu]| now.iter().zip(then).map(|(now, then)| now.since(then)).sum::<Duration>();
    phases.server += server_now.zip(server).map_or(Duration::ZERO, |(now, then)| now.since(&then));
    phases.clients += grown(&clients_now, &clients);
    phases.own += grown(&aside_now, &aside);
    Ok(())
}
