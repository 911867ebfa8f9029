//! `GET /v1/users/{user}`: where a user is a member and how far he got, his sessions, when he was last seen. There is no list
//! of users: one of whom nothing is known is no error.

use actix_web::web::{Data, Json, Path};
use serde::Serialize;

use crate::{
    channel::Person,
    clock::unix_ms,
    http::{api::Answered, error::ApiError, gateway::Gateway},
    protocol::{frame::MembershipState, name::check_user},
    shard::{ConnectionView, Inspect, State},
};

/// The answer.
#[derive(Serialize)]
pub(crate) struct User {
    user: String,
    /// In the order of their names.
    memberships: Vec<MembershipState>,
    /// Parked ones included.
    sessions: Vec<ConnectionView>,
    /// Unix milliseconds; none for somebody who has not been here since the start, or not for long.
    last_seen: Option<u64>,
}

pub(crate) async fn show(gateway: Data<Gateway>, user: Path<String>) -> Answered<User> {
    let user = user.into_inner();
    check_user(&user).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let Person { memberships, sessions: ids, last_seen } = gateway.ask_desk(&user).await?;
    let mut sessions: Vec<ConnectionView> = Vec::with_capacity(ids.len());
    for id in ids {
        let seen = gateway.shards.ask(id.shard(), Inspect(id)).await?;
        // Desks tell users apart by a hash.
        sessions.extend(seen.filter(|session| session.user.as_deref() == Some(&*user)));
    }
    // Who is connected was seen when his client last proved life.
    let attached = sessions.iter().filter(|session| session.state != State::Parked);
    let alive = attached.map(|session| unix_ms().saturating_sub(session.idle_ms.into())).max();
    Ok(Json(User { last_seen: last_seen.max(alive), user, memberships, sessions }))
}
