//! As much of Kubernetes as one Deployment needs: its pods' container, its files, its probes, its strategy.
//!
//! Knows what the chart renders, and stops at all else: a field of the container that is not understood here fails.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::container::{Container, Health, Program};
use super::fleet::{Revision, Rollout};
use crate::tools;

/// What the chart makes of some values.
pub struct Release {
    objects: Vec<Value>,
    /// Where the volumes of its pods are.
    volumes: PathBuf,
}

impl Release {
    /// Renders the chart; `name` tells the release's files in `dir` from those of others.
    pub fn of(values: &Value, dir: &Path, name: &str) -> Self {
        Self::beside(&[], values, dir, name)
    }

    /// Where these objects are already.
    pub fn beside(objects: &[Value], values: &Value, dir: &Path, name: &str) -> Self {
        let path = dir.join(format!("{name}-values.yaml"));
        // JSON is YAML.
        fs::write(&path, values.to_string()).unwrap();
        let release = Self {
            objects: [tools::rendered(&[&path]), objects.to_vec()].concat(),
            volumes: dir.join(name),
        };
        for volume in list(&release.template()["spec"]["volumes"]) {
            release.fill(volume);
        }
        release
    }

    /// The only object of its kind.
    pub fn only(&self, kind: &str) -> &Value {
        let mut found = self.objects.iter().filter(|object| object["kind"] == kind);
        let only = found.next().unwrap_or_else(|| panic!("no {kind} is rendered"));
        assert!(found.next().is_none(), "one {kind} alone");
        only
    }

    fn deployment(&self) -> &Value {
        &self.only("Deployment")["spec"]
    }

    /// What a pod is made of: a Deployment rolls when it changes.
    pub fn template(&self) -> &Value {
        &self.deployment()["template"]
    }

    /// The directory of a volume on the node.
    fn volume(&self, name: &str) -> PathBuf {
        self.volumes.join(name)
    }

    /// Writes the keys of its ConfigMap there.
    fn fill(&self, volume: &Value) {
        let source = &volume["configMap"];
        let mut maps = self.objects.iter().filter(|object| object["kind"] == "ConfigMap");
        let map = maps.find(|map| map["metadata"]["name"] == source["name"]);
        let map = map.unwrap_or_else(|| panic!("no ConfigMap for {volume}"));
        let dir = self.volume(text(&volume["name"]));
        fs::create_dir_all(&dir).unwrap();
        for item in list(&source["items"]) {
            let content = text(&map["data"][text(&item["key"])]);
            fs::write(dir.join(text(&item["path"])), content).unwrap();
        }
    }
}

impl Release {
    /// What runs in a container of a pod; `env`: the variables that Kubernetes adds to its own.
    fn program(&self, container: &Value, env: BTreeMap<String, String>) -> Program {
        for unknown in ["command", "envFrom", "lifecycle"] {
            assert_eq!(container[unknown], Value::Null, "{unknown}");
        }
        let mounts: Vec<_> = list(&container["volumeMounts"])
            .iter()
            .map(|mount| (text(&mount["mountPath"]), self.volume(text(&mount["name"]))))
            .collect();
        let on_this_machine = |path: String| {
            let found = mounts.iter().find(|(mount, _)| path.starts_with(mount));
            found.map_or(path.clone(), |(mount, dir)| {
                path.replacen(mount, dir.to_str().unwrap(), 1)
            })
        };
        let variables = list(&container["env"]).iter();
        let given = variables.map(|v| (text(&v["name"]).to_owned(), text(&v["value"]).to_owned()));
        let env: BTreeMap<_, _> = env.into_iter().chain(given).collect();
        let args = list(&container["args"]).iter();
        Program {
            args: args
                .map(|arg| on_this_machine(expanded(text(arg), &env)))
                .collect(),
            env,
        }
    }

    /// What `helm test` runs, where the Service leads to `worker`.
    pub fn tests(&self, worker: SocketAddr) -> Vec<Program> {
        let service = self.only("Service");
        let labels = &self.template()["metadata"]["labels"];
        for (label, value) in service["spec"]["selector"].as_object().unwrap() {
            assert_eq!(labels[label], *value, "the Service leads to the pods");
        }
        let name = text(&service["metadata"]["name"])
            .to_uppercase()
            .replace('-', "_");
        let env = BTreeMap::from([
            (format!("{name}_SERVICE_HOST"), worker.ip().to_string()),
            (format!("{name}_SERVICE_PORT"), worker.port().to_string()),
        ]);
        let pod = self.only("Pod");
        assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
        let containers = list(&pod["spec"]["containers"]).iter();
        containers
            .map(|container| self.program(container, env.clone()))
            .collect()
    }
}

impl Revision for Release {
    fn wanted(&self) -> Option<usize> {
        self.deployment()["replicas"].as_u64().map(|n| n as usize)
    }

    fn container(&self) -> Container {
        let spec = &self.template()["spec"];
        let container = named(&spec["containers"], "weir");
        let program = self.program(container, BTreeMap::new());
        let probes = ["startupProbe", "readinessProbe", "livenessProbe"];
        let paths = probes.map(|probe| {
            let get = &container[probe]["httpGet"];
            assert_eq!(port(container, &get["port"]), program.port(), "{probe}");
            text(&get["path"]).to_owned()
        });
        Container {
            program,
            health: Health::Probes(paths.to_vec()),
            grace: Duration::from_secs(spec["terminationGracePeriodSeconds"].as_u64().unwrap()),
        }
    }

    fn rollout(&self, wanted: usize) -> Rollout {
        let strategy = &self.deployment()["strategy"];
        assert_eq!(strategy["type"], "RollingUpdate", "{strategy}");
        let number = |key: &str, percent: fn(f64) -> f64| {
            let value = &strategy["rollingUpdate"][key];
            match value.as_u64() {
                Some(number) => number as usize,
                None => {
                    let part: f64 = text(value).trim_end_matches('%').parse().unwrap();
                    percent(wanted as f64 * part / 100.0) as usize
                }
            }
        };
        Rollout {
            // A part of a pod is rounded so that more are there.
            surge: number("maxSurge", f64::ceil),
            unavailable: number("maxUnavailable", f64::floor),
            settle: Duration::from_secs(self.deployment()["minReadySeconds"].as_u64().unwrap_or(0)),
            together: false,
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The item of this name in a list.
fn named<'a>(items: &'a Value, name: &str) -> &'a Value {
    let found = list(items).iter().find(|item| item["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {items}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A port of the container, by its number or its name.
fn port(container: &Value, port: &Value) -> u16 {
    let number = port.as_u64();
    let number = number.or_else(|| named(&container["ports"], text(port))["containerPort"].as_u64());
    number.unwrap_or_else(|| panic!("no port {port}")) as u16
}

/// With `$(NAME)` replaced, as Kubernetes does it in arguments.
fn expanded(text: &str, env: &BTreeMap<String, String>) -> String {
    let replace =
        |text: String, (name, value): (&String, &String)| text.replace(&format!("$({name})"), value);
    env.iter().fold(text.to_owned(), replace)
}
