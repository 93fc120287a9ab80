use super::*;
use crate::config::Overrides;

fn config(text: &str) -> Config {
    Config::from_yaml(text, &|_| None, Overrides::default()).unwrap()
}

fn here() -> Surroundings {
    Surroundings {
        here: Place::new("eu-west-1", Some("111122223333")),
        stream_keys: Vec::new(),
    }
}

/// `action resource`, each that a policy allows.
fn allowed(policy: &Policy) -> BTreeSet<String> {
    let pairs = policy.statements.iter().flat_map(|statement| {
        let actions = statement.actions.iter();
        actions.flat_map(|action| {
            statement
                .resources
                .iter()
                .map(move |resource| format!("{action} {resource}"))
        })
    });
    pairs.collect()
}

const TABLE: &str =
    "pipelines: { orders: { source: { dynamodb_table: orders }, destination: { group: /cdc/orders } } }";

#[test]
fn only_what_takes_no_resource_has_a_bare_star_and_each_sid_is_its_own() {
    let file = |text: &str| std::fs::read_to_string(text).unwrap();
    for text in [
        TABLE.to_owned(),
        file("config/audit.yaml"),
        file("config/minimal.yaml"),
        "pipelines: { a-b: { source: { dynamodb_table: one }, destination: { group: /1 } }, \
         aB: { source: { dynamodb_table: two }, destination: { group: /2 } }, \
         a-b2: { source: { dynamodb_table: three }, destination: { group: /3 } } }"
            .to_owned(),
    ] {
        let config = config(&text);
        for role in roles(&config).iter().map(|r| Some(r.as_str())).chain([None]) {
            let policy = of(&config, &here(), role);
            let sids: BTreeSet<_> = policy.statements.iter().map(|s| s.sid.as_str()).collect();
            assert_eq!(sids.len(), policy.statements.len());
            for statement in &policy.statements {
                assert!(statement.sid.chars().all(|c| c.is_ascii_alphanumeric()));
                assert!(!statement.actions.is_empty() && !statement.resources.is_empty());
                if statement.resources.contains(ANY) {
                    assert_eq!(statement.actions, ["dynamodb:ListStreams".to_owned()].into());
                    assert_eq!(statement.resources.len(), 1);
                    continue;
                }
                for text in statement.actions.iter().chain(&statement.resources) {
                    assert!(text.contains(':') && !text.ends_with(":*:*"), "{text}");
                    assert!(text != "*" && !text.starts_with("*"), "{text}");
                }
                assert!(statement.resources.iter().all(|r| r.starts_with("arn:aws:")));
            }
        }
    }
}

#[test]
fn each_setting_asks_for_its_own_permissions_and_no_others() {
    let base = allowed(&of(&config(TABLE), &here(), None));
    let destination = |more: &str| {
        format!(
            "pipelines: {{ orders: {{ source: {{ dynamodb_table: orders }}, destination: {{ group: /cdc/orders, {more} }} }} }}"
        )
    };
    let streams = "arn:aws:logs:eu-west-1:111122223333:log-group:/cdc/orders:*";
    for (text, more, less) in [
        (
            destination("stream: all, create: false"),
            vec![],
            vec!["logs:CreateLogGroup", "logs:CreateLogStream"],
        ),
        (destination("look_up: false"), vec![], vec!["logs:GetLogEvents"]),
        (
            destination("retention_days: 30"),
            vec!["logs:PutRetentionPolicy"],
            vec![],
        ),
        (
            destination("retention_days: 30, stream: all, create: false, reconcile: true"),
            vec!["logs:PutRetentionPolicy", "logs:DescribeLogGroups"],
            vec!["logs:CreateLogGroup", "logs:CreateLogStream"],
        ),
        (
            destination("tags: { a: b }, reconcile: true"),
            vec![
                "logs:TagResource",
                "logs:ListTagsForResource",
                "logs:DescribeLogGroups",
            ],
            vec![],
        ),
        (
            format!("state: {{ create: false }}\n{TABLE}"),
            vec![],
            vec!["dynamodb:CreateTable"],
        ),
        (
            format!("state: {{ tags: {{ a: b }}, point_in_time_recovery: true }}\n{TABLE}"),
            vec!["dynamodb:TagResource", "dynamodb:UpdateContinuousBackups"],
            vec![],
        ),
    ] {
        let actions = |of: &BTreeSet<String>| -> BTreeSet<String> {
            of.iter()
                .filter_map(|pair| Some(pair.split_once(' ')?.0.to_owned()))
                .collect()
        };
        let (with, without) = (
            actions(&allowed(&of(&config(&text), &here(), None))),
            actions(&base),
        );
        let as_set = |of: Vec<&str>| of.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(&with - &without, as_set(more), "{text}");
        assert_eq!(&without - &with, as_set(less), "{text}");
    }
    assert!(
        base.contains(&format!("logs:PutLogEvents {streams}")),
        "{base:#?}"
    );
}

