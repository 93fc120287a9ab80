//! What `/status` says in the states of the tests: made of the real types, so that the shapes are those of the daemon.

use std::collections::BTreeMap;

use serde_json::Value;
use weir::metrics::account::Account;
use weir::readiness::{Latch, Phase, Report};
use weir::status::{LastError, Memory, PipelineStatus, Rates, ShardState, ShardStatus, Status, WorkerStatus};

const ME: &str = "ip-10-0-3-17-1f0c9a55d2b7e840";
const OTHERS: [&str; 2] = ["ip-10-0-4-201-77be02c6a914d35f", "ip-10-0-5-88-c20d8e13f6aa4971"];
const NOW: &str = "2026-11-22T03:12:45.120Z";

/// A status as JSON.
pub fn json(status: &Status) -> Value {
    serde_json::to_value(status).unwrap()
}

fn sequence(n: usize) -> String {
    format!("{}", 412_300_000_000_000_007_891_220_000_u128 + 7_919 * n as u128)
}

/// DynamoDB's ids: a time in 20 digits and eight letters.
fn dynamodb_id(n: usize) -> String {
    format!(
        "shardId-{:020}-{:08x}",
        1_763_700_000_000 + n as u64 * 14_400_000,
        0x9e37_79b9_u32.wrapping_mul(n as u32 + 1)
    )
}

pub fn shard(pipeline: &str, id: String, state: ShardState) -> ShardStatus {
    use ShardState::*;
    let mine = !matches!(state, Elsewhere | WaitingForParent | Unowned | Ended | Paused);
    let owner = match state {
        Elsewhere => Some(OTHERS[id.len() % 2]),
        _ => mine.then_some(ME),
    };
    ShardStatus {
        lease_key: format!("{pipeline}/{id}"),
        shard_id: id,
        stream: Some(format!(
            "arn:aws:dynamodb:eu-west-1:123456789012:table/{pipeline}/stream/2026-01-05T08:00:00.000"
        )),
        parents: Vec::new(),
        children: Vec::new(),
        owner: owner.map(str::to_owned),
        mine,
        checkpoint: match state {
            Ended => "SHARD_END".to_owned(),
            WaitingForParent | Unowned => "TRIM_HORIZON".to_owned(),
            _ => sequence(3),
        },
        position: mine.then(|| sequence(9)),
        in_flight: mine.then_some(0),
        lag_seconds: mine.then_some(0.8),
        until_trim_seconds: mine.then_some(86_399.0),
        state,
        why: (state == Elsewhere).then(|| format!("read by {}", owner.unwrap_or_default())),
    }
}

fn pipeline(source: &str, destination: &str, shards: Vec<ShardStatus>) -> PipelineStatus {
    PipelineStatus {
        source: source.to_owned(),
        destination: destination.to_owned(),
        paused: false,
        caretaker: Some(ME.to_owned()),
        records: Account {
            received: 1_284_310,
            delivered: 1_271_906,
            filtered: BTreeMap::from([("control_message", 4), ("filter", 12_388)]),
            dead_lettered: BTreeMap::from([("too_old", 0), ("undecodable", 2)]),
            in_flight: 10,
            ..Account::default()
        },
        rates: Rates {
            received: 212.4,
            delivered: 209.9,
            filtered: 2.5,
            dead_lettered: 0.0,
            received_bytes: 241_880.0,
        },
        lag_seconds: Some(1.24),
        until_trim_seconds: Some(86_397.0),
        last_error: None,
        leases_read: Some("2026-11-22T03:12:40.000Z".to_owned()),
        shards,
        shards_omitted: 0,
    }
}

fn worker(id: &str, held: [u64; 2], age: f64) -> WorkerStatus {
    WorkerStatus {
        id: id.to_owned(),
        me: id == ME,
        state: "live",
        version: "0.1.0".to_owned(),
        started: "2026-11-20T22:01:10Z".to_owned(),
        held: BTreeMap::from([("audit".to_owned(), held[0]), ("orders".to_owned(), held[1])]),
        lag_seconds: BTreeMap::from([("audit".to_owned(), 0.4), ("orders".to_owned(), 1.24)]),
        heartbeat_age_seconds: Some(age),
    }
}

