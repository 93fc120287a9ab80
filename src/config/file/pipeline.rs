//! A pipeline's keys: how its records are read, and what its sections must have in common.

use super::destination::destination;
use super::redact::redact;
use super::source::source;
use crate::config::check::{self, StateNames};
use crate::config::reader::Section;
use crate::config::{DeadLetterConfig, PipelineConfig, StreamChoice};
use crate::decode::{DecodeSettings, Gzip};
use crate::shape::Shape;

/// `None` only after a problem was reported.
pub fn pipeline(one: &mut Section<'_>, name: &str, state: StateNames<'_>) -> Option<PipelineConfig> {
    if let Err(what) = check::pipeline_name(name) {
        one.problem_here(what);
    }
    let source = one.section("source", |section| source(section, name, state));
    let decode = decode(one, source.as_ref().map(|source| &source.stream));
    let filter = one.values("filter", check::filter);
    if let (Some(filter), Some(decode)) = (&filter, &decode)
        && let Err(what) = check::filter_fits(filter, decode.how)
    {
        one.problem("filter", what);
    }
    let how = decode.as_ref().map(|decode| decode.how);
    let letters = one.section("dead_letter", dead_letter);
    let redact = redact(one, how);
    let format = one.text("format", |text| {
        let format = check::format(text, how)?;
        match redact {
            Some(_) => check::format_fits_redaction(format).map(|()| format),
            None => Ok(format),
        }
    });
    let destination = one.section("destination", |section| {
        let destination = destination(section)?;
        if let Err(what) = check::letters_apart(&letters, &destination) {
            section.problem_with("stream", destination.stream.as_str(), what);
        }
        if let (Some(application), Some(source), Some(decode)) = (state.application, &source, &decode) {
            let mut renders = true;
            for (key, template) in [("group", &destination.group), ("stream", &destination.stream)] {
                if let Err(what) = check::renders(template, application, name, &source.stream, decode.how) {
                    section.problem_with(key, template.as_str(), what);
                    renders = false;
                }
            }
            if let (true, Err(what)) = (
                renders,
                check::allows(&destination.group, &destination.allow_groups),
            ) {
                section.problem("allow_groups", what);
            }
        }
        Some(destination)
    });
    Some(PipelineConfig {
        decode: decode?,
        shape: Shape {
            filter,
            format: format.unwrap_or_default(),
            redact,
        },
        dead_letter: letters,
        ..PipelineConfig::of(name, source?, destination?)
    })
}

/// Where the dead letters go. A key that is wrong counts as not set: its problem is told.
fn dead_letter(letters: &mut Section<'_>) -> DeadLetterConfig {
    DeadLetterConfig {
        group: letters.text("group", check::letters_group),
        stream: letters.text("stream", check::letters_stream),
        raw: letters.scalar("raw", check::boolean).unwrap_or(false),
    }
}

/// How the records become log events. `None` where it can't be told: a problem was reported, here or of the
/// source.
fn decode(one: &mut Section<'_>, stream: Option<&StreamChoice>) -> Option<DecodeSettings> {
    let has_how = one.has("decode");
    let how = one.text("decode", |text| {
        let how = check::decode(text)?;
        match stream {
            Some(stream) => check::decode_fits(how, stream).map(|()| how),
            None => Ok(how),
        }
    });
    let gzip = one.scalar("gzip", check::gzip);
    let inflate_limit = one.scalar("inflate_limit", check::size(check::INFLATE_LIMIT));
    let unknown_messages = one.text("unknown_messages", check::unknown_messages);
    let stream = stream?;
    let of_kinesis = [
        ("gzip", gzip.is_some()),
        ("inflate_limit", inflate_limit.is_some()),
        ("unknown_messages", unknown_messages.is_some()),
    ];
    if stream.kinesis_name().is_none() {
        for (key, _) in of_kinesis.into_iter().filter(|(_, set)| *set) {
            one.problem(
                key,
                "is for Kinesis streams, and the records of a DynamoDB stream are plain JSON: remove it",
            );
        }
    } else if let (Some(Gzip::Never), Some(_)) = (gzip, inflate_limit) {
        one.problem(
            "inflate_limit",
            "limits what gzip opens to, and `gzip` is never: remove one of the two",
        );
    }
    // Of a wrong way to decode nothing more is said.
    let how = how.or((!has_how).then(|| stream.decode()))?;
    let with_defaults = DecodeSettings::of(how);
    if let (Some(_), Some(_), Err(what)) = (
        unknown_messages,
        stream.kinesis_name(),
        check::unknown_messages_fit(how),
    ) {
        one.problem("unknown_messages", what);
    }
    Some(DecodeSettings {
        how,
        gzip: gzip.unwrap_or(with_defaults.gzip),
        inflate_limit: inflate_limit.unwrap_or(with_defaults.inflate_limit),
        unknown_messages: unknown_messages.unwrap_or(with_defaults.unknown_messages),
        ..with_defaults
    })
}
