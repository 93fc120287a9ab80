//! What of a pipeline's destination is as it should be, and whether it feeds its own source.
//!
//! Pure. Owns what the answers of CloudWatch Logs mean.

use super::calls::{Call, failed};
use super::{Finding, Severity, Subject};
use crate::aws::arn::Place;
use crate::aws::failure::Failure;
use crate::config::PipelineConfig;
use crate::logs::SinkError;
use crate::logs::cloudwatch::probe::PutSeen;
use crate::logs::dead_letter::STREAM;
use crate::logs::group::{GroupFound, GroupSettings, changes};
use crate::logs::guard::Verdict;

/// What was seen of one group.
#[derive(Debug)]
pub struct Group {
    pub name: String,
    /// It takes dead letters alone.
    pub is_of_letters: bool,
    pub put: Result<PutSeen, Failure>,
    /// Whether events may be read back. `None`: nobody needs to.
    pub read: Option<Result<(), Failure>>,
    /// Its settings. `None`: none are wished.
    pub like: Option<Result<GroupFound, SinkError>>,
}

/// Judges a group that the pipeline writes to.
pub fn group(pipeline: &PipelineConfig, seen: &Group, place: &Place) -> Vec<Finding> {
    let name = &seen.name;
    let subject = match seen.is_of_letters {
        true => Subject::DeadLetters,
        false => Subject::Destination,
    };
    let resource = place.log_streams(name);
    let call = |action, if_denied| Call {
        action,
        resource: &resource,
        region: &place.region,
        subject,
        if_denied,
    };
    let creates = pipeline.destination.create;
    let mut findings = vec![match &seen.put {
        Ok(PutSeen::TooOld) => Finding::ok(
            subject,
            format!("{name} takes puts (an event too old to be stored was put)"),
        ),
        Ok(PutSeen::Stored) => Finding::warning(
            subject,
            format!("{name} took an event of 15 days ago, which CloudWatch Logs refuses: this is not AWS"),
        ),
        Ok(PutSeen::NoStream) if creates => Finding::ok(
            subject,
            format!(
                "{name} may be written to (it has no stream to try a put on; logs:CreateLogStream is not tried)"
            ),
        ),
        Ok(PutSeen::NoStream) => {
            let stream = match seen.is_of_letters {
                true => pipeline.dead_letter.stream.as_deref().unwrap_or(STREAM),
                false => pipeline.destination.stream.as_str(),
            };
            Finding::error(
                subject,
                format!("log stream {stream} of {name} is not there, and `destination.create` is false"),
            )
            .way_out(format!(
                "aws logs create-log-stream --log-group-name {name} --log-stream-name {stream} --region {}, or set \
                 `destination.create: true`",
                place.region
            ))
        }
        Ok(PutSeen::NoGroup) if creates => Finding::ok(
            subject,
            format!(
                "{name} may be written to and is created with the first event (logs:CreateLogGroup is not tried)"
            ),
        ),
        Ok(PutSeen::NoGroup) => Finding::error(
            subject,
            format!("log group {name} is not there, and `destination.create` is false"),
        )
        .way_out(format!(
            "aws logs create-log-group --log-group-name {name} --region {}, or set `destination.create: true`",
            place.region
        )),
        Err(Failure::Service { message, .. }) if message.to_lowercase().contains("kms") => {
            Finding::error(subject, format!("{name} takes no puts: {message}")).way_out(format!(
                "enable the group's KMS key, and let logs.{}.amazonaws.com use it in the key's own policy",
                place.region
            ))
        }
        Err(failure) => failed(call("logs:PutLogEvents", Severity::Error), failure),
    }];
    if let Some(Err(failure)) = &seen.read {
        // Without it a take-over repeats what a dead worker had sent: no more than that.
        findings.push(failed(call("logs:GetLogEvents", Severity::Warning), failure));
    }
    findings.extend(like(pipeline, seen, subject));
    let of = |finding: Finding| finding.of(&pipeline.name);
    findings.into_iter().map(of).collect()
}

/// What of a group is not as the settings wish.
fn like(pipeline: &PipelineConfig, seen: &Group, subject: Subject) -> Vec<Finding> {
    let name = &seen.name;
    let reconciles = pipeline.destination.reconcile;
    let wished = GroupSettings::of(&pipeline.destination);
    let wished = if seen.is_of_letters {
        wished.of_letters()
    } else {
        wished
    };
    let found = match &seen.like {
        None | Some(Err(SinkError::Missing(_))) => return Vec::new(),
        Some(Ok(found)) => found,
        Some(Err(error @ SinkError::Denied(_))) if reconciles => {
            return vec![Finding::warning(
                subject,
                format!("`reconcile` can't see the settings of {name}: {error}"),
            )];
        }
        Some(Err(error)) => {
            return vec![Finding::unknown(
                subject,
                format!("the settings of {name} can't be seen: {error}"),
            )];
        }
    };
    let changes = changes(&wished, found, &wished.tags);
    let mut findings = Vec::new();
    if changes.wrong_class {
        findings.push(
            Finding::warning(
                subject,
                format!("{name} is of another class than `destination.class`"),
            )
            .way_out("a group's class stays: delete the group, or change the setting"),
        );
    }
    let mut differ = |key: &str, wished: String, found: String| {
        let what = format!("{name} has {found}, and `destination.{key}` is {wished}");
        findings.push(match reconciles {
            true => Finding::ok(subject, format!("{what}: `reconcile` changes it")),
            false => Finding::warning(subject, format!("{what}: groups that exist stay as they are"))
                .way_out("set `destination.reconcile: true`, or change the group by hand"),
        });
    };
    if let Some(days) = changes.retention_days {
        let found = match found.retention_days {
            Some(days) => format!("a retention of {days} days"),
            None => "no retention".to_owned(),
        };
        differ("retention_days", days.to_string(), found);
    }
    if let Some(key) = changes.kms_key {
        let found = match &found.kms_key {
            Some(key) => format!("the key {key}"),
            None => "no key".to_owned(),
        };
        differ("kms_key", key, found);
    }
    findings
}

