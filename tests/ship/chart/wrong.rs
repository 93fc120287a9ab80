//! What the chart refuses, and in which words.

use std::time::Duration;

use serde_json::{Value, json};
use weir::config::bounds;
use weir::config::check::drain_fits;
use weir::lease::times::least_drain;
use weir::memory::{BESIDES, Budget};

use super::{render_all, values};

/// The values, and words that the refusal holds.
type Wrong = (Value, &'static [&'static str]);

/// Each as a case, refused with its words.
fn are_refused(wrong: &[Wrong]) {
    let cases: Vec<Value> = wrong
        .iter()
        .map(|(values, _)| json!({ "values": values }))
        .collect();
    for ((values, words), rendered) in wrong.iter().zip(render_all(&cases)) {
        let refusal = rendered.refusal.unwrap_or_else(|| panic!("{values} is taken"));
        for word in *words {
            assert!(refusal.contains(word), "{values}: no {word:?} in: {refusal}");
        }
    }
}

#[test]
fn the_schema_refuses_what_the_chart_or_weir_does_not_know() {
    let pipeline = |key: &str, value: Value| values(&json!({ "config": { key: value } }));
    are_refused(&[
        (
            json!({ "replicas": 3 }),
            &["additional properties 'replicas' not allowed"],
        ),
        (
            json!({ "image": { "label": "1" } }),
            &["/image", "'label' not allowed"],
        ),
        (
            json!({ "image": { "repository": "registry.example.com:5000/team/weir:0.1.0" } }),
            &["/image/repository", "does not match pattern"],
        ),
        (
            json!({ "logLevel": "verbose" }),
            &["/logLevel", "does not match pattern"],
        ),
        (
            json!({ "image": { "digest": "sha256:12" } }),
            &["/image/digest", "does not match pattern"],
        ),
        (
            json!({ "image": { "pullPolicy": "Sometimes" } }),
            &["/image/pullPolicy", "'Always', 'IfNotPresent', 'Never'"],
        ),
        (
            json!({ "replicaCount": "two" }),
            &["/replicaCount", "got string, want integer"],
        ),
        (json!({ "replicaCount": -1 }), &["/replicaCount", "minimum"]),
        (
            json!({ "resources": { "limits": { "memory": "512MB" } } }),
            &["/resources/limits/memory"],
        ),
        (
            json!({ "terminationGracePeriodSeconds": "30s" }),
            &["/terminationGracePeriodSeconds", "got string"],
        ),
        (
            json!({ "service": { "type": "Cluster" } }),
            &["/service/type", "'ClusterIP'"],
        ),
        (
            json!({ "podDisruptionBudget": { "maxUnavailable": 0 } }),
            &["/podDisruptionBudget/maxUnavailable"],
        ),
        (
            json!({ "podLabels": { "app.kubernetes.io/name": "mine" } }),
            &["/podLabels", "app.kubernetes.io/name"],
        ),
        (
            json!({ "commonLabels": { "team": "a b" } }),
            &["/commonLabels/team", "does not match pattern"],
        ),
        (
            json!({ "serviceAccount": { "annotations": { "eks.amazonaws.com/role-arn": "weir" } } }),
            &["role-arn", "does not match pattern"],
        ),
        (
            json!({ "keda": { "minReplicaCount": 0 } }),
            &["/keda/minReplicaCount", "minimum"],
        ),
        (
            json!({ "keda": { "triggers": [{ "type": "cpu", "metadata": { "value": 80 } }] } }),
            &["/metadata/value", "want string"],
        ),
        (
            json!({ "networkPolicy": { "ingressFrom": [{}] } }),
            &["/networkPolicy/ingressFrom/0", "minProperties"],
        ),
        (
            json!({ "extraEnv": [{ "value": "x" }] }),
            &["/extraEnv/0", "missing property 'name'"],
        ),
        (
            json!({ "readinessProbe": { "periodSecond": 5 } }),
            &["/readinessProbe", "'periodSecond' not allowed"],
        ),
        (json!({ "config": null }), &["missing property 'config'"]),
        // Of Weir's own settings.
        (
            pipeline("pipeline", json!({})),
            &["/config", "additional properties 'pipeline' not allowed"],
        ),
        (
            pipeline("drain", json!({ "timeout": 25 })),
            &["/config/drain/timeout", "got number, want string"],
        ),
        (
            pipeline("memory", json!("256Mi")),
            &["/config/memory", "does not match pattern"],
        ),
        (
            json!({ "config": { "pipelines": [{ "name": "orders" }] } }),
            &["/config/pipelines", "got array, want object"],
        ),
        (
            json!({ "config": { "pipelines": { "orders": { "source": { "dynamodb_table": "orders" } } } } }),
            &["/config/pipelines/orders", "missing property 'destination'"],
        ),
        (
            json!({ "config": { "pipelines": { "orders": {
                "source": { "dynamodb_table": "orders" }, "destination": { "log_group": "/cdc" } } } } }),
            &["/config/pipelines/orders/destination", "'log_group' not allowed"],
        ),
        (
            json!({ "config": { "pipelines": { "orders": {
                "source": { "dynamodb_table": "orders" }, "destination": { "group": "/cdc", "oversize": "cut" } } } } }),
            &["/config/pipelines/orders/destination/oversize"],
        ),
    ]);
}

