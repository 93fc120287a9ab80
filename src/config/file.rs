//! The layout of the YAML file.
//!
//! Owns which key is where and which keys exclude each other; `check` owns what one value may be, and
//! `config` the defaults. Reads text, not files. The sections stand in files of their names.

pub mod bounds;
mod destination;
mod pipeline;
mod redact;
mod source;
mod state;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;

use serde_json::Value;

use super::check::StateNames;
use super::problem::{Problem, Problems};
use super::reader::Section;
use super::{
    AwsSettings, Config, ConfigError, LeaseKeys, Overrides, PipelineConfig, TracingConfig, Vars, check,
};
use pipeline::pipeline;
use state::state;

/// Reads a file's text. `overrides` stand before what the file says.
pub fn read(text: &str, vars: Vars<'_>, overrides: Overrides) -> Result<Config, ConfigError> {
    let (config, problems) = Section::read(parse(text)?, vars, |top| config(top, overrides));
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError::Invalid(Problems(problems))),
    }
}

/// `http.address` alone, whatever else is wrong with the file; `None`: it has none.
pub fn http_address(text: &str, vars: Vars<'_>) -> Result<Option<SocketAddr>, ConfigError> {
    let (address, problems) = Section::read(parse(text)?, vars, |top| {
        top.section("http", |http| http.text("address", check::address))
    });
    let about_it = |problem: &Problem| ["the file", "http", "http.address"].contains(&problem.key.as_str());
    let problems: Vec<Problem> = problems.into_iter().filter(about_it).collect();
    match problems.is_empty() {
        true => Ok(address),
        false => Err(ConfigError::Invalid(Problems(problems))),
    }
}

fn parse(text: &str) -> Result<Value, ConfigError> {
    let options = serde_saphyr::options! {
        // YAML 1.2: `yes` and `on` are texts. And a text keeps its spelling where it only looks like a number.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // A fault of the document as a whole has no place of its own: then the beginning stands for it.
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = match &error {
            serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key `{key}` stands twice: keep one")
            }
            serde_saphyr::Error::UnknownAnchor { .. } => {
                "a value that begins with `*` is a reference to YAML: put it in quotes, as in \"*.card_number\""
                    .to_owned()
            }
            // The type of an attribute in a filter, most likely.
            serde_saphyr::Error::NullIntoString { .. } => {
                "a key is null, as YAML reads NULL, ~ and nothing at all: write it in quotes, as in \"NULL\""
                    .to_owned()
            }
            other => {
                let message = other.render_with_formatter(&serde_saphyr::UserMessageFormatter);
                let place = format!(" at line {line}, column {column}");
                format!(
                    "not valid YAML: {}",
                    message.strip_suffix(&place).unwrap_or(&message)
                )
            }
        };
        ConfigError::Syntax {
            line,
            column,
            message,
        }
    })
}

/// `None` only after a problem was reported.
fn config(top: &mut Section<'_>, overrides: Overrides) -> Option<Config> {
    let has_application = top.has("application");
    let application = overrides
        .application
        .or(top.text("application", check::application));
    let http_address = top.section("http", |http| http.text("address", check::address));
    let log_format = top.section("log", |log| log.text("format", check::log_format));
    let tracing = top.section("tracing", |tracing| TracingConfig {
        url: tracing.text("otlp_endpoint", check::otlp_endpoint),
        sample: tracing
            .scalar("sample", check::sample)
            .unwrap_or(TracingConfig::default().sample),
        ..TracingConfig::default()
    });
    let memory = top.scalar("memory", check::size(bounds::MEMORY));
    let put_rate = top.scalar("put_rate", check::put_rate);
    let wire = top.text("wire", check::wire);
    let (lease_keys, lease_duration, foreign_watch, keep_removed) = top.section("leases", |leases| {
        (
            leases.text("keys", check::lease_keys),
            leases.scalar("duration", check::duration(bounds::LEASE)),
            leases.scalar("foreign_watch", check::duration(bounds::FOREIGN_WATCH)),
            leases.scalar("keep_removed", check::duration(bounds::KEEP_REMOVED)),
        )
    });
    let checkpoint_interval = top.section("checkpoint", |checkpoint| {
        checkpoint.scalar("interval", check::duration(bounds::CHECKPOINT))
    });
    let with_defaults = Config::of(Vec::new());
    let (drain_timeout, grace_period) = top.section("drain", |drain| {
        let has_timeout = drain.has("timeout");
        let timeout = drain.scalar("timeout", check::duration(bounds::DRAIN));
        let grace = drain.scalar("grace_period", check::duration(bounds::GRACE));
        // Of a wrong one nothing more is said.
        let judged = timeout.or((!has_timeout).then_some(with_defaults.drain_timeout));
        // With one of them given elsewhere, whoever gave it judges: there it has a name.
        if let (None, None, Some(given)) = (overrides.drain_timeout, overrides.grace_period, grace)
            && let Some(timeout) = judged
            && let Err(what) = check::drain_fits(timeout, "drain.timeout", given)
        {
            drain.problem_with("grace_period", check::shown(given), what);
        }
        (
            overrides.drain_timeout.or(timeout),
            overrides.grace_period.or(grace),
        )
    });
    // Of a wrong application nothing more is said.
    let application = application.or((!has_application).then_some(with_defaults.application));
    let state = top.section("state", |section| state(section, application.as_deref()));
    let names = StateNames {
        application: application.as_deref(),
        lease_table: state.lease_table.as_deref(),
        fleet_table: state.fleet_table.as_deref(),
    };
    let pipelines = pipelines(top, names);
    if let (Some(LeaseKeys::Kcl), Some(many)) = (lease_keys, &pipelines)
        && many.len() > 1
    {
        top.problem_with(
            "leases.keys",
            "kcl",
            "such keys hold no stream, and there are several pipelines: run each under an `application` of its own, or \
             remove the key",
        );
    }
    if let (Some(bytes), Some(many)) = (memory, &pipelines)
        && let Err(what) = check::memory_fits(bytes, many)
    {
        top.problem_with("memory", check::shown_size(bytes), what);
    }
    Some(Config {
        application: application?,
        http_address: overrides
            .http_address
            .or(http_address)
            .unwrap_or(with_defaults.http_address),
        log_format: overrides
            .log_format
            .or(log_format)
            .unwrap_or(with_defaults.log_format),
        lease_duration: lease_duration.unwrap_or(with_defaults.lease_duration),
        lease_keys: lease_keys.unwrap_or(with_defaults.lease_keys),
        checkpoint_interval: checkpoint_interval.unwrap_or(with_defaults.checkpoint_interval),
        drain_timeout: drain_timeout.unwrap_or(with_defaults.drain_timeout),
        grace_period,
        foreign_watch: foreign_watch.unwrap_or(with_defaults.foreign_watch),
        keep_removed: keep_removed.unwrap_or(with_defaults.keep_removed),
        memory,
        put_rate: put_rate.unwrap_or(with_defaults.put_rate),
        wire: wire.unwrap_or_default(),
        tracing,
        state,
        pipelines: pipelines?,
    })
}

