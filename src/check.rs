//! What would keep `weir run` from working, as findings.
//!
//! Pure. Owns what a finding is, how findings are put together, and in its modules what each fact means, a subject a
//! module. `app::check` looks; it asks AWS and the machine, and writes nothing.

pub mod calls;
pub mod destination;
pub mod process;
pub mod source;
pub mod tables;

use std::collections::BTreeMap;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Ok,
    /// It couldn't be looked at.
    Unknown,
    /// `weir run` works, perhaps not as it was meant.
    Warning,
    /// `weir run` wouldn't start, or would wait for a person.
    Error,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Settings,
    Credentials,
    Aws,
    Clock,
    Http,
    Memory,
    Drain,
    StateTables,
    Source,
    Images,
    Destination,
    DeadLetters,
    Loop,
}

impl Subject {
    pub fn words(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Credentials => "credentials",
            Self::Aws => "aws",
            Self::Clock => "clock",
            Self::Http => "http",
            Self::Memory => "memory",
            Self::Drain => "drain",
            Self::StateTables => "state tables",
            Self::Source => "source",
            Self::Images => "images",
            Self::Destination => "destination",
            Self::DeadLetters => "dead letters",
            Self::Loop => "loop",
        }
    }
}

/// What makes many looks fail at once, and is told once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The service gives no answer.
    Unreachable(String),
    Credentials,
    Clock,
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// `None`: it concerns the process.
    pub pipeline: Option<String>,
    pub subject: Subject,
    pub found: String,
    /// The key and the value, the command, or the permission.
    pub way_out: Option<String>,
    #[serde(skip)]
    pub cause: Option<Cause>,
}

impl Finding {
    pub fn new(severity: Severity, subject: Subject, found: impl Into<String>) -> Self {
        Self {
            severity,
            pipeline: None,
            subject,
            found: found.into(),
            way_out: None,
            cause: None,
        }
    }

    pub fn ok(subject: Subject, found: impl Into<String>) -> Self {
        Self::new(Severity::Ok, subject, found)
    }

    pub fn warning(subject: Subject, found: impl Into<String>) -> Self {
        Self::new(Severity::Warning, subject, found)
    }

    pub fn error(subject: Subject, found: impl Into<String>) -> Self {
        Self::new(Severity::Error, subject, found)
    }

    pub fn unknown(subject: Subject, found: impl Into<String>) -> Self {
        Self::new(Severity::Unknown, subject, found)
    }

    pub fn way_out(mut self, way_out: impl Into<String>) -> Self {
        self.way_out = Some(way_out.into());
        self
    }

    pub fn of(mut self, pipeline: &str) -> Self {
        self.pipeline = Some(pipeline.to_owned());
        self
    }
}

/// All that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether `weir run` would work, as far as could be seen.
    pub ok: bool,
    pub errors: usize,
    pub warnings: usize,
    pub unknown: usize,
    /// The process first, then each pipeline; the worst first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Of findings in any order. What one cause makes fail is told once, as the process's.
    pub fn of(findings: Vec<Finding>) -> Self {
        let mut told: BTreeMap<Cause, (Finding, usize)> = BTreeMap::new();
        let mut all = Vec::new();
        for finding in findings {
            match &finding.cause {
                Some(cause) => {
                    let cause = cause.clone();
                    let first = Finding {
                        pipeline: None,
                        ..finding
                    };
                    told.entry(cause).or_insert((first, 0)).1 += 1;
                }
                None => all.push(finding),
            }
        }
        for (mut finding, looks) in told.into_values() {
            if looks > 1 {
                finding.found = format!("{} ({looks} looks failed so)", finding.found);
            }
            all.push(finding);
        }
        all.sort_by(|a, b| {
            let key = |f: &Finding| (f.pipeline.clone(), std::cmp::Reverse(f.severity), f.subject);
            key(a).cmp(&key(b))
        });
        all.dedup();
        let count = |severity| all.iter().filter(|f| f.severity == severity).count();
        let errors = count(Severity::Error);
        Self {
            ok: errors == 0,
            errors,
            warnings: count(Severity::Warning),
            unknown: count(Severity::Unknown),
            findings: all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_cause_makes_fail_is_told_once_and_first() {
        let away = |pipeline: &str, service: &str| Finding {
            cause: Some(Cause::Unreachable(service.to_owned())),
            ..Finding::error(Subject::Aws, format!("{service} gives no answer")).of(pipeline)
        };
        let report = Report::of(vec![
            Finding::ok(Subject::Source, "reads").of("b"),
            away("a", "kinesis"),
            away("b", "kinesis"),
            away("b", "logs"),
            Finding::warning(Subject::Source, "w").of("b"),
            Finding::ok(Subject::Memory, "enough"),
        ]);
        let told: Vec<_> = report.findings.iter().map(|f| f.found.as_str()).collect();
        let kinesis = "kinesis gives no answer (2 looks failed so)";
        assert_eq!(told, [kinesis, "logs gives no answer", "enough", "w", "reads"]);
        assert_eq!((report.ok, report.errors, report.warnings), (false, 2, 1));
    }

    #[test]
    fn warnings_and_what_could_not_be_seen_are_no_errors() {
        let report = Report::of(vec![
            Finding::warning(Subject::Drain, "w"),
            Finding::unknown(Subject::Loop, "u"),
        ]);
        assert!(report.ok && report.unknown == 1);
    }
}
