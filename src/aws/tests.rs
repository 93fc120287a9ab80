use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::failure::{Failure, failure};
use super::*;

/// Answers one HTTP request with `status` and `body`, and gives its text.
async fn request(listener: TcpListener, status: &str, body: &str) -> String {
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = BufReader::new(socket);
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        assert!(
            socket.read_line(&mut text).await.unwrap() > 0,
            "cut short: {text}"
        );
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut content = vec![0; length];
    socket.read_exact(&mut content).await.unwrap();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.get_mut().write_all(answer.as_bytes()).await.unwrap();
    text + std::str::from_utf8(&content).unwrap()
}

async fn first_line(listener: TcpListener, status: &str) -> String {
    let text = request(listener, status, "").await;
    text.lines().next().unwrap().to_owned()
}

/// Runs the ignored test `name` of this binary as a process of its own: the environment belongs to a process.
async fn in_environment(name: &str, variables: &[(&str, &str)]) -> String {
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const DUMMY: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("AWS_REGION", "eu-west-1"),
];

/// Not a test of its own: one request by each client, as the environment says.
#[tokio::test]
#[ignore = "started by other tests in a process of its own"]
async fn one_request_each() {
    let clients = match AwsClients::from_env() {
        Ok(aws) => {
            let settings = AwsSettings {
                assume_role_arn: std::env::var("TEST_ROLE").ok(),
                external_id: std::env::var("TEST_EXTERNAL_ID").ok(),
                ..AwsSettings::default()
            };
            aws.clients(&settings).await
        }
        Err(error) => Err(error),
    };
    let clients = match clients {
        Ok(clients) => clients,
        Err(error) => return println!("error: {error}"),
    };
    let tables = clients.dynamodb.list_tables().send().await;
    println!("dynamodb: {:?}", tables.map_err(|e| failure(&e)));
    let streams = clients.streams.list_streams().send().await;
    println!("streams: {:?}", streams.map_err(|e| failure(&e)));
    let kinesis = clients.kinesis.list_streams().send().await;
    println!("kinesis: {:?}", kinesis.map_err(|e| failure(&e)));
    let groups = clients.logs.describe_log_groups().send().await;
    println!("logs: {:?}", groups.map_err(|e| failure(&e)));
}

const ONE_REQUEST_EACH: &str = "aws::tests::one_request_each";

#[tokio::test]
async fn https_goes_through_the_proxy_of_the_environment() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let mut variables = DUMMY.to_vec();
    // The other services have no proxy here, and no route.
    variables.extend([
        ("HTTPS_PROXY", url.as_str()),
        ("NO_PROXY", "streams.dynamodb.eu-west-1.amazonaws.com"),
        ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_KINESIS", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://127.0.0.1:1"),
    ]);
    let (line, output) = tokio::join!(
        first_line(proxy, "502 Bad Gateway"),
        in_environment(ONE_REQUEST_EACH, &variables)
    );
    assert_eq!(line, "CONNECT dynamodb.eu-west-1.amazonaws.com:443 HTTP/1.1");
    assert!(
        output.contains("dynamodb: Err(Unavailable"),
        "never sent: {output}"
    );
}

