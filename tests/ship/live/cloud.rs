//! The AWS of a deploy: emulated, but for the time that a put takes. The emulator answers within a millisecond, so that
//! a drain would hardly ever find something in flight.

use std::process::Command;

use serde_json::json;

use crate::clients;
use crate::emulator::Microburst;
use crate::world::World;

pub struct Cloud {
    logs: Microburst,
    // Dropped last: the other has a file in its directory.
    pub world: World,
}

impl Cloud {
    pub async fn new() -> Self {
        let world = World::new().await;
        let logs = Microburst::before(world.emulator.address, world.dir.path()).await;
        let slow = json!([{ "service": "logs", "operation": "PutLogEvents", "latency": { "min": 100, "max": 400 } }]);
        // Its first answer takes seconds, in which it learns the service.
        let asked = clients::logs(logs.address).describe_log_groups().send().await;
        asked.unwrap();
        logs.set_rules(&slow).await;
        Self { logs, world }
    }

    /// `weir` with what it needs to find this cloud, without arguments so far.
    pub fn command(&self) -> Command {
        let mut command = self.world.command();
        command.env(
            "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
            format!("http://{}", self.logs.address),
        );
        command
    }
}
