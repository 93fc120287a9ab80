//! What the chart renders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{Rendered, config, judge, render, render_all, render_each, sets, values};
use crate::emulator::tools;
use crate::tools::{answer, node, printed, text};

/// The oldest that `kubeVersion` allows, one in the middle, and the newest that there are schemas of.
const KUBERNETES: [&str; 3] = ["1.29", "1.33", "1.37"];

/// `promtool`: where `scripts/tools` unpacks it, or the machine's own.
fn promtool() -> Command {
    let unpacked = tools().join("prometheus/usr/bin/promtool");
    Command::new(if unpacked.exists() {
        unpacked
    } else {
        PathBuf::from("promtool")
    })
}

/// All sets of values, linted, rendered and judged by all schemas.
fn judged_sets() -> BTreeMap<String, Rendered> {
    let (names, mut cases): (Vec<_>, Vec<_>) = sets().into_iter().unzip();
    for case in &mut cases {
        case["lint"] = json!(true);
    }
    let answer = judge(&json!({ "kubernetes": KUBERNETES, "cases": cases }));
    let rendered: Vec<Rendered> = serde_json::from_value(answer["cases"].clone()).unwrap();
    names.into_iter().zip(rendered).collect()
}

fn rendered_sets() -> BTreeMap<String, Rendered> {
    let (names, cases): (Vec<_>, Vec<_>) = sets().into_iter().unzip();
    names.into_iter().zip(render_all(&cases)).collect()
}

#[test]
fn every_set_of_values_gives_valid_objects() {
    let sets = judged_sets();
    assert!(sets.len() > 10, "{:?}", sets.keys());
    let mut custom = Vec::new();
    for (set, rendered) in &sets {
        assert_eq!(rendered.refusal, None, "{set}");
        assert_eq!(rendered.lint, [""; 0], "{set}");
        assert_eq!(rendered.invalid, [""; 0], "{set}");
        custom.extend(rendered.unknown.clone());
    }
    let kinds: BTreeSet<&str> = custom
        .iter()
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["PodMonitor", "PrometheusRule", "ScaledObject", "ServiceMonitor"])
    );
    let node = |objects: &[Value]| {
        let mut command = Command::new("node");
        command
            .arg("tests/ship/chart/resources.mjs")
            .arg(node().join("node_modules"));
        answer(&mut command, &json!(objects))
    };
    assert_eq!(node(&custom), json!(vec![Value::Null; custom.len()]));
    // Their schemas do refuse something.
    let scaled = custom
        .iter()
        .find(|object| object["kind"] == "ScaledObject")
        .unwrap();
    for (key, value) in [("maxReplicaCount", json!("many")), ("polling", json!(30))] {
        let mut wrong = scaled.clone();
        wrong["spec"][key] = value;
        assert!(node(&[wrong])[0].as_str().unwrap().contains(key), "{key}");
    }
}

#[test]
fn prometheus_takes_the_rules() {
    let rendered = rendered_sets().remove("monitoring").unwrap();
    let rule = rendered.the("PrometheusRule");
    let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    std::fs::write(file.path(), rule["spec"].to_string()).unwrap();
    printed(
        promtool()
            .args(["check", "rules", "--lint=all", "--lint-fatal"])
            .arg(file.path()),
    );

    // All alerts are there, with runbooks where the values say.
    let source = text("deploy/prometheus/weir.rules.yaml");
    let groups = rule["spec"]["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let urls: Vec<&str> = rules
        .filter_map(|rule| rule["annotations"]["runbook_url"].as_str())
        .collect();
    assert_eq!(urls.len(), source.matches("- alert:").count());
    for url in urls {
        assert!(url.starts_with("https://runbooks.example.com/weir/Weir"), "{url}");
    }
}

#[test]
fn the_dashboard_is_where_the_sidecar_looks() {
    let rendered = rendered_sets().remove("monitoring").unwrap();
    let maps = rendered.of_kind("ConfigMap");
    let dashboard = maps
        .into_iter()
        .find(|map| map["data"]["weir.json"].is_string())
        .unwrap();
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let found = read(dashboard["data"]["weir.json"].as_str().unwrap());
    assert_eq!(found, read(&text("deploy/grafana/weir.json")));
    assert_eq!(labels(dashboard)["grafana_dashboard"], "1");
    assert_eq!(
        dashboard["metadata"]["annotations"]["grafana_folder"],
        "Streaming"
    );
}

/// Takes the settings as they stand in the ConfigMap, with the variables of the container.
#[test]
fn weir_takes_the_settings_that_are_rendered() {
    let mut taken = 0;
    for (set, rendered) in rendered_sets() {
        // Without pipelines there is nothing to take, and nothing runs.
        let Some(settings) = rendered
            .settings()
            .filter(|settings| settings.contains("pipelines"))
        else {
            assert!(["none", "existing-config"].contains(&set.as_str()), "{set}");
            continue;
        };
        let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(file.path(), settings).unwrap();
        let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
        for variable in rendered.container()["env"].as_array().unwrap() {
            if let Some(value) = variable["value"].as_str() {
                weir.env(variable["name"].as_str().unwrap(), value);
            }
        }
        let policy = weir.args([
            "iam-policy",
            "--account",
            "111122223333",
            "--region",
            "eu-west-1",
            "-c",
        ]);
        let policy: Value = serde_json::from_str(&printed(policy.arg(file.path()))).unwrap();
        assert!(!policy["Statement"].as_array().unwrap().is_empty(), "{set}");
        taken += 1;
    }
    assert!(taken > 8);
}

/// Numbers and texts that look like others reach Weir as they were written.
#[test]
fn values_keep_their_type_on_the_way_into_the_file() {
    let given = config(&json!({
        "put_rate": 100_000,
        "tracing": { "sample": 0.05 },
        "state": { "tags": { "cost-center": "4711", "yes": "on", "null": "~" } },
    }));
    let rendered = render(json!({ "config": given }));
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), rendered.settings().unwrap()).unwrap();
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let read = printed(crate::tools::tool("python").args(["-c", script]).arg(file.path()));
    assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), given);
}

