//! A container as a platform starts it, whatever the platform.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::cloud::Cloud;
use crate::http;
use crate::weir::Weir;

/// The image's binary, where the health checks of platforms name it.
const BINARY: &str = "/usr/local/bin/weir";
/// Where the program answers unless it is told otherwise.
const DEFAULT_ADDRESS: &str = "0.0.0.0:8080";
const HTTP_ADDRESS: &str = "WEIR_HTTP_ADDRESS";

/// What runs in a container: the image's binary, with these arguments and variables.
#[derive(Clone, Debug)]
pub struct Program {
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
}

impl Program {
    /// Where the program serves, by its variables.
    pub fn port(&self) -> u16 {
        let address = self.env.get(HTTP_ADDRESS).map_or(DEFAULT_ADDRESS, String::as_str);
        let address: SocketAddr = address.parse().unwrap_or_else(|e| panic!("{address}: {e}"));
        assert!(
            address.ip().is_unspecified(),
            "{address} can't be asked from outside"
        );
        address.port()
    }

    /// Adds itself to `weir`, whose own variables stand behind those of the container.
    pub fn command(&self, mut weir: Command) -> Command {
        weir.args(&self.args).envs(&self.env);
        weir
    }
}

/// What a platform knows of a container that is to go on running.
#[derive(Clone, Debug)]
pub struct Container {
    pub program: Program,
    pub health: Health,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// How a platform finds out whether a container works.
#[derive(Clone, Debug)]
pub enum Health {
    /// Paths that are asked by HTTP, each until it is answered with 200.
    Probes(Vec<String>),
    /// A program in the container, with its arguments, that exits with 0.
    Command(Vec<String>),
}

impl Container {
    /// Starts it on an HTTP address of its own: here all containers share one network.
    pub fn start(self, cloud: &Cloud, http: SocketAddr, name: &str) -> Task {
        let mut command = self.program.command(cloud.command());
        command.env(HTTP_ADDRESS, http.to_string());
        let log = cloud.world.dir.path().join(format!("worker-{name}.log"));
        Task {
            weir: Weir::start(command, http, &log),
            container: self,
        }
    }
}

/// A container that runs.
pub struct Task {
    pub weir: Weir,
    pub container: Container,
}

impl Task {
    /// Whether the platform's health check says that it works.
    pub async fn is_healthy(&self, cloud: &Cloud) -> bool {
        match &self.container.health {
            Health::Probes(paths) => {
                for path in paths {
                    let answer = http::get(self.weir.http, path).await;
                    if answer.is_none_or(|answer| answer.status != 200) {
                        return false;
                    }
                }
                true
            }
            Health::Command(words) => {
                let (program, args) = words.split_first().expect("a command has a program");
                assert_eq!(program, BINARY, "the image has no other program");
                let check = Program {
                    args: args.to_vec(),
                    env: self.container.program.env.clone(),
                };
                let mut command = check.command(cloud.command());
                command.env(HTTP_ADDRESS, self.weir.http.to_string());
                command.output().unwrap().status.success()
            }
        }
    }
}
