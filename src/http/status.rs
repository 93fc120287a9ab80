//! `/status`: what the process is doing, as JSON to read and to take apart.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Server;
use crate::metrics::account::Account;
use crate::status::rates::Counters;
use crate::status::{self, Known, Status};

impl Server {
    /// What is known now.
    pub(super) fn status(&self) -> Status {
        let now = self.clock.now();
        let names = || self.about.pipelines.iter().map(|about| about.name.clone());
        let metrics = &self.metrics;
        let rates = |name: String| {
            let counters = Counters::of(metrics, &name);
            let rates = self.samples.rates(&name, now, counters);
            (name, rates)
        };
        let used = |name: String| metrics.buffer_bytes.with_label_values(&[&name]).get();
        let fleet = self.reports.fleet();
        status::of(&Known {
            about: &self.about,
            now,
            wall: self.clock.wall(),
            readiness: self.readiness.report(),
            // A gauge that is read while it moves may be below nothing.
            memory_used: names().map(used).sum::<i64>().max(0) as u64,
            accounts: names()
                .map(|name| (name.clone(), Account::of_running(metrics, &name)))
                .collect(),
            rates: names().map(rates).collect(),
            shards: &self.reports.shards(),
            troubles: &self.reports.troubles(),
            fleet: fleet.as_deref(),
        })
    }
}

pub(super) async fn status(State(server): State<Server>) -> Response {
    // The coordinator reads the leases oftener now.
    server.reports.ask(server.clock.now());
    match serde_json::to_string_pretty(&server.status()) {
        Ok(mut text) => {
            text.push('\n');
            ([(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
