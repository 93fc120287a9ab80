//! The binary as a person or a supervisor meets it: what it prints where, and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Runs `weir` with these arguments and an environment of these variables alone.
fn weir(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn wrong_settings_exit_with_2_and_nothing_but_the_problems_on_stderr() {
    let out = weir(&["run", "--table", "a/b"], &[("WEIR_START", "soon")]);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(text(&out.stdout), "");
    let lines: Vec<&str> = text(&out.stderr).lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].starts_with("--table: `a/b`"));
    assert!(lines[1].starts_with("--log-group: is missing"));
    assert!(lines[2].starts_with("--start (from WEIR_START): `soon`"));
}

#[test]
fn a_wrong_log_level_exits_with_2() {
    let out = weir(
        &["run", "--table", "orders", "--log-group", "g"],
        &[("WEIR_LOG", "weir=loud")],
    );
    assert_eq!(out.status.code(), Some(2));
    assert!(
        text(&out.stderr).starts_with("WEIR_LOG: `weir=loud` is not a filter"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn an_unknown_flag_exits_with_2_and_names_the_nearest() {
    let out = weir(&["run", "--tabel", "orders"], &[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("'--table'"), "{}", text(&out.stderr));
}

#[test]
fn version_and_help_go_to_stdout_and_exit_with_0() {
    let out = weir(&["--version"], &[]);
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(
        text(&out.stdout),
        concat!("weir ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let out = weir(&["run", "--help"], &[]);
    assert_eq!(out.status.code(), Some(0));
    assert!(text(&out.stdout).contains("weir run --table orders --log-group /cdc/orders"));
    assert_eq!(text(&out.stderr), "");
}

#[test]
fn a_start_in_the_future_exits_with_2_before_anything_is_dropped() {
    let flags = [
        "run",
        "--table",
        "orders",
        "--log-group",
        "g",
        "--http-address",
        "127.0.0.1:0",
    ];
    let out = weir(&[&flags[..], &["--start", "2999-01-01T00:00:00Z"]].concat(), &[]);
    assert_eq!(out.status.code(), Some(2));
    let log = text(&out.stdout);
    assert!(
        log.contains("pipelines.orders.source.start: 2999-01-01T00:00:00.000Z lies in the future"),
        "{log}"
    );
}

#[test]
fn a_wrong_order_exits_with_2_before_anything_is_asked_of_aws() {
    for (arguments, says) in [
        (&["leases"][..], "Usage: weir leases"),
        (&["leases", "lst"][..], "'list'"),
        (&["leases", "show"][..], "<KEY>"),
        (&["leases", "release"][..], "<KEY>"),
        (&["leases", "set", "k"][..], "--to <POSITION>"),
        (
            &["leases", "set", "k", "--to", "latest"][..],
            "--to: `latest` is no place in a shard, but another one at each look: give a time",
        ),
        (
            &["leases", "set", "k", "--to", "trim-horizon"][..],
            "--to: `trim-horizon` is not a position: did you mean `trim_horizon`?",
        ),
        (
            &["leases", "list", "--application", "a"][..],
            "--application: `a` must be 3 to 249",
        ),
        (
            &["leases", "list", "-c", "no-such.yaml"][..],
            "no-such.yaml: can't be read",
        ),
        (
            &["leases", "list", "--table", "orders"][..],
            "unexpected argument",
        ),
        (
            &["decode", "--as", "audits"][..],
            "--as: `audits` is no way to decode: did you mean `audit`?",
        ),
        (&["decode", "--limit", "64"][..], "--limit: `64` has no unit"),
        (&["decode", "one", "two"][..], "unexpected argument 'two'"),
        (&["pipelines", "pause"][..], "<NAME>"),
        (
            &["pipelines", "resume", "orders", "--wait"][..],
            "unexpected argument",
        ),
    ] {
        let out = weir(arguments, &[]);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&out.stdout), "", "{arguments:?}");
        assert!(
            text(&out.stderr).contains(says),
            "{arguments:?}: {}",
            text(&out.stderr)
        );
    }
    // The variables and every problem at once, as `run` has it.
    let variables = [("WEIR_CONFIG", "no-such.yaml"), ("WEIR_APPLICATION", "a")];
    let out = weir(&["leases", "set", "k", "--to", "soon"], &variables);
    let lines: Vec<&str> = text(&out.stderr).lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].starts_with("--application (from WEIR_APPLICATION): `a`"));
    assert!(lines[1].starts_with("--to: `soon` is not a position"));
    assert!(lines[2].starts_with("no-such.yaml: can't be read"));
}

#[test]
fn every_command_of_the_operator_documents_its_exit_codes() {
    for arguments in [
        &["leases"][..],
        &["leases", "list"],
        &["leases", "show"],
        &["leases", "release"],
        &["leases", "set"],
        &["leases", "hand-back"],
        &["pipelines"],
        &["pipelines", "list"],
        &["pipelines", "pause"],
        &["pipelines", "resume"],
        &["dead-letters"],
        &["dead-letters", "list"],
        &["dead-letters", "show"],
        &["dead-letters", "redrive"],
    ] {
        let out = weir(&[arguments, &["--help"]].concat(), &[]);
        assert_eq!(out.status.code(), Some(0));
        assert!(
            text(&out.stdout).contains("Exit codes: 0 done, 1 failed or "),
            "{arguments:?}"
        );
    }
    let out = weir(&["--help"], &[]);
    for line in [
        "run           Read streams",
        "leases        See the leases",
        "pipelines     Pause and resume",
        "dead-letters  See what could not",
    ] {
        assert!(text(&out.stdout).contains(line), "{}", text(&out.stdout));
    }
}

#[test]
fn a_command_that_reaches_nobody_exits_with_1_and_prints_no_answer() {
    let variables = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ];
    for arguments in [&["leases", "list", "--json"][..], &["pipelines", "list"]] {
        let out = weir(arguments, &variables);
        assert_eq!(out.status.code(), Some(1), "{arguments:?}");
        assert_eq!(text(&out.stdout), "");
        assert!(
            text(&out.stderr).starts_with("error: the state tables can't be used: "),
            "{}",
            text(&out.stderr)
        );
    }
    let out = weir(&["leases", "list"], &[("AWS_EC2_METADATA_DISABLED", "true")]);
    assert_eq!(out.status.code(), Some(2), "no region is a wrong setting");
}

/// Accepts connections and never answers; tells of each.
fn silent() -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((wire, _)) = listener.accept() {
            open.push(wire);
            let _ = sender.send(());
        }
    });
    (address, receiver)
}

