//! What one value may be.
//!
//! Pure. Each function takes the value as given and returns it checked, or what is wrong with it and the
//! way out, as the rest of a sentence that begins with the value. The file and the flags share them. By subject they
//! stand in files below; here is what fits none.

mod aws;
mod logs;
mod records;
mod source;
mod tables;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

pub use aws::*;
pub use logs::*;
pub use records::*;
pub use source::*;
pub use tables::*;

use super::{LeaseKeys, LogFormat, PipelineConfig, StreamChoice, Wire, bounds, units};
use crate::suggest;

/// What is wrong, and the way out.
pub type Checked<T> = Result<T, String>;

/// A pipeline's name: the first part of its lease keys, which end at a `/`.
pub fn pipeline_name(text: &str) -> Checked<String> {
    let held = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(held) {
        return Ok(text.to_owned());
    }
    Err(
        "a pipeline's name must be 1 to 64 of the characters a-z A-Z 0-9 . _ - (it begins its lease keys)"
            .to_owned(),
    )
}

/// What the rate of puts may be.
pub const PUT_RATE: RangeInclusive<u32> = 1..=100_000;

/// PutLogEvents a second. The quota is 5,000 in most regions, and can be raised.
pub fn put_rate(text: &str) -> Checked<u32> {
    const MOST: u32 = *PUT_RATE.end();
    match text.parse::<u64>() {
        Ok(0) => Err(format!("lets nothing through: use 1 to {MOST}")),
        Ok(rate) => u32::try_from(rate)
            .ok()
            .filter(|rate| *rate <= MOST)
            .ok_or_else(|| format!("is too much: use 1 to {MOST}")),
        Err(_) => Err(format!("is not a number of puts a second: use 1 to {MOST}")),
    }
}

/// `raw` or `sdk`.
pub fn wire(text: &str) -> Checked<Wire> {
    let words = [("raw", Wire::Raw), ("sdk", Wire::Sdk)];
    word(text, &words, "is no way to read records and write puts")
}

/// The address that health and metrics are served on.
pub fn address(text: &str) -> Checked<SocketAddr> {
    text.parse().map_err(|_| {
        let example = match text
            .rsplit_once(':')
            .map_or(text, |(_, port)| port)
            .parse::<u16>()
        {
            Ok(port) => format!("0.0.0.0:{port}"),
            Err(_) => "0.0.0.0:8080".to_owned(),
        };
        format!("is not an IP address and a port: write it like `{example}`")
    })
}

/// Where a collector takes OTLP over HTTP: the URL of the traces, whose path may be given or not.
pub fn otlp_endpoint(text: &str) -> Checked<String> {
    let whole = otlp_url(text)?;
    let base = whole.trim_end_matches('/');
    let base = base.strip_suffix("/v1/traces").unwrap_or(base);
    Ok(format!("{base}/v1/traces"))
}

/// Where a collector takes traces by OTLP over HTTP: the URL as it is.
pub fn otlp_url(text: &str) -> Checked<String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    let is_url = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_graphic() && !"?#\"<>\\^`{|}".contains(c))
    };
    match host {
        Some(host) if !host.is_empty() && !host.contains('@') && is_url(text) => Ok(text.to_owned()),
        _ => Err(
            "is not where a collector takes OTLP over HTTP: write it like `http://127.0.0.1:4318`".to_owned(),
        ),
    }
}

/// The part of all batches that is traced.
pub fn sample(text: &str) -> Checked<f64> {
    match text.parse::<f64>() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("is not a part of all batches: use 0 (none) to 1 (all), as in 0.01".to_owned()),
    }
}

/// `weir` or `kcl`.
pub fn lease_keys(text: &str) -> Checked<LeaseKeys> {
    let words = [("weir", LeaseKeys::Weir), ("kcl", LeaseKeys::Kcl)];
    word(text, &words, "is no make of lease keys")
}