#[test]
fn groups_that_records_choose_are_those_that_are_allowed() {
    for (group, allow, wanted) in [
        ("/db/{cluster}/audit", "/db/*/audit", "/db/*/audit"),
        ("/db/{cluster}/audit", "\"*\"", "/db/*/audit"),
        (
            "/db/{cluster}/audit",
            "[/db/shop/audit, /db/cart/audit]",
            "/db/cart/audit",
        ),
    ] {
        let text = format!(
            "pipelines: {{ a: {{ source: {{ kinesis_stream: s }}, decode: audit, \
             destination: {{ group: \"{group}\", allow_groups: {allow} }} }} }}"
        );
        let found = allowed(&of(&config(&text), &here(), None));
        let put = format!("logs:PutLogEvents arn:aws:logs:eu-west-1:111122223333:log-group:{wanted}:*");
        assert!(found.contains(&put), "{group} {allow}: {found:#?}");
    }
}

#[test]
fn what_a_role_needs_is_in_its_own_policy_and_the_process_may_assume_it() {
    let role = "arn:aws:iam::444455556666:role/logs";
    let text = format!(
        "pipelines: {{ orders: {{ source: {{ dynamodb_table: orders }}, \
         destination: {{ group: /cdc/orders, region: eu-central-1, assume_role_arn: \"{role}\" }} }} }}"
    );
    let config = config(&text);
    let own = allowed(&of(&config, &here(), None));
    assert!(own.contains(&format!("sts:AssumeRole {role}")));
    assert!(!own.iter().any(|pair| pair.starts_with("logs:")));
    let of_role = allowed(&of(&config, &here(), Some(role)));
    assert!(of_role.iter().all(|pair| pair.starts_with("logs:")));
    let put = "logs:PutLogEvents arn:aws:logs:eu-central-1:444455556666:log-group:/cdc/orders:*";
    assert!(of_role.contains(put), "{of_role:#?}");
}

#[test]
fn keys_are_used_through_their_service_and_other_partitions_are_named() {
    let surroundings = Surroundings {
        here: Place::new("cn-north-1", Some("1")),
        stream_keys: vec!["arn:aws-cn:kms:cn-north-1:1:key/k".to_owned()],
    };
    let text = "state: { kms_key: alias/cdc }\n\
                pipelines: { a: { source: { kinesis_stream: s, fan_out: true }, destination: { group: /g } } }";
    let policy = of(&config(text), &surroundings, None);
    let told = policy.document().to_string();
    for part in [
        "arn:aws-cn:kinesis:cn-north-1:1:stream/s/consumer/weir-a:*",
        "\"kms:ViaService\":[\"kinesis.cn-north-1.amazonaws.com\"]",
        "\"kms:EncryptionContext:aws:kinesis:arn\":[\"arn:aws-cn:kinesis:cn-north-1:1:stream/s\"]",
        "\"ForAnyValue:StringEquals\":{\"kms:ResourceAliases\":[\"alias/cdc\"]}",
        "kinesis:SubscribeToShard",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(
        !told.contains("arn:aws:") && !told.contains("kinesis:GetRecords"),
        "{told}"
    );
    let terraform = policy.terraform();
    assert!(terraform.contains("variable = \"kms:ViaService\""), "{terraform}");
    let stack = policy.cloudformation();
    let statements = &stack["Resources"]["WeirPolicy"]["Properties"]["PolicyDocument"]["Statement"];
    assert_eq!(statements.as_array().unwrap().len(), policy.statements.len());
}