#[test]
fn values_that_do_not_fit_together_are_refused_with_the_way_out() {
    let scaled = |by: &str, more: Value| values(&json!({ by: more }));
    let kinesis =
        json!({ "clicks": { "source": { "kinesis_stream": "clicks" }, "destination": { "group": "/cdc" } } });
    are_refused(&[
        (
            values(&json!({ "terminationGracePeriodSeconds": 29 })),
            &[
                "terminationGracePeriodSeconds is 29",
                "drain of 25s",
                "need 30",
                "config.drain.timeout",
            ],
        ),
        (
            values(
                &json!({ "config": { "drain": { "timeout": "1m" } }, "terminationGracePeriodSeconds": 64 }),
            ),
            &["terminationGracePeriodSeconds is 64", "drain of 1m", "need 65"],
        ),
        (
            values(&json!({ "config": { "drain": { "timeout": "13s" } } })),
            &[
                "config.drain.timeout is 13s",
                "leases of 10s",
                "13800 ms",
                "14s at least",
                "config.leases.duration",
            ],
        ),
        (
            values(&json!({ "config": { "leases": { "duration": "30s" } } })),
            &["config.drain.timeout is 25s", "leases of 30s", "36s at least"],
        ),
        (
            values(&json!({ "config": { "drain": { "timeout": "${DRAIN}" } } })),
            &[
                "config.drain.timeout is ${DRAIN}",
                "can't read",
                "set terminationGracePeriodSeconds",
            ],
        ),
        (
            values(&json!({ "config": { "memory": "449MiB" } })),
            &[
                "config.memory is 449MiB",
                "resources.limits.memory of 512Mi",
                "513Mi at least",
                "leave config.memory out",
            ],
        ),
        (
            values(
                &json!({ "config": { "memory": "448MiB" }, "resources": { "limits": { "memory": 536_870_911 } } }),
            ),
            &[
                "config.memory is 448MiB",
                "limits.memory of 536870911",
                "512Mi at least",
            ],
        ),
        (
            values(&json!({ "config": { "memory": "1GB" }, "resources": { "limits": { "memory": "1G" } } })),
            &["config.memory is 1GB", "limits.memory of 1G", "1018Mi at least"],
        ),
        (
            values(&json!({ "resources": { "limits": { "memory": "64Mi" } } })),
            &["resources.limits.memory is 64Mi", "80Mi"],
        ),
        (
            values(&json!({ "resources": { "requests": { "memory": "1Gi" } } })),
            &[
                "resources.requests.memory is 1Gi",
                "limits.memory 512Mi",
                "set both",
            ],
        ),
        (
            values(&json!({ "config": { "memory": "5MiB" } })),
            &["config.memory is 5MiB", "16MiB to 64GiB"],
        ),
        (
            values(&json!({ "config": { "memory": "55MiB", "pipelines": kinesis } })),
            &["config.memory is 55MiB", "config.pipelines.clicks", "56MiB"],
        ),
        (
            values(
                &json!({ "config": { "pipelines": kinesis }, "resources": { "limits": { "memory": "119Mi" } } }),
            ),
            &[
                "resources.limits.memory is 119Mi",
                "config.pipelines.clicks",
                "120Mi",
            ],
        ),
        (
            values(&json!({ "config": { "drain": { "timeout": "2h" } } })),
            &["config.drain.timeout is 2h", "1s to 1h"],
        ),
        (
            values(&json!({ "config": { "http": { "address": "0.0.0.0:9090" } } })),
            &[
                "config.http is",
                "0.0.0.0:9090",
                "listenAddress and containerPort",
            ],
        ),
        (
            values(&json!({ "extraEnv": [{ "name": "WEIR_LOG", "value": "debug" }] })),
            &["extraEnv holds WEIR_LOG", "use logLevel"],
        ),
        (
            values(
                &json!({ "awsRegion": "eu-west-1", "extraEnv": [{ "name": "AWS_REGION", "value": "eu-west-2" }] }),
            ),
            &["extraEnv holds AWS_REGION", "use awsRegion"],
        ),
        (
            values(&json!({ "extraEnv": [{ "name": "WEIR_APPLICATION", "value": "other" }] })),
            &["extraEnv holds WEIR_APPLICATION", "use config.application"],
        ),
        (
            values(
                &json!({ "extraEnv": [{ "name": "STAGE", "value": "a" }, { "name": "STAGE", "value": "b" }] }),
            ),
            &["extraEnv holds STAGE twice"],
        ),
        (
            values(&json!({ "existingConfigMap": { "name": "ours" } })),
            &["existingConfigMap.name is ours", "give one"],
        ),
        (
            values(
                &json!({ "autoscaling": { "enabled": true }, "keda": { "enabled": true, "triggers": [] } }),
            ),
            &["autoscaling.enabled and keda.enabled", "enable one of them"],
        ),
        (
            scaled("autoscaling", json!({ "enabled": true, "minReplicas": 11 })),
            &["minReplicas is 11", "maxReplicas 10"],
        ),
        (
            values(
                &json!({ "autoscaling": { "enabled": true }, "resources": { "requests": { "cpu": null } } }),
            ),
            &["resources.requests.cpu", "is not set"],
        ),
        (
            scaled("keda", json!({ "enabled": true })),
            &["keda.enabled is true without a trigger", "keda.lag.enabled"],
        ),
        (
            scaled("keda", json!({ "enabled": true, "lag": { "enabled": true } })),
            &["keda.prometheus.serverAddress"],
        ),
        (
            values(&json!({ "podMonitor": { "enabled": true }, "serviceMonitor": { "enabled": true } })),
            &["scraped twice", "enable one of them"],
        ),
        (
            values(&json!({ "service": { "enabled": false }, "serviceMonitor": { "enabled": true } })),
            &[
                "serviceMonitor.enabled is true and service.enabled is false",
                "podMonitor",
            ],
        ),
    ]);
}

