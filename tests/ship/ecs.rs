//! The template of ECS: what CloudFormation makes of it (`stack.py`), held against what the program needs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::tools::{answer, printed, run, text, tool};

const TEMPLATE: &str = "deploy/ecs/weir.yaml";
/// Those of `stack.py`.
const ACCOUNT: &str = "111122223333";
const IMAGE: &str = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/weir:0.1.0";
const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// What the template is with these parameters, beside those that have no default: `resources` and `outputs`, or why it
/// is `refused`.
pub fn stacks(parameters: &[Value]) -> Vec<Value> {
    made_by("stack.py", parameters)
}

/// What a script of Python makes of the template.
fn made_by(script: &str, parameters: &[Value]) -> Vec<Value> {
    let sets: Vec<Value> = parameters
        .iter()
        .map(|given| {
            let mut set = json!({"Image": IMAGE, "Subnets": "subnet-1a,subnet-1b", "VpcId": "vpc-1a"});
            for (name, value) in given.as_object().unwrap() {
                set[name] = value.clone();
            }
            set
        })
        .collect();
    let mut command = tool("python");
    command.arg(format!("tests/ship/{script}")).arg(TEMPLATE);
    serde_json::from_value(answer(&mut command, &json!(sets))).unwrap()
}

/// The one container of a stack.
pub fn container(stack: &Value) -> &Value {
    assert!(stack["refused"].is_null(), "{stack:#}");
    let all = &stack["resources"]["TaskDefinition"]["Properties"]["ContainerDefinitions"];
    assert_eq!(all.as_array().unwrap().len(), 1);
    &all[0]
}

/// A container's environment.
pub fn environment(container: &Value) -> BTreeMap<String, String> {
    let pairs = container["Environment"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    pairs
        .map(|pair| (text(&pair["Name"]), text(&pair["Value"])))
        .collect()
}

/// The program with exactly these variables.
fn weir(arguments: &[&str], environment: &BTreeMap<String, String>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    run(command.args(arguments).env_clear().envs(environment))
}

/// One of the jobs that parameters tell, and what else `weir iam-policy` is to be told of it.
struct Job {
    name: &'static str,
    parameters: Value,
    more: Vec<&'static str>,
}

fn jobs() -> Vec<Job> {
    let job = |name, parameters| Job {
        name,
        parameters,
        more: Vec::new(),
    };
    let mut jobs = vec![
        job(
            "a table",
            json!({"TableName": "orders", "LogGroup": "/cdc/orders"}),
        ),
        job(
            "a table, all of it named",
            json!({
                "TableName": "Orders.v2_eu-1", "LogGroup": "cdc.orders#1", "LogStream": "{table}-{shard_id}",
                "Application": "prod-cdc", "Start": "2024-11-09T08:12:19Z",
            }),
        ),
        job(
            "a stream",
            json!({"KinesisStreamName": "clicks", "LogGroup": "/app/clicks", "Start": "latest"}),
        ),
        job(
            "names drawn from the records",
            json!({
                "KinesisStreamName": "rds-audit", "Decode": "audit", "LogGroupFromRecords": "/db/{cluster}/audit",
                "LogStreamFromRecords": "{instance}",
            }),
        ),
        job(
            "a name drawn from each field",
            json!({
                "KinesisStreamName": "all",
                "LogGroupFromRecords": "/of/{owner}/{log_group}/{log_stream}-{cluster}.{instance}/{owner}",
            }),
        ),
        job(
            "a stream of the records' own, in one group",
            json!({
                "KinesisStreamName": "rds-audit", "Decode": "audit", "LogGroup": "/db/audit",
                "LogStreamFromRecords": "{cluster}/{instance}",
            }),
        ),
        Job {
            more: vec!["--stream-key", KEY],
            ..job(
                "an encrypted stream",
                json!({"KinesisStreamName": "clicks", "LogGroup": "/app/clicks", "StreamKeyArn": KEY}),
            )
        },
    ];
    for decode in [
        "auto",
        "subscription",
        "audit",
        "change",
        "json",
        "text",
        "base64",
    ] {
        jobs.push(job(
            decode,
            json!({"KinesisStreamName": "s", "LogGroup": "/g", "Decode": decode}),
        ));
    }
    jobs
}

/// Each action, on each resource, under these conditions.
fn allowed(policy: &Value) -> BTreeSet<(String, String, String)> {
    let list = |value: &Value| -> Vec<String> {
        let one = std::slice::from_ref(value);
        let all = value.as_array().map_or(one, Vec::as_slice);
        all.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut allowed = BTreeSet::new();
    assert_eq!(policy["Version"], "2012-10-17");
    for statement in policy["Statement"].as_array().unwrap() {
        let known = ["Sid", "Effect", "Action", "Resource", "Condition"];
        let parts = statement.as_object().unwrap();
        assert!(
            parts.keys().all(|part| known.contains(&part.as_str())),
            "{statement}"
        );
        assert_eq!(statement["Effect"], "Allow");
        let mut conditions = Vec::new();
        for (operator, of) in parts
            .get("Condition")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            for (key, values) in of.as_object().unwrap() {
                conditions.push(format!("{operator} {key} {:?}", list(values)));
            }
        }
        conditions.sort();
        for action in list(&statement["Action"]) {
            for resource in list(&statement["Resource"]) {
                allowed.insert((action.clone(), resource, conditions.join("; ")));
            }
        }
    }
    allowed
}

/// The policy that is written into a role.
fn inline<'a>(stack: &'a Value, role: &str) -> &'a Value {
    let policies = &stack["resources"][role]["Properties"]["Policies"];
    assert_eq!(policies.as_array().unwrap().len(), 1, "{stack:#}");
    &policies[0]["PolicyDocument"]
}

