//! `GET /metrics`: counters as the shards have poured them, and gauges set from a census taken for this page.

use actix_web::{HttpResponse, http::header, web::Data};

use crate::{
    http::{api::census, error::ApiError, gateway::Gateway},
    protocol::error::{ErrorCode, Fault},
};

/// The text format of Prometheus.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn page(gateway: Data<Gateway>) -> Result<HttpResponse, ApiError> {
    let sum = census::sum(census::take(&gateway).await.iter().flatten());
    let states = [("awake", sum.awake), ("dormant", sum.dormant), ("parked", sum.parked)];
    for (state, connections) in states {
        gateway.metrics.connections.with_label_values(&[state]).set(connections as i64);
    }
    gateway.metrics.outbox_bytes.set(sum.outbox_bytes as i64);
    let page = gateway.metrics.render().map_err(|error| {
        tracing::error!(%error, "cannot render the metrics");
        Fault::new(ErrorCode::Internal, "the metrics cannot be rendered")
    })?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, CONTENT_TYPE)).body(page))
}