/// Two pipelines, three workers, all is well.
pub fn healthy() -> Status {
    use ShardState::*;
    let id = dynamodb_id;
    let mut orders = vec![
        shard("orders", id(0), Ended),
        shard("orders", id(1), Reading),
        shard("orders", id(2), CaughtUp),
        shard("orders", id(3), Elsewhere),
        shard("orders", id(4), Elsewhere),
    ];
    orders[0].children = vec![id(1), id(2)];
    orders[1].parents = vec![id(0)];
    orders[2].parents = vec![id(0)];
    orders[1].in_flight = Some(10);
    orders[1].lag_seconds = Some(1.24);
    let audit = [CaughtUp, Elsewhere, Elsewhere].into_iter().enumerate();
    let audit = audit.map(|(n, state)| shard("audit", format!("shardId-{n:012}"), state));
    let mut audit = pipeline(
        "Kinesis stream rds-audit",
        "/db/{cluster}/audit {instance}",
        audit.collect(),
    );
    audit.lag_seconds = Some(0.4);
    audit.rates.received = 31.2;
    audit.rates.delivered = 31.2;
    audit.rates.filtered = 0.0;
    for shard in &mut audit.shards {
        shard.stream = Some("arn:aws:kinesis:eu-west-1:123456789012:stream/rds-audit".to_owned());
        shard.until_trim_seconds = shard.mine.then_some(604_799.0);
    }
    audit.until_trim_seconds = Some(604_799.0);
    Status {
        version: "0.1.0",
        application: "prod-cdc".to_owned(),
        worker: Some(ME.to_owned()),
        now: NOW.to_owned(),
        started: "2026-11-20T22:01:10Z".to_owned(),
        readiness: Report {
            ready: true,
            phase: Phase::Ready,
            has_started: true,
            draining: false,
            waiting_for: Vec::new(),
            problems: BTreeMap::new(),
        },
        memory: Memory {
            budget_bytes: 256 << 20,
            used_bytes: 11 << 20,
        },
        pipelines: BTreeMap::from([
            (
                "orders".to_owned(),
                pipeline("table orders", "/cdc/orders {shard_id}", orders),
            ),
            ("audit".to_owned(), audit),
        ]),
        workers: vec![
            worker(ME, [1, 2], 0.9),
            worker(OTHERS[0], [1, 1], 2.1),
            worker(OTHERS[1], [1, 1], 3.0),
        ],
    }
}

pub fn orders(status: &mut Status) -> &mut PipelineStatus {
    status.pipelines.get_mut("orders").unwrap()
}

/// More comes than goes out.
pub fn lagging() -> Status {
    let mut status = healthy();
    let orders = orders(&mut status);
    orders.lag_seconds = Some(841.0);
    orders.until_trim_seconds = Some(85_559.0);
    orders.records.in_flight = 4_810;
    orders.records.received += 4_800;
    orders.shards[1].lag_seconds = Some(841.0);
    orders.shards[1].until_trim_seconds = Some(85_559.0);
    orders.shards[1].in_flight = Some(4_810);
    status.memory.used_bytes = 201 << 20;
    status
}

pub const DENIED: &str = "AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/weir/i-0ab is not \
     authorized to perform: dynamodb:GetRecords on resource: \
     arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-05T08:00:00.000; grant the role \
     dynamodb:GetRecords (weir iam-policy prints what it needs)";

/// One shard can't be read, and its child waits for it.
pub fn stuck() -> Status {
    let mut status = healthy();
    let orders = orders(&mut status);
    let [id, child] = [1, 6].map(dynamodb_id);
    orders.shards[1].state = ShardState::BackingOff;
    orders.shards[1].why =
        Some("backing off until 03:12:49 UTC: AccessDeniedException on GetRecords".to_owned());
    orders.shards[1].lag_seconds = Some(1_502.0);
    orders.shards[1].until_trim_seconds = Some(84_898.0);
    orders.shards[1].children = vec![child.clone()];
    let mut waiting = shard("orders", child, ShardState::WaitingForParent);
    waiting.why = Some(format!("waiting for its parent {id} to be read to its end"));
    waiting.parents = vec![id.clone()];
    orders.shards.insert(2, waiting);
    orders.lag_seconds = Some(1_502.0);
    orders.until_trim_seconds = Some(84_898.0);
    orders.last_error = Some(LastError {
        at: "2026-11-22T03:12:44.000Z".to_owned(),
        part: format!("reading orders/{id}"),
        what: DENIED.to_owned(),
    });
    let part = format!("reading orders/{id}");
    status.readiness.problems.insert(part, DENIED.to_owned());
    status
}

/// CloudWatch Logs takes nothing.
pub fn refused() -> Status {
    let mut status = healthy();
    let what = "AccessDeniedException on logs:PutLogEvents; grant the role logs:PutLogEvents on \
                log-group:/cdc/orders:* (weir iam-policy prints what it needs); nothing is lost, and it is tried again";
    let orders = orders(&mut status);
    for shard in orders.shards.iter_mut().filter(|s| s.mine) {
        shard.state = ShardState::HeldByDestination;
        shard.why = Some("held by destination /cdc/orders".to_owned());
        shard.lag_seconds = Some(312.0);
        shard.until_trim_seconds = Some(86_088.0);
        shard.in_flight = Some(5_000);
    }
    orders.lag_seconds = Some(312.0);
    orders.until_trim_seconds = Some(86_088.0);
    orders.rates.delivered = 0.0;
    orders.records.in_flight = 10_000;
    orders.records.received += 9_990;
    orders.last_error = Some(LastError {
        at: "2026-11-22T03:12:43.000Z".to_owned(),
        part: "destination /cdc/orders".to_owned(),
        what: what.to_owned(),
    });
    status
        .readiness
        .problems
        .insert("destination /cdc/orders".to_owned(), what.to_owned());
    status.memory.used_bytes = 190 << 20;
    status
}

