//! `POST /v1/chaos`: faults on demand, where the configuration allows them. Says what would be right when a target is not.

use std::time::Duration;

use actix_web::web::{Data, Json};
use serde::Serialize;

use crate::{
    http::{
        api::{
            Answered, census,
            chaos_request::{Aim, Disk, Order, Request},
            connections,
        },
        body::Body,
        error::ApiError,
        gateway::Gateway,
    },
    id::ConnectionId,
    shard::{Act, Action, AnyShards, Target, act_on_all},
};

/// How many actors it hit.
#[derive(Serialize)]
pub(crate) struct Hit {
    hit: usize,
}

pub(crate) async fn inject(gateway: Data<Gateway>, body: Body) -> Answered<Hit> {
    if !gateway.config().chaos.enabled {
        let message = "chaos is off on this server; start it with `dormouse serve --set chaos.enabled=true`";
        return Err(ApiError::not_found(message));
    }
    let request: Request = body.parse()?;
    let (app, order) = request.order()?;
    tracing::warn!(app, ?order, "chaos");
    let shards = connections::shards_of(&gateway, app.as_deref())?;
    let hit = match order {
        Order::Connections(aim, action) => connections(shards, &aim, action).await?,
        Order::Shards(count) => crash(shards, count).await?,
        Order::Actor(name) => actor(&gateway, &name)?,
        Order::Disk(fault, time) => disk(&gateway, fault, time),
    };
    Ok(Json(Hit { hit }))
}

async fn connections(shards: &dyn AnyShards, aim: &Aim, action: Action) -> Result<usize, ApiError> {
    match aim {
        Aim::Connection(id) => connections::act(shards, id, action).await,
        Aim::Connections(ids) => these(shards, ids, action).await,
        Aim::User(user) => Ok(act_on_all(shards, &Act { target: Target::User(user.clone()), action }).await),
        Aim::Count(count) => some(shards, |_| *count, action).await,
        Aim::Fraction(fraction) => some(shards, |attached| part(*fraction, attached), action).await,
    }
}

/// Hits those of `ids` that are there, with one order to each shard: a killer in a hurry names many at once.
async fn these(shards: &dyn AnyShards, ids: &[String], action: Action) -> Result<usize, ApiError> {
    let mut by_shard = vec![Vec::new(); shards.count()];
    for id in ids.iter().filter_map(|id| id.parse::<ConnectionId>().ok()) {
        if let Some(targets) = by_shard.get_mut(usize::from(id.shard())) {
            targets.push(id);
        }
    }
    let mut hit = 0;
    for (shard, targets) in by_shard.into_iter().enumerate().filter(|(_, targets)| !targets.is_empty()) {
        hit += shards.act(shard as u16, Act { target: Target::Connections(targets), action }).await?;
    }
    Ok(hit)
}

/// Hits as many connections with a socket as `wanted` makes of their number, spread over the shards as they are.
async fn some(shards: &dyn AnyShards, wanted: impl Fn(usize) -> usize, action: Action) -> Result<usize, ApiError> {
    let attached: Vec<usize> = census::take(shards)
        .await
        .iter()
        .map(|census| census.map_or(0, |census| census.awake + census.dormant))
        .collect();
    let count = wanted(attached.iter().sum());
    let mut hit = 0;
    for (shard, count) in shares(&attached, count, chance()).into_iter().enumerate() {
        if count > 0 {
            hit += shards.act(shard as u16, Act { target: Target::Count(count), action }).await?;
        }
    }
    Ok(hit)
}

/// Panics so many shards, beginning anywhere.
async fn crash(shards: &dyn AnyShards, count: usize) -> Result<usize, ApiError> {
    let all = shards.count();
    let first = chance() % all;
    let count = count.min(all);
    for nth in 0..count {
        shards.crash(((first + nth) % all) as u16).await?;
    }
    Ok(count)
}

/// Panics any child of the supervision tree.
fn actor(gateway: &Gateway, name: &str) -> Result<usize, ApiError> {
    if gateway.children.crash(name) {
        return Ok(1);
    }
    Err(ApiError::not_found(format!("there is no actor {name}; `actors` of /v1/node lists those there are")))
}

/// Breaks the store's disk for so long. What waits for a hanging one goes on when the time is over.
fn disk(gateway: &Gateway, fault: Disk, time: Duration) -> usize {
    let faults = gateway.faults.clone();
    let begun = match fault {
        Disk::Hang => faults.delay(time),
        Disk::Fail => faults.fail(),
    };
    actix_web::rt::spawn(async move {
        actix_web::rt::time::sleep(time).await;
        faults.end_of(begun);
    });
    1
}

/// That part of `attached`, at least one if there is one.
fn part(fraction: f64, attached: usize) -> usize {
    ((fraction * attached as f64).round() as usize).clamp(attached.min(1), attached)
}

/// A number nobody chose. Which actors an operator hits needs no better than zero when the system has none.
fn chance() -> usize {
    getrandom::u32().unwrap_or_default() as usize
}

/// Divides `count` in proportion to `attached`. Systematic sampling: with a `start` by chance no shard is preferred, and no
/// share is larger than its shard.
fn shares(attached: &[usize], count: usize, start: usize) -> Vec<usize> {
    let total: usize = attached.iter().sum();
    let count = count.min(total);
    let offset = start % total.max(1);
    let (mut before, mut taken) = (0, 0);
    let share = |attached: &usize| {
        before += attached;
        let until = (before * count + offset).checked_div(total).unwrap_or(0);
        until - std::mem::replace(&mut taken, until)
    };
    attached.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_is_never_nothing_unless_nobody_is_there() {
        assert_eq!([part(0.1, 0), part(0.001, 10), part(0.25, 10), part(1.0, 10)], [0, 1, 3, 10]);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_fit_their_shards(
            attached in prop::collection::vec(0usize..50, 1..8), count in 0usize..300, start in 0usize..1000,
        ) {
            let shares = shares(&attached, count, start);
            prop_assert_eq!(shares.iter().sum::<usize>(), count.min(attached.iter().sum()));
            prop_assert!(shares.iter().zip(&attached).all(|(share, attached)| share <= attached));
        }
    }
}
