//! What each test has of its own: a directory, an emulator, a table with a stream, and Weir's settings for both.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, StreamViewType,
};
use tempfile::TempDir;

use crate::clients::{self, ACCESS_KEY, REGION};
use crate::emulator::{Emulator, free_address};
use crate::tally::{Tally, sequence};
use crate::weir::{self, Weir};
use crate::writers::Plan;

pub const TABLE: &str = "orders";
pub const GROUP: &str = "/cdc/orders";
/// The application's default name, and with it the lease table's.
const LEASES: &str = "weir";

pub struct World {
    pub emulator: Emulator,
    pub dynamodb: aws_sdk_dynamodb::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    // Dropped last: the others have files in it.
    pub dir: TempDir,
}

impl World {
    /// An emulator with the table `orders` and its stream.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let emulator = Emulator::start(dir.path()).await;
        let dynamodb = clients::dynamodb(emulator.address);
        let logs = clients::logs(emulator.address);
        let world = Self {
            emulator,
            dynamodb,
            logs,
            dir,
        };
        world.table(TABLE).await;
        world
    }

    /// One more table with a stream.
    pub async fn table(&self, name: &str) {
        let id = AttributeDefinition::builder()
            .attribute_name("id")
            .attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder()
            .attribute_name("id")
            .key_type(KeyType::Hash);
        let stream = StreamSpecification::builder().stream_enabled(true);
        self.dynamodb
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(id.build().unwrap())
            .key_schema(key.build().unwrap())
            .stream_specification(
                stream
                    .stream_view_type(StreamViewType::NewAndOldImages)
                    .build()
                    .unwrap(),
            )
            .send()
            .await
            .unwrap();
    }

    /// `weir` with what it needs to find the emulator, without arguments so far.
    pub fn command(&self) -> Command {
        let mut command = weir::command(self.dir.path());
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.emulator.address))
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    /// Runs `weir run` with these arguments and variables, on an HTTP port of its own.
    pub fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Weir {
        let http = free_address();
        let mut command = self.command();
        command
            .arg("run")
            .args(arguments)
            .args(["--http-address", &http.to_string(), "--log-format", "text"])
            .envs(variables.iter().copied());
        Weir::start(command, http, &self.dir.path().join("weir.log"))
    }

    /// The simplest use: flags alone, all defaults.
    pub fn run_plainly(&self) -> Weir {
        self.run(&["--table", TABLE, "--log-group", GROUP], &[])
    }

    /// Writes a config file with other times than the defaults; for `-c`.
    pub fn config(&self, lease: Duration, checkpoint: Duration) -> String {
        let path = self.dir.path().join("weir.yaml");
        let text = format!(
            "leases: {{ duration: {}s }}\n\
             checkpoint: {{ interval: {}s }}\n\
             pipelines:\n  \
               orders:\n    \
                 source: {{ dynamodb_table: {TABLE} }}\n    \
                 destination: {{ group: {GROUP} }}\n",
            lease.as_secs(),
            checkpoint.as_secs()
        );
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The checkpoint of the stream's only shard; `None` while it has no sequence number.
    pub async fn checkpoint(&self) -> Option<u128> {
        let mut rows = self.leases().await;
        assert!(rows.len() <= 1, "the emulator's streams have one shard: {rows:?}");
        let checkpoint = rows.pop()?.remove("checkpoint")?;
        sequence(checkpoint.as_s().unwrap())
    }

    /// The owner of the stream's only shard.
    pub async fn owner(&self) -> Option<String> {
        let owner = self.leases().await.pop()?.remove("leaseOwner")?;
        Some(owner.as_s().unwrap().clone())
    }

    /// The rows of a table; none while there is no such table.
    pub async fn scan(&self, table: &str) -> Vec<Row> {
        scan(&self.dynamodb, table).await
    }

    /// The row of the stream's only shard.
    pub async fn lease(&self) -> Option<Row> {
        self.leases().await.pop()
    }

    async fn leases(&self) -> Vec<Row> {
        self.scan(LEASES).await
    }

    /// All that is in the log group now.
    pub async fn tally(&self) -> Tally {
        self.tally_of(GROUP).await
    }

    /// All that is in another log group now.
    pub async fn tally_of(&self, group: &str) -> Tally {
        Tally::read(&self.logs, group).await
    }

    /// Waits until all that `plan` writes is in the log group, whole and in order.
    pub async fn all_delivered(&self, weir: &mut Weir, plan: Plan) -> Tally {
        let tally = self.delivered(weir, plan.changes()).await;
        tally.must_hold(plan.keys, plan.versions);
        tally
    }

    /// The same of a load, by the last version of each key.
    pub async fn all_of_load(&self, weir: &mut Weir, last: &BTreeMap<String, u32>) -> Tally {
        let tally = self.delivered(weir, last.values().sum::<u32>() as usize).await;
        tally.must_hold_all(last);
        tally
    }

    /// Waits for so many changes. Whoever delivers nothing for 90 seconds hangs; what is missing then is the caller's
    /// to find.
    async fn delivered(&self, weir: &mut Weir, changes: usize) -> Tally {
        let (mut most, mut moved) = (0, Instant::now());
        loop {
            weir.must_live();
            let tally = self.tally().await;
            if tally.changes() > most {
                most = tally.changes();
                moved = Instant::now();
                println!("{most} of {changes} changes are in the log group");
            }
            if most >= changes || moved.elapsed() > Duration::from_secs(90) {
                return tally;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

pub type Row = std::collections::HashMap<String, AttributeValue>;

/// The rows of a table; none while there is no such table (Weir creates its own when it first runs).
pub async fn scan(dynamodb: &aws_sdk_dynamodb::Client, table: &str) -> Vec<Row> {
    match dynamodb
        .scan()
        .table_name(table)
        .consistent_read(true)
        .send()
        .await
    {
        Ok(page) => page.items.unwrap_or_default(),
        Err(e)
            if e.as_service_error()
                .is_some_and(|e| e.is_resource_not_found_exception()) =>
        {
            Vec::new()
        }
        Err(e) => panic!("{e:?}"),
    }
}
