//! As much of ECS as one service needs: its tasks' container, its health check, its deployments.

use std::time::Duration;

use serde_json::Value;

use super::container::{Container, Health, Program};
use super::fleet::{Revision, Rollout};
use crate::ecs;

/// What the template makes of some parameters.
pub struct Stack(Value);

impl Stack {
    pub fn of(parameters: &Value) -> Self {
        Self(ecs::stacks(std::slice::from_ref(parameters)).remove(0))
    }

    /// The properties of the service.
    fn service(&self) -> &Value {
        &self.0["resources"]["Service"]["Properties"]
    }

    /// A percentage of the service's deployments.
    fn percent(&self, name: &str) -> usize {
        number(&self.service()["DeploymentConfiguration"][name])
    }
}

impl Revision for Stack {
    fn wanted(&self) -> Option<usize> {
        let count = &self.service()["DesiredCount"];
        (!count.is_null()).then(|| number(count))
    }

    fn container(&self) -> Container {
        let definition = ecs::container(&self.0);
        for unknown in ["EntryPoint", "EnvironmentFiles", "MountPoints", "Secrets"] {
            assert_eq!(definition[unknown], Value::Null, "{unknown}");
        }
        let check = texts(&definition["HealthCheck"]["Command"]);
        let (kind, command) = check.split_first().unwrap();
        assert_eq!(kind, "CMD", "the image has no shell");
        let made = Container {
            program: Program {
                args: texts(&definition["Command"]),
                env: ecs::environment(definition),
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

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().unwrap().iter();
    texts.map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A number, which a parameter gives as text.
fn number(value: &Value) -> usize {
    let text = value.as_str().map_or(value.to_string(), str::to_owned);
    text.parse().unwrap_or_else(|e| panic!("{value}: {e}"))
}
