//! Two questions of whoever runs the process: is it alive, and should it get new clients?

use actix_web::web::{Data, Json};
use serde::Serialize;

use crate::{
    http::{api::Answered, gateway::Gateway},
    protocol::error::{ErrorCode, Fault},
};

/// `{"status": …}`.
#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
}

/// `GET /health/live`: the process serves requests.
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "live" })
}

/// `GET /health/ready`: 503 from the beginning of a drain.
pub(crate) async fn ready(gateway: Data<Gateway>) -> Answered<Health> {
    if !gateway.is_ready() {
        return Err(Fault::new(ErrorCode::Unavailable, "this node is being drained").into());
    }
    Ok(Json(Health { status: "ready" }))
}