/// What `weir iam-policy` prints.
fn needed(arguments: &[&str], environment: &BTreeMap<String, String>) -> String {
    let arguments = [&["iam-policy", "--account", ACCOUNT], arguments].concat();
    let output = weir(&arguments, environment);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{environment:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// The policies of each role that the settings of a file need.
fn policies_of(file: &str) -> Vec<(String, Value)> {
    let environment = BTreeMap::from([
        ("AWS_REGION".to_owned(), "eu-west-1".to_owned()),
        ("WEIR_REDACT_KEY".to_owned(), "sixteen bytes or more".to_owned()),
    ]);
    let parse = |text: String| -> Value { serde_json::from_str(&text).unwrap() };
    let own = parse(needed(&["-c", file], &environment));
    let mut roles = vec![None];
    for statement in own["Statement"].as_array().unwrap() {
        if statement["Action"] == json!(["sts:AssumeRole"]) {
            roles.extend(
                statement["Resource"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(Value::as_str),
            );
        }
    }
    let policies = roles.into_iter().map(|role| {
        let role = role.map_or(vec![], |role| vec!["--role", role]);
        let name = format!("{file} {role:?}");
        let policy = needed(&[&["-c", file], &role[..]].concat(), &environment);
        (name, parse(policy))
    });
    policies.collect()
}

const FILES: [&str; 4] = [
    "config/full.yaml",
    "config/minimal.yaml",
    "config/audit.yaml",
    "config/article.yaml",
];

#[test]
fn the_template_has_nothing_that_cfn_lint_minds() {
    // Also what is only information; nothing is ignored.
    let output = run(tool("cfn-lint").args(["--include-checks", "I", "--", TEMPLATE]));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.trim().is_empty(), "{told}");
    // CloudFormation takes 51,200 bytes without a bucket.
    assert!(text(TEMPLATE).len() <= 51_200);
}

/// What these tests build on, `stack.py`, makes of the template what moto makes of it.
#[test]
fn moto_makes_the_same_stack() {
    let all = jobs();
    let named = ["a table", "names drawn from the records", "an encrypted stream"];
    let jobs = all.into_iter().filter(|job| named.contains(&job.name));
    let mut sets: Vec<Value> = jobs.map(|job| job.parameters).collect();
    sets.extend(by_settings());
    assert_eq!(sets.len(), 5);
    for ((set, ours), theirs) in sets
        .iter()
        .zip(stacks(&sets))
        .zip(made_by("stack_by_moto.py", &sets))
    {
        for role in ["TaskRole", "ExecutionRole"] {
            let policies = theirs["roles"][role].as_array().unwrap();
            let of_ours = &ours["resources"][role]["Properties"]["Policies"];
            let of_ours = of_ours.as_array().map_or(&[][..], Vec::as_slice);
            assert_eq!(policies.len(), of_ours.len(), "{set}: {role}");
            for (theirs, ours) in policies.iter().zip(of_ours) {
                assert_eq!(allowed(theirs), allowed(&ours["PolicyDocument"]), "{set}");
            }
        }
        let (ours, theirs) = (container(&ours), &theirs["container"]);
        let pairs = |list: &Value, name: &str, value: &str| -> BTreeSet<(String, String)> {
            let text = |pair: &Value, key: &str| pair[key].as_str().unwrap().to_owned();
            let list = list.as_array().into_iter().flatten();
            list.map(|pair| (text(pair, name), text(pair, value))).collect()
        };
        assert_eq!(
            pairs(&theirs["environment"], "name", "value"),
            pairs(&ours["Environment"], "Name", "Value")
        );
        assert_eq!(
            pairs(&theirs["secrets"], "name", "valueFrom"),
            pairs(&ours["Secrets"], "Name", "ValueFrom")
        );
        for (name, of_ours) in [
            ("stopTimeout", "StopTimeout"),
            ("command", "Command"),
            ("user", "User"),
        ] {
            assert_eq!(theirs[name], ours[of_ours]);
        }
        let options = &ours["LogConfiguration"]["Options"];
        assert_eq!(theirs["logConfiguration"]["options"], *options);
        assert_eq!(theirs["healthCheck"]["command"], ours["HealthCheck"]["Command"]);
    }
}

#[test]
fn the_task_role_may_do_what_its_job_needs_and_nothing_else() {
    let jobs = jobs();
    let stacks = stacks(&jobs.iter().map(|job| job.parameters.clone()).collect::<Vec<_>>());
    for (job, stack) in jobs.iter().zip(&stacks) {
        let environment = environment(container(stack));
        let needed: Value = serde_json::from_str(&needed(&job.more, &environment)).unwrap();
        let role = inline(stack, "TaskRole");
        assert_eq!(allowed(role), allowed(&needed), "{}", job.name);
        assert!(
            stack["resources"]["TaskRole"]["Properties"]["ManagedPolicyArns"].is_null(),
            "{}",
            job.name
        );
    }
}

/// Settings as text, and from a parameter with a key of one's own.
fn by_settings() -> [Value; 2] {
    [
        json!({
            "Settings": text("config/audit.yaml"),
            "TaskPolicyArns": "arn:aws:iam::111122223333:policy/one,arn:aws:iam::111122223333:policy/team/two",
        }),
        json!({
            "SettingsParameter": "/weir/settings",
            "RedactKeyParameter": "/weir/redact-key",
            "ParameterKeyArn": KEY,
            "TaskPolicyArns": "arn:aws:iam::111122223333:policy/one",
        }),
    ]
}

#[test]
fn the_execution_role_may_start_this_image_and_write_this_log() {
    let at = |service: &str, resource: &str| format!("arn:aws:{service}:eu-west-1:{ACCOUNT}:{resource}");
    let image = at("ecr", "repository/team/weir");
    let log = at("logs", "log-group:/weir/ecs/weir:*");
    let plain = |action: &str, resource: &str| (action.to_owned(), resource.to_owned(), String::new());
    let base = BTreeSet::from([
        plain("ecr:GetAuthorizationToken", "*"),
        plain("ecr:BatchCheckLayerAvailability", &image),
        plain("ecr:BatchGetImage", &image),
        plain("ecr:GetDownloadUrlForLayer", &image),
        plain("logs:CreateLogStream", &log),
        plain("logs:PutLogEvents", &log),
    ]);
    let mut with_parameters = base.clone();
    with_parameters.insert(plain("ssm:GetParameters", &at("ssm", "parameter/weir/settings")));
    with_parameters.insert(plain(
        "ssm:GetParameters",
        &at("ssm", "parameter/weir/redact-key"),
    ));
    with_parameters.insert((
        "kms:Decrypt".to_owned(),
        KEY.to_owned(),
        r#"StringEquals kms:ViaService ["ssm.eu-west-1.amazonaws.com"]"#.to_owned(),
    ));
    let digest = format!("{}@sha256:{}", IMAGE.trim_end_matches(":0.1.0"), "0a".repeat(32));
    let elsewhere = "444455556666.dkr.ecr.us-east-1.amazonaws.com/weir:0.1.0";
    let mut from_elsewhere: BTreeSet<_> = base
        .clone()
        .into_iter()
        .filter(|(_, of, _)| *of != image)
        .collect();
    for (action, of, _) in base.iter().filter(|(_, of, _)| *of == image) {
        let of = of.replace("eu-west-1:111122223333", "us-east-1:444455556666");
        from_elsewhere.insert(plain(action, &of.replace("team/", "")));
    }
    let job = json!({"TableName": "orders", "LogGroup": "/cdc/orders"});
    let with_image = |image: &str| {
        let mut job = job.clone();
        job["Image"] = image.into();
        job
    };
    let [as_text, from_parameters] = by_settings();
    let stacks = stacks(&[
        job.clone(),
        with_image(&digest),
        with_image(elsewhere),
        as_text,
        from_parameters,
    ]);
    for (stack, wanted) in stacks
        .iter()
        .zip([&base, &base, &from_elsewhere, &base, &with_parameters])
    {
        assert_eq!(allowed(inline(stack, "ExecutionRole")), *wanted);
    }
}

#[test]
fn parliament_finds_nothing_in_any_policy() {
    let mut policies = BTreeMap::new();
    let jobs = jobs();
    let mut sets: Vec<Value> = jobs.iter().map(|job| job.parameters.clone()).collect();
    sets.extend(by_settings());
    for (number, stack) in stacks(&sets).iter().enumerate() {
        policies.insert(
            format!("execution {number}"),
            inline(stack, "ExecutionRole").clone(),
        );
        if let Some(job) = jobs.get(number) {
            policies.insert(format!("task, {}", job.name), inline(stack, "TaskRole").clone());
        }
    }
    policies.extend(FILES.into_iter().flat_map(policies_of));
    // What AWS takes no resource for.
    let without = ["ecr:GetAuthorizationToken"];
    for (name, policy) in &policies {
        for (action, resource, _) in allowed(policy) {
            assert!(
                !action.contains('*')
                    || ["kms:ReEncrypt*", "kms:GenerateDataKey*"].contains(&action.as_str())
            );
            assert_eq!(
                resource == "*",
                without.contains(&action.as_str()),
                "{name}: {action} on {resource}"
            );
        }
    }
    let mut command = tool("python");
    let found = answer(command.arg("tests/ship/iam_lint.py"), &json!(policies));
    assert_eq!(found, json!([]));
}

#[test]
fn each_form_of_a_policy_says_the_same() {
    let environment = BTreeMap::from([("AWS_REGION".to_owned(), "eu-west-1".to_owned())]);
    let dir = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for job in [
        vec!["-c", "config/audit.yaml"],
        vec!["--table", "orders", "--log-group", "/cdc/orders"],
        vec!["--kinesis-stream", "s", "--log-group", "/g", "--stream-key", KEY],
    ] {
        let form = |form: &'static str| needed(&[&job[..], &["--as", form]].concat(), &environment);
        let json: Value = serde_json::from_str(&form("json")).unwrap();
        let template = form("cloudformation");
        paths.push(dir.path().join(format!("{}.json", paths.len())));
        std::fs::write(paths.last().unwrap(), &template).unwrap();
        let template: Value = serde_json::from_str(&template).unwrap();
        let of_template = &template["Resources"]["WeirPolicy"]["Properties"]["PolicyDocument"];
        assert_eq!(allowed(of_template), allowed(&json), "{job:?}");
        assert_eq!(
            allowed(&of_terraform(&form("terraform"))),
            allowed(&json),
            "{job:?}"
        );
    }
    let mut lint = tool("cfn-lint");
    let told = printed(lint.args(["--include-checks", "I", "--"]).args(&paths));
    assert_eq!(told.trim(), "");
}

/// The policy document of a data source of Terraform, as `weir iam-policy` writes it: each value a list or a text of
/// JSON's.
fn of_terraform(text: &str) -> Value {
    let mut statements: Vec<Value> = Vec::new();
    let mut condition = None;
    for line in text.lines().map(str::trim) {
        match line.split_once(" = ").map(|(key, value)| (key.trim(), value)) {
            None if line == "statement {" => statements.push(json!({"Effect": "Allow"})),
            None if line == "condition {" => condition = Some(json!({})),
            None if line == "}" => {
                if let (Some(of), Some(statement)) = (condition.take(), statements.last_mut()) {
                    let (test, variable) = (of["test"].as_str().unwrap(), of["variable"].as_str().unwrap());
                    statement["Condition"][test][variable] = of["values"].clone();
                }
            }
            None => assert!(line.starts_with("data \"aws_iam_policy_document\""), "{line}"),
            Some((key, value)) => {
                let value: Value = serde_json::from_str(value).unwrap();
                match (&mut condition, statements.last_mut().unwrap()) {
                    (Some(condition), _) => condition[key] = value,
                    (None, statement) => {
                        let names = [("sid", "Sid"), ("actions", "Action"), ("resources", "Resource")];
                        let (_, name) = names.into_iter().find(|(name, _)| *name == key).unwrap();
                        statement[name] = value;
                    }
                }
            }
        }
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

#[test]
fn the_example_of_terraform_has_the_policy_of_its_settings() {
    let environment = BTreeMap::from([("AWS_REGION".to_owned(), "eu-west-1".to_owned())]);
    let example = "deploy/terraform/examples/table";
    let settings = format!("{example}/weir.yaml");
    let wanted = needed(&["-c", &settings, "--as", "terraform"], &environment);
    assert_eq!(text(&format!("{example}/policy.tf")), wanted);
}

#[test]
fn the_program_takes_the_container_s_settings() {
    // Asked to serve where somebody else does, it fails for that (1), after its settings were taken (2 otherwise).
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut sets: Vec<Value> = jobs().into_iter().map(|job| job.parameters).collect();
    for drain in ["15", "25", "40", "60", "85", "110"] {
        let mut job = sets[0].clone();
        job["DrainTimeout"] = drain.into();
        sets.push(job);
    }
    let [as_text, from_parameters] = by_settings();
    sets.extend([as_text, from_parameters]);
    for (set, stack) in sets.iter().zip(stacks(&sets)) {
        let container = container(&stack);
        let mut environment = environment(container);
        for secret in container["Secrets"].as_array().into_iter().flatten() {
            let value = match secret["Name"].as_str().unwrap() {
                "WEIR_CONFIG_TEXT" => text("config/full.yaml"),
                "WEIR_REDACT_KEY" => "sixteen bytes or more".to_owned(),
                other => panic!("{other}"),
            };
            environment.insert(secret["Name"].as_str().unwrap().to_owned(), value);
        }
        let command: Vec<&str> = container["Command"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        assert_eq!(command, ["run"]);
        let output = weir(
            &[&command[..], &["--http-address", &address]].concat(),
            &environment,
        );
        let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{set}: {told}");
        assert!(told.contains(&address), "{set}: {told}");
        // What the template has been told is all there.
        for name in environment.keys() {
            assert!(
                name.starts_with("WEIR_") || name == "AWS_REGION",
                "{name} is not a variable of Weir's"
            );
        }
    }
}

#[test]
fn no_choice_of_times_can_be_wrong() {
    let job = |drain: &str| json!({"TableName": "t-1", "LogGroup": "/g", "DrainTimeout": drain});
    let choices = ["15", "25", "40", "60", "85", "110"];
    for (drain, stack) in choices.iter().zip(stacks(&choices.map(job))) {
        let container = container(&stack);
        let environment = environment(container);
        let (drain, stop): (u64, u64) = (drain.parse().unwrap(), container["StopTimeout"].as_u64().unwrap());
        // Weir's rule, and Fargate's limit (API reference of ECS, ContainerDefinition).
        assert!(drain + 5 <= stop && stop <= 120, "{drain} {stop}");
        assert_eq!(environment["WEIR_DRAIN_TIMEOUT"], format!("{drain}s"));
        assert_eq!(environment["WEIR_GRACE_PERIOD"], format!("{stop}s"));
        // A hand-over fits, with the default lease of 10 s.
        assert!(drain as f64 >= 1.1 * 10.0 + 2.8);
    }
    let wrong = stacks(&[
        job("30"),
        json!({"TableName": "t-1", "LogGroup": "/g", "StopTimeout": 10}),
    ]);
    assert!(
        wrong[0]["refused"][0]
            .as_str()
            .unwrap()
            .contains("must be one of 15, 25")
    );
    assert!(wrong[1]["refused"][0].as_str().unwrap().contains("do not exist"));
}

#[test]
fn wrong_parameters_are_refused_before_anything_is_made() {
    let table = json!({"TableName": "orders", "LogGroup": "/cdc/orders"});
    let kinesis = json!({"KinesisStreamName": "clicks", "LogGroup": "/app/clicks"});
    let settings = json!({
        "Settings": "pipelines: {}", "TaskPolicyArns": "arn:aws:iam::111122223333:policy/weir",
    });
    let wrong = [
        (json!({}), json!({}), "There is no job"),
        (
            table.clone(),
            json!({"KinesisStreamName": "clicks"}),
            "Give one of TableName, KinesisStreamName",
        ),
        (
            table.clone(),
            json!({"Settings": "a: b"}),
            "Give one of TableName, KinesisStreamName",
        ),
        (
            kinesis.clone(),
            json!({"SettingsParameter": "/weir"}),
            "Give one of TableName, KinesisStreamName",
        ),
        (table.clone(), json!({"LogGroup": ""}), "TableName needs LogGroup"),
        (
            table.clone(),
            json!({"LogStreamFromRecords": "{instance}"}),
            "are of a Kinesis stream",
        ),
        (
            table.clone(),
            json!({"Decode": "audit"}),
            "are of a Kinesis stream",
        ),
        (
            table.clone(),
            json!({"StreamKeyArn": KEY}),
            "are of a Kinesis stream",
        ),
        (
            kinesis.clone(),
            json!({"LogGroup": ""}),
            "needs one of LogGroup and LogGroupFromRecords",
        ),
        (
            kinesis.clone(),
            json!({"LogGroupFromRecords": "/db/{cluster}"}),
            "needs one of LogGroup and LogGroupFromRecords",
        ),
        (
            kinesis.clone(),
            json!({"LogStream": "all", "LogStreamFromRecords": "{instance}"}),
            "Give one of LogStream and LogStreamFromRecords",
        ),
        (
            kinesis.clone(),
            json!({"Decode": "json", "LogStreamFromRecords": "{instance}"}),
            "Decode must be auto, subscription or audit",
        ),
        (
            table.clone(),
            json!({"TaskPolicyArns": "arn:aws:iam::111122223333:policy/weir"}),
            "needs no more",
        ),
        (
            settings.clone(),
            json!({"TaskPolicyArns": ""}),
            "need TaskPolicyArns",
        ),
        (
            settings.clone(),
            json!({"SettingsParameter": "/weir"}),
            "Give one of Settings and SettingsParameter",
        ),
        (
            settings.clone(),
            json!({"LogGroup": "/g"}),
            "nothing else says the job",
        ),
        (
            settings.clone(),
            json!({"Application": "prod"}),
            "nothing else says the job",
        ),
        (
            settings.clone(),
            json!({"ParameterKeyArn": KEY}),
            "There is neither",
        ),
        (
            settings.clone(),
            json!({"Settings": "x".repeat(4097)}),
            "4,096 bytes",
        ),
        (table.clone(), json!({"VpcId": ""}), "Give VpcId"),
        (table.clone(), json!({"SecurityGroup": "sg-1"}), "Give VpcId"),
        (
            table.clone(),
            json!({"VpcId": "", "SecurityGroup": "sg-1", "ScraperSecurityGroup": "sg-2"}),
            "Open your own yourself",
        ),
        (
            table.clone(),
            json!({"Memory": "4096"}),
            "512, 1024 and 2048 MiB with 256",
        ),
        (
            table.clone(),
            json!({"Cpu": "4096", "Memory": "4096"}),
            "8192 MiB and more",
        ),
        (table.clone(), json!({"Image": "weir:0.1.0"}), "an image in ECR"),
        (
            table.clone(),
            json!({"Image": IMAGE.trim_end_matches(":0.1.0")}),
            "an image in ECR",
        ),
        (table.clone(), json!({"MaxTasks": 3}), "must be one of 0, 4"),
        // Weir's own log must not be what Weir writes to.
        (
            table.clone(),
            json!({"LogGroup": "/weir/ecs/weir"}),
            "not one of those of Weir's own log",
        ),
        (
            kinesis,
            json!({"LogGroup": "", "LogGroupFromRecords": "{log_group}"}),
            "two or more fixed characters",
        ),
    ];
    let sets = wrong.iter().map(|(right, change, _)| {
        let mut set = right.clone();
        for (name, value) in change.as_object().unwrap() {
            set[name] = value.clone();
        }
        set
    });
    let sets: Vec<Value> = sets.collect();
    for ((set, (.., why)), stack) in sets.iter().zip(&wrong).zip(stacks(&sets)) {
        let told = stack["refused"].as_array();
        let told = told.unwrap_or_else(|| panic!("{set} is taken"));
        let is_told = told.iter().any(|one| one.as_str().unwrap().contains(why));
        assert!(is_told, "{set}: {told:#?}");
    }
    let right = stacks(&[table, settings]);
    assert!(right.iter().all(|stack| stack["refused"].is_null()), "{right:#?}");
}

#[test]
fn a_task_is_shut_in_and_asked_whether_it_lives() {
    let stacks = stacks(&[
        json!({"TableName": "orders", "LogGroup": "/cdc/orders"}),
        json!({
            "TableName": "orders", "LogGroup": "/cdc/orders", "CpuArchitecture": "ARM64", "Cpu": "512", "Memory": "2048",
            "MaxTasks": 8, "MinTasks": 3, "Cluster": "prod", "ScraperSecurityGroup": "sg-2a", "DesiredCount": 5,
            "StreamsEndpointUrl": "https://vpce-1a.streams.dynamodb.eu-west-1.vpce.amazonaws.com",
        }),
        json!({"TableName": "orders", "LogGroup": "/cdc/orders", "VpcId": "", "SecurityGroup": "sg-1a"}),
    ]);
    let of = |stack: &Value, resource: &str| stack["resources"][resource]["Properties"].clone();
    for stack in &stacks {
        let container = container(stack);
        let task = of(stack, "TaskDefinition");
        assert_eq!(container["ReadonlyRootFilesystem"], true);
        assert_eq!(container["User"], "65532:65532");
        assert_eq!(
            container["LinuxParameters"],
            json!({"Capabilities": {"Drop": ["ALL"]}})
        );
        assert_eq!(container["Memory"], task["Memory"]);
        let port = "8080";
        assert_eq!(container["PortMappings"][0]["ContainerPort"], 8080);
        assert!(environment(container)["WEIR_HTTP_ADDRESS"].ends_with(port));
        let health = &container["HealthCheck"];
        assert_eq!(
            health["Command"],
            json!(["CMD", "/usr/local/bin/weir", "health", "--started"])
        );
        // The limits of ECS (API reference, HealthCheck).
        for (name, least, most) in [
            ("Interval", 5, 300),
            ("Timeout", 2, 60),
            ("Retries", 1, 10),
            ("StartPeriod", 0, 300),
        ] {
            let value = health[name].as_u64().unwrap();
            assert!((least..=most).contains(&value), "{name} {value}");
        }
        let service = of(stack, "Service");
        assert_eq!(service["EnableExecuteCommand"], false);
        assert_eq!(
            service["DeploymentConfiguration"],
            json!({
                "MinimumHealthyPercent": 100, "MaximumPercent": 200,
                "DeploymentCircuitBreaker": {"Enable": true, "Rollback": true},
            })
        );
        // Weir's own log is in its own group, which no stack's parameters can name as a destination.
        assert_eq!(
            container["LogConfiguration"]["Options"]["awslogs-group"],
            of(stack, "OwnLog")["LogGroupName"]
        );
        assert!(of(stack, "OwnLog")["RetentionInDays"].is_string());
    }
    let [plain, scaled, own_group] = &stacks[..] else {
        panic!("{stacks:#?}")
    };
    assert_eq!(of(plain, "Service")["DesiredCount"], "2");
    assert!(of(plain, "ScalableTarget").is_null() && of(plain, "ScalingPolicy").is_null());
    assert!(of(plain, "OwnSecurityGroup")["SecurityGroupIngress"].is_null());
    let cluster = |stack: &Value| of(stack, "Service")["Cluster"].clone();
    assert_eq!(
        (cluster(plain), cluster(scaled)),
        ("<OwnCluster>".into(), "prod".into())
    );
    // A deploy must not undo what scaling did.
    assert!(of(scaled, "Service")["DesiredCount"].is_null());
    let target = of(scaled, "ScalableTarget");
    assert_eq!(
        (&target["MinCapacity"], &target["MaxCapacity"]),
        (&json!("3"), &json!("8"))
    );
    assert_eq!(target["ResourceId"], "service/prod/<Service.Name>");
    let endpoint = |stack| environment(container(stack)).remove("AWS_ENDPOINT_URL_DYNAMODB_STREAMS");
    assert_eq!(endpoint(plain), None);
    let url = "https://vpce-1a.streams.dynamodb.eu-west-1.vpce.amazonaws.com";
    assert_eq!(endpoint(scaled).as_deref(), Some(url));
    let ingress = &of(scaled, "OwnSecurityGroup")["SecurityGroupIngress"];
    assert_eq!(ingress.as_array().unwrap().len(), 1);
    assert_eq!(
        (&ingress[0]["FromPort"], &ingress[0]["SourceSecurityGroupId"]),
        (&json!(8080), &json!("sg-2a"))
    );
    assert!(of(own_group, "OwnSecurityGroup").is_null());
    let groups = &of(own_group, "Service")["NetworkConfiguration"]["AwsvpcConfiguration"]["SecurityGroups"];
    assert_eq!(*groups, json!(["sg-1a"]));
}

/// What no linter minds, and nobody notices until it hurts.
#[test]
fn the_stack_is_as_the_page_has_it() {
    let table = json!({"TableName": "orders", "LogGroup": "/cdc/orders", "MaxTasks": 4});
    let public = json!({
        "TableName": "orders", "LogGroup": "/cdc/orders", "AssignPublicIp": "ENABLED", "CpuArchitecture": "ARM64",
    });
    let stacks = stacks(&[table, public]);
    let of = |stack: usize, resource: &str| stacks[stack]["resources"][resource]["Properties"].clone();
    // No other account's tasks get Weir's role.
    let trust = &of(0, "TaskRole")["AssumeRolePolicyDocument"]["Statement"][0]["Condition"];
    let tasks = format!("arn:aws:ecs:eu-west-1:{ACCOUNT}:*");
    assert_eq!(
        *trust,
        json!({"StringEquals": {"aws:SourceAccount": ACCOUNT}, "ArnLike": {"aws:SourceArn": tasks}})
    );
    // HTTPS, and nothing else, by both families.
    let egress = of(0, "OwnSecurityGroup")["SecurityGroupEgress"].clone();
    let egress = egress.as_array().unwrap();
    for rule in egress {
        assert_eq!(
            (&rule["FromPort"], &rule["ToPort"], &rule["IpProtocol"]),
            (&json!(443), &json!(443), &json!("tcp"))
        );
    }
    assert_eq!(
        (&egress[0]["CidrIp"], &egress[1]["CidrIpv6"]),
        (&json!("0.0.0.0/0"), &json!("::/0"))
    );
    let network = |stack| of(stack, "Service")["NetworkConfiguration"]["AwsvpcConfiguration"].clone();
    let address = |stack| network(stack)["AssignPublicIp"].clone();
    assert_eq!((address(0), address(1)), ("DISABLED".into(), "ENABLED".into()));
    assert_eq!(network(0)["Subnets"], json!(["subnet-1a", "subnet-1b"]));
    // Weir's own log holds up nothing.
    let options = &container(&stacks[0])["LogConfiguration"]["Options"];
    assert_eq!(options["mode"], "non-blocking");
    assert_eq!(options["awslogs-region"], "eu-west-1");
    let kind = |stack| of(stack, "TaskDefinition")["RuntimePlatform"]["CpuArchitecture"].clone();
    assert_eq!((kind(0), kind(1)), ("X86_64".into(), "ARM64".into()));
    // Tasks are taken away ten minutes apart at the earliest.
    let scaling = &of(0, "ScalingPolicy")["TargetTrackingScalingPolicyConfiguration"];
    assert_eq!(scaling["ScaleInCooldown"], 600);
    assert_eq!(
        scaling["PredefinedMetricSpecification"]["PredefinedMetricType"],
        "ECSServiceAverageCPUUtilization"
    );
}
