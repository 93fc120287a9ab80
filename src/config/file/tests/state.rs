//! The state tables.

use super::*;
use crate::config::Missing;

#[test]
fn state_tables_have_names_of_their_own_where_they_are_set() {
    let with = |state: &str| {
        let text = format!(
            "application: app\npipelines: {{ p: {{ source: {SOURCE}, destination: {DESTINATION} }} }}\nstate: {state}"
        );
        let tables = load(&text).unwrap().state_tables();
        (tables.leases, tables.fleet, tables.missing)
    };
    let (leases, fleet, missing) = with("{ region: eu-west-1 }");
    assert_eq!((leases.as_str(), fleet.as_str()), ("app", "app-fleet"));
    assert_eq!(missing, Missing::default());
    let (leases, fleet, _) = with("{ lease_table: one }");
    assert_eq!((leases.as_str(), fleet.as_str()), ("one", "app-fleet"));
    let (leases, fleet, missing) = with("{ fleet_table: two, create: false }");
    assert_eq!((leases.as_str(), fleet.as_str()), ("app", "two"));
    assert_eq!(missing, Missing::Refuse);
    // The application's name may be a source then.
    let text = format!(
        "application: orders\nstate: {{ lease_table: a-1, fleet_table: b-1 }}\n\
         pipelines: {{ p: {{ source: {SOURCE}, destination: {DESTINATION} }} }}"
    );
    assert!(load(&text).is_ok());
}

#[test]
fn wrong_state_tables_are_refused() {
    for (state, says) in [
        (
            "{ lease_table: a/b }",
            "state.lease_table: `a/b` must be 3 to 255",
        ),
        (
            "{ lease_table: orders }",
            "pipelines.p.source.dynamodb_table: `orders` reads the lease table, `state.lease_table`: choose",
        ),
        (
            "{ fleet_table: orders }",
            "pipelines.p.source.dynamodb_table: `orders` reads the fleet's table, `state.fleet_table`: choose",
        ),
        (
            "{ lease_table: one, fleet_table: one }",
            "state.fleet_table: `one` is the name of both state tables",
        ),
        (
            "{ lease_table: weir-fleet }",
            "state.lease_table: `weir-fleet` is the name of both state tables",
        ),
        (
            "{ fleet_table: weir }",
            "state.fleet_table: `weir` is the name of both state tables",
        ),
        ("{ kms_key: cdc }", "state.kms_key: `cdc` is not a KMS key"),
        (
            "{ create: no }",
            "state.create: `no` is neither `true` nor `false`",
        ),
        (
            "{ create: false, kms_key: alias/cdc }",
            "state.kms_key: is set on tables that Weir creates, and `create` is false",
        ),
        (
            "{ create: false, tags: { a: b } }",
            "state.tags: is set on tables that Weir creates",
        ),
        (
            "{ tags: { cost-center: 17 } }",
            "state.tags.cost-center: `17` is not a text to YAML: put it in quotes",
        ),
        (
            "{ tags: { \"aws:x\": y } }",
            "state.tags.aws:x: a tag's key can't begin with `aws:`",
        ),
        ("{ tags: [a] }", "state.tags: must hold keys of its own"),
        (
            "{ pitr: true }",
            "state.pitr: is not a known key: use one of lease_table, fleet_table, create, kms_key, tags, \
             point_in_time_recovery, deletion_protection, region, assume_role_arn, external_id",
        ),
        ("{ leases_table: one }", "did you mean `lease_table`?"),
        (
            "{ point_in_time: true }",
            "did you mean `point_in_time_recovery`?",
        ),
    ] {
        let problem = problem_beside(&format!("state: {state}"));
        assert!(problem.contains(says), "{problem}");
    }
}
