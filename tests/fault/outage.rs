//! CloudWatch Logs goes away, then all of AWS freezes, then all of it misbehaves.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::emulator::Microburst;
use crate::weir::Weir;
use crate::wire::Wire;
use crate::world::{GROUP, TABLE, World};
use crate::writers::{Plan, Writers};
use crate::{setting, until};

/// The most memory that Weir may use with its default budget, in MiB.
const MEMORY: f64 = 200.0;

/// The memory of the process, phase by phase.
#[derive(Default)]
struct Memory {
    phases: Vec<(String, f64, f64)>,
}

impl Memory {
    /// Lets time pass and samples.
    async fn watch(&mut self, phase: &str, weir: &mut Weir, time: Duration) {
        let start = Instant::now();
        let (mut least, mut most) = (f64::MAX, 0_f64);
        while start.elapsed() < time {
            weir.must_live();
            if let Some(now) = weir.resident() {
                least = least.min(now);
                most = most.max(now);
                assert!(now < MEMORY, "{phase}: {now:.0} MiB of memory");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!(
            "{phase}: {:.0} s, memory {least:.0} to {most:.0} MiB",
            start.elapsed().as_secs_f64()
        );
        self.phases.push((phase.to_owned(), least, most));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_outage_loses_nothing() {
    let outage = Duration::from_secs(setting("WEIR_FAULT_OUTAGE_SECONDS", 8));
    let calm = Duration::from_secs(3);

    let world = World::new().await;
    let mut everything = Wire::to(world.emulator.address).await;
    let mut logs = Wire::to(world.emulator.address).await;
    let variables = [
        ("AWS_ENDPOINT_URL", everything.endpoint()),
        ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", logs.endpoint()),
    ];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));

    // Writes go on through all of it, at some 200 changes of 1 KB a second.
    let over = 4 * outage + 4 * calm;
    let keys = 40 * over.as_secs() as usize;
    let plan = Plan {
        keys,
        versions: 5,
        padding: 1000,
        over,
    };
    let mut writers = Writers::start(&world.dynamodb, plan);
    let mut weir = world.run(&["--table", TABLE, "--log-group", GROUP], &variables);
    let mut memory = Memory::default();
    weir.first_delivery().await;
    memory.watch("healthy", &mut weir, calm).await;

    logs.cut().await;
    memory
        .watch("CloudWatch Logs refuses connections", &mut weir, outage)
        .await;
    // An outage of the sink must not have an orchestrator restart the fleet.
    assert!(
        weir.is_ready().await,
        "a sink that is down must not make Weir unready"
    );
    let before = world.tally().await.changes();
    logs.mend().await;
    recovered(&world, &mut weir, &writers, before).await;
    memory.watch("after it", &mut weir, calm).await;

    let before = world.tally().await.changes();
    world.emulator.freeze();
    memory.watch("all of AWS is frozen", &mut weir, outage).await;
    world.emulator.thaw();
    recovered(&world, &mut weir, &writers, before).await;
    memory.watch("after it", &mut weir, calm).await;

    let microburst = Microburst::before(world.emulator.address, world.dir.path()).await;
    microburst.set_rules(&faults()).await;
    everything.lead_to(microburst.address).await;
    logs.lead_to(microburst.address).await;
    memory.watch("AWS misbehaves", &mut weir, outage).await;
    // Chance may take longer than a short outage: go on until each service had a fault, and a put's answer was lost.
    let mut faults = Vec::new();
    until("faults of each kind", Duration::from_secs(120), async || {
        weir.must_live();
        faults = microburst.faults().await;
        let had = |part: &str| faults.iter().any(|line| line.contains(part));
        had("service=\"dynamodb\"")
            && had("service=\"dynamodbstreams\"")
            && had("operation=\"PutLogEvents\",action=\"error")
            && had("operation=\"PutLogEvents\",action=\"response:abort")
    })
    .await;
    println!("{}", faults.join("\n"));
    microburst.set_rules(&json!([])).await;
    memory.watch("after it", &mut weir, calm).await;

    writers.done().await;
    let tally = world.all_delivered(&mut weir, plan).await;
    weir.terminate();
    assert!(weir.ended().await.success());

    let least = memory.phases.iter().map(|p| p.1).fold(f64::MAX, f64::min);
    let most = memory.phases.iter().map(|p| p.2).fold(0.0, f64::max);
    println!(
        "{} changes delivered, {} repeats; memory {least:.0} to {most:.0} MiB",
        tally.changes(),
        tally.repeats()
    );
}

/// Waits until something new is in the log group.
async fn recovered(world: &World, weir: &mut Weir, writers: &Writers, before: usize) {
    let start = Instant::now();
    until("deliveries to go on", Duration::from_secs(120), async || {
        weir.must_live();
        tokio::time::sleep(Duration::from_millis(450)).await;
        world.tally().await.changes() > before
    })
    .await;
    println!(
        "deliveries go on {:.1} s after the outage; {before} in the log before, {} written now",
        start.elapsed().as_secs_f64(),
        writers.written()
    );
}

/// Faults by chance: slow answers, resets, refusals of each class, and replies that are lost after the request was
/// applied. Rare enough that a heartbeat gets through in time now and then.
fn faults() -> serde_json::Value {
    let applied_but_lost = json!({ "abort_bytes": 0 });
    json!([
        // The first puts meet one of each: left to chance alone, the writers may be done before it strikes.
        { "service": "logs", "operation": "PutLogEvents", "times": 1,
          "error": { "code": "ThrottlingException", "status": 400 } },
        { "service": "logs", "operation": "PutLogEvents", "times": 1, "response": applied_but_lost },
        { "service": "logs", "operation": "PutLogEvents", "probability": 0.15,
          "error": { "code": "ThrottlingException", "status": 400 } },
        { "service": "logs", "operation": "PutLogEvents", "probability": 0.10,
          "error": { "code": "ServiceUnavailableException", "status": 500 } },
        { "service": "logs", "operation": "PutLogEvents", "probability": 0.10, "reset": true },
        { "service": "logs", "operation": "PutLogEvents", "probability": 0.10, "response": applied_but_lost },
        { "service": "logs", "probability": 0.30, "latency": { "min": 50, "max": 600 } },
        { "service": "dynamodbstreams", "operation": "GetRecords", "probability": 0.05,
          "error": { "code": "ExpiredIteratorException", "status": 400 } },
        { "service": "dynamodbstreams", "probability": 0.10,
          "error": { "code": "LimitExceededException", "status": 400 } },
        { "service": "dynamodbstreams", "probability": 0.05,
          "error": { "code": "InternalServerError", "status": 500 } },
        { "service": "dynamodbstreams", "probability": 0.05, "reset": true },
        { "service": "dynamodb", "probability": 0.05,
          "error": { "code": "ProvisionedThroughputExceededException", "status": 400 } },
        { "service": "dynamodb", "operation": "UpdateItem", "probability": 0.10, "response": applied_but_lost },
        { "service": "dynamodb", "operation": "PutItem", "probability": 0.10, "response": applied_but_lost },
        { "service": "dynamodb", "probability": 0.20, "latency": { "min": 20, "max": 300 } },
    ])
}
