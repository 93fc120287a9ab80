//! Health, metrics, the accounts and the status page over HTTP, on a port of their own.
//!
//! Owns the answers; asks nobody anything: it reads the shared readiness, the metrics, and the time the
//! coordinator last came round. Must never check a dependency in `/livez`.

pub mod page;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::metrics::account::Account;
use crate::readiness::{Readiness, Report};
use crate::shutdown::Stop;
use crate::status::reports::Reports;

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
    /// The names of the pipelines.
    pub pipelines: Arc<[String]>,
}

/// The answer of `/status`.
#[derive(Serialize)]
struct Status<'s> {
    version: &'static str,
    #[serde(flatten)]
    readiness: Report,
    pipelines: BTreeMap<&'s str, PipelineStatus>,
}

#[derive(Serialize)]
struct PipelineStatus {
    records: Account,
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
        .route("/status", get(status))
        .merge(page::routes())
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

async fn status(State(server): State<Server>) -> Response {
    let account = |name| PipelineStatus {
        records: Account::of_running(&server.metrics, name),
    };
    let pipelines = server.pipelines.iter().map(|name| (name.as_str(), account(name)));
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        readiness: server.readiness.report(),
        pipelines: pipelines.collect(),
    };
    Json(status).into_response()
}

async fn metrics(State(server): State<Server>) -> Response {
    let problems = server.readiness.report().problems.len();
    server
        .metrics
        .problems
        .with_label_values::<&str>(&[])
        .set(problems as i64);
    match server.metrics.render() {
        // The text format's version, as Prometheus asks for it (exposition formats, "Basic info").
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