/// `auto`, `text` or `json`.
pub fn log_format(text: &str) -> Checked<LogFormat> {
    let words = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
    ];
    word(text, &words, "is not a log format")
}

/// What one of these words stands for. Of any other, `what` is wrong with it.
fn word<T: Copy>(text: &str, words: &[(&str, T)], what: &str) -> Checked<T> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meant)| *meant).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("{what}: {}", suggest::one_of(text, &known))
    })
}

/// `true` or `false`.
pub fn boolean(text: &str) -> Checked<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither `true` nor `false`: use one of them".to_owned()),
    }
}

/// A duration within bounds.
pub fn duration(bounds: RangeInclusive<Duration>) -> impl Fn(&str) -> Checked<Duration> {
    move |text| within(units::duration(text)?, &bounds, units::show_duration)
}

/// A size in bytes within bounds.
pub fn size(bounds: RangeInclusive<usize>) -> impl Fn(&str) -> Checked<usize> {
    move |text| within(units::size(text)?, &bounds, units::show_size)
}

/// So long after the limit of a drain a process has ended, whatever the tables, a collector and a scraper do: 3 s for
/// the notes, for what is uncertain and for the row (`coordinator`'s `FAREWELL`), then 1 s for the last traces and for
/// the HTTP server at once (`app`'s `LAST`), and 1 s to spare. The two constants are held against this one where they stand.
pub const AFTER_DRAIN: Duration = Duration::from_secs(5);

/// Whether a drain of `timeout` ends before the platform kills, `grace` after SIGTERM. The error reads on from the
/// value of the grace period; `name` is where the other one is set.
pub fn drain_fits(timeout: Duration, name: &str, grace: Duration) -> Checked<()> {
    let least = timeout + AFTER_DRAIN;
    if least <= grace {
        return Ok(());
    }
    Err(format!(
        "is too short for {name} of {}: a drain that hits its limit needs up to {} more until the process has ended, and \
         would be killed before. Let the platform wait {} at least (terminationGracePeriodSeconds, stopTimeout) and say so \
         here, or set {name} to {} at most",
        shown(timeout),
        shown(AFTER_DRAIN),
        shown(least),
        shown(grace.saturating_sub(AFTER_DRAIN)),
    ))
}

/// The least `memory` with which one record of the largest size of each pipeline's stream can be read and put.
pub fn least_memory(pipelines: &[PipelineConfig]) -> usize {
    match pipelines.iter().any(is_kinesis) {
        true => bounds::KINESIS_MEMORY,
        false => *bounds::MEMORY.start(),
    }
}

/// Whether `memory` is enough for the pipelines. The error reads on from its value.
pub fn memory_fits(memory: usize, pipelines: &[PipelineConfig]) -> Checked<()> {
    let least = least_memory(pipelines);
    match pipelines.iter().find(|one| is_kinesis(one)) {
        Some(one) if memory < least => Err(format!(
            "is too little for `pipelines.{}`: a record of a Kinesis stream has up to 10 MiB, and with its answer and its \
             event it takes {}: use {} at least, or leave the key out",
            one.name,
            shown_size(least),
            shown_size(least),
        )),
        _ => Ok(()),
    }
}

fn is_kinesis(pipeline: &PipelineConfig) -> bool {
    matches!(
        pipeline.source.stream,
        StreamChoice::Kinesis(_) | StreamChoice::KinesisArn(_)
    )
}

/// A duration as it would stand in the file.
pub fn shown(duration: Duration) -> String {
    units::show_duration(duration)
}

/// A size as it would stand in the file.
pub fn shown_size(bytes: usize) -> String {
    units::show_size(bytes)
}

fn within<T: PartialOrd + Copy>(value: T, bounds: &RangeInclusive<T>, show: fn(T) -> String) -> Checked<T> {
    let (min, max) = (*bounds.start(), *bounds.end());
    if value < min {
        Err(format!("is too little: use {} to {}", show(min), show(max)))
    } else if value > max {
        Err(format!("is too much: use {} to {}", show(min), show(max)))
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
