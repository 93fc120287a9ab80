//! Spans as OTLP tells them in JSON.
//!
//! Pure. The format is that of the OpenTelemetry Protocol 1.x, "JSON Protobuf Encoding": ids are hexadecimal, 64-bit
//! numbers are texts, enums are numbers. Written by hand, because it is small: the crates that write it bring Protobuf,
//! gRPC's types and a second HTTP client.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{Span, SpanContext, Value};

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
