//! What will be done, decided before anything is: an endless list of faults that follows from a mix and a seed alone. Pure:
//! no clock, no server. The same mix and seed give the same list.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::Serialize;
use serde_json::{Value, json};

use super::rate::Rate;

/// Faults that come due within one such stretch and are alike become one request.
const STRETCH: Duration = Duration::from_millis(20);

/// A kind of fault, in the API's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Panic,
    Stall,
    Drop,
    PanicShard,
    PanicActor,
    StoreDelay,
    StoreFail,
}

/// Where in a connection it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// While it handles a message
    Turn,
    /// In work that it waits for
    Job,
    /// While its record is unpacked
    Wake,
}

impl Kind {
    pub(super) const ALL: [(&str, Self); 7] = [
        ("panic", Self::Panic),
        ("stall", Self::Stall),
        ("drop", Self::Drop),
        ("panic_shard", Self::PanicShard),
        ("panic_actor", Self::PanicActor),
        ("store_delay", Self::StoreDelay),
        ("store_fail", Self::StoreFail),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Which of the places it may happen at; none at all when places mean nothing to it.
    fn places(self) -> &'static [Place] {
        match self {
            Self::Panic => &[Place::Turn, Place::Job, Place::Wake],
            Self::Stall => &[Place::Turn, Place::Job],
            Self::Drop | Self::PanicShard | Self::PanicActor | Self::StoreDelay | Self::StoreFail => &[],
        }
    }

    /// Several of it, alike, may be one request.
    fn adds_up(self) -> bool {
        matches!(self, Self::Panic | Self::Stall | Self::Drop)
    }
}

impl Place {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Job => "job",
            Self::Wake => "wake",
        }
    }
}

/// A fault and where it happens.
pub(super) type Blow = (Kind, Option<Place>);

/// Which faults, how often each beside the others, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mix {
    /// Weights as they add up: a roll below the first belongs to the first, and so on.
    faults: Vec<(u32, Kind)>,
    places: Vec<Place>,
}

impl Mix {
    /// # Errors
    /// A sentence about what is wrong with it.
    pub(super) fn new(faults: &[(Kind, u32)], places: &[Place]) -> Result<Self, String> {
        let mut sum = 0u32;
        let mut up_to = |weight: u32| {
            sum = sum.checked_add(weight).ok_or("these weights are too large together")?;
            Ok::<_, String>(sum)
        };
        let faults: Vec<_> =
            faults.iter().map(|(kind, weight)| Ok((up_to(*weight)?, *kind))).collect::<Result<_, String>>()?;
        let homeless =
            |kind: &Kind| !kind.places().is_empty() && !kind.places().iter().any(|place| places.contains(place));
        if let Some((_, kind)) = faults.iter().find(|(_, kind)| homeless(kind)) {
            let possible: Vec<_> = kind.places().iter().map(|place| place.name()).collect();
            return Err(format!("--where leaves no place for a {}: it may be {}", kind.name(), possible.join(", ")));
        }
        Ok(Self { faults, places: places.to_vec() })
    }

    /// Whether it needs names of actors.
    pub(super) fn wants_actors(&self) -> bool {
        self.faults.iter().any(|(_, kind)| *kind == Kind::PanicActor)
    }
}

/// One fault, as `--faults` names it: `panic`, or `panic=9` to make it nine times as frequent.
pub(super) fn weighted(text: &str) -> Result<(Kind, u32), String> {
    let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
    let known = Kind::ALL.iter().find(|(known, _)| *known == name.trim());
    let (_, kind) = known.ok_or_else(|| {
        let names: Vec<_> = Kind::ALL.iter().map(|(name, _)| *name).collect();
        format!("there is no fault {name:?}; there are {}", names.join(", "))
    })?;
    match weight.trim().parse() {
        Ok(weight) if weight > 0 => Ok((*kind, weight)),
        _ => Err(format!("{weight:?} is no weight: write a whole number above 0, such as {}=9", kind.name())),
    }
}

/// One fault of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) blow: Blow,
    /// Which actor it hits, where it hits one: this one, modulo their number.
    pub(super) pick: u32,
}

/// See the file's head. Never ends.
#[derive(Debug)]
pub(super) struct Plan {
    mix: Mix,
    dice: StdRng,
}

impl Plan {
    pub(super) fn new(mix: Mix, seed: u64) -> Self {
        Self { mix, dice: StdRng::seed_from_u64(seed) }
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let (sum, _) = *self.mix.faults.last()?;
        let roll = self.dice.random_range(0..sum);
        let (_, kind) = *self.mix.faults.iter().find(|(up_to, _)| roll < *up_to)?;
        let places: Vec<_> = kind.places().iter().copied().filter(|place| self.mix.places.contains(place)).collect();
        let place = places.get(self.dice.random_range(0..places.len().max(1))).copied();
        Some(Step { blow: (kind, place), pick: self.dice.random() })
    }
}

/// One request of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// When, from the beginning.
    pub(super) due: Duration,
    pub(super) blow: Blow,
    /// How many faults it stands for.
    pub(super) count: u64,
    pick: u32,
}

impl Order {
    /// The body for `POST /v1/chaos`.
    pub(super) fn body(&self, actors: &[String], stall: Duration) -> Value {
        let (kind, place) = self.blow;
        let mut body = match kind {
            Kind::StoreDelay | Kind::StoreFail => return json!({"fault": kind, "ms": stall.as_millis() as u64}),
            Kind::PanicActor => {
                let actor = actors.get(self.pick as usize % actors.len().max(1));
                json!({"fault": kind, "target": {"actor": actor}})
            }
            _ => json!({"fault": kind, "target": {"count": self.count}}),
        };
        if let Some(place) = place {
            body["where"] = json!(place);
        }
        if kind == Kind::Stall {
            body["ms"] = json!(stall.as_millis() as u64);
        }
        body
    }
}