/// What people write, as Helm reads it, and Weir what Helm writes: the same settings as of the file alone.
#[test]
fn the_settings_mean_the_same_to_weir_by_helm_or_without() {
    let file = r#"application: 2024-11-09
put_rate: 100000
state:
  tags: { cost-center: "0123", since: "2024-11-09T08:12:19Z", ratio: "1e3", "N": "yes", none: "null", hex: "0x1F" }
pipelines:
  orders:
    source: { dynamodb_table: orders, start: 2024-11-09T08:12:19Z, poll: { busy: 0s, idle: 1m } }
    filter:
      - dynamodb: { NewImage: { count: { "N": ["5", "1e3", "0123"] }, "yes": { S: ["on", "no", "null"] } } }
      - dynamodb: { OldImage: { left: { "NULL": [true], BOOL: [false] } } }
      - '{"dynamodb":{"Keys":{"id":{"S":[{"anything-but":["a text that is long enough for a writer to fold it"]}]}}}}'
    destination: { group: "/cdc/${STAGE:-prod}/{table}", stream: "{{{shard_id}}}", retention_days: 365 }
  "0123":
    source: { kinesis_stream: clicks, start: latest }
    filter:
      - data: { at: [{ numeric: [">", 1731139939000, "<=", 1.8e12] }], ok: [true, null], text: ["{{ .Values }}", "a: b # c", "- x"] }
    destination: { group: "4711" }
"#;
    // All keys, but for those that the chart sets itself.
    let full = text("config/full.yaml");
    let full: Vec<&str> = full
        .lines()
        .filter(|line| !line.starts_with("http:") && !line.starts_with("  grace_period:"))
        .collect();
    let files = [file.to_owned(), full.join("\n")];
    let case = |file: &String| {
        let indented: Vec<String> = file.lines().map(|line| format!("  {line}")).collect();
        json!({ "text": format!("config:\n{}", indented.join("\n")) })
    };
    let cases: Vec<Value> = files.iter().map(case).collect();
    let read = |text: &str| {
        let key = |name: &str| (name == "WEIR_REDACT_KEY").then(|| "k".repeat(32));
        weir::config::Config::from_yaml(text, &key, weir::config::Overrides::default())
            .unwrap_or_else(|e| panic!("{e}: {text}"))
    };
    for (file, rendered) in files.iter().zip(render_all(&cases)) {
        assert_eq!(rendered.refusal, None);
        let by_helm = read(rendered.settings().unwrap());
        assert!(by_helm == read(file), "{by_helm:#?} of {file}");
    }
}

fn labels(object: &Value) -> &serde_json::Map<String, Value> {
    object["metadata"]["labels"].as_object().unwrap()
}

