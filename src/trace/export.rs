//! Sends spans to a collector, by OTLP over HTTP.
//!
//! Owns the requests. A collector that is down or slow costs spans, which are counted, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{Span, otlp};
use crate::clock::{Clock, timeout};
use crate::config::TracingConfig;
use crate::metrics::Metrics;
use crate::shutdown::Stop;

/// The most spans of a request, and how long the first of them waits for others: the defaults of OpenTelemetry's own
/// kits are 512, and 5 s; a trace that comes sooner is of more use.
const MOST: usize = 512;
const LINGER: Duration = Duration::from_secs(1);
/// How long a collector may take: OpenTelemetry's default (OTEL_EXPORTER_OTLP_TIMEOUT).
const PATIENCE: Duration = Duration::from_secs(10);

/// Where spans go.
pub struct Exporter {
    url: String,
    headers: BTreeMap<String, String>,
    resource: BTreeMap<String, String>,
    connector: SharedHttpConnector,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    failures: u64,
}

impl Exporter {
    /// To `endpoint`, as `settings` say.
    pub fn to(
        endpoint: &str,
        settings: &TracingConfig,
        connector: SharedHttpConnector,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        Self {
            url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
            headers: settings.headers.0.clone(),
            resource: settings.resource.clone(),
            connector,
            clock,
            metrics,
            failures: 0,
        }
    }

    /// Sends what comes until a stop is wished; then what is there, and ends.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Span>, mut stop: Stop) {
        info!(url = %self.url, "traces are sent");
        let clock = self.clock.clone();
        let mut is_last = false;
        while !is_last {
            let mut spans = Vec::new();
            // Cancel-safe, both times: a wish stays wished, and a queue keeps what it has not given.
            tokio::select! {
                biased;
                () = stop.wished() => is_last = true,
                _ = queue.recv_many(&mut spans, MOST) => tokio::select! {
                    biased;
                    () = stop.wished() => is_last = true,
                    () = clock.sleep(LINGER) => {}
                },
            }
            loop {
                while spans.len() < MOST
                    && let Ok(span) = queue.try_recv()
                {
                    spans.push(span);
                }
                if spans.is_empty() {
                    break;
                }
                self.send(&std::mem::take(&mut spans)).await;
            }
        }
    }

    async fn send(&mut self, spans: &[Span]) {
        let body = otlp::body(&self.resource, spans).to_string();
        let outcome = match self.post(body).await {
            Ok(()) => {
                self.failures = 0;
                "sent"
            }
            Err(error) => {
                self.failures += 1;
                if self.failures.is_power_of_two() {
                    warn!(url = %self.url, failures = self.failures, "spans could not be sent, and are dropped: {error}");
                }
                "failed"
            }
        };
        let counted = &self.metrics.trace_spans;
        counted.with_label_values(&[outcome]).inc_by(spans.len() as u64);
    }

    async fn post(&self, body: String) -> Result<(), String> {
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| error.to_string())?;
        request
            .set_uri(self.url.as_str())
            .map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        headers.insert("content-type", "application/json");
        for (name, value) in &self.headers {
            // A name or a value that HTTP doesn't take is left out; their texts are secrets.
            let _ = headers.try_insert(name.clone(), value.clone());
        }
        let asked = self.connector.call(request);
        match timeout(&*self.clock, PATIENCE, asked).await {
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(format!("the collector says {}", answer.status().as_u16())),
            Ok(Err(error)) => Err(format!("{error:?}")),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }
}
