//! `/livez`, `/readyz` and `/startupz`: is a restart needed, may it get work, has it begun.
//!
//! None of them asks a dependency.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Shared;

/// 503 only for what a restart cures.
pub(super) async fn livez(State(shared): State<Shared>) -> Response {
    match shared.liveness().stuck() {
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n")).into_response(),
        None => "ok\n".into_response(),
    }
}

/// 200 while it works: its tables are there, its row is written, its plan is made, and it doesn't drain.
pub(super) async fn readyz(State(shared): State<Shared>) -> Response {
    let report = shared.server.readiness.report();
    (told(report.ready), Json(report)).into_response()
}

/// 200 from the first time on that it was ready.
pub(super) async fn startupz(State(shared): State<Shared>) -> Response {
    let report = shared.server.readiness.report();
    (told(report.has_started), Json(report)).into_response()
}

fn told(well: bool) -> StatusCode {
    match well {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}
