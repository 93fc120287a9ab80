//! Stories: what is written when, and what goes wrong meanwhile, drawn from a seed.

use std::sync::Arc;
use std::time::Duration;

use crate::streams::Kind;
use crate::world::World;

/// Writes `n` changes of `keys` keys over `during`.
pub async fn write_some(world: &Arc<World>, n: u32, keys: u32, during: Duration) {
    for _ in 0..n {
        world.with(|s| {
            let now = s.wall();
            let key = format!("k{}", s.rng.u32(0..keys));
            s.streams.write(&key, Kind::Plain, 0, now, &mut s.rng)
        });
        world.pass_time(during / n).await;
    }
}

/// Ends a story: no more faults; everything must be delivered within `limit`, and the promises kept.
pub async fn settle(world: &Arc<World>, limit: Duration) {
    world.with(|s| {
        s.faults.on = false;
        s.note("quiet");
    });
    let deadline = world.elapsed() + limit;
    while let Some(left) = world.with(|s| s.unfinished()) {
        if world.elapsed() > deadline {
            world.with(|s| {
                let now = s.now;
                s.model.broken(now, format!("liveness: {left}"));
            });
            break;
        }
        world.pass_time(Duration::from_secs(1)).await;
    }
    world.with(|s| s.finish());
}
