//! Runs the trials of a comparison, round by round, every contestant once in each round, so that a disturbance hits all
//! of them alike. Knows which measurement with which arguments makes which section.

use std::{collections::VecDeque, time::Duration};

use anyhow::Result;

use crate::{
    clock,
    contestant::{Contestant, DORMOUSE, FLOOR, Site, Trial},
    figures::Section,
    results::Results,
};

/// Bursts that wait for their last reading at the same time. Their sockets cost nothing meanwhile but memory.
const RESTING: usize = 12;

/// How large the trials are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) rounds: usize,
    actors: usize,
    other_actors: usize,
    connections: usize,
    burst_connections: usize,
    settle: Duration,
    rest: Duration,
    idle_seconds: u64,
    subscribers: usize,
    fanout_seconds: u64,
    echo_connections: usize,
    echo_seconds: u64,
}

impl Size {
    pub(crate) fn full() -> Self {
        Self {
            rounds: 5,
            actors: 5_000_000,
            other_actors: 1_000_000,
            connections: 18_000,
            burst_connections: 9_000,
            settle: Duration::from_secs(1),
            rest: Duration::from_secs(60),
            idle_seconds: 2,
            subscribers: 2_000,
            fanout_seconds: 1,
            echo_connections: 1_000,
            echo_seconds: 1,
        }
    }

    pub(crate) fn quick() -> Self {
        Self {
            rounds: 1,
            actors: 200_000,
            other_actors: 200_000,
            connections: 2_000,
            burst_connections: 1_000,
            settle: Duration::from_secs(1),
            rest: Duration::from_secs(3),
            idle_seconds: 2,
            subscribers: 500,
            fanout_seconds: 1,
            echo_connections: 200,
            echo_seconds: 1,
        }
    }
}

/// A comparison under way.
#[derive(Debug)]
pub(crate) struct Contest<'a> {
    pub(crate) site: &'a Site,
    pub(crate) contestants: &'a [Contestant],
    pub(crate) size: Size,
    pub(crate) command: &'a str,
    pub(crate) results: &'a mut Results,
}

impl Contest<'_> {
    /// Runs what `section` needs. A contestant that fails keeps its other rounds and the reason.
    pub(crate) fn run(&mut self, section: Section) -> Result<()> {
        eprintln!("{} …", section.name());
        let begun = clock::now();
        self.results.begin(section, self.size.rounds, self.command);
        let mut resting: VecDeque<(&Contestant, Trial)> = VecDeque::new();
        // A process with actors makes its rounds itself: what they have in common is most of it.
        let rounds = if section == Section::Actors { 1 } else { self.size.rounds };
        for round in 0..rounds {
            // Each round begins with another, so that nobody always runs after the same one.
            let (later, sooner) = self.contestants.split_at(round % self.contestants.len().max(1));
            for contestant in sooner.iter().chain(later) {
                let Some(arguments) = self.arguments(section, contestant) else { continue };
                let mut trial = contestant.start(self.site, &arguments)?;
                if section == Section::Burst {
                    trial.until_resting()?;
                    resting.push_back((contestant, trial));
                    if resting.len() > RESTING
                        && let Some((contestant, trial)) = resting.pop_front()
                    {
                        self.results.keep(section, contestant, trial.figures());
                    }
                } else {
                    self.results.keep(section, contestant, trial.figures());
                }
            }
        }
        for (contestant, trial) in resting {
            self.results.keep(section, contestant, trial.figures());
        }
        eprintln!("{}: {} s", section.name(), begun.elapsed().as_secs());
        Ok(())
    }

    /// What a contestant's trial is called with; nothing when it takes no part.
    fn arguments(&self, section: Section, contestant: &Contestant) -> Option<Vec<String>> {
        let floor = contestant.name == FLOOR;
        let size = self.size;
        let line = match section {
            Section::Actors if !contestant.has_actors() => return None,
            Section::Actors if contestant.name == DORMOUSE => {
                format!("actors --waves {} --actors {}", size.rounds, size.actors)
            }
            Section::Actors => format!("actors --waves {} --actors {}", size.rounds, size.other_actors),
            _ if contestant.is_model() => return None,
            Section::Density | Section::Idle => format!(
                "density --connections {} --settle {}ms --idle-seconds {}",
                size.connections,
                size.settle.as_millis(),
                size.idle_seconds
            ),
            Section::Burst if floor => return None,
            Section::Burst => format!(
                "density --connections {} --settle {}ms --idle-seconds 0 --burst --rest {}s",
                size.burst_connections,
                size.settle.as_millis(),
                size.rest.as_secs()
            ),
            Section::Single => self.fanout(contestant, "--window 1"),
            Section::Saturated => self.fanout(contestant, "--window 64"),
            Section::Latency => {
                let deliveries = Section::Saturated.figures().first()?;
                let (saturation, ..) = self.results.value(Section::Saturated, &contestant.name, deliveries)?;
                self.fanout(contestant, &format!("--rate {:.3}", saturation / size.subscribers as f64 / 2.0))
            }
            Section::Echo if !contestant.echo => return None,
            Section::Echo => {
                format!("echo --connections {} --seconds {}", size.echo_connections, size.echo_seconds)
            }
            Section::Storm => format!("storm --connections {}", size.connections),
        };
        Some(line.split(' ').map(str::to_owned).collect())
    }

    fn fanout(&self, contestant: &Contestant, pace: &str) -> String {
        let floor = if contestant.name == FLOOR { "--floor-only" } else { "--no-floor" };
        format!("fanout --subscribers {} --seconds {} {pace} {floor}", self.size.subscribers, self.size.fanout_seconds)
    }
}
