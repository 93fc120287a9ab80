//! What goes wrong in an operator's world: what `weir check` says of it, what a running Weir says, and which metric
//! shows it. The table is `docs/troubleshooting.md`.
//!
//! `WEIR_BLESS=1` writes the page anew; `WEIR_WIRE_ROWS` runs only some rows, and compares nothing.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::inject::{Rule, on};
use crate::records::Kind;
use crate::server::State;
use crate::shards::Service;
use crate::until;
use crate::world::{GROUP, Numbers, Settings, World};
use crate::{http, weir::Weir};

/// What a running Weir does about it.
enum Daemon {
    /// A problem of `/readyz`, of this part if it matters, holds this text.
    Tells(&'static str, &'static str),
    /// Its log holds this text.
    Logs(&'static str),
    /// It ends with this code, and its log holds this text.
    Ends(i32, &'static str),
    /// Nothing: it never comes to it, or gets on without. Why.
    Silent(&'static str),
}

/// Something that is wrong.
struct Row {
    name: String,
    settings: Settings,
    /// Of the file, what is put in another's place.
    rewrite: Option<(&'static str, &'static str)>,
    prepare: fn(&mut State),
    rules: Vec<Rule>,
    /// Whether the state tables and the group are there.
    made: bool,
    /// The port is another's.
    is_port_taken: bool,
    /// The owner of the lease that stands in the table renews it all the while.
    stirs: bool,
    /// What a finding of this severity holds. `None`: check can't see it, and why.
    check: Result<(&'static str, String), &'static str>,
    daemon: Daemon,
    /// A series that counts it, if the process lives.
    metric: Option<String>,
}

/// What was said.
struct Told {
    name: String,
    check: String,
    daemon: String,
    metric: String,
}

fn row(name: &str, service: Service) -> Row {
    Row {
        name: name.to_owned(),
        settings: Settings::of(service),
        rewrite: None,
        prepare: |_| {},
        rules: Vec::new(),
        made: true,
        is_port_taken: false,
        stirs: false,
        check: Err(""),
        daemon: Daemon::Silent(""),
        metric: None,
    }
}

impl Row {
    fn check(mut self, severity: &'static str, text: impl Into<String>) -> Self {
        self.check = Ok((severity, text.into()));
        self
    }

    fn blind(mut self, why: &'static str) -> Self {
        self.check = Err(why);
        self
    }

    fn tells(self, text: &'static str, metric: impl Into<String>) -> Self {
        self.tells_in("", text, metric)
    }

    fn tells_in(mut self, part: &'static str, text: &'static str, metric: impl Into<String>) -> Self {
        self.daemon = Daemon::Tells(part, text);
        self.metric = Some(metric.into());
        self
    }

    fn logs(mut self, text: &'static str, metric: impl Into<String>) -> Self {
        self.daemon = Daemon::Logs(text);
        self.metric = Some(metric.into());
        self
    }

    fn warns(mut self, text: &'static str) -> Self {
        self.daemon = Daemon::Logs(text);
        self
    }

    fn ends(mut self, code: i32, text: &'static str) -> Self {
        self.daemon = Daemon::Ends(code, text);
        self
    }

    fn silent(mut self, why: &'static str) -> Self {
        self.daemon = Daemon::Silent(why);
        self
    }

    fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    fn prepare(mut self, prepare: fn(&mut State)) -> Self {
        self.prepare = prepare;
        self
    }

    fn unmade(mut self) -> Self {
        self.made = false;
        self
    }

    fn settings(mut self, change: impl Fn(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }
}

/// An AccessDenied in the service's own words, whoever asks.
fn denied(service: &'static str, operation: &'static str, of: Option<&str>) -> Rule {
    let text = format!(
        "User: arn:aws:sts::111122223333:assumed-role/weir/i is not authorized to perform: {service}:{operation} because no \
         identity-based policy allows the {service}:{operation} action"
    );
    let rule = on(operation)
        .error(400, "AccessDeniedException")
        .says(String::leak(text))
        .always();
    match of {
        Some(of) => rule.with(of),
        None => rule,
    }
}

const SOURCE: &str = "\"TableName\":\"orders\"";
const LEASES: &str = "\"TableName\":\"weir\"";
const FLEET: &str = "\"TableName\":\"weir-fleet\"";
const SOURCE_DENIED: &str = "weir_source_errors_total{class=\"access_denied\",pipeline=\"orders\"";
const PUT_DENIED: &str = "weir_put_errors_total{class=\"denied\",pipeline=\"orders\"";
const PROBLEMS: &str = "weir_problems";

/// Requests of this kind that were denied.
fn denials(service: &str, operation: &str) -> String {
    format!("weir_aws_requests_total{{class=\"denied\",operation=\"{operation}\",service=\"{service}\"")
}

/// The lease of somebody who is no worker of the fleet's.
const STIRRED: &str = "orders/shardId-00000001700000000000-0a1b2c3d";

/// One row for each API that a permission can be missing for.
fn permissions() -> Vec<Row> {
    use Service::{DynamoDb, Kinesis};
    let no = |service: Service, of: &'static str, operation: &'static str, what: Option<&str>| {
        let on_what = match what {
            Some(SOURCE) => " on the source table",
            Some(LEASES) => " on the lease table",
            Some(FLEET) => " on the fleet's table",
            _ => "",
        };
        let row = row(&format!("no `{of}:{operation}`{on_what}"), service);
        row.rule(denied(of, operation, what))
            .check("error", format!("give the role {of}:{operation} on"))
    };
    vec![
        no(DynamoDb, "dynamodb", "DescribeTable", Some(SOURCE))
            .tells("give the role dynamodb:DescribeTable", SOURCE_DENIED),
        no(DynamoDb, "dynamodb", "DescribeStream", None)
            .tells("give the role dynamodb:DescribeStream", SOURCE_DENIED),
        no(DynamoDb, "dynamodb", "GetShardIterator", None)
            .tells("give the role dynamodb:GetShardIterator", SOURCE_DENIED),
        no(DynamoDb, "dynamodb", "GetRecords", None)
            .tells("give the role dynamodb:GetRecords", SOURCE_DENIED),
        no(DynamoDb, "dynamodb", "ListStreams", None)
            .check("warning", "give the role dynamodb:ListStreams on *")
            .silent("asks only when the stream was enabled anew, for those in between"),
        no(Kinesis, "kinesis", "DescribeStreamSummary", None)
            .tells("give the role kinesis:DescribeStreamSummary", SOURCE_DENIED),
        no(Kinesis, "kinesis", "ListShards", None).tells("give the role kinesis:ListShards", SOURCE_DENIED),
        no(Kinesis, "kinesis", "GetShardIterator", None)
            .tells("give the role kinesis:GetShardIterator", SOURCE_DENIED),
        no(Kinesis, "kinesis", "GetRecords", None).tells("give the role kinesis:GetRecords", SOURCE_DENIED),
        no(Kinesis, "logs", "DescribeSubscriptionFilters", None)
            .check("warning", "logs:DescribeSubscriptionFilters")
            .silent("warns at the start, reads on, and looks at each event instead"),
        no(Kinesis, "logs", "DescribeAccountPolicies", None)
            .check("warning", "logs:DescribeAccountPolicies")
            .silent("warns at the start, reads on, and looks at each event instead"),
        no(DynamoDb, "dynamodb", "DescribeTable", Some(LEASES)).tells(
            "give the role dynamodb:DescribeTable",
            denials("dynamodb", "DescribeTable"),
        ),
        no(DynamoDb, "dynamodb", "CreateTable", None)
            .unmade()
            .blind("not tried, since it would make the table")
            .tells(
                "give the role dynamodb:CreateTable",
                denials("dynamodb", "CreateTable"),
            ),
        no(DynamoDb, "dynamodb", "Scan", Some(LEASES))
            .tells("give the role dynamodb:Scan", denials("dynamodb", "Scan")),
        no(DynamoDb, "dynamodb", "Query", Some(FLEET))
            .tells("give the role dynamodb:Query", denials("dynamodb", "Query")),
        no(DynamoDb, "dynamodb", "GetItem", Some(LEASES))
            .silent("asks only when the outcome of a write is not known, and is told then"),
        no(DynamoDb, "dynamodb", "PutItem", Some(LEASES)).tells_in(
            "lease table",
            "give the role dynamodb:PutItem",
            denials("dynamodb", "PutItem"),
        ),
        no(DynamoDb, "dynamodb", "PutItem", Some(FLEET))
            .tells("give the role dynamodb:PutItem", denials("dynamodb", "PutItem")),
        no(DynamoDb, "dynamodb", "UpdateItem", Some(LEASES)).tells_in(
            "lease table",
            "give the role dynamodb:UpdateItem",
            denials("dynamodb", "UpdateItem"),
        ),
        no(DynamoDb, "dynamodb", "UpdateItem", Some(FLEET)).tells_in(
            "source of orders",
            "give the role dynamodb:UpdateItem",
            denials("dynamodb", "UpdateItem"),
        ),
        no(DynamoDb, "dynamodb", "DeleteItem", Some(FLEET))
            .silent("deletes only rows of workers that are gone, and repeats it"),
        no(DynamoDb, "logs", "PutLogEvents", None).tells("give the role logs:PutLogEvents", PUT_DENIED),
        no(DynamoDb, "logs", "CreateLogStream", None)
            .blind("not tried, since it would make the stream")
            .tells("give the role logs:CreateLogStream", PUT_DENIED),
        no(DynamoDb, "logs", "CreateLogGroup", None)
            .unmade()
            .blind("not tried, since it would make the group")
            .tells("give the role logs:CreateLogGroup", PUT_DENIED),
        no(DynamoDb, "logs", "PutRetentionPolicy", None)
            .unmade()
            .blind("not tried, since it would change the group")
            .tells(
                "give the role logs:PutRetentionPolicy",
                denials("logs", "PutRetentionPolicy"),
            ),
        no(DynamoDb, "logs", "GetLogEvents", None)
            .check("warning", "give the role logs:GetLogEvents on")
            .silent("asks only after a worker died, and then repeats what it can't look up"),
        no(DynamoDb, "logs", "DescribeLogGroups", None)
            .settings(|s| s.destination = "group: /cdc/orders, retention_days: 30, reconcile: true")
            .check("warning", "logs:DescribeLogGroups")
            .tells(
                "give the role logs:DescribeLogGroups",
                denials("logs", "DescribeLogGroups"),
            ),
    ]
}

fn others() -> Vec<Row> {
    use Service::{DynamoDb, Kinesis};
    vec![
        row("the lease table is a source table", DynamoDb)
            .settings(|s| s.file = vec!["state: { lease_table: orders }"])
            .check("error", "orders")
            .ends(2, "orders"),
        row("the group is missing, with `create: false`", DynamoDb)
            .unmade()
            .settings(|s| s.destination = "group: /cdc/orders, stream: all, create: false")
            .check("error", "aws logs create-log-group --log-group-name /cdc/orders")
            .tells("/cdc/orders", "weir_put_errors_total{class=\"missing\",pipeline=\"orders\""),
        row("the table has no stream", DynamoDb)
            .prepare(|state| state.tables.source_stream = None)
            .check("error", "aws dynamodb update-table --table-name orders")
            .tells("aws dynamodb update-table --table-name orders", PROBLEMS),
        row("the table's stream is disabled", DynamoDb)
            .prepare(|state| {
                state.tables.source_stream = Some(false);
                state.stream.is_disabled = true;
            })
            .check("error", "aws dynamodb update-table --table-name orders")
            .tells("aws dynamodb update-table --table-name orders", PROBLEMS),
        row("the wrong region: no such table there", DynamoDb)
            .rule(
                on("DescribeTable")
                    .with(SOURCE)
                    .error(400, "ResourceNotFoundException")
                    .says("Requested resource not found: Table: orders not found")
                    .always(),
            )
            .check("error", "that eu-west-1 is its region")
            .tells(
                "check its name, and the region and account",
                PROBLEMS,
            ),
        row("the wrong region: no such Kinesis stream there", Kinesis)
            .rule(
                on("DescribeStreamSummary")
                    .error(400, "ResourceNotFoundException")
                    .says("Stream orders under account 111122223333 not found.")
                    .always(),
            )
            .check("error", "that eu-west-1 is its region")
            .tells(
                "check its name, and the region and account",
                PROBLEMS,
            ),
        row("`format: diff` of a stream with KEYS_ONLY", DynamoDb)
            .settings(|s| s.pipeline = vec!["format: diff"])
            .prepare(|state| state.stream.view = "KEYS_ONLY")
            .check("error", "needs both images")
            .tells("needs both images", PROBLEMS),
        row("the table was deleted and created again", DynamoDb)
            .prepare(|state| {
                let old = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2025-01-01T00:00:00.000";
                a_lease(state, "orders/shardId-00000001600000000000-aaaaaaaa", old, None, 7);
                let row = json!({
                    "kind": { "S": "stream" }, "id": { "S": format!("orders {old}") }, "pipeline": { "S": "orders" },
                    "streamArn": { "S": old }, "start": { "S": "TRIM_HORIZON" }, "complete": { "BOOL": true },
                });
                let body = json!({ "TableName": "weir-fleet", "Item": row });
                state.tables.answer("PutItem", &body, &mut state.complaints).unwrap();
            })
            .check("warning", "it was enabled anew, or the source was deleted and created again")
            .logs("orders/shardId-00000001600000000000-aaaaaaaa", "weir_trimmed_gaps_total"),
        row("the clock is ten minutes off", DynamoDb)
            .prepare(|state| state.ahead = 600)
            .rule(
                on("DescribeTable")
                    .error(400, "InvalidSignatureException")
                    .says(
                        "Signature expired: 20260101T000000Z is now earlier than 20260101T000500Z (20260101T001000Z - 5 \
                         min.)",
                    )
                    .always(),
            )
            .check("error", "behind AWS's")
            .tells("clock is wrong", PROBLEMS),
        row("the clock is a minute off", DynamoDb)
            .prepare(|state| state.ahead = 60)
            .check("warning", "behind AWS's")
            .silent("AWS takes up to five minutes; ages of records are told as much wrong"),
        row("the credentials are unknown", DynamoDb)
            .rule(
                on("DescribeTable")
                    .error(400, "UnrecognizedClientException")
                    .says("The security token included in the request is invalid.")
                    .always(),
            )
            .check("error", "not known in eu-west-1")
            .tells("the credentials are not known", PROBLEMS),
        row("the destination is throttled", DynamoDb)
            .rule(
                on("PutLogEvents")
                    .error(400, "ThrottlingException")
                    .says("Rate exceeded")
                    .always(),
            )
            .check("unknown", "is throttled")
            .tells("throttled", "weir_put_errors_total{class=\"throttled\",pipeline=\"orders\""),
        row("a KMS key of the destination is disabled", DynamoDb)
            .rule(
                on("PutLogEvents")
                    .error(400, "InvalidParameterException")
                    .says("The KMS key provided is disabled.")
                    .always(),
            )
            .check("error", "KMS key")
            .tells("KMS key", PUT_DENIED),
        row("two applications on one lease table", DynamoDb)
            .prepare(|state| {
                let arn = state.stream.arn.clone();
                a_lease(state, STIRRED, &arn, Some("another-fleet"), 7);
            })
            .check("error", "another-fleet renews leases in this table")
            .ends(1, "another-fleet"),
        row("a lease of a worker that this fleet doesn't know", DynamoDb)
            .prepare(|state| {
                let arn = state.stream.arn.clone();
                a_lease(state, STIRRED, &arn, Some("another-fleet"), 7);
            })
            .check("warning", "no workers of this fleet")
            .silent("watches it for `leases.foreign_watch`, then takes it"),
        row("the lease table has the keys of two applications", DynamoDb)
            .prepare(|state| {
                let arn = state.stream.arn.clone();
                a_lease(state, "orders/shardId-00000001700000000000-0a1b2c3d", &arn, None, 7);
                a_lease(state, "shardId-00000001700000000001-0a1b2c3d", &arn, None, 7);
            })
            .check("error", "keys of two applications")
            .ends(1, "keys of two applications"),
        row("a state table is missing, with `state.create: false`", DynamoDb)
            .unmade()
            .settings(|s| s.file = vec!["state: { create: false }"])
            .check("error", "`state.create` is false")
            .ends(1, "`state.create` is false"),
        row("the port is taken", DynamoDb).check("error", "can't be listened on").ends(1, "can't be listened on"),
        row("a template that can't be filled in", DynamoDb)
            .settings(|s| s.destination = "group: \"/cdc/{cluster}\"")
            .check("error", "cluster")
            .ends(2, "cluster"),
        row("`start` lies in the future", DynamoDb)
            .check("error", "lies in the future")
            .ends(2, "lies in the future"),
        row("the grace period is too short for the drain", DynamoDb)
            .check("error", "drain.grace_period: `24s` is too short for drain.timeout of 20s")
            .ends(2, "drain.grace_period: `24s` is too short for drain.timeout of 20s"),
        row("the drain is too short for the leases", DynamoDb)
            .check("error", "set `drain.timeout`, --drain-timeout or WEIR_DRAIN_TIMEOUT to 24800ms at least")
            .warns("set `drain.timeout`, --drain-timeout or WEIR_DRAIN_TIMEOUT to 24800ms at least"),
    ]
}

/// A row of the lease table, as Weir writes it.
fn a_lease(state: &mut State, key: &str, stream: &str, owner: Option<&str>, counter: u64) {
    let shard = key.rsplit('/').next().unwrap_or_default();
    let mut item = json!({
        "leaseKey": { "S": key }, "leaseCounter": { "N": counter.to_string() }, "checkpoint": { "S": "TRIM_HORIZON" },
        "checkpointSubSequenceNumber": { "N": "0" }, "ownerSwitchesSinceCheckpoint": { "N": "0" },
        "streamName": { "S": stream }, "shardId": { "S": shard },
    });
    if let Some(owner) = owner {
        item["leaseOwner"] = json!({ "S": owner });
    }
    let body = json!({ "TableName": "weir", "Item": item });
    state
        .tables
        .answer("PutItem", &body, &mut state.complaints)
        .unwrap();
}

/// Renews the lease again and again, as its owner would.
async fn stir(state: Arc<Mutex<State>>) {
    for counter in 8.. {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut state = state.lock().unwrap();
        let arn = state.stream.arn.clone();
        a_lease(&mut state, STIRRED, &arn, Some("another-fleet"), counter);
    }
}

/// The state tables and the group, as Weir makes them.
fn make(state: &mut State) {
    for (name, parts) in [
        ("weir", vec![("leaseKey", "HASH")]),
        ("weir-fleet", vec![("kind", "HASH"), ("id", "RANGE")]),
    ] {
        let part = |(name, role): &(&str, &str)| json!({ "AttributeName": name, "KeyType": role });
        let kind = |(name, _): &(&str, &str)| json!({ "AttributeName": name, "AttributeType": "S" });
        let schema: Vec<Value> = parts.iter().map(part).collect();
        let kinds: Vec<Value> = parts.iter().map(kind).collect();
        let body = json!({ "TableName": name, "KeySchema": schema, "AttributeDefinitions": kinds });
        state
            .tables
            .answer("CreateTable", &body, &mut state.complaints)
            .unwrap();
        let look = json!({ "TableName": name });
        state
            .tables
            .answer("DescribeTable", &look, &mut state.complaints)
            .unwrap();
    }
    state.logs.keep(GROUP, 30);
}

impl Row {
    async fn run(self) -> Told {
        let mut world = World::new(&self.settings, Kind::fate, 2).await;
        let port = self
            .is_port_taken
            .then(|| TcpListener::bind("127.0.0.1:0").unwrap());
        if let Some((old, new)) = self.rewrite {
            world.rewrite(|text| text.replace(old, new));
        }
        {
            let mut state = world.aws.state();
            if self.made {
                make(&mut state);
            }
            (self.prepare)(&mut state);
        }
        for _ in 0..5 {
            world.append_everywhere(Kind::Good);
        }
        world.inject(self.rules.clone());
        let address = match &port {
            Some(port) => port.local_addr().unwrap().to_string(),
            None => "127.0.0.1:0".to_owned(),
        };
        let stirring = self.stirs.then(|| tokio::spawn(stir(world.aws.shared())));
        let check = self.looked(&world, &address).await;
        let (daemon, metric) = self.ran(&mut world, &address).await;
        if let Some(stirring) = stirring {
            stirring.abort();
        }
        Told {
            name: self.name,
            check,
            daemon,
            metric,
        }
    }

    /// What `weir check` says.
    async fn looked(&self, world: &World, address: &str) -> String {
        let rows = |world: &World| {
            let state = world.aws.state();
            let rows = ["weir", "weir-fleet"].map(|table| state.tables.rows(table).len());
            let events: usize = state
                .logs
                .groups
                .values()
                .flat_map(|group| group.streams.values())
                .map(Vec::len)
                .sum();
            (rows, state.logs.groups.len(), events)
        };
        let before = rows(world);
        let (stdout, stderr, code) = world.ask(&["check", "--json", "--http-address", address]).await;
        assert_eq!(before, rows(world), "{}: it wrote something", self.name);
        let report: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout} {stderr}"));
        let findings = report["findings"].as_array().unwrap();
        let text = |finding: &Value| {
            let found = finding["found"].as_str().unwrap_or_default();
            match finding["way_out"].as_str() {
                Some(way_out) => format!("{found}; {way_out}"),
                None => found.to_owned(),
            }
        };
        let told: Vec<(&str, String)> = findings
            .iter()
            .map(|finding| (finding["severity"].as_str().unwrap(), text(finding)))
            .collect();
        let (severity, wanted) = match &self.check {
            Ok(wanted) => wanted,
            Err(why) => {
                let wrong: Vec<_> = told.iter().filter(|(severity, _)| *severity == "error").collect();
                assert!(wrong.is_empty(), "{}: {wrong:#?}", self.name);
                return (*why).to_owned();
            }
        };
        let found = told
            .iter()
            .find(|(s, text)| s == severity && text.contains(wanted.as_str()));
        let found =
            found.unwrap_or_else(|| panic!("{}: no {severity} of {wanted:?} in {told:#?}", self.name));
        assert_eq!(
            code == 0,
            report["ok"].as_bool().unwrap(),
            "{}: exit code {code}",
            self.name
        );
        assert_eq!(*severity == "error", code != 0, "{}: {told:#?}", self.name);
        format!("{severity}: {}", found.1)
    }

    /// What `weir run` says, and the metric.
    async fn ran(&self, world: &mut World, address: &str) -> (String, String) {
        match &self.daemon {
            Daemon::Silent(why) => ((*why).to_owned(), String::new()),
            Daemon::Ends(code, text) => {
                let (mut weir, log) = world.start_blindly(&["--http-address", address]);
                let status = weir.ended().await;
                let log = std::fs::read_to_string(log).unwrap();
                assert_eq!(status.code(), Some(*code), "{}: {log}", self.name);
                let line = log.lines().rev().find(|line| line.contains(text));
                let line = line.unwrap_or_else(|| panic!("{}: {log}", self.name));
                // Without the time, which comes first where it is the log's.
                let line = line.split_once("ERROR").map_or(line, |(_, rest)| rest);
                let line = line.trim().trim_start_matches("weir::app: ");
                (
                    format!("ends with {code}: {line}"),
                    "none: it doesn't run (`up`)".to_owned(),
                )
            }
            Daemon::Logs(text) => {
                let mut weir = world.start().await;
                let mut line = None;
                until(
                    &format!("{}: a line that holds {text:?}", self.name),
                    Duration::from_secs(40),
                    async || {
                        weir.must_live();
                        let log = std::fs::read_to_string(weir.log()).unwrap();
                        let lines = log
                            .lines()
                            .filter(|line| ["WARN", "ERROR"].iter().any(|level| line.contains(level)));
                        line = lines.filter(|line| line.contains(text)).map(str::to_owned).next();
                        line.is_some()
                    },
                )
                .await;
                let line = line.unwrap();
                let line = line.split_once(": ").map_or(line.as_str(), |(_, rest)| rest);
                let counted = match self.metric {
                    Some(_) => self.counted(&weir).await,
                    None => String::new(),
                };
                (format!("its log: {line}"), counted)
            }
            Daemon::Tells(part, text) => {
                let mut weir = world.start().await;
                let mut told = None;
                let what = format!("{}: a problem that holds {text:?}", self.name);
                let last = Mutex::new(String::new());
                let asked = async {
                    until(&what, Duration::from_secs(40), async || {
                        weir.must_live();
                        let problems = problems(&weir).await;
                        *last.lock().unwrap() = format!("{problems:?}");
                        let mut fitting = problems
                            .into_iter()
                            .filter(|(of, problem)| of.starts_with(part) && problem.contains(text));
                        told = fitting.next();
                        told.is_some()
                    })
                    .await;
                };
                asked.await;
                let (part, problem) = told.unwrap();
                (format!("{part}: {problem}"), self.counted(&weir).await)
            }
        }
    }
}

impl Row {
    /// The series, once it counts.
    async fn counted(&self, weir: &Weir) -> String {
        let metric = self.metric.as_deref().unwrap();
        until(
            &format!("{}: {metric}", self.name),
            Duration::from_secs(30),
            async || {
                Numbers::of(weir)
                    .await
                    .is_some_and(|numbers| numbers.sum(metric) > 0.0)
            },
        )
        .await;
        match metric.contains('{') {
            true => format!("`{metric}}}`"),
            false => format!("`{metric}`"),
        }
    }
}

/// The problems of `/readyz`, by part.
async fn problems(weir: &Weir) -> Vec<(String, String)> {
    let Some(answer) = http::get(weir.http, "/readyz").await else {
        return Vec::new();
    };
    let report: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let problems = report["problems"].as_object().cloned().unwrap_or_default();
    let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
    problems
        .into_iter()
        .map(|(part, problem)| (part, text(problem)))
        .collect()
}

fn all() -> Vec<Row> {
    let mut rows = permissions();
    rows.extend(others());
    for row in &mut rows {
        match row.name.as_str() {
            "the port is taken" => row.is_port_taken = true,
            "two applications on one lease table" => row.stirs = true,
            "`start` lies in the future" => {
                row.rewrite = Some((
                    "dynamodb_table: orders,",
                    "dynamodb_table: orders, start: 2099-01-01T00:00:00Z,",
                ));
            }
            "the grace period is too short for the drain" => {
                row.rewrite = Some(("timeout: 20s", "timeout: 20s, grace_period: 24s"));
            }
            "the drain is too short for the leases" => {
                row.rewrite = Some(("leases: { duration: 10s }", "leases: { duration: 20s }"));
            }
            _ => {}
        }
    }
    rows
}

const PAGE: &str = "docs/troubleshooting.md";

const HEAD: &str = "\
# When it goes wrong

What `weir check` says beforehand, what a running Weir says, and which metric shows it. A problem of `/readyz` stands in
`/status` and in the log too, and `weir_problems` counts them. This page is written by the test
`wire::check::what_goes_wrong_is_told`, which makes each of these causes real.

| what is wrong | `weir check` | a running Weir: the part and its problem in `/readyz` | the metric |
| --- | --- | --- | --- |
";

/// Without what differs from run to run, and without most of AWS's own words for a missing permission.
fn shortened(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(at) = text.find("User: arn:aws:sts") {
        let end = text[at..]
            .find(" action")
            .map_or(text.len(), |end| at + end + " action".len());
        text.replace_range(at..end, "…");
    }
    while let Some(at) = text.find("shardId-") {
        let rest = &text[at + "shardId-".len()..];
        let length = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .unwrap_or(rest.len());
        text.replace_range(at..at + "shardId-".len() + length, "SHARD");
    }
    text
}

fn page(told: &[Told]) -> String {
    let mut page = HEAD.to_owned();
    // A cell is one line, and what differs from run to run is left out.
    let cell = |text: &str| {
        let text = shortened(text);
        let words: Vec<&str> = text.split_whitespace().collect();
        let words = words.iter().map(|word| match *word {
            word if word.starts_with("127.0.0.1:") => "ADDRESS",
            word if word.ends_with("/weir.yaml:") => "weir.yaml:",
            // Seconds that passed meanwhile.
            "599" | "601" | "602" => "600",
            "59" | "61" | "62" => "60",
            word => word,
        });
        words
            .collect::<Vec<_>>()
            .join(" ")
            .replace('|', "\\|")
            .replace('<', "&lt;")
    };
    for row in told {
        let Told {
            name,
            check,
            daemon,
            metric,
        } = row;
        writeln!(
            page,
            "| {} | {} | {} | {metric} |",
            cell(name),
            cell(check),
            cell(daemon)
        )
        .unwrap();
    }
    page
}

#[test]
fn what_goes_wrong_is_told() {
    let only = std::env::var("WEIR_WIRE_ROWS").unwrap_or_default();
    let at_once = std::env::var("WEIR_WIRE_AT_ONCE").map_or(8, |text| text.parse().unwrap());
    let rows: Vec<(usize, Row)> = all().into_iter().enumerate().collect();
    let rows: Vec<_> = rows
        .into_iter()
        .filter(|(_, row)| row.name.contains(&only))
        .collect();
    let (count, todo) = (rows.len(), Mutex::new(rows.into_iter()));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = todo.lock().unwrap().next();
                    let Some((at, row)) = next else { return };
                    let name = row.name.clone();
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .unwrap();
                    let run = std::panic::AssertUnwindSafe(|| runtime.block_on(row.run()));
                    match std::panic::catch_unwind(run) {
                        Ok(told) => done.lock().unwrap().push((at, told)),
                        Err(_) => println!("FAILED: {name}"),
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    let told: Vec<Told> = done.into_iter().map(|(_, told)| told).collect();
    let page = page(&told);
    println!("{page}");
    assert_eq!(told.len(), count, "some rows failed");
    if !only.is_empty() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "{PAGE} says something else: run this test with WEIR_BLESS=1"
    );
}