/// `None` only after a problem was reported.
fn pipelines(top: &mut Section<'_>, state: StateNames<'_>) -> Option<Vec<PipelineConfig>> {
    top.section("pipelines", |all| {
        let names = all.names();
        if names.is_empty() {
            all.problem_here(
                "there is none: add one, as in `pipelines: { orders: { source: { dynamodb_table: orders }, \
                 destination: { group: /cdc/orders } } }`",
            );
        }
        // Collected in two steps: a later pipeline's problems are wanted too.
        let read: Vec<_> = names
            .iter()
            .map(|name| all.named(name, |one| pipeline(one, name, state)))
            .collect();
        consumers_apart(all, state.application, &read);
        read.into_iter().collect()
    })
}

/// Tells where two pipelines would read as one consumer of one stream: each would end the other's subscription.
fn consumers_apart(all: &mut Section<'_>, application: Option<&str>, read: &[Option<PipelineConfig>]) {
    let mut seen: BTreeMap<_, &str> = BTreeMap::new();
    for pipeline in read.iter().flatten() {
        let source = &pipeline.source;
        let (Some(fan_out), Some(application)) = (&source.fan_out, application) else {
            continue;
        };
        let consumer = fan_out.name(application, &pipeline.name);
        let stream = source.stream.kinesis_name();
        match seen.entry((stream, source.aws.region.as_deref(), consumer.clone())) {
            Entry::Occupied(first) => {
                let what = format!(
                    "is the consumer of `pipelines.{}` too, on the same stream, and a consumer has one reader a shard: \
                     name another",
                    first.get()
                );
                all.problem_with(&format!("{}.source.consumer", pipeline.name), consumer, what);
            }
            Entry::Vacant(free) => {
                free.insert(&pipeline.name);
            }
        }
    }
}

/// The tags of `of`, which AWS limits.
fn tags(tags: &mut Section<'_>, of: &str) -> BTreeMap<String, String> {
    let names = tags.names();
    if names.len() > check::MOST_TAGS {
        tags.problem_here(format!(
            "there are {}, and {of} takes {}: remove some",
            names.len(),
            check::MOST_TAGS
        ));
    }
    let mut read = BTreeMap::new();
    for name in names {
        if let Err(what) = check::tag_key(&name) {
            tags.problem(&name, what);
        }
        if let Some(value) = tags.named_text(&name, check::tag_value) {
            read.insert(name, value);
        }
    }
    read
}

/// Where AWS is asked, and as whom. A key that is wrong counts as not set: its problem is told.
fn aws(section: &mut Section<'_>) -> AwsSettings {
    let has_role = section.has("assume_role_arn");
    let aws = AwsSettings {
        region: section.text("region", check::region),
        assume_role_arn: section.text("assume_role_arn", check::role_arn),
        external_id: section.text("external_id", check::external_id),
    };
    if let (Some(external_id), false) = (&aws.external_id, has_role) {
        section.problem_with(
            "external_id",
            external_id.clone(),
            "is sent when a role is assumed, and none is: add `assume_role_arn`, or remove it",
        );
    }
    aws
}

#[cfg(test)]
mod tests;
