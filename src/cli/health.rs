//! `weir health`: asks the daemon beside it, for images without curl.
//!
//! Owns a GET in its smallest form. Asks AWS nothing, and reads of the settings no more than an address, so that it
//! answers at once and says nothing of what `weir check` is for.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::examples::examples;
use super::flags::{Flags, WrongUse};
use super::output;
use crate::config::{self, Vars, check};

/// Each step of the exchange may take so long: less than the 5 s of an ECS health check, whose other half the start
/// of this process may need.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longer than any answer of the daemon's: a problem for each of a thousand shards.
const LONGEST: u64 = 1 << 20;

const AFTER: &str = examples!(
    "health"
    "health --started"
    "health --ready"
    "health --ready --http-address 127.0.0.1:9090";
    "Exit codes: 0 it is, 1 it is not or does not answer, 2 for wrong arguments or settings."
);

/// Ask whether the daemon on this machine is alive
///
/// For health checks in images without curl: exit code 0 says yes, 1 says no, and one line says why. Without --ready
/// and --started it fails only for what a restart cures; never for AWS. In a Dockerfile: HEALTHCHECK CMD ["weir",
/// "health"]
///
/// Asks where the daemon's own settings say: --http-address, else WEIR_HTTP_ADDRESS, else `http.address` in the file
/// or in WEIR_CONFIG_TEXT, else 127.0.0.1:8080. Nothing else in them is read, and nothing else can be wrong here.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct HealthArgs {
    /// Ask whether it is ready: /readyz instead of /livez
    #[arg(long)]
    ready: bool,
    /// Ask also whether it has been ready once: /livez, then /startupz
    ///
    /// For a platform that has one check for both, as ECS: a deploy of what never gets ready fails, and what is ready
    /// stays well while AWS is away.
    #[arg(long, conflicts_with = "ready")]
    started: bool,
    /// Where the daemon answers; 0.0.0.0 and the like stand for this machine [env: WEIR_HTTP_ADDRESS]
    #[arg(long, visible_alias = "address", value_name = "IP:PORT")]
    http_address: Option<String>,
    /// The daemon's settings, for its address [env: WEIR_CONFIG]
    #[arg(short, long, value_name = "FILE")]
    config: Option<String>,
    /// The daemon's settings themselves, for its address [env: WEIR_CONFIG_TEXT]
    #[arg(long, value_name = "YAML")]
    config_text: Option<String>,
}

/// What was asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Each must be well.
    paths: &'static [&'static str],
    address: SocketAddr,
}

/// The order, or every problem with it at once.
pub(super) fn read(args: &HealthArgs, vars: Vars<'_>) -> Result<Order, WrongUse> {
    let mut flags = Flags::new(vars);
    let given = flags.find("--http-address", args.http_address.as_ref());
    let mut address = flags.checked(given.as_ref(), check::address);
    let mut wrong_file = None;
    if given.is_none() {
        address = Some(config::HTTP_ADDRESS);
        if let Some(settings) = flags.settings(args.config.as_ref(), args.config_text.as_ref()) {
            match settings.read(|text| config::http_address(text, vars)) {
                Ok(Some(found)) => address = Some(found),
                Ok(None) => {}
                Err(wrong) => (address, wrong_file) = (None, Some(wrong)),
            }
        }
    }
    let paths: &[&str] = match (args.ready, args.started) {
        (true, _) => &["/readyz"],
        (false, true) => &["/livez", "/startupz"],
        (false, false) => &["/livez"],
    };
    let order = address.map(|address| Order {
        paths,
        address: config::on_this_machine(address),
    });
    flags.finish(order, wrong_file)
}

/// Asks, and gives the code to exit with.
pub fn carry_out(order: &Order) -> ExitCode {
    let address = order.address;
    let mut last = String::new();
    for path in order.paths {
        let (status, body) = match get(address, path) {
            Ok(answer) => answer,
            Err(error) => return output::failed(&format!("http://{address}{path} gives no answer: {error}")),
        };
        last = match *path {
            "/livez" => body.lines().next().unwrap_or_default().to_owned(),
            _ => readiness(&body),
        };
        if status != 200 {
            return output::failed(&format!("{last} (http://{address}{path} says {status})"));
        }
    }
    output::answer(&format!("{last}\n"))
}

