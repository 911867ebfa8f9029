//! `POST /v1/disconnect`: closes a connection, or all of a user. Their sessions are told by the code whether to come back.

use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};

use crate::{
    http::{
        api::{Answered, connections},
        body::Body,
        error::ApiError,
        gateway::Gateway,
    },
    protocol::close::Close,
    shard::{Act, Action, Target},
};

#[derive(Deserialize)]
#[serde(expecting = "an object with `user` or `connection`")]
struct Disconnect {
    user: Option<String>,
    connection: Option<String>,
    code: Option<u16>,
}

/// How many it hit.
#[derive(Serialize)]
pub(crate) struct Disconnected {
    pub(super) disconnected: usize,
}

pub(crate) async fn disconnect(gateway: Data<Gateway>, body: Body) -> Answered<Disconnected> {
    let request: Disconnect = body.parse()?;
    let action = Action::Close(request.code.map_or(Ok(Close::KICKED), close)?);
    let disconnected = match (request.user, request.connection) {
        (None, Some(connection)) => connections::act(&gateway.shards, &connection, action).await?,
        (Some(user), None) => {
            let act = || Act { target: Target::User(user.clone()), action };
            gateway.shards.ask_all(act).await?.iter().sum()
        }
        _ => return Err(ApiError::bad_request("give one of `user` and `connection`")),
    };
    Ok(Json(Disconnected { disconnected }))
}

fn close(code: u16) -> Result<Close, ApiError> {
    Close::from_code(code).ok_or_else(|| {
        let known: Vec<_> = Close::ALL.iter().map(|close| format!("{} {}", close.code, close.name)).collect();
        ApiError::bad_request(format!("`code` {code} is no close code of this server; there are {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_outside_the_table_is_told_the_table() {
        assert_eq!(close(4002).ok(), Some(Close::SLOW_CONSUMER));
        let message = close(4999).map_err(|error| error.into_fault().message).expect_err("unknown");
        assert!(message.contains("4503 kicked"), "{message}");
    }
}
