//! Whether the node is well, in words: what somebody who was woken wants to read first. Judged from one sample and from what
//! was counted within the last minute; the dashboard and `dormouse top` show it as it is.

use std::collections::VecDeque;

use serde::Serialize;

use crate::{
    http::live::{
        point::Point,
        sample::{Connections, Descriptors, ShardLine, Totals},
    },
    shard::{Drop, Ledger},
    supervision::{Child, ChildState, CrashLine, Stall},
};

/// Counts are told for so long.
const MINUTE_MICROS: u64 = 60_000_000;
/// A shard this late serves its clients late.
const LATE_SECONDS: f32 = 0.1;
/// A commit this slow keeps publishers waiting.
const SLOW_COMMIT_SECONDS: f32 = 0.25;
/// Results of handshakes that found no room on the node.
const FULL: [&str; 2] = ["too_many_connections", "no_descriptors"];
/// Of what there is at most, this part is nearly all.
const NEARLY: f64 = 0.9;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Health {
    pub(super) state: State,
    /// One sentence, or more where more is wrong.
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Healthy,
    Degraded,
    /// It leaves.
    Draining,
}

/// What is judged.
pub(super) struct Signs<'a> {
    pub(super) point: &'a Point,
    pub(super) connections: Connections,
    pub(super) descriptors: Descriptors,
    pub(super) shards: &'a [ShardLine],
    pub(super) stalled: &'a [Stall],
    pub(super) actors: &'a [Child],
    /// The most frequent first.
    pub(super) crashes: &'a [CrashLine],
    /// Hooks whose backend has failed so often that it is not called for now.
    pub(super) broken_hooks: &'a [String],
    pub(super) lately: Lately,
    pub(super) ready: bool,
}

/// Counts that call for a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    crashed: u64,
    gave_up: u64,
    /// Mailboxes were full.
    overflowed: u64,
    /// Events crashed the same actor twice.
    poisoned: u64,
    turned_away: u64,
}

impl Counts {
    pub(super) fn of(totals: &Totals, ledger: &Ledger) -> Self {
        Self {
            crashed: totals.crashed,
            gave_up: totals.gave_up,
            overflowed: ledger.dropped(Drop::Overflow),
            poisoned: ledger.dropped(Drop::Crash),
            turned_away: FULL.iter().filter_map(|result| totals.handshakes.get(*result)).sum(),
        }
    }

    fn is_zero(self) -> bool {
        self == Self::default()
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            crashed: self.crashed.saturating_sub(earlier.crashed),
            gave_up: self.gave_up.saturating_sub(earlier.gave_up),
            overflowed: self.overflowed.saturating_sub(earlier.overflowed),
            poisoned: self.poisoned.saturating_sub(earlier.poisoned),
            turned_away: self.turned_away.saturating_sub(earlier.turned_away),
        }
    }
}

/// What was counted within the last minute, as far as it is known: before the first sample nobody watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lately {
    counts: Counts,
    /// So much of the minute was watched.
    seconds: u64,
    /// Nothing of the kind has ever been counted.
    never: bool,
}

/// The last minute's counts. Bounded: one for each sample of it.
#[derive(Debug, Default)]
pub(super) struct Minute(VecDeque<(u64, Counts)>);

impl Minute {
    /// Takes the counts of now.
    pub(super) fn count(&mut self, micros: u64, counts: Counts) -> Lately {
        self.0.push_back((micros, counts));
        // The newest that is at least a minute old is what the minute is measured from.
        while self.0.get(1).is_some_and(|(at, _)| at + MINUTE_MICROS <= micros) {
            self.0.pop_front();
        }
        let (first, before) = self.0.front().copied().unwrap_or((micros, counts));
        let seconds = micros.saturating_sub(first).min(MINUTE_MICROS) / 1_000_000;
        Lately { counts: counts.since(before), seconds, never: counts.is_zero() }
    }
}

impl Health {
    pub(super) fn of(signs: &Signs<'_>) -> Self {
        let wrong = signs.wrong();
        let state = match (signs.ready, wrong.is_empty()) {
            (false, _) => State::Draining,
            (true, true) => State::Healthy,
            (true, false) => State::Degraded,
        };
        let mut sentences = if signs.ready { Vec::new() } else { vec!["The node is being drained.".to_owned()] };
        sentences.extend(wrong);
        if sentences.is_empty() {
            sentences.push(format!("Nothing hangs, nothing is late, nothing was lost {}.", signs.lately.when()));
        }
        Self { state, text: sentences.join(" ") }
    }
}

