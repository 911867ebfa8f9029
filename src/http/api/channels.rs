//! `GET /v1/channels` and what is below it: which channels exist, their numbers, kept events and users. Asking makes no
//! channel.

use std::sync::Arc;

use actix_web::web::{Data, Json, Path};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    channel::{Answer, Channel, Description, Event, HomeRequest},
    http::{api::Answered, error::ApiError, gateway::Gateway, query::Query},
    protocol::{
        error::{ErrorCode, Fault},
        frame::Roster,
        name::ChannelName,
    },
};

/// Answers with lists hold so many unless asked otherwise …
const DEFAULT_LIMIT: usize = 100;
/// … and never more than this (CONTRACT §1, `history`).
const MOST: usize = 1000;

/// Answer to the list.
#[derive(Serialize)]
pub(crate) struct Channels {
    channels: Vec<Description>,
}

/// Answer with kept events.
#[derive(Serialize)]
pub(crate) struct History {
    events: Vec<Box<RawValue>>,
    more: bool,
}

pub(crate) async fn list(gateway: Data<Gateway>, query: Query) -> Answered<Channels> {
    let prefix = query.text("prefix").unwrap_or_default();
    let found = gateway.directory.list(prefix, query.limit(DEFAULT_LIMIT, MOST)?);
    let asked: Vec<_> = found
        .into_iter()
        .map(|channel| gateway.write_home(channel, HomeRequest::Describe))
        .collect::<Result<_, _>>()?;
    let mut channels = Vec::with_capacity(asked.len());
    for asked in asked {
        channels.push(described(asked.wait().await?)?);
    }
    Ok(Json(Channels { channels }))
}

pub(crate) async fn show(gateway: Data<Gateway>, name: Path<String>) -> Answered<Description> {
    let channel = find(&gateway, &name)?;
    Ok(Json(described(gateway.ask_home(channel, HomeRequest::Describe).await?)?))
}

pub(crate) async fn history(gateway: Data<Gateway>, name: Path<String>, query: Query) -> Answered<History> {
    let channel = find(&gateway, &name)?;
    let (after, before) = (query.number("after")?, query.number("before")?);
    let limit = query.limit(DEFAULT_LIMIT, MOST)?;
    match gateway.ask_home(channel, HomeRequest::History { after, before, limit }).await? {
        Answer::History { events, more } => {
            let events = events.iter().map(|event| listed(event)).collect::<Result<_, _>>()?;
            Ok(Json(History { events, more }))
        }
        _ => Err(ApiError::unexpected_answer()),
    }
}

pub(crate) async fn presence(gateway: Data<Gateway>, name: Path<String>) -> Answered<Roster> {
    let channel = find(&gateway, &name)?;
    match gateway.ask_home(channel, HomeRequest::Roster).await? {
        Answer::Roster(roster) => Ok(Json(roster)),
        _ => Err(ApiError::unexpected_answer()),
    }
}

pub(super) fn find(gateway: &Gateway, name: &str) -> Result<Arc<Channel>, ApiError> {
    let name = ChannelName::new(name).map_err(|error| ApiError::bad_request(error.to_string()))?;
    gateway.directory.get(name.as_str()).ok_or_else(|| ApiError::not_found(format!("there is no channel {name}")))
}

fn described(answer: Answer) -> Result<Description, ApiError> {
    match answer {
        Answer::Described(description) => Ok(description),
        _ => Err(ApiError::unexpected_answer()),
    }
}

fn listed(event: &Event) -> Result<Box<RawValue>, ApiError> {
    event.as_listed().ok_or_else(|| {
        tracing::error!(channel = %event.channel.name, offset = event.offset, "a kept event is not json");
        Fault::new(ErrorCode::Internal, "a kept event cannot be shown").into()
    })
}
