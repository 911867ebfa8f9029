//! What a server costs while nothing happens but heartbeats.

use std::time::Duration;

use anyhow::Result;

use crate::{
    census::Census,
    clock,
    load::{Load, Span},
    swarm::Swarm,
    target::Target,
};

/// An acknowledgement that takes longer counts as missing.
const LATE: Duration = Duration::from_secs(2);

/// Figures of an idle span.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) load: Load,
    pub(crate) heartbeats: u64,
    pub(crate) unanswered: u64,
}

/// Watches for `span`, counting heartbeats of the swarm (if it repeats any) and their answers.
pub(crate) fn watch(target: &Target, swarm: &mut Swarm, span: Duration, census: &mut Census) -> Result<Idle> {
    let (said, heard) = (swarm.repeated(), census.acks);
    let begun = Span::begin(target)?;
    swarm.linger(clock::now() + span, |key, happening| census.hear(key, &happening))?;
    let load = begun.end(target)?;
    let heartbeats = swarm.repeated() - said;
    let deadline = clock::now() + LATE;
    // Later beats go on meanwhile, so "all of those" may be passed; it is never too few while answers come.
    while census.acks - heard < heartbeats && clock::now() < deadline {
        swarm.turn(Duration::from_millis(20), |key, happening| census.hear(key, &happening))?;
    }
    Ok(Idle { load, heartbeats, unanswered: heartbeats.saturating_sub(census.acks - heard) })
}
