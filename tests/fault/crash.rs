//! Weir dies without a word.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::world::World;
use crate::writers::{Plan, Writers};
use crate::{setting, until};

/// What a life that was killed had put into the log group since its last checkpoint, and so leaves to repeat.
struct Exposed {
    sequences: Vec<u128>,
    /// Between the first and the last of these puts.
    span: Duration,
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_ten_times_loses_nothing() {
    let changes: usize = setting("WEIR_FAULT_CHANGES", 20_000);
    let kills: u32 = setting("WEIR_FAULT_KILLS", 10);
    let lease = Duration::from_secs(setting("WEIR_FAULT_LEASE_SECONDS", 3));
    let checkpoint = Duration::from_secs(setting("WEIR_FAULT_CHECKPOINT_SECONDS", 1));
    let seed: u64 = setting("WEIR_FAULT_SEED", 1);
    println!(
        "{changes} changes, {kills} kills, lease {lease:?}, checkpoints each {checkpoint:?}, seed {seed}"
    );
    let mut rng = fastrand::Rng::with_seed(seed);

    let world = World::new().await;
    let config = world.config(lease, checkpoint);
    let start = || world.run(&["-c", &config], &[]);
    // How long a life may work before it is killed: sometimes past a checkpoint or two, sometimes not.
    let longest = (2 * checkpoint).max(Duration::from_millis(2500));
    // A life lasts a take-over (about a lease) and, on average, half of that: write all that time.
    let plan = Plan {
        keys: changes / 5,
        versions: 5,
        padding: 0,
        over: (lease + longest / 2) * kills,
    };
    let mut writers = Writers::start(&world.dynamodb, plan);

    let began = Instant::now();
    let mut weir = start();
    let mut exposed: Vec<Exposed> = Vec::new();
    for kill in 1..=kills {
        // Any moment, also one before there is work; the moment when a backlog is being delivered; or one in the
        // midst of steady work. Each has its own ways to fail.
        let (at_work, moment) = match rng.u8(..4) {
            0 => (false, lease.mul_f64(rng.f64() * 1.5)),
            1 => (true, Duration::from_millis(rng.u64(0..150))),
            _ => (true, longest.mul_f64(rng.f64())),
        };
        if at_work {
            until(
                "work, or all to be written",
                Duration::from_secs(90),
                async || {
                    weir.must_live();
                    // Where the machine was slow, the lives before may have left nothing to deliver.
                    weir.delivered().await > 0 || writers.written() == plan.changes()
                },
            )
            .await;
        }
        tokio::time::sleep(moment).await;
        weir.must_live();
        let delivered = weir.delivered().await;
        weir.kill_nine();
        weir = start();
        // Requests that the dead had sent may still be applied; its successor can't own the lease before that.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let checkpoint = world.checkpoint().await.unwrap_or(0);
        let tally = world.tally().await;
        let behind: BTreeMap<u128, i64> = tally
            .events
            .iter()
            .filter(|e| e.sequence > checkpoint)
            .map(|e| (e.sequence, e.ingested))
            .collect();
        let first = behind.values().min().copied().unwrap_or(0);
        let last = behind.values().max().copied().unwrap_or(0);
        let span = Duration::from_millis(last.abs_diff(first));
        println!(
            "kill {kill} after {:.1} s: this life had delivered {delivered}; written {}, in the log {}, repeats {}, \
             behind the checkpoint {} (put within {span:?})",
            began.elapsed().as_secs_f64(),
            writers.written(),
            tally.changes(),
            tally.repeats(),
            behind.len(),
        );
        exposed.push(Exposed {
            sequences: behind.into_keys().collect(),
            span,
        });
    }

    writers.done().await;
    let tally = world.all_delivered(&mut weir, plan).await;
    weir.terminate();
    assert!(weir.ended().await.success());
    let tally_after = world.tally().await;
    assert_eq!(
        tally_after.events.len(),
        tally.events.len(),
        "events that came after all were delivered"
    );

    // A crash repeats at most what was sent since the last checkpoint.
    let bound: usize = exposed.iter().map(|e| e.sequences.len()).sum();
    let widest = exposed.iter().map(|e| e.span).max().unwrap_or_default();
    println!(
        "{} changes delivered in {:.0} s; {} repeats, at most {bound} possible; the widest span of puts behind a \
         checkpoint: {widest:?}",
        tally.changes(),
        began.elapsed().as_secs_f64(),
        tally.repeats(),
    );
    for (sequence, repeats) in tally.repeated() {
        let chances = exposed
            .iter()
            .filter(|e| e.sequences.binary_search(&sequence).is_ok())
            .count();
        assert!(
            repeats <= chances,
            "{sequence} came {repeats} times too often; {chances} kills can explain that"
        );
    }
    // A checkpoint that lags ten seconds behind its interval is not late, it hangs.
    assert!(
        widest < checkpoint + Duration::from_secs(10),
        "puts of {widest:?} lie behind one checkpoint"
    );
}
