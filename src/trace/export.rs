//! Sends spans to a collector, by OTLP over HTTP.
//!
//! Owns the requests. A collector that is down or slow costs spans, which are counted, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::Span;
use super::otlp::{self, Taken, Verdict};
use crate::backoff::Backoff;
use crate::clock::{Clock, timeout};
use crate::config::TracingConfig;
use crate::metrics::Metrics;
use crate::shutdown::{self, Stop, Stopper};

/// The most spans of a request, and how long the first of them waits for others: the defaults of OpenTelemetry's own
/// kits are 512, and 5 s; a trace that comes sooner is of more use.
const MOST: usize = 512;
const LINGER: Duration = Duration::from_secs(1);
/// How long a collector may take, with all repeats: OpenTelemetry's default (OTEL_EXPORTER_OTLP_TIMEOUT).
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take at the end.
pub const LAST: Duration = Duration::from_secs(1);
/// No answer of a collector is longer, if it is one: what follows is not read.
const LONGEST_ANSWER: usize = 64 << 10;

/// The task that sends.
pub struct Sending {
    stopper: Stopper,
    task: JoinHandle<()>,
    clock: Arc<dyn Clock>,
}

impl Sending {
    /// Sends what is left. What the collector doesn't take within a second is lost: no trace holds the exit.
    pub async fn finish(mut self) {
        self.stopper.stop();
        if timeout(&*self.clock, LAST, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// Where spans go.
pub struct Exporter {
    url: String,
    headers: BTreeMap<String, String>,
    resource: BTreeMap<String, String>,
    connector: SharedHttpConnector,
    clock: Arc<dyn Clock>,
    /// Spreads the repeats.
    rng: fastrand::Rng,
    metrics: Metrics,
    /// Requests that failed, since the last that did not.
    failures: u64,
    /// Requests of which spans were rejected, or that the collector had something to say to.
    complaints: u64,
}

impl Exporter {
    /// To `url`, as `settings` say.
    pub fn to(
        url: &str,
        settings: &TracingConfig,
        connector: SharedHttpConnector,
        clock: Arc<dyn Clock>,
        rng: fastrand::Rng,
        metrics: Metrics,
    ) -> Self {
        Self {
            url: url.to_owned(),
            headers: settings.headers.0.clone(),
            resource: settings.resource.clone(),
            connector,
            clock,
            rng,
            metrics,
            failures: 0,
            complaints: 0,
        }
    }

    /// Sends what comes out of the queue, as a task of its own.
    pub fn start(self, queue: mpsc::Receiver<Span>) -> Sending {
        let (clock, (stopper, stop)) = (self.clock.clone(), shutdown::channel());
        Sending {
            stopper,
            task: tokio::spawn(self.run(queue, stop)),
            clock,
        }
    }

    /// Until a stop is wished; then what is there, and no more.
    async fn run(mut self, mut queue: mpsc::Receiver<Span>, mut stop: Stop) {
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
                self.send(&std::mem::take(&mut spans), &mut stop).await;
            }
        }
    }

    async fn send(&mut self, spans: &[Span], stop: &mut Stop) {
        let body = Bytes::from(otlp::body(&self.resource, spans).to_string());
        let counted = self.metrics.trace_spans.clone();
        let count = |outcome: &str, spans: u64| counted.with_label_values(&[outcome]).inc_by(spans);
        let all = spans.len() as u64;
        match self.deliver(&body, stop).await {
            Ok(Taken { rejected, message }) => {
                self.failures = 0;
                let rejected = rejected.min(all);
                count("sent", all - rejected);
                count("rejected", rejected);
                if rejected > 0 || !message.is_empty() {
                    self.complaints += 1;
                    if self.complaints.is_power_of_two() {
                        warn!(url = %self.url, rejected, complaints = self.complaints, "the collector says of spans: {message}");
                    }
                }
            }
            Err(error) => {
                self.failures += 1;
                count("failed", all);
                if self.failures.is_power_of_two() {
                    warn!(url = %self.url, failures = self.failures, "spans could not be sent, and are dropped: {error}");
                }
            }
        }
    }

    /// Posts until the collector takes or refuses it, `PATIENCE` is over, or a stop is wished.
    async fn deliver(&mut self, body: &Bytes, stop: &mut Stop) -> Result<Taken, String> {
        let clock = self.clock.clone();
        let mut why = format!("no answer within {PATIENCE:?}");
        let repeated = self.repeat(body, stop, &mut why);
        let done = timeout(&*clock, PATIENCE, repeated).await;
        done.unwrap_or(Ok(None))?.ok_or(why)
    }

    /// `None`: given up, for the reason that is told last.
    async fn repeat(
        &mut self,
        body: &Bytes,
        stop: &mut Stop,
        why: &mut String,
    ) -> Result<Option<Taken>, String> {
        let mut backoff = Backoff::default();
        loop {
            let after = match self.post(body.clone()).await {
                Err(error) => {
                    *why = error;
                    None
                }
                Ok((status, Verdict::Again(after))) => {
                    *why = format!("the collector says {status}");
                    after
                }
                Ok((status, Verdict::Refused)) => return Err(format!("the collector says {status}")),
                Ok((_, Verdict::Taken(taken))) => return Ok(Some(taken)),
            };
            let wait = after.unwrap_or_else(|| backoff.next(&mut self.rng));
            if wait >= PATIENCE {
                return Ok(None);
            }
            // Cancel-safe: a wish stays wished, and a sleep holds nothing.
            tokio::select! {
                biased;
                () = stop.wished() => return Ok(None),
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    /// Asks once. An error is one of the connection.
    async fn post(&self, body: Bytes) -> Result<(u16, Verdict), String> {
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| error.to_string())?;
        request
            .set_uri(self.url.as_str())
            .map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        headers.insert("content-type", "application/json");
        headers.insert("user-agent", concat!("weir/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            // A name or a value that HTTP doesn't take is left out; their texts are secrets.
            let _ = headers.try_insert(name.clone(), value.clone());
        }
        let answer = self.connector.call(request).await;
        let mut answer = answer.map_err(|error| format!("{error:?}"))?;
        let mut stream = ByteStream::new(answer.take_body());
        let mut told = Vec::new();
        while told.len() < LONGEST_ANSWER
            && let Some(Ok(bytes)) = stream.next().await
        {
            told.extend_from_slice(&bytes);
        }
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after");
        let verdict = otlp::verdict(status, retry_after, &told, self.clock.wall());
        Ok((status, verdict))
    }
}
