//! Spans as OTLP tells them in JSON, and what a collector's answer means.
//!
//! Pure. The format is that of the OpenTelemetry Protocol 1.x, "JSON Protobuf Encoding": ids are hexadecimal, 64-bit
//! numbers are texts, enums are numbers. Written by hand: `opentelemetry-otlp` 0.33 brings 19 crates, three of them in
//! other versions than those that are here. It shows headers in its `Debug`, hides why a connection failed, and misses
//! the rejections that a collector tells in this encoding.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{Span, SpanContext, Value};
use crate::clock::Timestamp;

/// So many characters of what a collector has to say are told.
const MESSAGE: usize = 300;

/// What a collector's answer means ("OTLP/HTTP Response").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken(Taken),
    /// To be sent again: after this time, if the collector says when.
    Again(Option<Duration>),
    /// Not to be sent again.
    Refused,
}

/// Taken, but for so many spans; and what the collector has to say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub rejected: u64,
    pub message: String,
}

/// Reads an answer; `retry_after` is its header.
pub(super) fn verdict(status: u16, retry_after: Option<&str>, body: &[u8], now: Timestamp) -> Verdict {
    match status {
        200..=299 => {
            let told = serde_json::from_slice::<Told>(body).unwrap_or_default();
            let rejected = match told.partial_success.rejected_spans {
                Json::String(text) => text.parse().ok(),
                number => number.as_u64(),
            };
            Verdict::Taken(Taken {
                rejected: rejected.unwrap_or(0),
                message: told.partial_success.error_message.chars().take(MESSAGE).collect(),
            })
        }
        429 | 502 | 503 | 504 => Verdict::Again(retry_after.and_then(|text| wait(text, now))),
        _ => Verdict::Refused,
    }
}

/// ExportTraceServiceResponse.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    partial_success: PartialSuccess,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PartialSuccess {
    /// A 64-bit number: a text, or, of a lenient collector, a number.
    rejected_spans: Json,
    error_message: String,
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    let seconds = text.trim().parse().ok().map(Duration::from_secs);
    seconds.or_else(|| {
        let date = DateTime::from_str(text.trim(), Format::HttpDate).ok()?;
        Some(Timestamp::from_millis(date.to_millis().ok()?).since(now))
    })
}

/// The body of a request to `/v1/traces`.
pub(super) fn body(resource: &BTreeMap<String, String>, spans: &[Span]) -> Json {
    let resource: Vec<Json> = resource
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }))
        .collect();
    let spans: Vec<Json> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{
            "scope": { "name": "weir", "version": env!("CARGO_PKG_VERSION") },
            "spans": spans,
        }],
    }] })
}

fn span(span: &Span) -> Json {
    /// Enum SpanKind.
    const INTERNAL: u8 = 1;
    const CLIENT: u8 = 3;
    const CONSUMER: u8 = 5;
    /// Enum StatusCode.
    const ERROR: u8 = 2;
    let kind = match span.name {
        "shard.batch" => CONSUMER,
        "decode" => INTERNAL,
        _ => CLIENT,
    };
    let attributes: Vec<Json> = span
        .attributes
        .iter()
        .map(|(key, value)| match value {
            Value::Text(text) => json!({ "key": key, "value": { "stringValue": text } }),
            Value::Count(count) => json!({ "key": key, "value": { "intValue": count.to_string() } }),
        })
        .collect();
    let mut told = ids(span.context);
    told["name"] = span.name.into();
    told["kind"] = kind.into();
    told["startTimeUnixNano"] = span.began.to_string().into();
    told["endTimeUnixNano"] = span.ended.to_string().into();
    told["attributes"] = attributes.into();
    if let Some(parent) = span.parent {
        told["parentSpanId"] = format!("{parent:016x}").into();
    }
    if !span.links.is_empty() {
        told["links"] = span.links.iter().copied().map(ids).collect();
    }
    if let Some(error) = &span.error {
        told["status"] = json!({ "code": ERROR, "message": error });
    }
    told
}

fn ids(context: SpanContext) -> Json {
    json!({ "traceId": format!("{:032x}", context.trace), "spanId": format!("{:016x}", context.span) })
}
