//! `POST /v1/publish` and its batch: publications of the backend. They are not rate limited and need no subscription.

use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    channel::{Answer, HomeRequest, Publication},
    http::{
        api::Answered,
        body::Body,
        error::ApiError,
        gateway::{Asked, Gateway},
    },
    protocol::{
        data,
        error::{ErrorCode, Fault},
        name::{self, ChannelName, MAX_NAME_BYTES, check_user},
        text::Text,
    },
};

/// In whose name, when the request does not say.
const DEFAULT_FROM: &str = "api";
/// Publications of a batch on their way at once: far below what a shard's inbox holds.
const IN_FLIGHT: usize = 256;

/// One publication as the request has it.
#[derive(Deserialize)]
#[serde(expecting = "an object with `channel` and `data`")]
struct Publish<'a> {
    #[serde(borrow)]
    channel: ChannelName<'a>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    from: Option<Text<'a>>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
}

/// Where it went.
#[derive(Serialize)]
pub(crate) struct Placed {
    offset: u64,
    at: u64,
    duplicate: bool,
}

/// One result of a batch.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    Placed(Placed),
    Refused { error: Fault },
}

pub(crate) async fn one(gateway: Data<Gateway>, body: Body) -> Answered<Placed> {
    let asked = send(&gateway, body.parse()?)?;
    Ok(Json(placed(asked).await?))
}

/// Each item succeeds or fails for itself; the results are in the order of the items, and so are their offsets.
pub(crate) async fn batch(gateway: Data<Gateway>, body: Body) -> Answered<Vec<Outcome>> {
    let items: Vec<&RawValue> = body.parse()?;
    let mut outcomes = Vec::with_capacity(items.len());
    for group in items.chunks(IN_FLIGHT) {
        let sent: Vec<_> = group.iter().map(|item| send_item(&gateway, item)).collect();
        for asked in sent {
            let outcome = match asked {
                Ok(asked) => placed(asked).await,
                Err(error) => Err(error),
            };
            outcomes.push(outcome.map_or_else(|error| Outcome::Refused { error: error.into_fault() }, Outcome::Placed));
        }
    }
    Ok(Json(outcomes))
}

fn send_item(gateway: &Gateway, item: &RawValue) -> Result<Asked, ApiError> {
    send(gateway, serde_json::from_str(item.get()).map_err(|error| ApiError::bad_request(error.to_string()))?)
}

/// Checks one publication and writes it to the channel's home.
fn send(gateway: &Gateway, publish: Publish<'_>) -> Result<Asked, ApiError> {
    let from = publish.from.as_ref().map_or(DEFAULT_FROM, |from| &*from.0);
    check_user(from).map_err(|error| ApiError::bad_request(format!("`from`: {error}")))?;
    let key = publish.key.as_ref().map(|key| &*key.0);
    if let Some(key) = key.filter(|key| key.is_empty() || key.len() > MAX_NAME_BYTES) {
        let message = format!("`key` has {} bytes, 1 to {MAX_NAME_BYTES} are allowed", key.len());
        return Err(ApiError::bad_request(message));
    }
    data::check(publish.data)?;
    let most = gateway.config().limits.max_frame_bytes;
    let bytes = publish.data.get().len();
    if bytes > most {
        let message = format!("`data` has {bytes} bytes, limits.max_frame_bytes allows {most}");
        return Err(Fault::new(ErrorCode::TooLarge, message).into());
    }
    let publication = Publication { from: from.into(), data: publish.data.to_owned(), key: key.map(Into::into) };
    check_direct(publish.channel.as_str())?;
    let channel = gateway.directory.intern(publish.channel.as_str());
    Ok(gateway.write_home(channel, HomeRequest::Publish(publication))?)
}

/// A channel for two is one for the API too: it makes its two users members. Who sends is the API's to say.
pub(super) fn check_direct(channel: &str) -> Result<(), ApiError> {
    match name::direct(channel) {
        Some(None) => {
            Err(ApiError::bad_request("a dm: channel is named after its two users in sorted order, as in dm:alice+bob"))
        }
        _ => Ok(()),
    }
}

async fn placed(asked: Asked) -> Result<Placed, ApiError> {
    match asked.wait().await? {
        Answer::Published(published) => {
            Ok(Placed { offset: published.offset, at: published.at, duplicate: published.duplicate })
        }
        _ => Err(ApiError::unexpected_answer()),
    }
}
