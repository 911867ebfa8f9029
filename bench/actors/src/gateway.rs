//! Our own actors, measured: bare ones (a record and the first turn), then whole sessions, asleep, woken by a publication
//! or a heartbeat, and crashed by a frame. Each wave is checked: what was asked for has happened, and to everybody.

use std::time::Duration;

use anyhow::{Result, ensure};
use dormouse::{clock::Clock, connection::ConnectionActor, shard::anatomy, supervision::Crashes};
use serde_json::{Value, json};

use crate::{company::Company, evidence, memory, series::Series, stopwatch::thread_time};

/// Clients that connect before the shard goes on with its rounds.
const ARRIVING: usize = 64;
/// Clients that speak at the same moment, a batch of a poller.
const SPEAKING: usize = 1_024;
/// Members of a channel.
const MEMBERS: usize = 1_000;
/// Wakes of a wave at most.
const WAKES: usize = 1_000_000;
/// Crashes of a wave: no actor crashes twice.
const CRASHES: usize = 40_000;

const HEARTBEAT: &str = r#"{"op":"heartbeat"}"#;
pub(crate) const PANIC: &str = r#"{"op":"chaos","fault":"panic"}"#;

/// How many.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// With a session.
    pub actors: usize,
    /// Everything is measured so many times.
    pub waves: usize,
}

impl Plan {
    /// How many of them come with each wave.
    pub(crate) fn waves(self) -> impl Iterator<Item = usize> {
        let Self { actors, waves } = self;
        (0..waves).map(move |wave| actors * (wave + 1) / waves - actors * wave / waves)
    }
}

/// Everything about our actors.
///
/// # Errors
/// What was asked for has not happened.
pub fn gateway(plan: Plan) -> Result<Value> {
    let clock = Clock::start();
    let (bare, bare_bytes) = bare(plan, clock)?;
    let before = memory::settled()?;
    let channels = (plan.actors / MEMBERS).max(1);
    let mut company = Company::new(&Company::config(), channels, clock, Crashes::default())?;
    let (spawned, bytes) = arrive(&mut company, plan, before, true)?;
    let heartbeats = heartbeats(&mut company, plan.waves)?;
    let deliveries = deliveries(&mut company, plan.waves)?;
    let crashes = crashes(&mut company, plan.waves)?;
    let pieces = anatomy::<ConnectionActor>().into_iter().map(|piece| (piece.name.to_owned(), piece.bytes.into()));
    Ok(json!({
        "actors": plan.actors,
        "bytes": bytes,
        "bare bytes": bare_bytes,
        "pieces": Value::Object(pieces.collect()),
        "spawned with a session": spawned.per_second(),
        "spawned": bare.per_second(),
        "delivery": deliveries.micros(),
        "heartbeat": heartbeats.micros(),
        "restarted": crashes.per_second(),
        "restarted with evidence": evidence::restarts(clock, plan.waves)?.per_second(),
    }))
}

/// Actors that nobody has identified to, in a shard of their own that is gone afterwards.
fn bare(plan: Plan, clock: Clock) -> Result<(Series, Vec<f64>)> {
    let before = memory::settled()?;
    let mut company = Company::new(&Company::config(), 1, clock, Crashes::default())?;
    arrive(&mut company, plan, before, false)
}

/// Lets all clients connect, in as many waves as everything has. With each wave, what one of all those who are there takes
/// above `before`.
fn arrive(company: &mut Company, plan: Plan, before: f64, with_session: bool) -> Result<(Series, Vec<f64>)> {
    let (mut series, mut bytes) = (Series::default(), Vec::new());
    for all in plan.waves() {
        let (mut left, mut took) = (all, Duration::ZERO);
        while left > 0 {
            // Made outside the time that counts: an HTTP worker does that.
            let openings = company.openings(left.min(ARRIVING), with_session);
            left -= openings.len();
            let began = thread_time();
            company.open(openings);
            took += thread_time() - began;
        }
        series.add(all, took);
        asleep(company, company.people() as usize)?;
        bytes.push((memory::settled()? - before) / f64::from(company.people()));
    }
    Ok((series, bytes))
}

