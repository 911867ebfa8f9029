//! What a comparison shows: the sections, and in each the figures with where they stand in a trial's JSON, which way is
//! better, and the goal in words. A new figure is a line here.

use serde_json::Value;

use self::Better::{Higher, Lower, Neither};
use crate::{
    contestant::Figures,
    report::Unit::{self, Bytes, Cores, Micros, PerSecond, Percent, Ratio, Seconds},
};

/// One table and one plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Actors,
    Density,
    Idle,
    Burst,
    Single,
    Saturated,
    Latency,
    Echo,
    Storm,
}

/// Which way a figure should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
    /// Told, not compared.
    Neither,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    of: fn(&Figures) -> Option<f64>,
}

impl Figure {
    /// Its value in a trial.
    pub(crate) fn of(&self, trial: &Figures) -> Option<f64> {
        (self.of)(trial).filter(|value| value.is_finite())
    }
}

const fn figure(name: &'static str, unit: Unit, better: Better, of: fn(&Figures) -> Option<f64>) -> Figure {
    Figure { name, unit, better, of }
}

fn number(trial: &Figures, name: &str) -> Option<f64> {
    trial.get(name).and_then(Value::as_f64)
}

fn quantile(trial: &Figures, name: &str, which: &str) -> Option<f64> {
    trial.get(name)?.get(which)?.as_f64()
}

fn own_cores(trial: &Figures) -> Option<f64> {
    number(trial, "load generator CPU")
}

/// The generator's own processor time stands in every table.
const GENERATOR: Figure = figure("generator", Cores, Neither, own_cores);

/// A figure that has a goal, or none where it is only told.
fn judged(trial: &Figures, name: &str) -> Option<f64> {
    quantile(trial, name, "value").or_else(|| number(trial, name))
}

const ACTORS: &[Figure] = &[
    figure("bytes each", Bytes, Lower, |trial| judged(trial, "bytes each")),
    figure("a message", Micros, Lower, |trial| judged(trial, "a message")),
    figure("a heartbeat", Micros, Neither, |trial| judged(trial, "a heartbeat and its answer")),
    figure("spawned", PerSecond, Higher, |trial| judged(trial, "spawned")),
    figure("with a session", PerSecond, Neither, |trial| judged(trial, "spawned with a session")),
    figure("restarted", PerSecond, Neither, |trial| judged(trial, "restarted")),
];

const DENSITY: &[Figure] = &[
    figure("user space", Bytes, Lower, |trial| number(trial, "user space per connection")),
    figure("with the kernel", Bytes, Lower, |trial| number(trial, "with the kernel's share")),
    figure("kernel slab per socket", Bytes, Neither, |trial| number(trial, "kernel per socket")),
    GENERATOR,
];

const IDLE: &[Figure] = &[
    figure("at a million's beats", Cores, Lower, |trial| number(trial, "server CPU at a million's heartbeats")),
    figure("18,000 idle", Cores, Lower, |trial| number(trial, "server CPU, all idle")),
    figure("none", Cores, Neither, |trial| number(trial, "server CPU, no connections")),
    figure("per beat of 18,000", Micros, Lower, |trial| number(trial, "server CPU per heartbeat")),
    figure("generator", Cores, Neither, |trial| number(trial, "load generator CPU at a million's heartbeats")),
];

const BURST: &[Figure] = &[
    figure("after ÷ idle", Ratio, Lower, |trial| {
        Some(after_burst(trial)? / number(trial, "user space per connection before it")?)
    }),
    figure("after", Bytes, Lower, after_burst),
    figure("at its end", Bytes, Neither, |trial| number(trial, "user space per connection at its end")),
    figure("idle", Bytes, Neither, |trial| number(trial, "user space per connection before it")),
    figure("generator", Cores, Neither, |trial| number(trial, "load generator CPU in the burst")),
];

const SINGLE: &[Figure] = &[
    figure("CPU per delivery", Micros, Lower, |trial| number(trial, "server CPU per delivery")),
    figure("deliveries", PerSecond, Higher, |trial| number(trial, "deliveries")),
    figure("p99", Micros, Lower, |trial| quantile(trial, "publish to delivery", "p99_us")),
    GENERATOR,
];

const SATURATED: &[Figure] = &[
    figure("deliveries", PerSecond, Higher, |trial| number(trial, "deliveries")),
    figure("CPU per delivery", Micros, Lower, |trial| number(trial, "server CPU per delivery")),
    GENERATOR,
];

