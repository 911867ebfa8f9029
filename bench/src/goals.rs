//! What Dormouse is to reach, held against the results: each goal with its figure and whether it is met, as a table.
//! Goals are told and fail nothing: they are also the machine's. Called by the comparison.

use std::fmt::Write as _;

use crate::{
    contestant::{DORMOUSE, FLOOR},
    figures::{Better, Figure, Section},
    report::show,
    results::Results,
};

/// One goal.
struct Goal {
    section: Section,
    /// Of the section's columns.
    figure: &'static str,
    aim: Aim,
}

/// What a figure of ours is held against.
#[derive(Clone, Copy)]
enum Aim {
    /// Not more than this, in the figure's unit.
    AtMost(f64),
    /// At least this, in the figure's unit.
    AtLeast(f64),
    /// As good as the best of the peers.
    First,
    /// Not more than so many times that contestant's.
    AtMostTimes(f64, &'static str),
    /// At least so many times that contestant's.
    AtLeastTimes(f64, &'static str),
}

use Aim::{AtLeast, AtLeastTimes, AtMost, AtMostTimes, First};

const GOALS: &[Goal] = &[
    goal(Section::Actors, "bytes each", AtMost(256.0)),
    goal(Section::Actors, "a message", AtMost(1.0)),
    goal(Section::Actors, "a heartbeat", AtMost(1.0)),
    goal(Section::Actors, "spawned", AtLeast(1_000_000.0)),
    goal(Section::Actors, "restarted", AtLeast(200_000.0)),
    goal(Section::Density, "user space", AtMost(256.0)),
    goal(Section::Density, "user space", First),
    goal(Section::Density, "with the kernel", AtMost(4_200.0)),
    goal(Section::Burst, "after ÷ idle", AtMost(1.2)),
    goal(Section::Single, "CPU per delivery", AtMostTimes(1.15, FLOOR)),
    goal(Section::Single, "CPU per delivery", AtMostTimes(1.0, "bun")),
    goal(Section::Saturated, "deliveries", AtLeastTimes(10.0, "bun")),
    goal(Section::Saturated, "CPU per delivery", AtMost(0.5)),
    goal(Section::Latency, "p50", First),
    goal(Section::Latency, "p99", First),
    goal(Section::Echo, "messages per core", AtLeastTimes(1.0, "bun")),
    goal(Section::Storm, "taken in", AtLeastTimes(1.0, "nchan")),
    goal(Section::Storm, "back", AtLeast(100.0)),
    goal(Section::Idle, "at a million's beats", AtMost(0.3)),
];

const fn goal(section: Section, figure: &'static str, aim: Aim) -> Goal {
    Goal { section, figure, aim }
}

/// The goals whose sections have been run, as a Markdown table; nothing when there are none.
pub(crate) fn table(results: &Results) -> Option<String> {
    let lines: String = GOALS.iter().filter_map(|goal| line(results, goal)).collect();
    (!lines.is_empty()).then(|| format!("| measurement | figure | goal | measured | |\n|---|---|---|--:|---|\n{lines}"))
}

fn line(results: &Results, goal: &Goal) -> Option<String> {
    let figure = goal.section.figures().iter().find(|figure| figure.name == goal.figure)?;
    let (words, held_against, shown, met) = judge(results, goal, figure)?;
    let mut line = String::new();
    let verdict = if met { "met" } else { "**missed**" };
    let name = goal.section.name();
    let _ = writeln!(line, "| {name} | {} | {words} {held_against} | {shown} | {verdict} |", goal.figure);
    Some(line)
}

/// In words, what it is held against, what was measured, and whether that is enough.
fn judge(results: &Results, goal: &Goal, figure: &Figure) -> Option<(&'static str, String, String, bool)> {
    let of = |name: &str| results.value(goal.section, name, figure).map(|(middle, ..)| middle);
    let ours = of(DORMOUSE)?;
    let shown = show(ours, figure.unit);
    let version = |name: &str| {
        let known = results.contestants.iter().find(|contestant| contestant.name == name);
        known.map_or(name, |contestant| contestant.version.as_str()).to_owned()
    };
    Some(match goal.aim {
        AtMost(most) => ("≤", show(most, figure.unit), shown, ours <= most),
        AtLeast(least) => ("≥", show(least, figure.unit), shown, ours >= least),
        AtMostTimes(times, name) => {
            let ratio = ours / of(name)?;
            ("≤", format!("{times} × {}", version(name)), format!("{ratio:.2} ×"), ratio <= times)
        }
        AtLeastTimes(times, name) => {
            let ratio = ours / of(name)?;
            ("≥", format!("{times} × {}", version(name)), format!("{ratio:.2} ×"), ratio >= times)
        }
        First => {
            let others = results.contestants.iter().filter(|other| ![FLOOR, DORMOUSE].contains(&other.name.as_str()));
            let values = others.filter_map(|other| Some((of(&other.name)?, other.version.clone())));
            let (best, name) = values.min_by(|(one, _), (other, _)| match figure.better {
                Better::Higher => other.total_cmp(one),
                _ => one.total_cmp(other),
            })?;
            let met = if figure.better == Better::Higher { ours >= best } else { ours <= best };
            ("the best of the peers:", format!("{} ({name})", show(best, figure.unit)), shown, met)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contestant::{Contestant, Figures};

    #[test]
    fn every_goal_names_a_column_of_its_section() {
        for goal in GOALS {
            let names = goal.section.figures().iter().map(|figure| figure.name);
            assert!(
                names.clone().any(|name| name == goal.figure),
                "{} in {:?}",
                goal.figure,
                names.collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn goals_are_judged_by_value_by_ratio_and_by_the_best_peer() {
        let mut results = Results::default();
        results.begin(Section::Density, 1, "bench/run density");
        for (name, bytes) in [("dormouse", 200.0), ("bun", 150.0), ("nchan", 9_000.0), ("raw", 1.0)] {
            let contestant = Contestant { name: name.to_owned(), version: name.to_owned(), ..Contestant::dormouse() };
            results.present(std::slice::from_ref(&contestant));
            let trial = Figures::from_iter([("user space per connection".to_owned(), bytes.into())]);
            results.keep(Section::Density, &contestant, Ok(vec![trial]));
        }
        let table = table(&results).unwrap();
        assert!(table.contains("| density | user space | ≤ 256 B | 200 B | met |"), "{table}");
        assert!(table.contains("the best of the peers: 150 B (bun) | 200 B | **missed** |"), "{table}");
        assert!(!table.contains("storm"), "{table}");
    }
}
