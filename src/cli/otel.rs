//! OpenTelemetry's own variables, where they say something of the traces.
//!
//! They stand before the file, as all variables do. The names and the format of their values are those of its
//! specification ("OpenTelemetry Environment Variable Specification", "OpenTelemetry Protocol Exporter").

use std::collections::BTreeMap;

use super::flags::Flags;
use crate::config::{TracingConfig, check};

/// Sets what the variables say.
pub(super) fn apply(flags: &mut Flags<'_>, tracing: &mut TracingConfig) {
    let vars = flags.vars();
    let variable = |name: &str| vars(name).filter(|text| !text.is_empty());
    // What is said of the traces alone stands before what is said of all signals.
    let headers = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
    if let Some(headers) = headers.into_iter().find_map(variable) {
        tracing.headers.0.extend(pairs(&headers));
    }
    if let Some(attributes) = variable("OTEL_RESOURCE_ATTRIBUTES") {
        tracing.resource.extend(pairs(&attributes));
    }
    if let Some(name) = variable("OTEL_SERVICE_NAME") {
        tracing.resource.insert("service.name".to_owned(), name);
    }
    if let Some(url) = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        let read = flags.argument("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &url, check::otlp_url);
        tracing.url = read.or(tracing.url.take());
    } else if let Some(endpoint) = variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
        let read = flags.argument("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint, check::otlp_endpoint);
        tracing.url = read.or(tracing.url.take());
    }
    if variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        tracing.url = None;
    }
}

/// `key=value`, with commas between; values are percent-encoded. What is no pair is left out.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), decoded(value.trim())))
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digit = |at: usize| char::from(*others.get(at)?).to_digit(16);
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high * 16 + low));
                rest = &others[2..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (TracingConfig, usize) {
        let vars = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut flags = Flags::new(&vars);
        let mut tracing = TracingConfig {
            url: Some("http://file:4318/v1/traces".into()),
            ..TracingConfig::default()
        };
        apply(&mut flags, &mut tracing);
        (tracing, flags.problems.len())
    }

    #[test]
    fn the_variables_stand_before_the_file() {
        let (tracing, problems) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector/"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "api-key=a%20b%3D%zz, x = y ,nonsense,=z",
            ),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=first,deployment.environment.name=prod",
            ),
            ("OTEL_SERVICE_NAME", "orders-weir"),
        ]);
        assert_eq!(problems, 0);
        assert_eq!(tracing.url.as_deref(), Some("https://collector/v1/traces"));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            tracing.headers.0,
            [pair("api-key", "a b=%zz"), pair("x", "y")].into()
        );
        let resource = [
            pair("service.name", "orders-weir"),
            pair("deployment.environment.name", "prod"),
        ];
        assert_eq!(tracing.resource, resource.into());
        // A header may be a key.
        assert!(!format!("{tracing:?}").contains("a b"));
    }

    #[test]
    fn what_is_said_of_traces_alone_stands_before_what_is_said_of_all() {
        let (tracing, problems) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:1234/in/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "of=all"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "only=traces"),
        ]);
        assert_eq!(problems, 0);
        assert_eq!(tracing.url.as_deref(), Some("https://traces:1234/in/"));
        assert_eq!(tracing.headers.0, [("only".into(), "traces".into())].into());
    }

    #[test]
    fn without_them_the_file_counts_and_a_wrong_one_is_a_problem() {
        assert_eq!(read(&[]).0.url.as_deref(), Some("http://file:4318/v1/traces"));
        assert_eq!(read(&[("OTEL_SDK_DISABLED", "true")]).0.url, None);
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]).1, 1);
    }
}