fn is_subset(selector: &Value, labels: &serde_json::Map<String, Value>) -> bool {
    let selector = selector.as_object().unwrap();
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[test]
fn selectors_never_change_and_choose_the_workers_alone() {
    for (set, rendered) in rendered_sets() {
        let pod = labels(rendered.pod());
        let name = if set == "full" { "forwarder" } else { "weir" };
        let selector = json!({ "app.kubernetes.io/name": name, "app.kubernetes.io/instance": "weir" });
        let mut selectors = vec![&rendered.deployment()["spec"]["selector"]["matchLabels"]];
        selectors.extend(
            rendered
                .of_kind("Service")
                .iter()
                .map(|object| &object["spec"]["selector"]),
        );
        for kind in ["PodDisruptionBudget", "PodMonitor", "ServiceMonitor"] {
            selectors.extend(
                rendered
                    .of_kind(kind)
                    .iter()
                    .map(|object| &object["spec"]["selector"]["matchLabels"]),
            );
        }
        let policies = rendered.of_kind("NetworkPolicy");
        selectors.extend(
            policies
                .iter()
                .map(|object| &object["spec"]["podSelector"]["matchLabels"]),
        );
        for found in selectors {
            assert_eq!(*found, selector, "{set}");
        }
        assert!(is_subset(&selector, pod), "{set}");
        for service in rendered.of_kind("Service") {
            assert_eq!(
                service["spec"]["ports"][0]["targetPort"], "http",
                "{set}: the port's name in the pod"
            );
            assert!(
                is_subset(&selector, labels(service)),
                "{set}: what a ServiceMonitor looks for"
            );
        }
        for test in rendered.of_kind("Pod") {
            assert!(
                !is_subset(&selector, labels(test)),
                "{set}: the test is no worker"
            );
        }
    }
}

#[test]
fn every_object_is_there_once_and_says_whose_it_is() {
    for (set, rendered) in rendered_sets() {
        let mut found = BTreeSet::new();
        for object in &rendered.objects {
            let (kind, name) = (
                object["kind"].as_str().unwrap(),
                object["metadata"]["name"].as_str().unwrap(),
            );
            assert!(found.insert((kind, name)), "{set}: {kind}/{name} is there twice");
            // The user's own.
            if set == "full" && ["more", "weir-forwarder-too"].contains(&name) {
                continue;
            }
            assert!(
                object["metadata"]["namespace"].is_string(),
                "{set}: {kind}/{name}"
            );
            let labels = labels(object);
            for label in ["name", "instance", "version", "managed-by"] {
                assert!(
                    labels.contains_key(&format!("app.kubernetes.io/{label}")),
                    "{set}: {label} of {kind}/{name}"
                );
            }
            assert!(labels.contains_key("helm.sh/chart"), "{set}: {kind}/{name}");
            if set == "full" {
                assert_eq!(labels["team"], "data-platform", "{kind}/{name}");
                assert_eq!(
                    object["metadata"]["annotations"]["example.com/owner"], "data-platform",
                    "{kind}/{name}"
                );
            }
        }
    }
}

#[test]
fn names_are_short_enough_whatever_the_release_is_called() {
    let everything = values(&json!({
        "autoscaling": { "enabled": true }, "networkPolicy": { "enabled": true }, "serviceMonitor": { "enabled": true },
        "prometheusRule": { "enabled": true }, "dashboard": { "enabled": true },
    }));
    let mut long = everything.clone();
    long["fullnameOverride"] = json!("f".repeat(80));
    // 53 is the longest that Helm allows. The 50th is a hyphen: no name may end with one.
    let release = format!("{}-{}", "r".repeat(49), "abc");
    let cases = [
        json!({ "values": everything, "release": release }),
        json!({ "values": long }),
    ];
    for rendered in render_all(&cases) {
        assert_eq!(rendered.refusal, None);
        assert_eq!(rendered.objects.len(), 11);
        for object in &rendered.objects {
            let name = object["metadata"]["name"].as_str().unwrap();
            assert!(name.len() <= 63 && !name.ends_with('-'), "{name}");
            for value in labels(object).values() {
                assert!(value.as_str().unwrap().len() <= 63, "{value}");
            }
        }
    }
}

/// Kubernetes' restricted profile, field by field, and what goes beyond it.
#[test]
fn pods_keep_the_restricted_profile() {
    for (set, rendered) in rendered_sets() {
        let tests = rendered.of_kind("Pod").into_iter().map(|pod| &pod["spec"]);
        for pod in tests.chain([&rendered.pod()["spec"]]) {
            for host in ["hostNetwork", "hostPID", "hostIPC"] {
                assert_eq!(pod[host], Value::Null, "{set}");
            }
            let context = &pod["securityContext"];
            assert_eq!(context["runAsNonRoot"], true, "{set}");
            assert_eq!(context["runAsUser"], 65532, "{set}: the image's user");
            assert_eq!(context["fsGroup"], 65532, "{set}: the role's token may be read");
            assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{set}");
            assert_eq!(pod["automountServiceAccountToken"], false, "{set}");
            for volume in pod["volumes"].as_array().unwrap() {
                assert!(volume["configMap"].is_object(), "{set}: {volume}");
            }
            for container in pod["containers"].as_array().unwrap() {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{set}");
                assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }), "{set}");
                assert_eq!(context["privileged"], Value::Null, "{set}");
                // The user's own needn't.
                if container["name"] != "beside" {
                    assert_eq!(context["readOnlyRootFilesystem"], true, "{set}");
                }
            }
        }
    }
}

