//! Health, metrics and the accounts over HTTP, on a port of their own.
//!
//! Owns the answers; asks nobody anything: it reads the shared readiness, the metrics, and the time the
//! coordinator last came round. Must never check a dependency in `/livez`.

mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::shutdown::Stop;
use crate::status::rates::Samples;
use crate::status::reports::Reports;
use crate::status::{About, gauges};

/// `/livez` fails when the coordinator has not come round for this long: only a restart cures that. It
/// comes round each second; a request to the tables ends after one, a scan after ten.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// What the answers are made from.
#[derive(Clone)]
pub struct Server {
    pub clock: Arc<dyn Clock>,
    pub readiness: Readiness,
    pub metrics: Metrics,
    pub reports: Reports,
    pub samples: Samples,
    pub about: Arc<About>,
}

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "http.address {address} can't be listened on: {source}; choose another with --http-address or WEIR_HTTP_ADDRESS"
)]
pub struct BindError {
    pub address: SocketAddr,
    source: std::io::Error,
}

pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError { address, source })
}

/// Answers until a stop is wished.
pub async fn serve(listener: TcpListener, server: Server, mut stop: Stop) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status::status))
        .with_state(server);
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move { stop.wished().await })
        .await
}

async fn livez(State(server): State<Server>) -> Response {
    if server
        .readiness
        .coordinator()
        .is_stuck(server.clock.now(), STUCK_AFTER)
    {
        let text = format!("the coordinator made no progress for {STUCK_AFTER:?}\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    "ok\n".into_response()
}

async fn readyz(State(server): State<Server>) -> Response {
    let report = server.readiness.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

async fn metrics(State(server): State<Server>) -> Response {
    let problems = server.readiness.report().problems.len();
    server
        .metrics
        .problems
        .with_label_values::<&str>(&[])
        .set(problems as i64);
    let pipelines = server.about.pipelines.iter().map(|about| about.name.as_str());
    gauges::set(&server.metrics, &server.reports, pipelines);
    match server.metrics.render() {
        // The text format's version, as Prometheus asks for it (exposition formats, "Basic info").
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
