//! Every path the server knows, in one table.

use actix_web::{HttpResponse, web};

/// Adds all routes to an app.
pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.route("/health/live", web::get().to(|| async { HttpResponse::Ok().body("live\n") }));
}