/// The plan's faults at a rate, alike ones of a stretch as one request, until the time is over.
pub(super) fn orders(mut plan: Plan, rate: Rate, time: Duration) -> impl Iterator<Item = Order> {
    (0u32..).map(|stretch| STRETCH * stretch).take_while(move |due| *due < time).flat_map(move |due| {
        let count = rate.due((due + STRETCH).min(time)) - rate.due(due);
        let mut alike: BTreeMap<Blow, Order> = BTreeMap::new();
        let mut single = Vec::new();
        for step in plan.by_ref().take(count as usize) {
            let order = Order { due, blow: step.blow, count: 1, pick: step.pick };
            match step.blow.0.adds_up() {
                true => drop(alike.entry(step.blow).and_modify(|order| order.count += 1).or_insert(order)),
                false => single.push(order),
            }
        }
        alike.into_values().chain(single)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYWHERE: [Place; 3] = [Place::Turn, Place::Job, Place::Wake];

    fn mix(faults: &str) -> Mix {
        let faults: Vec<_> = faults.split(',').map(|text| weighted(text).unwrap()).collect();
        Mix::new(&faults, &ANYWHERE).unwrap()
    }

    fn steps(faults: &str, seed: u64) -> Vec<Step> {
        Plan::new(mix(faults), seed).take(1000).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_another_one_others() {
        let all = "panic,stall,drop,panic_shard,panic_actor,store_delay,store_fail";
        assert_eq!(steps(all, 7), steps(all, 7));
        assert_ne!(steps(all, 7), steps(all, 8));
    }

    #[test]
    fn every_fault_comes_at_each_of_its_places_and_at_no_other() {
        let mut seen: Vec<_> = steps("panic,stall,drop,panic_shard,panic_actor,store_delay,store_fail", 1)
            .iter()
            .map(|step| step.blow)
            .collect();
        seen.sort_unstable();
        seen.dedup();
        let wanted = [
            (Kind::Panic, Some(Place::Turn)),
            (Kind::Panic, Some(Place::Job)),
            (Kind::Panic, Some(Place::Wake)),
            (Kind::Stall, Some(Place::Turn)),
            (Kind::Stall, Some(Place::Job)),
            (Kind::Drop, None),
            (Kind::PanicShard, None),
            (Kind::PanicActor, None),
            (Kind::StoreDelay, None),
            (Kind::StoreFail, None),
        ];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn weights_say_how_often_a_fault_comes_beside_the_others() {
        let drops = steps("panic=9,drop", 1).iter().filter(|step| step.blow.0 == Kind::Drop).count();
        assert!((60..140).contains(&drops), "{drops} of 1000");
    }

    #[test]
    fn a_mix_without_a_place_for_a_fault_is_refused() {
        let told = Mix::new(&[(Kind::Panic, 1), (Kind::Stall, 1)], &[Place::Wake]).expect_err("no place");
        assert!(told.contains("stall") && told.contains("turn, job"), "{told}");
        assert!(Mix::new(&[(Kind::Drop, 1)], &[]).is_ok());
        assert!(Mix::new(&[(Kind::Drop, u32::MAX), (Kind::Panic, 1)], &ANYWHERE).is_err());
    }

    #[test]
    fn a_fault_that_there_is_not_is_told_with_those_there_are() {
        assert!(weighted("melt").expect_err("none").contains("panic_shard"));
        for wrong in ["panic=0", "panic=x", "panic=-1", "panic="] {
            assert!(weighted(wrong).expect_err(wrong).contains("panic=9"), "{wrong}");
        }
    }

    #[test]
    fn orders_hold_every_fault_that_comes_due_and_none_twice() {
        for (rate, seconds) in [("1000/s", 3), ("7/s", 10), ("0.1/s", 20), ("33.3/s", 5)] {
            let (rate, time): (Rate, _) = (rate.parse().unwrap(), Duration::from_secs(seconds));
            let all: Vec<_> = orders(Plan::new(mix("panic,drop,panic_shard"), 3), rate, time).collect();
            assert_eq!(all.iter().map(|order| order.count).sum::<u64>(), rate.due(time), "{rate}");
            assert!(all.is_sorted_by_key(|order| order.due) && all.iter().all(|order| order.due < time));
            assert!(all.iter().all(|order| order.blow.0.adds_up() || order.count == 1));
        }
    }

    #[test]
    fn many_faults_of_a_stretch_are_few_requests() {
        let orders = orders(Plan::new(mix("panic"), 3), "1000/s".parse().unwrap(), Duration::from_secs(1));
        assert!(orders.count() <= 150, "three places in fifty stretches");
    }

    #[test]
    fn a_body_says_what_the_api_wants() {
        let actors = ["a".to_owned(), "b".to_owned()];
        let body = |blow, count, pick| {
            Order { due: Duration::ZERO, blow, count, pick }.body(&actors, Duration::from_millis(50))
        };
        assert_eq!(
            body((Kind::Stall, Some(Place::Job)), 4, 0),
            json!({"fault": "stall", "where": "job", "ms": 50, "target": {"count": 4}})
        );
        assert_eq!(body((Kind::PanicActor, None), 1, 5), json!({"fault": "panic_actor", "target": {"actor": "b"}}));
        assert_eq!(body((Kind::StoreFail, None), 1, 5), json!({"fault": "store_fail", "ms": 50}));
        assert_eq!(body((Kind::PanicShard, None), 1, 5), json!({"fault": "panic_shard", "target": {"count": 1}}));
    }
}
