//! `GET /metrics`: counters as the shards have poured them, and gauges set from a census taken for this page.

use actix_web::{HttpResponse, http::header, web::Data};
use futures_util::future::join_all;

use crate::{
    http::{api::census, error::ApiError, gateway::Gateway},
    protocol::{
        close::Close,
        error::{ErrorCode, Fault},
    },
    telemetry::Metrics,
};

/// The text format of Prometheus.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn page(gateway: Data<Gateway>) -> Result<HttpResponse, ApiError> {
    // Whatever the connections run: a descriptor is a descriptor.
    let counted = join_all(gateway.all_shards().map(census::take)).await;
    let sum = census::sum(counted.iter().flatten().flatten());
    let states = [("awake", sum.awake), ("dormant", sum.dormant), ("parked", sum.parked)];
    for (state, connections) in states {
        gateway.metrics.connections.with_label_values(&[state]).set(connections as i64);
    }
    gateway.metrics.outbox_bytes.set(sum.outbox_bytes as i64);
    gateway.metrics.stalled_turns.set(gateway.watchdog.stalled_now().len() as i64);
    show_zeros(&gateway.metrics);
    let page = gateway.metrics.render().map_err(|error| {
        tracing::error!(%error, "cannot render the metrics");
        Fault::new(ErrorCode::Internal, "the metrics cannot be rendered")
    })?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, CONTENT_TYPE)).body(page))
}

/// Counts that have not happened yet are zero, not absent: a rate over them is right from the first time on.
fn show_zeros(metrics: &Metrics) {
    for result in ["accepted", "bad_handshake", "too_many_connections", "draining"] {
        metrics.handshakes.with_label_values(&[result]);
    }
    for close in Close::ALL {
        metrics.closes.with_label_values(&[close.code.to_string()]);
    }
}