pub fn draining() -> Status {
    let mut status = healthy();
    status.readiness.draining = true;
    status.readiness.phase = Phase::Draining;
    status.readiness.ready = false;
    for pipeline in status.pipelines.values_mut() {
        for shard in pipeline.shards.iter_mut().filter(|s| s.mine) {
            shard.state = ShardState::Draining;
        }
    }
    status.workers[0].state = "draining";
    status
}

pub fn starting() -> Status {
    let mut status = healthy();
    status.readiness.ready = false;
    status.readiness.phase = Phase::Starting;
    status.readiness.has_started = false;
    status.readiness.waiting_for = vec![Latch::Heartbeat, Latch::Plan];
    status.worker = None;
    status.workers.clear();
    for pipeline in status.pipelines.values_mut() {
        *pipeline = PipelineStatus {
            records: Account::default(),
            rates: Rates::default(),
            caretaker: None,
            lag_seconds: None,
            until_trim_seconds: None,
            leases_read: None,
            shards: Vec::new(),
            ..pipeline.clone()
        };
    }
    status
}

/// It was fenced, and comes back.
pub fn rejoining() -> Status {
    let mut status = starting();
    status.readiness.phase = Phase::Rejoining;
    status.readiness.has_started = true;
    status
}

/// The stream trims what nobody has delivered, and some records are nowhere.
pub fn at_risk() -> Status {
    let mut status = lagging();
    let orders = orders(&mut status);
    orders.lag_seconds = Some(82_800.0);
    orders.until_trim_seconds = Some(3_600.0);
    orders.shards[1].lag_seconds = Some(82_800.0);
    orders.shards[1].until_trim_seconds = Some(3_600.0);
    orders.rates.dead_lettered = 0.2;
    status.pipelines.get_mut("audit").unwrap().records.unaccounted = 3;
    status.workers[2].state = "evicted";
    status.workers[2].heartbeat_age_seconds = Some(41.0);
    status
}

/// As many shards as are told at most; one of them backs off.
pub fn thousand() -> Status {
    let mut status = healthy();
    let states = [ShardState::Reading, ShardState::CaughtUp, ShardState::Elsewhere];
    let shards = (0..1000).map(|n| {
        let mut shard = shard("orders", dynamodb_id(n), states[n % 3]);
        shard.lag_seconds = shard.mine.then_some(n as f64 / 100.0);
        shard
    });
    let orders = orders(&mut status);
    orders.shards = shards.collect();
    orders.shards[700] = shard("orders", dynamodb_id(700), ShardState::BackingOff);
    orders.shards_omitted = 230;
    status.pipelines.remove("audit");
    status
}

/// What a shard id, an error or a name may hold, seen from a page.
pub const HOSTILE: [&str; 4] = [
    "<img src=x onerror=\"alert(1)\">",
    "</script><script>alert(2)</script>",
    "\"'><svg onload=alert(3)>{{7*7}}${7*7}",
    "\u{202e}esrever \u{0}\u{7} \u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}\
     \u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}\u{1f9ea}",
];

/// Everything that others have a say in holds it.
pub fn hostile() -> Status {
    let mut status = stuck();
    let [image, script, attribute, odd] = HOSTILE.map(str::to_owned);
    status.application = image.clone();
    status.worker = Some(script.clone());
    status.workers[1].id = attribute.clone();
    status.workers[1].version = image.clone();
    status
        .readiness
        .problems
        .insert(script.clone(), format!("{image}{attribute}"));
    let mut pipeline = status.pipelines.remove("orders").unwrap();
    pipeline.source = image.clone();
    pipeline.destination = script.clone();
    pipeline.last_error = Some(LastError {
        at: "<b>never</b>".to_owned(),
        part: attribute.clone(),
        what: script.clone(),
    });
    for (shard, hostile) in pipeline
        .shards
        .iter_mut()
        .zip([&image, &script, &attribute, &odd])
    {
        shard.shard_id = hostile.clone();
        shard.lease_key = hostile.clone();
        shard.why = Some(hostile.clone());
        shard.owner = Some(hostile.clone());
        shard.checkpoint = hostile.clone();
        shard.parents = vec![hostile.clone()];
        shard.stream = Some(hostile.clone());
        shard.state = ShardState::BackingOff;
    }
    status.pipelines.insert("__proto__".to_owned(), pipeline.clone());
    status.pipelines.insert(attribute, pipeline);
    status
}
