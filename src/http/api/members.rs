//! `PUT` and `DELETE /v1/channels/{channel}/members/{user}`: memberships as a backend keeps them. The user need not be there;
//! his sessions are subscribed, or unsubscribed, at once.

use actix_web::web::{Data, Json, Path};
use serde::Serialize;

use crate::{
    channel::{Answer, HomeRequest},
    http::{
        api::{Answered, channels, publish},
        error::ApiError,
        gateway::Gateway,
    },
    id::Epoch,
    protocol::{
        frame::Standing,
        name::{self, ChannelName, check_user},
    },
};

/// The answer to both.
#[derive(Serialize)]
pub(crate) struct Member {
    channel: String,
    user: String,
    /// From now on.
    member: bool,
    #[serde(flatten)]
    place: Option<Place>,
}

/// Where a member stands.
#[derive(Serialize)]
struct Place {
    epoch: Epoch,
    offset: u64,
    #[serde(flatten)]
    standing: Standing,
}

pub(crate) async fn add(gateway: Data<Gateway>, path: Path<(String, String)>) -> Answered<Member> {
    let (channel, user) = path.into_inner();
    let name = ChannelName::new(channel.as_str()).map_err(|error| ApiError::bad_request(error.to_string()))?;
    check(name.as_str(), &user)?;
    let home = gateway.directory.intern(name.as_str());
    match gateway.ask_home(home, HomeRequest::Join { user: user.as_str().into() }).await? {
        Answer::Joined { epoch, head, standing } => {
            let place = Some(Place { epoch, offset: head, standing });
            Ok(Json(Member { channel, user, member: true, place }))
        }
        _ => Err(ApiError::unexpected_answer()),
    }
}

pub(crate) async fn remove(gateway: Data<Gateway>, path: Path<(String, String)>) -> Answered<Member> {
    let (channel, user) = path.into_inner();
    let home = channels::find(&gateway, &channel)?;
    match gateway.ask_home(home, HomeRequest::Leave { user: user.as_str().into() }).await? {
        Answer::Left(_) => Ok(Json(Member { channel, user, member: false, place: None })),
        _ => Err(ApiError::unexpected_answer()),
    }
}

fn check(channel: &str, user: &str) -> Result<(), ApiError> {
    check_user(user).map_err(|error| ApiError::bad_request(error.to_string()))?;
    publish::check_direct(channel)?;
    match name::direct(channel) {
        Some(Some((first, second))) if user != first && user != second => {
            Err(ApiError::bad_request(format!("only {first} and {second} can be members of {channel}")))
        }
        _ => Ok(()),
    }
}