/// The answer of `/readyz` or `/startupz` in one line: the phase, what it waits for, and what a person should fix.
fn readiness(body: &str) -> String {
    let Ok(report) = serde_json::from_str::<Value>(body) else {
        return "the answer is none of Weir's".to_owned();
    };
    let mut told = report["phase"].as_str().unwrap_or("unknown").to_owned();
    let waits: Vec<&str> = report["waiting_for"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if !waits.is_empty() {
        told += &format!(", waiting for: {}", waits.join(", "));
    }
    for (part, what) in report["problems"].as_object().into_iter().flatten() {
        told += &format!("; {part}: {}", what.as_str().unwrap_or_default());
    }
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The status and the body of an answer.
fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut wire = TcpStream::connect_timeout(&address, PATIENCE)?;
    wire.set_read_timeout(Some(PATIENCE))?;
    wire.set_write_timeout(Some(PATIENCE))?;
    // 1.0: the end of the connection is the end of the answer, and nobody answers in chunks.
    wire.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    wire.take(LONGEST)
        .read_to_end(&mut answer)
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, format!("none within {PATIENCE:?}"))
            }
            _ => error,
        })?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::other("what answers there speaks no HTTP"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    Some((words.next()?.parse().ok()?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(flag: Option<&str>, variables: &[(&str, &str)], file: Option<&str>) -> Result<Order, WrongUse> {
        let args = HealthArgs {
            ready: false,
            started: false,
            http_address: flag.map(str::to_owned),
            config: file.map(str::to_owned),
            config_text: None,
        };
        let found = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        read(&args, &found)
    }

    #[test]
    fn the_address_is_the_daemons_own_and_on_this_machine() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let good = file("good.yaml", "http: { address: '[::]:9' }\npipelines: {}\n");
        let broken = file(
            "broken.yaml",
            "http: { address: '0.0.0.0:${PORT:-7}' }\nnonsense: 1\nleases: 3\n",
        );
        let silent = file("silent.yaml", "nonsense: 1\n");
        let variable = [("WEIR_HTTP_ADDRESS", "10.0.0.7:6")];
        for (flag, variables, file, want) in [
            (None, &[][..], None, "127.0.0.1:8080"),
            (Some("0.0.0.0:5"), &variable, Some(good.as_str()), "127.0.0.1:5"),
            (None, &variable, Some("/nonexistent"), "10.0.0.7:6"),
            (None, &[], Some(&good), "[::1]:9"),
            (None, &[("WEIR_CONFIG", good.as_str())], None, "[::1]:9"),
            (None, &[], Some(&broken), "127.0.0.1:7"),
            (None, &[], Some(&silent), "127.0.0.1:8080"),
            (
                None,
                &[("WEIR_CONFIG_TEXT", "http: { address: 127.0.0.1:3 }\nleases: 3\n")],
                None,
                "127.0.0.1:3",
            ),
        ] {
            let order = ask(flag, variables, file).unwrap();
            assert_eq!(order.address.to_string(), want, "{flag:?} {variables:?} {file:?}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.yaml");
        std::fs::write(&path, "http: { address: here }\nnonsense: 1\n").unwrap();
        let path = path.to_str().unwrap();
        let told = ask(None, &[], Some(path)).unwrap_err().to_string();
        assert!(
            told.contains("http.address: `here`") && !told.contains("nonsense"),
            "{told}"
        );
        let told = ask(None, &[], Some("/nonexistent.yaml")).unwrap_err().to_string();
        assert!(told.starts_with("/nonexistent.yaml: can't be read"), "{told}");
        let told = ask(None, &[("WEIR_HTTP_ADDRESS", "x")], None)
            .unwrap_err()
            .to_string();
        assert!(
            told.starts_with("--http-address (from WEIR_HTTP_ADDRESS): `x`"),
            "{told}"
        );
    }

    #[test]
    fn an_address_in_the_settings_text_is_named_likewise() {
        let text = [("WEIR_CONFIG_TEXT", "http: { address: here }")];
        let told = ask(None, &text, None).unwrap_err().to_string();
        assert!(
            told.starts_with("WEIR_CONFIG_TEXT: http.address: `here`"),
            "{told}"
        );
    }

    #[test]
    fn readiness_is_told_in_one_line() {
        for (body, want) in [
            (r#"{"phase":"ready","waiting_for":[],"problems":{}}"#, "ready"),
            (
                r#"{"phase":"starting","waiting_for":["tables","plan"],"problems":{"state tables":"denied:\n add it"}}"#,
                "starting, waiting for: tables, plan; state tables: denied: add it",
            ),
            (r#"{"phase":"draining","waiting_for":[]}"#, "draining"),
            ("<html>", "the answer is none of Weir's"),
        ] {
            assert_eq!(readiness(body), want);
        }
    }

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        assert_eq!(
            parse("HTTP/1.0 200 OK\r\na: b\r\n\r\nok\n"),
            Some((200, "ok\n".into()))
        );
        assert_eq!(
            parse("HTTP/1.1 503 Service Unavailable\r\n\r\n"),
            Some((503, String::new()))
        );
        assert_eq!(parse("SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(parse("HTTP/1.1 200 OK\r\n"), None);
    }
}