#[tokio::test]
async fn each_service_has_its_own_endpoint_in_the_environment() {
    let mut endpoints = Vec::new();
    for _ in 0..4 {
        endpoints.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let urls: Vec<_> = endpoints
        .iter()
        .map(|e| format!("http://{}/here", e.local_addr().unwrap()))
        .collect();
    let mut variables = DUMMY.to_vec();
    variables.extend([
        ("AWS_ENDPOINT_URL_DYNAMODB", urls[0].as_str()),
        ("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", urls[1].as_str()),
        ("AWS_ENDPOINT_URL_KINESIS", urls[2].as_str()),
        // The general one, for what has none of its own.
        ("AWS_ENDPOINT_URL", urls[3].as_str()),
    ]);
    let answers: Vec<_> = endpoints
        .into_iter()
        .map(|e| tokio::spawn(first_line(e, "503 Busy")))
        .collect();
    let output = in_environment(ONE_REQUEST_EACH, &variables).await;
    for (answer, service) in answers
        .into_iter()
        .zip(["dynamodb", "streams", "kinesis", "logs"])
    {
        assert_eq!(answer.await.unwrap(), "POST /here/ HTTP/1.1", "{service}");
        // One request each: the SDK didn't retry.
        assert!(
            output.contains(&format!("{service}: Err(Unavailable(\"HTTP status 503")),
            "{output}"
        );
    }
}

#[tokio::test]
async fn a_role_is_assumed_with_its_external_id() {
    let sts = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dynamodb = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    let (sts_url, dynamodb_url) = (url(&sts), url(&dynamodb));
    let mut variables = DUMMY.to_vec();
    variables.extend([
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_STS", sts_url.as_str()),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url.as_str()),
        ("TEST_ROLE", "arn:aws:iam::111122223333:role/reader"),
        ("TEST_EXTERNAL_ID", "secret-handshake"),
    ]);
    let assumed = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASSUMED</AccessKeyId>\
                   <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
                   <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
    let (asked, used, output) = tokio::join!(
        request(sts, "200 OK", assumed),
        request(dynamodb, "200 OK", r#"{"TableNames":[]}"#),
        in_environment(ONE_REQUEST_EACH, &variables)
    );
    for part in [
        "ExternalId=secret-handshake",
        "role%2Freader",
        "RoleSessionName=weir",
        "Credential=test/",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    assert!(used.contains("Credential=ASSUMED/"), "{used}");
    assert!(output.contains("dynamodb: Ok"), "{output}");
}

#[tokio::test]
async fn a_missing_region_tells_the_ways_to_set_it() {
    let output = in_environment(ONE_REQUEST_EACH, &DUMMY[..2]).await;
    assert!(
        output.contains("error: no AWS region: set AWS_REGION"),
        "{output}"
    );
}

#[tokio::test]
async fn missing_credentials_are_a_denial_that_says_so() {
    let output = in_environment(ONE_REQUEST_EACH, &[("AWS_REGION", "eu-west-1")]).await;
    assert!(
        output.contains("dynamodb: Err(Denied(\"no credentials"),
        "{output}"
    );
}

#[tokio::test]
async fn a_refused_connection_was_never_sent_and_a_broken_one_perhaps() {
    // Bound, so that nobody else gets the port, and not listening.
    let refusing = tokio::net::TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refused = format!("http://{}", refusing.local_addr().unwrap());
    let breaking = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broken = format!("http://{}", breaking.local_addr().unwrap());
    let breaker = tokio::spawn(async move {
        let (socket, _) = breaking.accept().await.unwrap();
        let mut lines = BufReader::new(socket).lines();
        while !lines.next_line().await.unwrap().unwrap_or_default().is_empty() {}
    });
    let http = http_client(ProxyConfig::disabled(), None);
    let request = |endpoint: String| {
        let config = canned::Canned::default()
            .config()
            .into_builder()
            .http_client(http.clone())
            .endpoint_url(endpoint)
            .build();
        async move {
            let answer = aws_sdk_dynamodb::Client::new(&config).list_tables().send().await;
            failure(&answer.unwrap_err())
        }
    };
    let refused = request(refused).await;
    assert!(matches!(refused, Failure::Unavailable(_)), "{refused:?}");
    assert!(refused.to_string().contains("refused"), "{refused}");
    let broken = request(broken).await;
    assert!(matches!(broken, Failure::Unanswered(_)), "{broken:?}");
    breaker.await.unwrap();
}

#[tokio::test]
async fn clients_are_made_once_for_each_settings() {
    let aws = AwsClients::new(ProxyConfig::disabled(), None);
    let settings = |region: &str| AwsSettings {
        region: Some(region.to_owned()),
        ..AwsSettings::default()
    };
    for region in ["eu-west-1", "eu-west-1", "us-east-1"] {
        let clients = aws.clients(&settings(region)).await.unwrap();
        assert_eq!(clients.region, region);
    }
    assert_eq!(aws.made.lock().await.len(), 2);
}

#[test]
fn an_endpoint_that_is_no_url_is_named() {
    for variable in ENDPOINTS {
        for wrong in [
            "",
            "127.0.0.1:4566",
            "localhost",
            "http:// x",
            "ftp://host",
            "http://",
        ] {
            let error = endpoints(|name| (name == variable).then(|| wrong.into()))
                .unwrap_err()
                .to_string();
            assert!(error.contains(&format!("{variable} is `{wrong}`")), "{error}");
        }
        for right in [
            "http://127.0.0.1:4566",
            "https://vpce-1.logs.eu-west-1.vpce.amazonaws.com/",
        ] {
            endpoints(|name| (name == variable).then(|| right.into())).unwrap();
        }
    }
    endpoints(|_| None).unwrap();
}

#[test]
fn an_unusable_ca_bundle_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let missing = directory.path().join("missing.pem");
    let empty = file("empty.pem", "# nothing\n");
    let broken = file(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
    );
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        for path in [&missing, &empty, &broken] {
            let error = CaBundle::find(|name| (name == variable).then(|| path.clone().into())).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(variable) && text.contains(path.to_str().unwrap()),
                "{text}"
            );
        }
    }
    assert!(CaBundle::find(|_| None).unwrap().is_none());
    assert!(CaBundle::find(|_| Some("".into())).unwrap().is_none());
}
