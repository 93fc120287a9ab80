use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::look::look;
use super::*;
use crate::clock::SystemClock;
use crate::config::{AwsSettings, SourceConfig, StreamChoice};
use crate::decode::{Decode, DecodeSettings};
use crate::logs::Subscriptions;
use crate::logs::template::{Template, TemplateKind};

const STREAM: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/rds-audit";
const OTHER: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/other";
const ELSEWHERE: &str = "arn:aws:logs:eu-west-1:999988887777:destination:central";

fn stream() -> StreamArn {
    StreamArn::kinesis(STREAM, Some(1_700_000_000))
}

fn pipeline(group: &str) -> PipelineConfig {
    let source = SourceConfig::of(StreamChoice::Kinesis("rds-audit".into()));
    let destination = DestinationConfig::of(Template::parse(group, TemplateKind::Group).unwrap());
    PipelineConfig {
        decode: DecodeSettings::of(Decode::Audit),
        ..PipelineConfig::of("p", source, destination)
    }
}

fn filter(name: &str, to: &str) -> SubscriptionFilter {
    SubscriptionFilter {
        name: name.into(),
        destination_arn: to.into(),
    }
}

fn policy(name: &str, to: &str, criteria: Option<&str>) -> AccountPolicy {
    AccountPolicy {
        name: name.into(),
        document: format!(
            r#"{{"RoleArn":"r","DestinationArn":"{to}","FilterPattern":"","Distribution":"Random"}}"#
        ),
        selection_criteria: criteria.map(str::to_owned),
    }
}

/// What is judged of the group `g`.
fn of_g(filters: Vec<SubscriptionFilter>, policies: Vec<AccountPolicy>) -> Verdict {
    let found = Found {
        filters: Some(Ok(filters)),
        policies: Ok(policies),
    };
    judge(&stream(), "g", Some("g"), &found)
}

/// What is judged of a group that records name.
fn of_template(policies: Vec<AccountPolicy>) -> Verdict {
    let found = Found {
        filters: None,
        policies: Ok(policies),
    };
    judge(&stream(), "/db/{cluster}", None, &found)
}

