//! Streams and their consumers.

use super::*;

#[test]
fn a_consumer_of_fan_out_is_of_one_pipeline() {
    let file = |rest: &str, consumer: &str| {
        format!(
            "pipelines:\n  a: {{ source: {{ kinesis_stream: s, fan_out: true, consumer: one{rest} }}, destination: {{ group: g }} }}\n  \
             b: {{ source: {{ kinesis_stream: s, fan_out: true{consumer} }}, destination: {{ group: h }} }}"
        )
    };
    assert!(load(&file("", "")).is_ok());
    assert!(
        load(&file(", region: eu-west-1", ", consumer: one")).is_ok(),
        "another region's"
    );
    let found = problems(&file("", ", consumer: one"));
    assert_eq!(found.len(), 1, "{found:?}");
    let problem = found[0].to_string();
    assert!(
        problem.starts_with("pipelines.b.source.consumer: `one` is the consumer of `pipelines.a` too"),
        "{problem}"
    );
}

#[test]
fn a_consumer_without_a_name_fits_what_kinesis_takes() {
    let (application, pipeline) = ("a".repeat(80), "p".repeat(48));
    let text = format!(
        "application: {application}\npipelines: {{ {pipeline}: {{ source: {{ kinesis_stream: s, fan_out: true }}, \
         destination: {DESTINATION} }} }}"
    );
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    let problem = found[0].to_string();
    assert!(
        problem.contains(
            "source.consumer: is missing: the consumer would be named after application and pipeline"
        ) && problem.ends_with("has 129 characters where Kinesis takes 128: name the consumer here"),
        "{problem}"
    );
}

#[test]
fn the_region_of_a_stream_is_its_arns() {
    let text = format!(
        "pipelines: {{ p: {{ source: {{ dynamodb_stream_arn: \"{ARN}\" }}, destination: {DESTINATION} }} }}"
    );
    assert_eq!(
        load(&text).unwrap().pipelines[0].source.aws.region.as_deref(),
        Some("eu-west-1")
    );
}