/// Helm reads YAML 1.1, in which these words are booleans, and a key becomes the text of one.
#[test]
fn a_key_that_helm_takes_for_a_boolean_is_refused_by_its_path() {
    let filter = |pattern: &str| {
        format!(
            "config: {{ pipelines: {{ orders: {{ source: {{ dynamodb_table: orders }}, destination: {{ group: /cdc }}, \
             filter: [{{ eventName: [INSERT] }}, {pattern}] }} }} }}"
        )
    };
    let wrong = [
        (
            filter(r#"{ dynamodb: { NewImage: { age: { N: ["5"] } } } }"#),
            "config.pipelines.orders.filter[1].dynamodb.NewImage.age.false",
            r#""N""#,
        ),
        (
            filter(r#"{ $or: [{ dynamodb: { Keys: { y: { S: [a] } } } }] }"#),
            "filter[1].$or[0].dynamodb.Keys.true",
            "y, Y, yes, on and true",
        ),
        (
            "config: { state: { tags: { on: a } } }".to_owned(),
            "config.state.tags.true",
            r#""on""#,
        ),
    ];
    let cases: Vec<Value> = wrong.iter().map(|(text, ..)| json!({ "text": text })).collect();
    for ((text, path, word), rendered) in wrong.iter().zip(render_all(&cases)) {
        let refusal = rendered.refusal.unwrap_or_else(|| panic!("{text} is taken"));
        assert!(
            refusal.contains(path) && refusal.contains(word),
            "{text}: {refusal}"
        );
    }
}

/// One step from each refusal, and what the chart can't know and leaves to Weir.
#[test]
fn what_just_fits_is_taken() {
    let fits = [
        values(&json!({ "terminationGracePeriodSeconds": 30 })),
        values(&json!({ "config": { "drain": { "timeout": "14s" } }, "terminationGracePeriodSeconds": 19 })),
        values(&json!({ "config": { "drain": { "timeout": "13800ms" } } })),
        values(&json!({ "config": { "leases": { "duration": "20s" } } })),
        values(
            &json!({ "config": { "drain": { "timeout": "${DRAIN}" } }, "terminationGracePeriodSeconds": 60 }),
        ),
        values(&json!({ "config": { "leases": { "duration": "${LEASE:-30s}" } } })),
        values(&json!({ "config": { "memory": "448MiB" } })),
        values(
            &json!({ "config": { "memory": "448MiB" }, "resources": { "limits": { "memory": "0.5Gi" } } }),
        ),
        values(
            &json!({ "config": { "memory": "448MiB" }, "resources": { "limits": { "memory": 536_870_912 } } }),
        ),
        values(
            &json!({ "config": { "memory": "448MiB" }, "resources": { "limits": { "memory": "524288Ki" } } }),
        ),
        values(&json!({ "config": { "memory": "${MEMORY:-2GiB}" } })),
        values(&json!({ "config": { "memory": "4GiB" }, "resources": { "limits": null } })),
        values(&json!({ "resources": { "limits": { "memory": "80Mi" } } })),
        values(&json!({ "config": { "put_rate": "${RATE:-4000}" } })),
        values(&json!({ "livenessProbe": null })),
        json!({
            "existingConfigMap": { "name": "ours" }, "extraEnv": [{ "name": "WEIR_APPLICATION", "value": "other" }],
        }),
        // Of a chart that holds this one, and has `condition: weir.enabled`.
        values(&json!({ "enabled": true, "global": { "team": "data-platform" } })),
        values(
            &json!({ "autoscaling": { "enabled": true, "targetCPUUtilizationPercentage": null, "metrics": [{ "type": "Pods" }] } }),
        ),
    ];
    let cases: Vec<Value> = fits.iter().map(|values| json!({ "values": values })).collect();
    for (values, rendered) in fits.iter().zip(render_all(&cases)) {
        assert_eq!(rendered.refusal, None, "{values}");
    }
}

/// The chart's arithmetic is a template's, Weir's is its own: around each boundary both say the same.
#[test]
fn the_chart_refuses_what_weir_refuses() {
    let mut cases = Vec::new();
    let mut fits = Vec::new();
    let mut add = |more: &Value, fit: bool| {
        cases.push(json!({ "values": values(more) }));
        fits.push(fit);
    };
    let ms = Duration::from_millis;
    for lease in [3_000, 7_001, 10_000, 61_000, 300_000] {
        let least = u64::try_from(least_drain(ms(lease)).as_millis()).unwrap();
        for drain in [least - 1, least, least + 1] {
            let config = json!({
                "leases": { "duration": format!("{lease}ms") }, "drain": { "timeout": format!("{drain}ms") },
            });
            add(&json!({ "config": config }), ms(drain) >= least_drain(ms(lease)));
            let enough = (drain + 5_000).div_ceil(1_000);
            for grace in [enough - 1, enough] {
                let fit = drain_fits(ms(drain), "drain.timeout", Duration::from_secs(grace)).is_ok();
                let more = json!({ "config": config, "terminationGracePeriodSeconds": grace });
                add(&more, fit && drain >= least);
            }
        }
    }
    let mib = |mib: u64| mib << 20;
    for (source, least_budget) in [
        ("dynamodb_table", *bounds::MEMORY.start()),
        ("kinesis_stream", bounds::KINESIS_MEMORY),
    ] {
        let pipelines =
            json!({ "orders": { "source": { source: "orders" }, "destination": { "group": "/cdc" } } });
        for limit in [79, 80, 119, 120, 128, 512, 1_024] {
            let limits = json!({ "limits": { "memory": format!("{limit}Mi") } });
            add(
                &json!({ "config": { "pipelines": pipelines }, "resources": limits }),
                Budget::of(None, Some(mib(limit)), least_budget).is_ok(),
            );
            let around = [limit.saturating_sub(64), limit.saturating_sub(63), limit, 55, 56];
            for memory in around.map(|memory| memory.max(16)) {
                let bytes = usize::try_from(mib(memory)).unwrap();
                let fit = bytes >= least_budget
                    && Budget::of(Some(bytes), Some(mib(limit)), least_budget).is_ok()
                    && mib(limit) >= BESIDES + least_budget as u64;
                let config = json!({ "memory": format!("{memory}MiB"), "pipelines": pipelines });
                add(&json!({ "config": config, "resources": limits }), fit);
            }
        }
    }
    for (case, (rendered, fit)) in cases.iter().zip(render_all(&cases).iter().zip(&fits)) {
        assert_eq!(rendered.refusal.is_none(), *fit, "{case}: {:?}", rendered.refusal);
    }
    assert!(fits.contains(&true) && fits.contains(&false));
}