const LATENCY: &[Figure] = &[
    figure("p99", Micros, Lower, |trial| quantile(trial, "publish to delivery", "p99_us")),
    figure("p50", Micros, Lower, |trial| quantile(trial, "publish to delivery", "p50_us")),
    figure("deliveries", PerSecond, Neither, |trial| number(trial, "deliveries")),
    GENERATOR,
];

const ECHO: &[Figure] = &[
    figure("messages per core", PerSecond, Higher, |trial| Some(1e6 / number(trial, "server CPU per message")?)),
    figure("messages", PerSecond, Higher, |trial| number(trial, "messages")),
    figure("p99", Micros, Lower, |trial| quantile(trial, "round trip", "p99_us")),
    GENERATOR,
];

const STORM: &[Figure] = &[
    figure("taken in", PerSecond, Higher, |trial| number(trial, "taken in")),
    figure("CPU per client", Micros, Lower, |trial| number(trial, "server CPU per client")),
    figure("back", Percent, Higher, |trial| number(trial, "back")),
    figure("all back", Seconds, Lower, |trial| number(trial, "all back")),
    GENERATOR,
];

impl Section {
    pub(crate) const ALL: [Self; 9] = [
        Self::Actors,
        Self::Density,
        Self::Idle,
        Self::Burst,
        Self::Single,
        Self::Saturated,
        Self::Latency,
        Self::Echo,
        Self::Storm,
    ];

    /// For file names and markers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Actors => "actors",
            Self::Density => "density",
            Self::Idle => "idle",
            Self::Burst => "burst",
            Self::Single => "fanout-1",
            Self::Saturated => "fanout-64",
            Self::Latency => "latency",
            Self::Echo => "echo",
            Self::Storm => "storm",
        }
    }

    /// What is measured, in a sentence.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Actors => {
                "Actors without sockets: asleep; woken by a message until asleep again; made; crashed and restarted"
            }
            Self::Density => "Memory of a subscribed, idle connection",
            Self::Idle => {
                "Processor time of idle connections, a heartbeat or ping each in 45 s; and as many as a million would send"
            }
            Self::Burst => "Memory after a burst of 100 × 1 KB to each connection, when it has rested",
            Self::Single => "Fan-out, one publication at a time",
            Self::Saturated => "Fan-out, 64 publications on their way",
            Self::Latency => "Publish to delivery, at half of each server's own saturation",
            Self::Echo => "Echo, one message on its way on each connection",
            Self::Storm => "Connect, handshake, identify, subscribe; and all at once after all sockets were cut",
        }
    }

    /// Its columns; the first is the one that is plotted and compared.
    pub(crate) fn figures(self) -> &'static [Figure] {
        match self {
            Self::Actors => ACTORS,
            Self::Density => DENSITY,
            Self::Idle => IDLE,
            Self::Burst => BURST,
            Self::Single => SINGLE,
            Self::Saturated => SATURATED,
            Self::Latency => LATENCY,
            Self::Echo => ECHO,
            Self::Storm => STORM,
        }
    }

    /// What should be known about its figures.
    pub(crate) fn note(self) -> Option<&'static str> {
        (self == Self::Actors).then_some(
            "One process, one thread, no system call; processor time. Goals: ≤ 256 B each, ≤ 1 µs for a message or a heartbeat, ≥ 1,000,000 \
             spawned and ≥ 200,000 restarted a second. Ours have a whole session in a channel of 1,000 (a heartbeat is a \
             frame read, decoded and answered); the others hold a number, have nobody who restarts them, and are fewer.",
        )
    }

    /// The section whose trials it reads: one run of idle connections tells memory and processor time.
    pub(crate) fn source(self) -> Self {
        match self {
            Self::Idle => Self::Density,
            other => other,
        }
    }
}

fn after_burst(trial: &Figures) -> Option<f64> {
    number(trial, "user space per connection after it")
}

/// The middle of the values, and the smallest and largest.
pub(crate) fn median(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (*sorted.first()?, *sorted.last()?);
    let middle = (sorted.get((sorted.len() - 1) / 2)? + sorted.get(sorted.len() / 2)?) / 2.0;
    Some((middle, low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_also_of_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(median(&[4.0, 1.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn every_section_shows_the_generators_own_load_and_compares_its_first_figure() {
        for section in Section::ALL.into_iter().filter(|section| *section != Section::Actors) {
            assert_ne!(section.figures()[0].better, Better::Neither, "{}", section.name());
            assert!(section.figures().iter().any(|figure| figure.name == "generator"), "{}", section.name());
        }
    }
}