#[test]
fn a_change_of_the_settings_rolls_the_pods_and_nothing_else_does() {
    let checksum = |rendered: &Rendered| {
        let checksum = &rendered.pod()["metadata"]["annotations"]["checksum/config"];
        checksum.as_str().map(str::to_owned)
    };
    let rendered = render_each([
        values(&json!({})),
        values(&json!({ "replicaCount": 5, "podLabels": { "team": "a" } })),
        values(&json!({ "config": { "put_rate": 3999 } })),
        // What the chart can't read it doesn't claim to know.
        json!({ "existingConfigMap": { "name": "ours" } }),
    ]);
    let [before, other_values, other_settings, unread] = rendered.each_ref().map(checksum);
    assert!(before.is_some() && other_settings.is_some());
    assert_eq!(other_values, before);
    assert_ne!(other_settings, before);
    assert_eq!(unread, None);
}

#[test]
fn without_pipelines_nothing_runs_and_the_notes_say_so() {
    let [nothing, no_pipelines, scaled, runs] = render_each([
        json!({}),
        json!({ "config": { "application": "prod-cdc" } }),
        json!({ "autoscaling": { "enabled": true } }),
        values(&json!({})),
    ]);
    for rendered in [nothing, no_pipelines, scaled] {
        assert_eq!(rendered.deployment()["spec"]["replicas"], 0);
        for kind in ["HorizontalPodAutoscaler", "PodDisruptionBudget", "Pod"] {
            assert!(rendered.of_kind(kind).is_empty(), "{kind}");
        }
        assert!(rendered.notes.contains("WARNING: nothing runs") && rendered.notes.contains("pipelines:"));
    }
    assert_eq!(runs.deployment()["spec"]["replicas"], 2);
    for words in [
        "pipelines  orders",
        "tables weir and weir-fleet",
        "-- weir check",
        "helm test",
        "port-forward",
    ] {
        assert!(runs.notes.contains(words), "{words}: {}", runs.notes);
    }
}

#[test]
fn who_is_autoscaled_has_no_number_of_replicas() {
    let sets = rendered_sets();
    for (set, scaler) in [
        ("hpa", "HorizontalPodAutoscaler"),
        ("keda-lag", "ScaledObject"),
        ("keda-shards", "ScaledObject"),
    ] {
        let rendered = &sets[set];
        assert_eq!(rendered.deployment()["spec"]["replicas"], Value::Null, "{set}");
        let target = &rendered.the(scaler)["spec"]["scaleTargetRef"];
        assert_eq!(target["name"], rendered.deployment()["metadata"]["name"], "{set}");
    }
    // KEDA asks for the series of this release alone, by the job that the monitors give it.
    let query = |set: &str| sets[set].the("ScaledObject")["spec"]["triggers"][0]["metadata"]["query"].clone();
    assert_eq!(
        query("keda-lag"),
        r#"max(weir_pipeline_lag_seconds{namespace="streaming", job="weir"})"#
    );
    assert_eq!(
        query("keda-shards"),
        r#"sum(weir_leases_held{namespace="streaming", job="weir"})"#
    );
    // What nobody scrapes is an error: as a zero it would take workers away.
    for set in ["keda-lag", "keda-shards"] {
        let trigger = &sets[set].the("ScaledObject")["spec"]["triggers"][0];
        assert_eq!(trigger["metadata"]["ignoreNullValues"], "false", "{set}");
    }
    for (set, monitor, endpoints) in [
        ("keda-lag", "PodMonitor", "podMetricsEndpoints"),
        ("keda-shards", "ServiceMonitor", "endpoints"),
    ] {
        let relabeling = &sets[set].the(monitor)["spec"][endpoints][0]["relabelings"][0];
        assert_eq!(
            *relabeling,
            json!({ "targetLabel": "job", "replacement": "weir" }),
            "{set}"
        );
    }
}