#[track_caller]
fn is_loop(verdict: Verdict, filter: &str, kind: Kind) -> String {
    match verdict {
        Verdict::Loop(found) => {
            assert_eq!(
                (found.filter.as_str(), found.kind, found.stream.as_str()),
                (filter, kind, STREAM)
            );
            found.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_unknown(verdict: Verdict, says: &str) {
    match verdict {
        Verdict::Unknown(why) => assert!(why.contains(says), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_filter_of_the_group_to_the_stream_is_a_loop() {
    let verdict = of_g(vec![filter("a", OTHER), filter("b", STREAM)], vec![]);
    assert_eq!(
        is_loop(verdict, "b", Kind::Own),
        format!(
            "`g` feeds its own source: its subscription filter `b` delivers to {STREAM}, and each event would come round \
             again for ever: write to another group, or remove the filter"
        )
    );
    assert_eq!(of_g(vec![filter("a", OTHER)], vec![]), Verdict::Clear);
    assert_eq!(of_g(vec![], vec![]), Verdict::Clear);
}

#[test]
fn a_policy_of_the_account_is_a_loop_unless_it_leaves_the_group_out() {
    let with = |criteria| {
        of_g(
            vec![],
            vec![policy("all", OTHER, None), policy("x", STREAM, criteria)],
        )
    };
    for criteria in [
        None,
        Some(""),
        Some("LogGroupName NOT IN []"),
        Some(r#"LogGroupName NOT IN ["h", "gg"]"#),
    ] {
        let text = is_loop(with(criteria), "x", Kind::Account);
        assert!(text.contains(r#"LogGroupName NOT IN ["g"]"#), "{text}");
    }
    for criteria in [
        r#"LogGroupName NOT IN ["h","g"]"#,
        r#" loggroupname  not in["g"] "#,
    ] {
        assert_eq!(with(Some(criteria)), Verdict::Clear, "{criteria}");
    }
    for criteria in [
        "LogGroupNamePrefix IN [\"g\"]",
        "LogGroupName NOT IN g",
        "é",
        "LogGroupName",
    ] {
        is_unknown(with(Some(criteria)), "can't be told from its criteria");
    }
    let broken = AccountPolicy {
        document: "{".into(),
        ..policy("broken", STREAM, None)
    };
    is_unknown(of_g(vec![], vec![broken.clone()]), "`broken` can't be read");
    is_loop(
        of_g(vec![], vec![broken, policy("x", STREAM, None)]),
        "x",
        Kind::Account,
    );
}

#[test]
fn what_lies_behind_a_destination_of_another_account_is_not_known() {
    is_unknown(
        of_g(vec![filter("a", ELSEWHERE)], vec![]),
        "its subscription filter `a` delivers to arn:aws:logs:eu-west-1:999988887777:destination:central, which may",
    );
    is_unknown(
        of_g(vec![], vec![policy("a", ELSEWHERE, None)]),
        "which may deliver to the stream",
    );
    assert_eq!(
        of_g(
            vec![],
            vec![policy("a", ELSEWHERE, Some(r#"LogGroupName NOT IN ["g"]"#))]
        ),
        Verdict::Clear
    );
    is_loop(
        of_g(vec![filter("a", ELSEWHERE), filter("b", STREAM)], vec![]),
        "b",
        Kind::Own,
    );
}

#[test]
fn groups_that_records_name_are_not_known_unless_a_policy_takes_them_all() {
    is_unknown(of_template(vec![]), "its name differs from event to event");
    is_loop(of_template(vec![policy("x", STREAM, None)]), "x", Kind::Account);
    is_unknown(
        of_template(vec![policy(
            "x",
            STREAM,
            Some(r#"LogGroupName NOT IN ["a","b"]"#),
        )]),
        "its name differs",
    );
}

#[test]
fn a_group_that_is_missing_has_no_filter_and_an_answer_that_is_missing_says_nothing() {
    let judged = |filters, policies| {
        let found = Found {
            filters: Some(filters),
            policies,
        };
        judge(&stream(), "g", Some("g"), &found)
    };
    let missing = || Err(SinkError::Missing("g".into()));
    let denied = || SinkError::Denied("no".into());
    assert_eq!(judged(missing(), Ok(vec![])), Verdict::Clear);
    is_loop(
        judged(missing(), Ok(vec![policy("x", STREAM, None)])),
        "x",
        Kind::Account,
    );
    is_unknown(
        judged(Err(denied()), Ok(vec![])),
        "logs:DescribeSubscriptionFilters is not permitted; grant it",
    );
    is_unknown(
        judged(Ok(vec![]), Err(denied())),
        "logs:DescribeAccountPolicies is not permitted; grant it",
    );
    is_unknown(
        judged(Ok(vec![]), Err(SinkError::Unanswered("t".into()))),
        "logs:DescribeAccountPolicies gave no answer",
    );
    // What is seen counts all the same.
    is_loop(
        judged(Ok(vec![filter("b", STREAM)]), Err(denied())),
        "b",
        Kind::Own,
    );
    is_loop(
        judged(Err(denied()), Ok(vec![policy("x", STREAM, None)])),
        "x",
        Kind::Account,
    );
}

#[test]
fn a_group_is_fixed_if_no_record_and_no_shard_changes_it() {
    let group = |text| fixed_group("weir", &pipeline(text), &stream());
    assert_eq!(group("/db/audit").as_deref(), Some("/db/audit"));
    assert_eq!(
        group("/{application}/{pipeline}/{stream}/{region}/{account}/{table:-x}").as_deref(),
        Some("/weir/p/rds-audit/eu-west-1/111122223333/x")
    );
    for text in ["/db/{cluster}", "{log_group:-x}", "/db/{shard_id}", "{table}"] {
        assert_eq!(group(text), None, "{text}");
    }
}

#[test]
fn an_event_comes_back_when_it_would_be_written_to_where_it_is_from() {
    let at = Timestamp::from_millis;
    let guard = |verdict| Guard::new(&pipeline("g"), &stream(), &verdict, at(1000));
    let unknown = guard(Verdict::Unknown(String::new()));
    let clear = guard(Verdict::Clear);
    assert_eq!((unknown.clear_since, clear.clear_since), (None, Some(at(1000))));
    for guard in [&unknown, &clear, &Guard::default()] {
        assert!(guard.comes_back("111122223333", "g", "g", Some(at(1000))));
        assert!(guard.comes_back("111122223333", "g", "g", None));
        assert!(!guard.comes_back("111122223333", "h", "g", Some(at(1000))));
    }
    // A leftover of a filter that was removed before the look.
    assert!(unknown.comes_back("111122223333", "g", "g", Some(at(999))));
    assert!(!clear.comes_back("111122223333", "g", "g", Some(at(999))));
    // Another account's group of this name.
    assert!(!unknown.comes_back("444455556666", "g", "g", None));
}

#[test]
fn the_account_of_a_destination_is_its_roles_or_the_streams_where_nobody_else_can_be_meant() {
    let role = |account: &str| AwsSettings {
        assume_role_arn: Some(format!("arn:aws:iam::{account}:role/weir")),
        ..AwsSettings::default()
    };
    let own = pipeline("g");
    assert_eq!(account(&own, &stream()).as_deref(), Some("111122223333"));
    let mut to = own.clone();
    to.destination.aws = role("444455556666");
    assert_eq!(account(&to, &stream()).as_deref(), Some("444455556666"));
    let mut from = own.clone();
    from.source.aws = role("111122223333");
    assert_eq!(account(&from, &stream()), None);
    let mut by_arn = own;
    by_arn.source.stream = StreamChoice::KinesisArn(StreamArn::new(STREAM));
    assert_eq!(account(&by_arn, &stream()), None);
    let guard = Guard::new(&by_arn, &stream(), &Verdict::Clear, Timestamp::from_millis(0));
    assert!(
        guard.comes_back("444455556666", "g", "g", None),
        "the name decides"
    );
}

/// Gives these answers to the question for filters, in order; then hangs.
#[derive(Default)]
struct Answers(Mutex<VecDeque<Result<Vec<SubscriptionFilter>, SinkError>>>);

#[async_trait]
impl Subscriptions for Answers {
    async fn filters(&self, _: &str) -> Result<Vec<SubscriptionFilter>, SinkError> {
        let answer = self.0.lock().unwrap().pop_front();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    async fn account_policies(&self) -> Result<Vec<AccountPolicy>, SinkError> {
        Ok(Vec::new())
    }
}

async fn looked(answers: impl IntoIterator<Item = Result<Vec<SubscriptionFilter>, SinkError>>) -> Verdict {
    let answers = Answers(Mutex::new(answers.into_iter().collect()));
    let mut rng = fastrand::Rng::with_seed(1);
    let within = Duration::from_secs(10);
    look(
        "weir",
        &pipeline("g"),
        &stream(),
        &answers,
        &SystemClock,
        &mut rng,
        within,
    )
    .await
}

#[tokio::test(start_paused = true)]
async fn a_look_repeats_what_may_pass_and_not_what_stays() {
    let throttled = || Err(SinkError::Throttled("slow".into()));
    assert_eq!(
        looked([throttled(), throttled(), throttled(), Ok(vec![])]).await,
        Verdict::Clear
    );
    let verdict = looked([throttled(), throttled(), throttled(), throttled(), Ok(vec![])]).await;
    is_unknown(verdict, "gave no answer (throttled: slow)");
    let denied = looked([Err(SinkError::Denied("no".into())), Ok(vec![])]).await;
    is_unknown(denied, "is not permitted");
    is_unknown(looked([]).await, "no answer in time");
}
