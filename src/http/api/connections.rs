//! `GET /v1/connections`, and one of them to look at or to kick. A connection's id names its shard, so no directory is
//! asked.

use std::cmp::Reverse;

use actix_web::web::{Data, Json, Path};
use serde::Serialize;

use crate::{
    http::{
        api::{Answered, census, disconnect::Disconnected},
        error::ApiError,
        gateway::Gateway,
        query::Query,
    },
    id::ConnectionId,
    protocol::close::Close,
    shard::{Act, Action, ConnectionView, Inspect, List, Sort, Target},
};

const DEFAULT_LIMIT: usize = 50;
/// Looking at one costs its shard a microsecond or two, and nobody reads more.
const MOST: usize = 10_000;

/// Answer to the list.
#[derive(Serialize)]
pub(crate) struct Connections {
    connections: Vec<ConnectionView>,
    /// Shards stuck in a turn, whose connections are missing here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unanswered: Vec<usize>,
}

pub(crate) async fn list(gateway: Data<Gateway>, query: Query) -> Answered<Connections> {
    let sort: Sort = query.word("sort")?;
    let limit = query.limit(DEFAULT_LIMIT, MOST)?;
    let answers = census::ask_each(&gateway, || List { sort, limit }).await;
    let unanswered =
        answers.iter().enumerate().filter(|(_, answer)| answer.is_none()).map(|(shard, _)| shard).collect();
    let mut connections: Vec<_> = answers.into_iter().flatten().flatten().collect();
    connections.sort_by_key(|connection| (Reverse(connection.rank(sort)), connection.connection));
    connections.truncate(limit);
    Ok(Json(Connections { connections, unanswered }))
}

pub(crate) async fn show(gateway: Data<Gateway>, id: Path<String>) -> Answered<ConnectionView> {
    let (connection, shard) = find(&gateway, &id)?;
    let seen = gateway.shards.ask(shard, Inspect(connection)).await?;
    seen.map(Json).ok_or_else(|| unknown(&id))
}

pub(crate) async fn kick(gateway: Data<Gateway>, id: Path<String>) -> Answered<Disconnected> {
    let disconnected = act(&gateway, &id, Action::Close(Close::KICKED)).await?;
    Ok(Json(Disconnected { disconnected }))
}

/// Does something to the connection of that id.
///
/// # Errors
/// `not_found` when there is none.
pub(super) async fn act(gateway: &Gateway, id: &str, action: Action) -> Result<usize, ApiError> {
    let (connection, shard) = find(gateway, id)?;
    match gateway.shards.ask(shard, Act { target: Target::Connection(connection), action }).await? {
        0 => Err(unknown(id)),
        hit => Ok(hit),
    }
}

fn find(gateway: &Gateway, id: &str) -> Result<(ConnectionId, u16), ApiError> {
    let connection: ConnectionId = id.parse().map_err(|_| unknown(id))?;
    Ok((connection, gateway.shards.shard_of(connection).ok_or_else(|| unknown(id))?))
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no connection {id}"))
}
