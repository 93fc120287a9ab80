//! The status page of a running fleet: three workers, one of which a browser looks at, while a destination refuses and
//! another worker dies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;

use crate::browser::Browser;
use crate::emulator::{Microburst, free_address};
use crate::until;
use crate::weir::Weir;
use crate::world::World;

const SHARDS: usize = 6;
const LEASES: &str = "shop";

struct Fleet {
    world: World,
    config: String,
    logs: String,
    written: usize,
}

fn table(n: usize) -> String {
    ["customers", "invoices", "payments", "prices", "returns", "stock"][n].to_owned()
}

impl Fleet {
    async fn new() -> (Self, Microburst) {
        let world = World::new().await;
        let logs = Microburst::before(world.emulator.address, world.dir.path()).await;
        let mut config = format!("application: {LEASES}\nleases: {{ duration: 4s }}\npipelines:\n");
        for n in 0..SHARDS {
            let table = table(n);
            world.table(&table).await;
            config += &format!(
                "  {table}:\n    source: {{ dynamodb_table: {table}, poll: {{ idle: 250ms }} }}\n    \
                 destination: {{ group: /cdc/{table} }}\n"
            );
        }
        let path = world.dir.path().join("shop.yaml");
        std::fs::write(&path, config).unwrap();
        let fleet = Self {
            config: path.to_str().unwrap().to_owned(),
            logs: format!("http://{}", logs.address),
            world,
            written: 0,
        };
        (fleet, logs)
    }

    fn start(&self, name: &str) -> Weir {
        let http = free_address();
        let mut command = self.world.command();
        command
            .args(["run", "-c", &self.config, "--log-format", "text"])
            .args(["--http-address", &http.to_string()])
            .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &self.logs);
        Weir::start(command, http, &self.world.dir.path().join(format!("{name}.log")))
    }

    /// One change in each table.
    async fn write(&mut self) {
        self.written += 1;
        for n in 0..SHARDS {
            let put = self.world.dynamodb.put_item().table_name(table(n));
            let put = put.item("id", AttributeValue::S(self.written.to_string()));
            put.send().await.unwrap();
        }
    }

    /// Who owns what, as the lease table has it.
    async fn owners(&self) -> BTreeMap<String, String> {
        let rows = self.world.scan(LEASES).await.into_iter();
        let owned = rows.filter_map(|row| {
            let text = |name: &str| Some(row.get(name)?.as_s().ok()?.clone());
            Some((text("leaseKey")?, text("leaseOwner")?))
        });
        owned.collect()
    }

    /// Waits until every shard has an owner, and so many workers have some.
    async fn shared_by(&self, workers: usize) -> BTreeMap<String, String> {
        let mut owners = BTreeMap::new();
        until("a fleet that shares", Duration::from_secs(60), async || {
            owners = self.owners().await;
            owners.len() == SHARDS && owners.values().collect::<BTreeSet<_>>().len() == workers
        })
        .await;
        owners
    }
}

/// Waits until the page tells of each shard the owner that the lease table has, and of each owner that it lives. The
/// table is read anew each time: a fleet that has just shared its shards may still move some for its balance.
async fn shows(browser: &Browser, fleet: &Fleet) {
    // A row's key is the pipeline and the lease's.
    let told = "const live = [...document.querySelectorAll('#workers tbody tr')]
                    .filter(r => r.cells[1].innerText.trim() === 'live').map(r => r.cells[0].innerText);
                return [...document.querySelector('#shards').byKey]
                    .map(([key, body]) => [JSON.parse(key)[1], body.rows[0].cells[3].title])
                    .filter(([_, owner]) => live.some(name => name.startsWith(owner)))";
    until(
        "a page that tells who owns what",
        Duration::from_secs(60),
        async || {
            let told = serde_json::from_value::<Vec<(String, String)>>(browser.run(told).await).unwrap();
            told.into_iter().collect::<BTreeMap<_, _>>() == fleet.owners().await
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_fleet_shows_its_workers_and_what_goes_wrong() {
    let (mut fleet, logs) = Fleet::new().await;
    fleet.write().await;
    let mut workers = Vec::new();
    for name in ["first", "second", "third"] {
        workers.push(fleet.start(name));
    }
    for worker in &mut workers {
        worker.ready().await;
    }
    fleet.shared_by(3).await;
    fleet.write().await;

    let browser = Browser::start().await;
    let origin = format!("http://{}/", workers[0].http);
    browser.go(&origin).await;
    shows(&browser, &fleet).await;
    let headline = |word: &str| format!("document.querySelector('#word').textContent === '{word}'");
    browser.until(&headline("Healthy")).await;
    let count = |rows: &str| format!("document.querySelectorAll('{rows}').length");
    assert_eq!(
        browser.text(&count("#shards tbody")).await,
        SHARDS.to_string(),
        "one row a shard"
    );
    let live = |workers: usize| {
        format!(
            "[...document.querySelectorAll('#workers tbody tr')]\
             .filter(r => r.cells[1].innerText.trim() === 'live').length === {workers}"
        )
    };
    browser.until(&live(3)).await;
    assert_eq!(
        browser.text(&count("#pipelines article")).await,
        SHARDS.to_string()
    );
    browser
        .until("[...document.querySelectorAll('.verdict')].every(v => v.innerText.trim() === 'adds up')")
        .await;
    browser.shoot("fleet", 3000).await;

    // The destination refuses all: that waits for a person.
    let denied = json!([{ "service": "logs", "operation": "PutLogEvents",
        "error": { "code": "AccessDeniedException", "status": 400, "message": "no logs:PutLogEvents for you" } }]);
    logs.set_rules(&denied).await;
    fleet.write().await;
    browser.until(&headline("Needs you")).await;
    // A busy machine's put may have had no answer in time before: that is told, too.
    for words in ["destination /cdc/", "no logs:PutLogEvents for you"] {
        browser
            .until(&format!(
                "document.querySelector('#notes').innerText.includes('{words}')"
            ))
            .await;
    }
    browser.shoot("fleet-destination-refused", 3000).await;
    logs.set_rules(&json!([])).await;
    browser.until(&headline("Healthy")).await;

    // Another worker dies: the others are told to have its shards.
    let me = browser.text("last.worker").await;
    let dead = workers.pop().unwrap();
    dead.kill_nine();
    let owners = fleet.shared_by(2).await;
    assert!(owners.values().any(|owner| *owner == me));
    shows(&browser, &fleet).await;
    browser.until(&live(2)).await;
    browser.shoot("fleet-worker-dead", 3000).await;
    browser.until(&headline("Healthy")).await;

    let console = browser.console().await;
    assert!(console.is_empty(), "{console:#?}");
    for url in browser.requests().await {
        assert!(
            url.starts_with(&origin) || url.starts_with("data:"),
            "the page asked for {url}"
        );
    }
    // The one that is looked at leaves, and says so until it is gone.
    workers[0].terminate();
    assert_eq!(workers[0].ended().await.code(), Some(0));
    browser.until(&headline("No answer")).await;
}
