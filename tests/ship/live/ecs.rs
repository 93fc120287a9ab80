//! As much of ECS as one service needs: its tasks' container, its health check, its deployments.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::container::{Container, Health, Program};
use super::fleet::{Revision, Rollout};
use crate::tools;

/// What the template makes of some parameters.
pub struct Stack {
    resources: Value,
}

impl Stack {
    pub fn of(parameters: &Value) -> Self {
        let mut all = json!({
            "Image": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/weir:0.1.0",
            "Subnets": "subnet-1,subnet-2",
            "VpcId": "vpc-0a1b",
        });
        let given = parameters.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(given);
        let made = made(&json!([all]));
        Self {
            resources: made[0]["resources"].clone(),
        }
    }

    /// The properties of a resource.
    fn properties(&self, name: &str) -> &Value {
        let found = &self.resources[name]["Properties"];
        assert!(found.is_object(), "no {name} in {}", self.resources);
        found
    }

    /// A percentage of the service's deployments.
    fn percent(&self, name: &str) -> usize {
        let service = self.properties("Service");
        number(&service["DeploymentConfiguration"][name])
    }
}

/// What `tests/ship/stack.py` makes of sets of parameters.
fn made(sets: &Value) -> Value {
    let mut command = tools::tool("python");
    let mut child = command
        .current_dir(tools::repository(""))
        .args(["tests/ship/stack.py", "deploy/ecs/weir.yaml"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(sets.to_string().as_bytes())
        .unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

impl Revision for Stack {
    fn wanted(&self) -> Option<usize> {
        let count = &self.properties("Service")["DesiredCount"];
        (!count.is_null()).then(|| number(count))
    }

    fn container(&self) -> Container {
        let definitions = self.properties("TaskDefinition")["ContainerDefinitions"].as_array();
        let [definition] = definitions.unwrap().as_slice() else {
            panic!("one container alone: {definitions:?}");
        };
        for unknown in ["EntryPoint", "EnvironmentFiles", "MountPoints", "Secrets"] {
            assert_eq!(definition[unknown], Value::Null, "{unknown}");
        }
        let variables = definition["Environment"].as_array().unwrap().iter();
        let check = texts(&definition["HealthCheck"]["Command"]);
        let (kind, command) = check.split_first().unwrap();
        assert_eq!(kind, "CMD", "the image has no shell");
        let made = Container {
            program: Program {
                args: texts(&definition["Command"]),
                env: variables.map(|v| (text(&v["Name"]), text(&v["Value"]))).collect(),
            },
            health: Health::Command(command.to_vec()),
            grace: Duration::from_secs(number(&definition["StopTimeout"]) as u64),
        };
        let port = number(&definition["PortMappings"][0]["ContainerPort"]);
        assert_eq!(port, usize::from(made.program.port()));
        made
    }

    fn rollout(&self, wanted: usize) -> Rollout {
        let most = wanted * self.percent("MaximumPercent") / 100;
        let least = (wanted * self.percent("MinimumHealthyPercent")).div_ceil(100);
        Rollout {
            surge: most - wanted,
            unavailable: wanted - least,
            settle: Duration::ZERO,
            together: true,
        }
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

/// A number, which a parameter gives as text.
fn number(value: &Value) -> usize {
    let text = value.as_str().map_or(value.to_string(), str::to_owned);
    text.parse().unwrap_or_else(|e| panic!("{value}: {e}"))
}
