//! The results of a comparison: every trial's figures by section and contestant, kept in one JSON file for each date. A run
//! of some sections replaces those and leaves the others as they are.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    contestant::{Contestant, Figures},
    figures::{Figure, Section, median},
    report::machine,
};

/// See the file's head.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: String,
    pub(crate) contestants: Vec<Contestant>,
    sections: BTreeMap<String, Trials>,
    /// Of `million`, which is Dormouse's alone and no contest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) million: Option<Value>,
}

/// The trials of a section.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Trials {
    /// The command that ran them.
    pub(crate) command: String,
    pub(crate) rounds: usize,
    by_contestant: BTreeMap<String, Vec<Figures>>,
    /// Why a contestant has fewer rounds.
    pub(crate) failures: BTreeMap<String, String>,
}

impl Results {
    /// Those of an earlier run, if there were any.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is not ours", path.display())),
            Err(_) => Ok(Self::default()),
        }
    }

    pub(crate) fn store(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Names who takes part; a later run on the same day may name others.
    pub(crate) fn present(&mut self, contestants: &[Contestant]) {
        self.machine = machine();
        for contestant in contestants {
            match self.contestants.iter_mut().find(|known| known.name == contestant.name) {
                Some(known) => *known = contestant.clone(),
                None => self.contestants.push(contestant.clone()),
            }
        }
    }

    /// Forgets the earlier trials of a section.
    pub(crate) fn begin(&mut self, section: Section, rounds: usize, command: &str) {
        let trials = Trials { rounds, command: command.to_owned(), ..Trials::default() };
        self.sections.insert(section.name().to_owned(), trials);
    }

    /// Keeps the outcome of a trial.
    pub(crate) fn keep(&mut self, section: Section, contestant: &Contestant, outcome: Result<Vec<Figures>>) {
        let trials = self.sections.entry(section.name().to_owned()).or_default();
        match outcome {
            Ok(figures) => trials.by_contestant.entry(contestant.name.clone()).or_default().extend(figures),
            Err(error) => {
                eprintln!("{}: {} failed: {error:#}", section.name(), contestant.name);
                trials.failures.insert(contestant.name.clone(), format!("{error:#}"));
            }
        }
    }

    /// The trials that `section` reads.
    pub(crate) fn trials(&self, section: Section) -> Option<&Trials> {
        self.sections.get(section.source().name())
    }

    /// Median, smallest and largest value of a figure.
    pub(crate) fn value(&self, section: Section, contestant: &str, figure: &Figure) -> Option<(f64, f64, f64)> {
        let trials = self.trials(section)?.by_contestant.get(contestant)?;
        median(&trials.iter().filter_map(|trial| figure.of(trial)).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_some_sections_leaves_the_others_and_reads_back() {
        let directory = std::env::temp_dir().join(format!("dormouse-results-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("day.json");
        let ours = Contestant::dormouse();
        let trial = |rate: f64| Figures::from_iter([("taken in".to_owned(), rate.into())]);
        let mut results = Results::load(&path).unwrap();
        results.present(std::slice::from_ref(&ours));
        results.begin(Section::Storm, 2, "storm");
        results.keep(Section::Storm, &ours, Ok(vec![trial(10.0)]));
        results.keep(Section::Storm, &ours, Ok(vec![trial(30.0)]));
        results.store(&path).unwrap();
        let mut results = Results::load(&path).unwrap();
        results.begin(Section::Echo, 1, "echo");
        results.keep(Section::Echo, &ours, Err(anyhow::anyhow!("no")));
        let taken_in = &Section::Storm.figures()[0];
        assert_eq!(results.value(Section::Storm, "dormouse", taken_in), Some((20.0, 10.0, 30.0)));
        assert_eq!(results.trials(Section::Echo).unwrap().failures["dormouse"], "no");
        fs::remove_dir_all(directory).unwrap();
    }
}