#[test]
fn a_new_worker_is_ready_before_an_old_one_ends_and_the_old_one_has_time() {
    let timeouts = [
        ("25s", 30),
        ("40s", 45),
        ("1m", 65),
        ("13801ms", 19),
        ("1h", 3605),
    ];
    let rendered = render_each(
        timeouts.map(|(timeout, _)| values(&json!({ "config": { "drain": { "timeout": timeout } } }))),
    );
    // Derived of the drain, in whole seconds: it and 5 s more.
    for ((timeout, grace), rendered) in timeouts.iter().zip(&rendered) {
        assert_eq!(
            rendered.pod()["spec"]["terminationGracePeriodSeconds"],
            *grace,
            "{timeout}"
        );
        assert_eq!(
            rendered.variable("WEIR_GRACE_PERIOD"),
            Some(format!("{grace}s").as_str())
        );
    }
    let [default, recreate] = render_each([
        values(&json!({})),
        values(&json!({ "strategy": { "type": "Recreate" } })),
    ]);
    let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
    assert_eq!(default.deployment()["spec"]["strategy"], rolling);
    assert_eq!(default.variable("WEIR_GRACE_PERIOD"), Some("30s"));
    // Recreate knows no surge.
    assert_eq!(
        recreate.deployment()["spec"]["strategy"],
        json!({ "type": "Recreate" })
    );
}

/// Kubernetes asks where Weir answers, as docs/operations.md has it.
#[test]
fn probes_ask_where_weir_answers() {
    let operations = text("docs/operations.md");
    let rendered = render(values(&json!({ "containerPort": 9090, "listenAddress": "::" })));
    assert_eq!(rendered.variable("WEIR_HTTP_ADDRESS"), Some("[::]:9090"));
    let container = rendered.container();
    assert_eq!(
        container["ports"][0],
        json!({ "name": "http", "containerPort": 9090, "protocol": "TCP" })
    );
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let found = &container[probe];
        assert_eq!(found["httpGet"]["port"], "http");
        let mut told = format!(
            "{probe}: {{ httpGet: {{ path: {}, port: 8080 }}",
            found["httpGet"]["path"].as_str().unwrap()
        );
        for key in ["periodSeconds", "timeoutSeconds", "failureThreshold"] {
            if let Some(value) = found[key].as_u64() {
                told += &format!(", {key}: {value}");
            }
        }
        assert!(
            operations.contains(&(told.clone() + " }")),
            "docs/operations.md has no {told}"
        );
    }
}

/// A Service named weir gives each pod of its namespace WEIR_PORT, WEIR_SERVICE_HOST and more.
#[test]
fn no_service_puts_variables_among_those_of_weir() {
    for (set, rendered) in rendered_sets() {
        assert_eq!(rendered.pod()["spec"]["enableServiceLinks"], false, "{set}");
    }
}

#[test]
fn the_test_hook_asks_aws_as_the_workers_do_and_whether_one_is_ready() {
    let [rendered, ipv6, dual] = render_each([
        values(&json!({ "service": { "port": 80 } })),
        values(&json!({ "listenAddress": "::" })),
        values(&json!({ "listenAddress": "::", "service": { "ipFamilies": ["IPv4", "IPv6"] } })),
    ]);
    let test = rendered.the("Pod");
    assert_eq!(test["metadata"]["annotations"]["helm.sh/hook"], "test");
    let worker = &rendered.pod()["spec"];
    assert_eq!(test["spec"]["serviceAccountName"], worker["serviceAccountName"]);
    let [check, ready] = test["spec"]["containers"].as_array().unwrap().as_slice() else {
        panic!("two containers");
    };
    assert_eq!(check["args"], json!(["check", "-c", "/etc/weir/weir.yaml"]));
    for same in ["image", "resources", "volumeMounts"] {
        assert_eq!(check[same], rendered.container()[same], "{same}");
    }
    assert_eq!(
        ready["args"].as_array().unwrap()[..3],
        ["health", "--ready", "--http-address"]
    );
    assert_eq!(
        test["spec"]["enableServiceLinks"],
        Value::Null,
        "the address comes by these"
    );
    let plain = "$(WEIR_SERVICE_HOST):$(WEIR_SERVICE_PORT)";
    let bracketed = "[$(WEIR_SERVICE_HOST)]:$(WEIR_SERVICE_PORT)";
    for (rendered, address) in [(&rendered, plain), (&ipv6, bracketed), (&dual, plain)] {
        assert_eq!(rendered.the("Pod")["spec"]["containers"][1]["args"][3], address);
    }
}

