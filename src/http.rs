//! Health, metrics and the accounts over HTTP, on a port of their own.
//!
//! Owns the server and its routes; asks nobody anything: it reads the shared readiness, the metrics, and the marks of
//! those that must make progress. It runs on a thread and a runtime of its own, so that it still answers, and says
//! what is wrong, when each thread of the runtime that does the work is blocked.

mod health;
mod liveness;
mod log_level;
mod status;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use self::liveness::{LOOK, Liveness};
use crate::clock::{Clock, Progress};
use crate::log_level::LogLevel;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::shutdown::Stop;
use crate::status::rates::Samples;
use crate::status::reports::Reports;
use crate::status::{About, gauges};

/// What the answers are made from.
#[derive(Clone)]
pub struct Server {
    pub clock: Arc<dyn Clock>,
    pub readiness: Readiness,
    pub metrics: Metrics,
    pub reports: Reports,
    pub log_level: LogLevel,
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

/// Listens; who connects waits until [`start`].
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| BindError { address, source })
}

/// The server at work. Dropping it ends nothing but its watch over the runtime.
pub struct Running {
    ended: oneshot::Receiver<std::io::Result<()>>,
    ticker: AbortHandle,
}

impl Running {
    /// Returns when the server has ended, and how. Cancel-safe.
    pub async fn ended(&mut self) -> std::io::Result<()> {
        let panicked = |_| std::io::Error::other("its thread panicked");
        (&mut self.ended).await.map_err(panicked)?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

/// Answers until a stop is wished, on a thread of its own. To be called on the runtime whose progress `/livez` tells.
pub fn start(listener: TcpListener, server: Server, stop: Stop) -> std::io::Result<Running> {
    let (clock, runtime) = (server.clock.clone(), Progress::default());
    let ticks = runtime.clone();
    let ticker = tokio::spawn(async move {
        loop {
            ticks.mark(clock.now());
            clock.sleep(LOOK).await;
        }
    });
    let coordinator = server.readiness.coordinator().clone();
    let liveness = Liveness::of(coordinator, runtime, server.clock.now());
    let shared = Shared {
        server,
        liveness: Arc::new(Mutex::new(liveness)),
    };
    let (tell, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || {
            let served = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .and_then(|runtime| runtime.block_on(serve(listener, shared, stop)));
            // Nobody listens who is about to end the process.
            let _ = tell.send(served);
        })?;
    Ok(Running {
        ended,
        ticker: ticker.abort_handle(),
    })
}

/// What each answer is made from.
#[derive(Clone)]
struct Shared {
    server: Server,
    liveness: Arc<Mutex<Liveness>>,
}

impl Shared {
    fn liveness(&self) -> MutexGuard<'_, Liveness> {
        self.liveness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromRef<Shared> for Server {
    fn from_ref(shared: &Shared) -> Self {
        shared.server.clone()
    }
}

fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/startupz", get(health::startupz))
        .route("/log-level", get(log_level::get).put(log_level::put))
        .route("/metrics", get(metrics))
        .route("/status", get(status::status))
        .layer(DefaultBodyLimit::max(log_level::LONGEST))
        .with_state(shared)
}

async fn serve(listener: TcpListener, shared: Shared, mut stop: Stop) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let watched = shared.clone();
    let watch = async move {
        let clock = &watched.server.clock;
        loop {
            clock.sleep(LOOK).await;
            watched.liveness().look(clock.now());
        }
    };
    let service = routes(shared).into_make_service_with_connect_info::<SocketAddr>();
    let answers = axum::serve(listener, service).with_graceful_shutdown(async move { stop.wished().await });
    // Cancel-safe: the watch has nothing to lose.
    tokio::select! {
        biased;
        ended = answers => ended,
        () = watch => Ok(()),
    }
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

#[cfg(test)]
mod tests;