impl Lately {
    /// The time of which it is known that nothing was counted.
    fn when(self) -> String {
        match self {
            Self { never: true, .. } => "since the start".to_owned(),
            Self { seconds: 60.., .. } => "within the last minute".to_owned(),
            Self { seconds, .. } => format!("in the last {seconds} s; before that nobody watched"),
        }
    }
}

impl Signs<'_> {
    /// What is wrong, the worst first.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for Stall { shard, connection, kind, lasted } in self.stalled {
            wrong.push(format!(
                "{shard} hangs in a turn over `{kind}` of {connection}, for {:.1} s by now.",
                lasted.as_secs_f64()
            ));
        }
        if self.stalled.is_empty() {
            let silent = self.shards.iter().filter(|shard| !shard.answers);
            wrong.extend(silent.map(|shard| format!("shard-{} does not answer.", shard.shard)));
        }
        let down = self.actors.iter().filter(|actor| actor.state != ChildState::Running);
        wrong.extend(down.map(|actor| format!("The actor {} is not running.", actor.name)));
        let latest = self.shards.iter().filter_map(|shard| Some((shard.lag?, shard.shard)));
        if let Some((lag, shard)) = latest.max_by(|(a, _), (b, _)| a.total_cmp(b))
            && lag >= LATE_SECONDS
        {
            wrong.push(format!("shard-{shard} is late: its clockwork runs {:.0} ms behind.", lag * 1e3));
        }
        if let Some(commit) = self.point.commit.p99
            && commit >= SLOW_COMMIT_SECONDS
        {
            wrong.push(format!("The disk is slow: one commit in a hundred takes {:.0} ms.", commit * 1e3));
        }
        wrong.extend(
            self.broken_hooks
                .iter()
                .map(|hook| format!("The backend of the hook {hook} fails and is not called; its fallback decides.")),
        );
        self.count(&mut wrong);
        let Connections { total, most, .. } = self.connections;
        if total as f64 >= NEARLY * most as f64 {
            wrong.push(format!("Nearly full: {total} of {most} connections."));
        }
        if let Descriptors { open: Some(open), most: Some(most) } = self.descriptors
            && open as f64 >= NEARLY * most as f64
        {
            wrong.push(format!("Nearly out of descriptors: {open} of {most}."));
        }
        wrong
    }

    /// What was counted within the last minute.
    fn count(&self, wrong: &mut Vec<String>) {
        let Counts { crashed, gave_up, overflowed, poisoned, turned_away } = self.lately.counts;
        let mut tell = |count: u64, one: &str, many: &str| {
            if count > 0 {
                wrong.push(format!("{count} {} within a minute.", if count == 1 { one } else { many }));
            }
        };
        tell(gave_up, "connection was given up", "connections were given up");
        tell(overflowed, "event was dropped: a mailbox was full", "events were dropped: mailboxes were full");
        tell(
            poisoned,
            "event was skipped: it crashed its actor twice",
            "events were skipped: they crashed actors twice",
        );
        tell(turned_away, "client was turned away: the node is full", "clients were turned away: the node is full");
        let Some(last) = self.crashes.iter().max_by_key(|line| line.last_at) else { return };
        let ago = self.point.at.saturating_sub(last.last_at) / 1_000;
        match crashed {
            0 if ago >= 60 => {}
            // Nobody watched, but a crash tells when it was.
            0 => wrong.push(format!("The last crash was {ago} s ago, at {}.", last.place)),
            1 => wrong.push(format!("1 crash within a minute, at {}.", last.place)),
            many => wrong.push(format!("{many} crashes within a minute, the last at {}.", last.place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::ConnectionId;

    fn signs(point: &Point) -> Signs<'_> {
        Signs {
            point,
            connections: Connections { total: 5, most: 100, ..Connections::default() },
            descriptors: Descriptors { open: Some(20), most: Some(100) },
            shards: &[],
            stalled: &[],
            actors: &[],
            crashes: &[],
            broken_hooks: &[],
            lately: Lately { seconds: 60, ..Lately::default() },
            ready: true,
        }
    }

    fn crash(last_at: u64) -> CrashLine {
        let (place, panic) = ("src/a.rs:1:1".into(), "boom".into());
        CrashLine { place, kind: "frame", count: 3, first_at: 0, last_at, connection: None, panic }
    }

    fn told(signs: &Signs<'_>) -> (State, String) {
        let Health { state, text } = Health::of(signs);
        (state, text)
    }

    #[test]
    fn a_node_without_trouble_is_healthy() {
        let point = Point::default();
        let (state, text) = told(&signs(&point));
        assert_eq!(state, State::Healthy);
        assert_eq!(text, "Nothing hangs, nothing is late, nothing was lost within the last minute.");
        let told_lately = |lately| told(&Signs { lately, ..signs(&point) }).1;
        let lately = Lately { seconds: 4, ..Lately::default() };
        assert!(told_lately(lately).ends_with("in the last 4 s; before that nobody watched."));
        assert!(told_lately(Lately { never: true, ..lately }).ends_with("nothing was lost since the start."));
    }

    #[test]
    fn what_hangs_comes_first_and_all_that_is_wrong_is_told() {
        let mut point = Point::default();
        point.commit.p99 = Some(0.3);
        let broken_hooks = ["connect".to_owned()];
        let (shard, kind) = ("shard-1".into(), "frame".to_owned());
        let stalled =
            [Stall { shard, connection: ConnectionId::new(1, 2, 3), kind, lasted: Duration::from_millis(3_200) }];
        let shards = [
            ShardLine { shard: 0, answers: true, lag: Some(0.25), ..ShardLine::default() },
            ShardLine { shard: 1, answers: false, lag: None, ..ShardLine::default() },
        ];
        let counts = Counts { crashed: 2, gave_up: 1, overflowed: 12, ..Counts::default() };
        let lately = Lately { counts, ..Lately::default() };
        let crashes = [crash(40_000)];
        let (state, text) = told(&Signs {
            stalled: &stalled,
            shards: &shards,
            crashes: &crashes,
            broken_hooks: &broken_hooks,
            lately,
            ..signs(&point)
        });
        assert_eq!(state, State::Degraded);
        assert_eq!(
            text,
            "shard-1 hangs in a turn over `frame` of c10000002000003, for 3.2 s by now. shard-0 is late: its clockwork runs \
             250 ms behind. The disk is slow: one commit in a hundred takes 300 ms. The backend of the hook connect fails and is not called; its \
             fallback decides. 1 connection was given up within a minute. \
             12 events were dropped: mailboxes were full within a minute. 2 crashes within a minute, the last at src/a.rs:1:1."
        );
    }

    #[test]
    fn a_crash_is_told_for_a_minute_also_when_nobody_watched() {
        let point = Point { at: 100_000, ..Point::default() };
        let crashes = [crash(40_001)];
        let (state, text) = told(&Signs { crashes: &crashes, ..signs(&point) });
        assert_eq!((state, &*text), (State::Degraded, "The last crash was 59 s ago, at src/a.rs:1:1."));
        let crashes = [crash(40_000)];
        assert_eq!(told(&Signs { crashes: &crashes, ..signs(&point) }).0, State::Healthy);
    }

    #[test]
    fn a_node_that_is_nearly_full_says_so_and_a_leaving_one_that_it_leaves() {
        let point = Point::default();
        let connections = Connections { total: 90, most: 100, ..Connections::default() };
        let descriptors = Descriptors { open: Some(99), most: Some(100) };
        let (state, text) = told(&Signs { connections, descriptors, ..signs(&point) });
        assert_eq!(
            (state, &*text),
            (State::Degraded, "Nearly full: 90 of 100 connections. Nearly out of descriptors: 99 of 100.")
        );
        let (state, text) = told(&Signs { ready: false, ..signs(&point) });
        assert_eq!((state, &*text), (State::Draining, "The node is being drained."));
    }

    #[test]
    fn counts_are_forgotten_after_a_minute() {
        let mut minute = Minute::default();
        let at = |second: u64| second * 1_000_000;
        let of = |crashed| Counts { crashed, ..Counts::default() };
        let lately = |crashed, seconds| Lately { counts: of(crashed), seconds, never: false };
        assert_eq!(minute.count(at(0), of(7)), lately(0, 0), "what was before is not of this minute");
        assert_eq!(minute.count(at(1), of(9)), lately(2, 1));
        for second in 2..=60 {
            assert_eq!(minute.count(at(second), of(9)), lately(2, second));
        }
        assert_eq!(minute.count(at(61), of(9)), lately(0, 60));
        assert!(minute.0.len() <= 62, "{}", minute.0.len());
    }
}