/// How a process becomes the first of a namespace, as in a container: where this machine allows it.
fn namespace() -> Option<&'static [&'static str]> {
    const ROOT: &[&str] = &["--pid", "--fork", "--kill-child"];
    const USER: &[&str] = &["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    [ROOT, USER].into_iter().find(|flags| {
        let tried = Command::new("unshare").args(*flags).arg("true").output();
        tried.is_ok_and(|out| out.status.success())
    })
}

/// The code with which `weir` ends when SIGTERM comes while it waits for an answer that never comes; `as_first`: as the
/// first process of such a namespace.
fn ended_by_sigterm(arguments: &[&str], as_first: Option<&[&str]>) -> Option<i32> {
    let (address, asked) = silent();
    let binary = env!("CARGO_BIN_EXE_weir");
    let mut command = Command::new(if as_first.is_some() { "unshare" } else { binary });
    if let Some(flags) = as_first {
        command.args(flags).arg(binary);
    }
    // Without a region the machine's metadata are asked for it, before anything else.
    let mut child = command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    asked.recv_timeout(Duration::from_secs(60)).unwrap();
    let id = child.id();
    let pid = match as_first {
        Some(_) => std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap(),
        None => id.to_string(),
    };
    let kill = Command::new("kill").args(["-TERM", pid.trim()]).status().unwrap();
    assert!(kill.success());
    let status = child.wait().unwrap();
    status.code().or(status.signal().map(|signal| 128 + signal))
}

#[test]
fn a_signal_ends_a_process_that_waits_for_an_answer_also_the_first_of_a_container() {
    let source = ["--table", "orders"];
    let both = [&source[..], &["--log-group", "g"]].concat();
    let daemon = [&both[..], &["--http-address", "127.0.0.1:0"]].concat();
    let replay = [&both[..], &["--from", "1h", "--yes"]].concat();
    let mut ways = vec![None];
    // Where no namespace may be made, what holds for any process is asked alone.
    ways.extend(namespace().map(Some));
    for as_first in ways {
        for (command, arguments, want) in [
            ("run", &daemon[..], 0),
            ("check", &daemon[..], 143),
            // Something was to be sent, and was not.
            ("replay", &replay[..], 1),
            ("tail", &source[..], 0),
            ("verify", &both[..], 143),
        ] {
            let code = ended_by_sigterm(&[&[command], arguments].concat(), as_first);
            assert_eq!(code, Some(want), "{command}, {as_first:?}");
        }
    }
}
