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
    shard::{Act, Action, AnyShards, ConnectionView, List, Sort, Target},
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
    let shards = shards_of(&gateway, query.text("app"))?;
    let answers = census::ask_each(shards, |shard| shards.list(shard, List { sort, limit })).await;
    let unanswered =
        answers.iter().enumerate().filter(|(_, answer)| answer.is_none()).map(|(shard, _)| shard).collect();
    let mut connections: Vec<_> = answers.into_iter().flatten().flatten().collect();
    connections.sort_by_key(|connection| (Reverse(connection.rank(sort)), connection.connection));
    connections.truncate(limit);
    Ok(Json(Connections { connections, unanswered }))
}

pub(crate) async fn show(gateway: Data<Gateway>, id: Path<String>, query: Query) -> Answered<ConnectionView> {
    let shards = shards_of(&gateway, query.text("app"))?;
    let seen = shards.inspect(find(shards, &id)?).await?;
    seen.map(Json).ok_or_else(|| unknown(&id))
}

pub(crate) async fn kick(gateway: Data<Gateway>, id: Path<String>, query: Query) -> Answered<Disconnected> {
    let shards = shards_of(&gateway, query.text("app"))?;
    let disconnected = act(shards, &id, Action::Close(Close::KICKED)).await?;
    Ok(Json(Disconnected { disconnected }))
}

/// The shards of an app, or those of the gateway.
///
/// # Errors
/// `not_found` when no app of that name is mounted.
pub(super) fn shards_of<'a>(gateway: &'a Gateway, app: Option<&str>) -> Result<&'a dyn AnyShards, ApiError> {
    gateway.shards_of(app).ok_or_else(|| {
        let known: Vec<_> = gateway.mounts.iter().map(|mount| mount.name).collect();
        ApiError::not_found(format!("there is no app {}; mounted: {}", app.unwrap_or_default(), known.join(", ")))
    })
}

/// Does something to the connection of that id.
///
/// # Errors
/// `not_found` when there is none.
pub(super) async fn act(shards: &dyn AnyShards, id: &str, action: Action) -> Result<usize, ApiError> {
    let connection = find(shards, id)?;
    match shards.act(connection.shard(), Act { target: Target::Connection(connection), action }).await? {
        0 => Err(unknown(id)),
        hit => Ok(hit),
    }
}

/// The connection that an id names, if there is such a shard.
fn find(shards: &dyn AnyShards, id: &str) -> Result<ConnectionId, ApiError> {
    let connection: ConnectionId = id.parse().map_err(|_| unknown(id))?;
    (usize::from(connection.shard()) < shards.count()).then_some(connection).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no connection {id}"))
}
