//! Three shards in virtual time, singers that enter, leave, add, read slowly and vanish, and panics in turns, in folds and
//! between turns. After each step every singer must have heard one order from where it entered, with every hole named; in
//! the end nothing may be left. A seed that breaks it is printed; `SEED=n` repeats it, `SEEDS=n` plays more.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::choir::Choir;
use crate::{
    app::{Connection, Opening, Rooms, Settings},
    clock::Clock,
    config::Config,
    shard::{
        Act, Action, Fault, IntakeLimits, Line, OnStall, Options, Peer, Setup, Simulation, Target,
        faults::{self, Moment, Strike},
    },
    supervision::{self, Policy},
    telemetry::Metrics,
};

const SHARDS: u16 = 3;
const ROOMS: [&str; 4] = ["alto", "bass", "soprano", "tenor"];
const STEPS: usize = 600;

/// A member's knowledge of a room: the last number and the state at it. `None`: the message with it was lost and told as lost.
type Known = Option<(u64, i64)>;

struct Singer {
    peer: Peer,
    read: Vec<u8>,
    /// How much it reads at a time.
    pace: usize,
    /// Those it is in: what comes of others must not.
    rooms: HashMap<&'static str, Known>,
}

struct Stage {
    node: Simulation<Connection<Choir>>,
    rng: StdRng,
    singers: Vec<Singer>,
    /// By room and number: the state, and what made it.
    truth: BTreeMap<(&'static str, u64), (i64, Option<i64>)>,
    heard: HashMap<String, u64>,
}

fn options() -> Options {
    Options {
        budget: 8,
        mailbox: 4,
        outbox_bytes: 256,
        parked: 0,
        policy: Policy::new(1_000_000, Duration::from_secs(1)),
        turn_warn: Duration::from_secs(3_600),
        turn_stall: Duration::from_secs(3_600),
        on_stall: OnStall::Restart,
        walk: Duration::from_millis(50),
        intake: IntakeLimits::default(),
    }
}

fn frame(text: &str) -> Vec<u8> {
    // A mask of zeros changes nothing.
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

impl Stage {
    fn new(seed: u64) -> Self {
        faults::clear();
        let mut config = Config::default();
        // Of four: some will be refused.
        config.limits.subscriptions = 3;
        let setup = Setup {
            shards: SHARDS,
            options: options(),
            settings: Arc::new(Settings::new(&config)),
            metrics: Metrics::new().expect("unique names"),
            clock: Clock::simulated(),
            seed,
        };
        let node = Simulation::new(setup, |_| Rooms::new(seed)).expect("a runtime");
        let rng = StdRng::seed_from_u64(seed);
        Self { node, rng, singers: Vec::new(), truth: BTreeMap::new(), heard: HashMap::new() }
    }

    fn step(&mut self) -> Result<(), String> {
        let some = |rng: &mut StdRng, most: usize| rng.random_range(0..most.max(1));
        match self.rng.random_range(0..100) {
            0..=3 if self.singers.len() < 24 => {
                let (shard, slow) = (some(&mut self.rng, SHARDS.into()), self.rng.random_bool(0.4));
                let (capacity, pace) = if slow { (64, 40) } else { (1 << 20, 1 << 20) };
                // One whose first turn is interrupted is told so, and goes on.
                let (peer, _) = self.node.connect(shard, Opening::default(), Vec::new(), capacity);
                self.singers.push(Singer { peer, read: Vec::new(), pace, rooms: HashMap::new() });
            }
            4..=45 if !self.singers.is_empty() => {
                let at = some(&mut self.rng, self.singers.len());
                let room = ROOMS[some(&mut self.rng, ROOMS.len())];
                let text = match self.rng.random_range(0..10) {
                    0..=2 => format!("enter {room}"),
                    3 => format!("leave {room}"),
                    4 => format!("add {room} 13"),
                    _ => format!("add {room} {}", self.rng.random_range(1..100)),
                };
                self.singers[at].peer.send(&frame(&text));
            }
            46..=80 => self.round(),
            81..=90 if !self.singers.is_empty() => {
                let at = some(&mut self.rng, self.singers.len());
                self.read(at)?;
            }
            91..=93 => {
                let moment = if self.rng.random_bool(0.5) { Moment::Begin } else { Moment::End };
                let then = [0, 0, 0b1, 0b10, 0b11, 0b110][some(&mut self.rng, 6)];
                faults::strike(Strike { after: self.rng.random_range(0..8), moment, then });
            }
            94 => faults::escape(self.rng.random_range(0..8)),
            95 => self.node.crash(some(&mut self.rng, SHARDS.into())),
            96 => {
                let act = Act { target: Target::Count(2), action: Action::Fault(Fault::Panic) };
                let _ = self.node.act(some(&mut self.rng, SHARDS.into()), &act);
            }
            97 if !self.singers.is_empty() => {
                let at = some(&mut self.rng, self.singers.len());
                self.singers.swap_remove(at).peer.reset();
            }
            _ => self.pass(Duration::from_millis(50)),
        }
        Ok(())
    }

    fn round(&mut self) {
        let shard = self.rng.random_range(0..SHARDS.into());
        // A panic that escapes is one of those that were planned.
        let _ = self.node.round(shard);
    }

    fn pass(&mut self, time: Duration) {
        self.node.advance(time);
        for shard in 0..SHARDS.into() {
            let _ = self.node.tick(shard);
        }
    }

    /// Everything there is to do and to hear.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            let mut moved = false;
            for shard in 0..SHARDS.into() {
                while !self.node.is_quiet(shard) {
                    moved = true;
                    let _ = self.node.round(shard);
                }
            }
            for at in 0..self.singers.len() {
                moved |= self.singers[at].peer.waiting() > 0;
                self.read(at)?;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn read(&mut self, at: usize) -> Result<(), String> {
        let singer = &mut self.singers[at];
        singer.read.extend(singer.peer.take(singer.pace));
        while let Some(length) = singer.read.get(1).map(|length| usize::from(*length) + 2)
            && length <= singer.read.len()
        {
            let frame: Vec<u8> = singer.read.drain(..length).collect();
            if frame[0] == 0x81 {
                let line = String::from_utf8_lossy(&frame[2..]).into_owned();
                hear(&mut singer.rooms, &mut self.truth, &line)
                    .map_err(|wrong| format!("singer {at}, {line:?}: {wrong}"))?;
                let kind = line.split(' ').next().unwrap_or_default();
                *self.heard.entry(kind.to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }

    /// No trouble any more: everybody looks at every room and sees the same; then all go, and nothing is left.
    fn end(&mut self) -> Result<(), String> {
        faults::calm();
        self.settle()?;
        self.singers.retain(|singer| singer.peer.line() == Line::Open);
        for room in ROOMS {
            for singer in &mut self.singers {
                ROOMS.iter().for_each(|room| singer.peer.send(&frame(&format!("leave {room}"))));
                singer.peer.send(&frame(&format!("enter {room}")));
            }
            self.settle()?;
            let known = |singer: &Singer| singer.rooms.get(room).copied().flatten();
            let first = self.singers.first().and_then(known);
            if let Some(other) = self.singers.iter().find(|singer| known(singer).is_none() || known(singer) != first) {
                return Err(format!("in {room} one sees {first:?}, another {:?}", known(other)));
            }
        }
        self.singers.drain(..).for_each(|singer| singer.peer.reset());
        self.settle()?;
        self.pass(Duration::from_secs(61));
        self.settle()?;
        for shard in 0..SHARDS.into() {
            let (left, records) = (self.node.hub(shard).traces(), self.node.traces(shard).records);
            if (left, records) != ([0; 3], 0) {
                return Err(format!(
                    "shard {shard} keeps {left:?} seats, connections that are behind, rooms; {records} records"
                ));
            }
        }
        Ok(())
    }
}

/// Holds a line against what its singer knew and what others have heard.
fn hear(
    rooms: &mut HashMap<&'static str, Known>,
    truth: &mut BTreeMap<(&'static str, u64), (i64, Option<i64>)>,
    line: &str,
) -> Result<(), String> {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok()).unwrap_or_default();
    let room = |at: usize| ROOMS.into_iter().find(|room| words.get(at) == Some(room)).unwrap_or_default();
    let (at, state, by) = (number(2) as u64, number(3), number(4));
    let known = rooms.get(room(1)).copied();
    match words[0] {
        "told" => match known {
            None => return Err("of a room it has not entered".to_owned()),
            Some(Some((last, before))) if at != last + 1 || state != before + by => {
                return Err(format!("after {last} with {before}"));
            }
            Some(_) => {}
        },
        "entered" | "skipped" => {
            if let Some(Some((last, _))) = known
                && at < last
            {
                return Err(format!("older than {last}"));
            }
        }
        "left" => {
            rooms.remove(room(1));
            return Ok(());
        }
        "restarted" => {
            // What comes again is not lost. A telling that is lost is known by its number, any other message is not.
            if words[1] == "false" && ["told", "skipped", "entered"].contains(&words[2]) {
                rooms.insert(room(3), (words[2] == "told").then(|| (number(4) as u64, number(5))));
            }
            return Ok(());
        }
        _ => return Ok(()),
    }
    let by = (words[0] == "told").then_some(by);
    let (true_state, true_by) = truth.entry((room(1), at)).or_insert((state, by));
    *true_by = true_by.or(by);
    if *true_state != state || by.is_some_and(|by| *true_by != Some(by)) {
        return Err(format!("others heard {true_state} by {true_by:?}"));
    }
    rooms.insert(room(1), Some((at, state)));
    Ok(())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_happens_every_member_hears_one_order_with_every_hole_named() {
    supervision::install();
    let seeds = number("SEED").map_or(0..number("SEEDS").unwrap_or(120), |seed| seed..seed + 1);
    let mut heard: BTreeMap<String, u64> = BTreeMap::new();
    for seed in seeds.clone() {
        let mut stage = Stage::new(seed);
        let played = (0..STEPS).try_for_each(|_| stage.step()).and_then(|()| stage.end());
        faults::clear();
        assert_eq!(played, Ok(()), "again with SEED={seed}");
        stage.heard.into_iter().for_each(|(kind, count)| *heard.entry(kind).or_default() += count);
    }
    if seeds.end - seeds.start >= 100 {
        for kind in ["entered", "told", "skipped", "failed", "restarted"] {
            assert!(heard.get(kind).is_some_and(|count| *count > 100), "hardly any {kind}: {heard:?}");
        }
    }
}
