//! The binary at its start, when its destination may feed its own source: a loop that must not begin.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const STREAM: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/rds-audit";

/// Answers a request by the operation that it asks for: the status and the body.
type Answers = Arc<dyn Fn(&str) -> (u16, String) + Send + Sync>;

/// AWS, as far as it is asked at the start. It ends with the test's process.
struct Aws {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Aws {
    /// A stream that is there, and these answers for the rest.
    fn new(answers: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let answers: Answers = Arc::new(move |operation| match operation {
            "Kinesis_20131202.DescribeStreamSummary" => (
                200,
                format!(
                    r#"{{"StreamDescriptionSummary":{{"StreamName":"rds-audit","StreamARN":"{STREAM}",
                        "StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1700000000,
                        "EnhancedMonitoring":[],"OpenShardCount":1}}}}"#
                ),
            ),
            other => match answers(other) {
                Some(body) => (200, body),
                None => (
                    400,
                    r#"{"__type":"AccessDeniedException","message":"not for you"}"#.to_owned(),
                ),
            },
        });
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (answers, log) = (answers.clone(), log.clone());
                std::thread::spawn(move || serve(&connection, &answers, &log));
            }
        });
        Self { address, asked }
    }

    fn weir(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_weir"))
            .args([
                "run",
                "--kinesis-stream",
                "rds-audit",
                "--http-address",
                "127.0.0.1:0",
            ])
            .args(arguments)
            .env_clear()
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.address))
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Serves one connection until it ends.
fn serve(connection: &TcpStream, answers: &Answers, asked: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(connection);
    loop {
        let (mut operation, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(": ") else {
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "x-amz-target" => operation = value.to_owned(),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        asked
            .lock()
            .unwrap()
            .push(format!("{operation} {}", String::from_utf8_lossy(&body)));
        let (status, body) = answers(&operation);
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = connection;
        if connection.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn filter_to(arn: &str) -> String {
    format!(
        r#"{{"subscriptionFilters":[{{"filterName":"back","logGroupName":"/db/audit","destinationArn":"{arn}"}}]}}"#
    )
}

const FILTERS: &str = "Logs_20140328.DescribeSubscriptionFilters";
const POLICIES: &str = "Logs_20140328.DescribeAccountPolicies";

/// What it logged until it ended, and its exit code.
fn ended(child: Child) -> (String, Option<i32>) {
    let out = child.wait_with_output().unwrap();
    (String::from_utf8(out.stdout).unwrap(), out.status.code())
}

/// What it logged until a line with `last`; then it is killed.
fn until(mut child: Child, last: &str) -> String {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut log = String::new();
    for line in lines.map_while(Result::ok) {
        log.push_str(&line);
        log.push('\n');
        if line.contains(last) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    log
}

#[test]
fn a_filter_of_the_destination_to_its_own_source_ends_the_start_with_2() {
    let aws = Aws::new(|operation| match operation {
        FILTERS => Some(filter_to(STREAM)),
        POLICIES => Some(r#"{"accountPolicies":[]}"#.to_owned()),
        _ => None,
    });
    let (log, code) = ended(aws.weir(&["--log-group", "/db/audit", "--decode", "audit"]));
    assert_eq!(code, Some(2), "{log}");
    let says = format!(
        "pipelines.rds-audit.destination.group: `/db/audit` feeds its own source: its subscription filter `back` delivers \
         to {STREAM}"
    );
    assert!(log.contains(&says), "{log}");
    // Nothing was made, and nothing read.
    assert!(
        !aws.asked()
            .iter()
            .any(|a| a.contains("Create") || a.contains("GetRecords")),
        "{:?}",
        aws.asked()
    );
}

#[test]
fn a_policy_of_the_account_ends_it_too_also_where_records_name_the_group() {
    let aws = Aws::new(|operation| match operation {
        POLICIES => Some(format!(
            r#"{{"accountPolicies":[{{"policyName":"all","policyDocument":"{{\"DestinationArn\":\"{STREAM}\"}}"}}]}}"#
        )),
        _ => None,
    });
    let (log, code) = ended(aws.weir(&[
        "--log-group",
        "/db/{cluster}",
        "--allow-groups",
        "/db/*",
        "--decode",
        "audit",
    ]));
    assert_eq!(code, Some(2), "{log}");
    assert!(
        log.contains("the account's subscription filter policy `all` delivers it to"),
        "{log}"
    );
    assert!(
        !aws.asked().iter().any(|a| a.starts_with(FILTERS)),
        "there is no one group to ask for"
    );
}

#[test]
fn what_may_not_be_looked_at_is_one_warning() {
    let aws = Aws::new(|_| None);
    let log = until(
        aws.weir(&["--log-group", "/db/audit"]),
        "the state tables are not ready",
    );
    let warnings = log
        .matches("whether it feeds its own source is not known")
        .count();
    assert_eq!(warnings, 1, "{log}");
    assert!(
        log.contains("logs:DescribeSubscriptionFilters is not permitted; grant it to have this checked"),
        "{log}"
    );
}

#[test]
fn a_destination_that_leads_elsewhere_is_fine() {
    let aws = Aws::new(|operation| match operation {
        FILTERS => Some(filter_to("arn:aws:kinesis:eu-west-1:111122223333:stream/other")),
        POLICIES => Some(r#"{"accountPolicies":[]}"#.to_owned()),
        _ => None,
    });
    let log = until(
        aws.weir(&["--log-group", "/db/audit"]),
        "the state tables are not ready",
    );
    assert!(
        log.contains("the destination doesn't feed its own source"),
        "{log}"
    );
    assert!(!log.contains("is not known"), "{log}");
}
