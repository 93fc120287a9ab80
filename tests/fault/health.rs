//! What probes and a person with a shell ask of the process itself: is it well, and how much does it log.

use std::process::Command;
use std::time::Duration;

use crate::weir::Weir;
use crate::wire::Wire;
use crate::world::{GROUP, TABLE, World};
use crate::{http, until, weir};

/// `weir health` as a HEALTHCHECK runs it, with the daemon's own environment: the exit code, and what it said.
fn health(mut command: Command, weir: &Weir, arguments: &[&str]) -> (i32, String) {
    let output = command
        .arg("health")
        .args(arguments)
        .env("WEIR_HTTP_ADDRESS", weir.http.to_string())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.lines().count(), 1, "{told}");
    (output.status.code().unwrap(), told.into_owned())
}

async fn livez(weir: &Weir) -> Option<u16> {
    Some(http::get(weir.http, "/livez").await?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthcheck_tells_a_start_a_life_a_freeze_and_a_death_apart() {
    let world = World::new().await;
    let mut everything = Wire::to(world.emulator.address).await;
    everything.cut().await;
    let endpoint = everything.endpoint();
    let variables = [("AWS_ENDPOINT_URL", endpoint.as_str())];
    let mut weir = world.run(&["--table", TABLE, "--log-group", GROUP], &variables);
    let ask = |weir: &Weir, arguments: &[&str]| health(weir::command(world.dir.path()), weir, arguments);
    until("/livez to answer", Duration::from_secs(30), async || {
        livez(&weir).await.is_some()
    })
    .await;
    // AWS is down: alive, not ready, and it says what it waits for.
    assert_eq!(ask(&weir, &[]), (0, "ok\n".to_owned()));
    let (code, told) = ask(&weir, &["--ready"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.starts_with("error: starting, waiting for: tables"), "{told}");
    assert_eq!(http::get(weir.http, "/startupz").await.unwrap().status, 503);
    let (code, told) = ask(&weir, &["--started"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("/startupz says 503"), "{told}");

    everything.mend().await;
    weir.ready().await;
    assert_eq!(ask(&weir, &["--ready"]), (0, "ready\n".to_owned()));
    assert_eq!(http::get(weir.http, "/startupz").await.unwrap().status, 200);
    assert_eq!(ask(&weir, &["--started"]), (0, "ready\n".to_owned()));

    // Frozen for longer than the fence, then asked before anything else can have run: still alive, and never killed.
    weir.freeze();
    tokio::time::sleep(Duration::from_secs(12)).await;
    weir.wake();
    for _ in 0..20 {
        assert_eq!(livez(&weir).await, Some(200));
    }
    weir.ready().await;
    for series in [
        "weir_aws_requests_total{class=\"ok\",operation=\"UpdateItem\",service=\"dynamodb\"}",
        "weir_aws_requests_total{class=\"unreachable\",operation=\"DescribeTable\",service=\"dynamodb\"}",
        "weir_aws_requests_total{class=\"ok\",operation=\"DescribeStream\",service=\"dynamodb_streams\"}",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        // The first heartbeat may be on its way still.
        until(series, Duration::from_secs(30), async || {
            let text = http::get(weir.http, "/metrics").await.map(|a| a.body);
            text.is_some_and(|text| text.lines().any(|line| line.starts_with(series)))
        })
        .await;
    }

    weir.terminate();
    assert!(weir.ended().await.success());
    let (code, told) = ask(&weir, &[]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("gives no answer"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_more_when_it_is_asked_to() {
    let world = World::new().await;
    let mut weir = world.run(&["--table", TABLE, "--log-group", GROUP], &[("WEIR_LOG", "info")]);
    weir.ready().await;
    let level = async || http::get(weir.http, "/log-level").await.unwrap().body;
    assert_eq!(level().await, "info\n");
    weir.hang_up();
    until("SIGHUP to be heard", Duration::from_secs(30), async || {
        level().await == "info,weir=debug\n"
    })
    .await;
    weir.hang_up();
    until("SIGHUP to be heard", Duration::from_secs(30), async || {
        level().await == "info\n"
    })
    .await;
    let put = async |filter: &str| http::send(weir.http, "PUT", "/log-level", filter).await.unwrap();
    assert_eq!(put("loud").await.status, 400);
    assert_eq!(put("warn").await.status, 200);
    assert_eq!(level().await, "warn\n");
    weir.must_live();
    let log = std::fs::read_to_string(weir.log()).unwrap();
    for told in [
        "SIGHUP: the level of the log is another now from=info to=info,weir=debug",
        "SIGHUP: the level of the log is another now from=info,weir=debug to=info",
        "PUT /log-level: the level of the log is another now from=info to=warn",
    ] {
        assert!(log.contains(told), "{told} in\n{log}");
    }
}