fn asleep(company: &Company, actors: usize) -> Result<()> {
    let census = company.census();
    let (dormant, awake, parked) = (census.dormant, census.awake, census.parked);
    ensure!((dormant, awake, parked) == (actors, 0, 0), "{dormant} sleep, {awake} are awake, {parked} are parked");
    Ok(())
}

/// Clients anywhere in the table send a heartbeat each and get their answer.
fn heartbeats(company: &mut Company, waves: usize) -> Result<Series> {
    let mut dice = 7;
    let people = company.people();
    let wakes = (people as usize).min(WAKES);
    company.say(HEARTBEAT);
    let (first, before) = (somebody(&mut dice, people), company.written());
    company.speak([first])?;
    let answer = company.written() - before;
    let mut series = Series::default();
    for _ in 0..waves {
        let before = company.written();
        let (mut left, mut took) = (wakes, Duration::ZERO);
        while left > 0 {
            let batch: Vec<u32> = (0..left.min(SPEAKING)).map(|_| somebody(&mut dice, people)).collect();
            left -= batch.len();
            let began = thread_time();
            company.speak(batch)?;
            took += thread_time() - began;
        }
        // Who was drawn twice at once has had one edge, as in a kernel, and so one answer.
        let answers = (company.written() - before) / answer;
        ensure!(answers as usize > wakes / 100 * 99, "{answers} answers to {wakes} heartbeats");
        series.add(answers as usize, took);
    }
    asleep(company, people as usize)?;
    Ok(series)
}

/// Publications to channels drawn by chance.
fn deliveries(company: &mut Company, waves: usize) -> Result<Series> {
    let mut dice = 8;
    let people = company.people() as usize;
    let channels = company.channels();
    let publications = (people.min(WAKES) * channels / people).max(1);
    let mut series = Series::default();
    for _ in 0..waves {
        let before = company.census().ledger;
        let began = thread_time();
        for _ in 0..publications {
            company.publish(somebody(&mut dice, channels as u32) as usize, 1)?;
        }
        let took = thread_time() - began;
        let after = company.census().ledger;
        let (offered, delivered) = (after.offered - before.offered, after.delivered - before.delivered);
        ensure!(offered == delivered && delivered > 0, "{offered} events offered, {delivered} delivered");
        series.add(delivered as usize, took);
    }
    asleep(company, people)?;
    Ok(series)
}

/// Clients all over the table crash their actors, no one twice.
fn crashes(company: &mut Company, waves: usize) -> Result<Series> {
    let people = company.people();
    let crashes = CRASHES.min(people as usize / waves);
    let stride = u64::from(people) / (crashes * waves) as u64;
    let mut series = Series::default();
    company.say(PANIC);
    for wave in 0..waves {
        let before = company.census().restarts;
        let mut victims = (0..crashes).map(|nth| ((nth * waves + wave) as u64 * stride) as u32);
        let mut took = Duration::ZERO;
        loop {
            let batch: Vec<u32> = victims.by_ref().take(SPEAKING).collect();
            if batch.is_empty() {
                break;
            }
            let began = thread_time();
            company.speak(batch)?;
            took += thread_time() - began;
        }
        let restarts = company.census().restarts - before;
        ensure!(restarts as usize == crashes, "{restarts} restarts of {crashes} crashes");
        series.add(crashes, took);
    }
    asleep(company, people as usize)?;
    Ok(series)
}

/// A number below `limit` (splitmix64).
pub(crate) fn somebody(dice: &mut u64, limit: u32) -> u32 {
    *dice = dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*dice ^ (*dice >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (((mixed >> 32) * u64::from(limit)) >> 32) as u32
}