#[test]
fn the_network_policy_lets_weir_reach_aws_and_its_role() {
    let sets = rendered_sets();
    let policy = &sets["pod-identity"].the("NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let ports = |rule: &Value| -> Vec<u64> {
        rule["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["port"].as_u64().unwrap())
            .collect()
    };
    let egress = policy["egress"].as_array().unwrap();
    assert_eq!(
        egress.iter().map(ports).collect::<Vec<_>>(),
        [vec![53, 53], vec![443], vec![80]]
    );
    let agents = ["169.254.170.23/32", "fd00:ec2::23/128"].map(|cidr| json!({ "ipBlock": { "cidr": cidr } }));
    assert_eq!(egress[2]["to"], json!(agents));
    // An empty list would let everybody in: without peers there is `helm test` alone, or no rule.
    assert_eq!(policy["ingress"][0]["from"].as_array().unwrap().len(), 1);
    let closed = render(values(
        &json!({ "networkPolicy": { "enabled": true }, "tests": { "enabled": false } }),
    ));
    assert_eq!(closed.the("NetworkPolicy")["spec"]["ingress"], Value::Null);
    let more = &sets["network-policy"].the("NetworkPolicy")["spec"];
    assert_eq!(more["egress"][3]["ports"][0]["port"], 4318);
    assert_eq!(more["ingress"][0]["from"].as_array().unwrap().len(), 2);
}

/// One at a time; and one that never gets ready keeps no node from being emptied.
#[test]
fn a_node_can_be_emptied() {
    let rendered = render(values(&json!({ "replicaCount": 1 })));
    let budget = &rendered.the("PodDisruptionBudget")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    assert_eq!(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow");
}

#[test]
fn images_identity_and_placement_are_as_the_values_say() {
    let sets = rendered_sets();
    let image = sets["digest"].container()["image"].as_str().unwrap();
    assert!(
        image.starts_with("111122223333.dkr.ecr.eu-west-1.amazonaws.com/weir@sha256:9f86d0"),
        "{image}"
    );
    assert_eq!(
        sets["digest"].deployment()["metadata"]["name"],
        "orders-forwarder"
    );
    let account = sets["irsa"].the("ServiceAccount");
    assert_eq!(
        account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"],
        "arn:aws:iam::111122223333:role/weir"
    );
    assert_eq!(
        sets["pod-identity"].pod()["spec"]["serviceAccountName"],
        "weir-orders"
    );
    let existing = &sets["existing-config"];
    assert!(existing.of_kind("ServiceAccount").is_empty() && existing.settings().is_none());
    assert_eq!(existing.pod()["spec"]["serviceAccountName"], "streaming");
    let volume = &existing.pod()["spec"]["volumes"][0]["configMap"];
    assert_eq!(
        *volume,
        json!({ "name": "our-weir", "items": [{ "key": "settings.yaml", "path": "weir.yaml" }] })
    );
    for spread in sets["minimal"].pod()["spec"]["topologySpreadConstraints"]
        .as_array()
        .unwrap()
    {
        assert!(is_subset(
            &spread["labelSelector"]["matchLabels"],
            labels(sets["minimal"].pod())
        ));
        assert_eq!(spread["whenUnsatisfiable"], "ScheduleAnyway");
        // While they roll, the new ones are spread among themselves.
        assert_eq!(spread["matchLabelKeys"], json!(["pod-template-hash"]));
    }
}

/// Examples of values, in fences of `yaml values`; where one has no pipelines, it gets one.
#[test]
fn every_example_of_the_pages_is_taken() {
    let place = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    for page in ["docs/kubernetes.md", "helm/weir/README.md"] {
        let page = text(page);
        for example in page.split("```yaml values\n").skip(1) {
            let (example, _) = example.split_once("```").unwrap();
            let file = place.path().join(format!("{}.yaml", cases.len()));
            std::fs::write(&file, example).unwrap();
            cases.push(json!({ "files": ["helm/weir/ci/minimal-values.yaml", file] }));
        }
    }
    assert!(cases.len() > 6);
    for (case, rendered) in cases.iter().zip(render_all(&cases)) {
        assert_eq!(rendered.refusal, None, "{case}");
    }
}
