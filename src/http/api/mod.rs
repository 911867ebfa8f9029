//! The API of CONTRACT §2, one file per noun. Handlers turn a request into messages to shards or letters to homes and the
//! answers into JSON; they decide nothing that a shard or a home could decide.
//!
//! Called by the table in `http/routes.rs`.

mod census;
pub(super) mod channels;
pub(super) mod chaos;
mod chaos_request;
pub(super) mod connections;
pub(super) mod disconnect;
pub(super) mod health;
pub(super) mod members;
pub(super) mod metrics;
pub(super) mod node;
pub(super) mod publish;
pub(super) mod users;

use actix_web::web::Json;

use crate::http::error::ApiError;

/// What a handler answers.
type Answered<T> = Result<Json<T>, ApiError>;
