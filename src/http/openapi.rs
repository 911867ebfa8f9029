//! `GET /v1/openapi.json`: the API described for programs (OpenAPI 3.1).
//!
//! Written by hand and compiled in: deriving it would put a macro on every type of the API and still leave the prose to
//! write. The tests hold it against the table of routes in both directions.

use actix_web::HttpResponse;

/// The document.
const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}