/// What is said of a group whose name only records give.
pub fn chosen_by_records(pipeline: &PipelineConfig) -> Finding {
    let destination = &pipeline.destination;
    let allowed: Vec<_> = destination.allow_groups.iter().map(ToString::to_string).collect();
    let what = format!(
        "records choose the group, {}, of those that `allow_groups` lets them ({}): none can be tried",
        destination.group.as_str(),
        allowed.join(", ")
    );
    Finding::unknown(Subject::Destination, what).of(&pipeline.name)
}

/// What is known of whether the group that `key` names feeds the pipeline's source. `by_records`: it can't be known,
/// and each event is looked at.
pub fn circle(pipeline: &PipelineConfig, key: &str, verdict: &Verdict, by_records: bool) -> Finding {
    let finding = match verdict {
        Verdict::Loop(found) => Finding::error(Subject::Loop, format!("{key}: {found}")),
        Verdict::Clear => Finding::ok(Subject::Loop, "the destination doesn't feed the source"),
        Verdict::Unknown(why) if by_records => Finding::ok(
            Subject::Loop,
            format!("each event that comes is looked at for coming from a group that is written to: {why}"),
        ),
        Verdict::Unknown(why) => Finding::warning(
            Subject::Loop,
            format!(
                "whether {key} feeds the source is not known: {why}. Each event that comes is looked at for it"
            ),
        ),
    };
    finding.of(&pipeline.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::failure::refusal;
    use crate::config::{DestinationConfig, SourceConfig, StreamChoice};
    use crate::logs::template::{Template, TemplateKind};

    #[test]
    fn a_group_is_told_by_what_became_of_the_put_and_what_it_is_like() {
        let place = Place::new("eu-west-1", Some("111122223333"));
        let denied = || refusal(400, Some("AccessDeniedException"), "");
        let (ok, warning, error) = (Severity::Ok, Severity::Warning, Severity::Error);
        let like = |days| {
            Some(Ok(GroupFound {
                retention_days: days,
                ..GroupFound::default()
            }))
        };
        for (create, put, read, like, severities, way_out) in [
            (true, Ok(PutSeen::TooOld), None, None, vec![ok], ""),
            (true, Ok(PutSeen::NoStream), None, None, vec![ok], ""),
            (true, Ok(PutSeen::NoGroup), None, None, vec![ok], ""),
            (
                false,
                Ok(PutSeen::NoStream),
                None,
                None,
                vec![error],
                "aws logs create-log-stream",
            ),
            (
                false,
                Ok(PutSeen::NoGroup),
                None,
                None,
                vec![error],
                "aws logs create-log-group --log-group-name /cdc/orders",
            ),
            (true, Ok(PutSeen::Stored), None, None, vec![warning], ""),
            (
                true,
                Err(denied()),
                None,
                None,
                vec![error],
                "logs:PutLogEvents on arn:aws:logs:eu-west-1:111122223333:log-group:/cdc/orders:*",
            ),
            (
                true,
                Ok(PutSeen::TooOld),
                Some(Err(denied())),
                None,
                vec![ok, warning],
                "logs:GetLogEvents on",
            ),
            (true, Ok(PutSeen::TooOld), None, like(Some(30)), vec![ok], ""),
            (
                true,
                Ok(PutSeen::TooOld),
                None,
                like(None),
                vec![ok, warning],
                "destination.reconcile",
            ),
        ] {
            let name = Template::parse("/cdc/orders", TemplateKind::Group).unwrap();
            let destination = DestinationConfig {
                create,
                retention_days: Some(30),
                ..DestinationConfig::of(name)
            };
            let source = SourceConfig::of(StreamChoice::Table("orders".to_owned()));
            let pipeline = PipelineConfig::of("orders", source, destination);
            let seen = Group {
                name: "/cdc/orders".to_owned(),
                is_of_letters: false,
                put,
                read,
                like,
            };
            let found = group(&pipeline, &seen, &place);
            let told: Vec<_> = found.iter().map(|f| f.severity).collect();
            assert_eq!(told, severities, "{found:#?}");
            let outs: Vec<_> = found.iter().filter_map(|f| f.way_out.clone()).collect();
            assert!(outs.join("\n").contains(way_out), "{outs:?}");
        }
    }
}
