//! Runs a story per seed on paused time, and reports a broken one so that it can be run alone.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use crate::world::{World, tail};

/// What is left of a run.
pub struct Run {
    pub trace: Vec<String>,
    pub violations: Vec<String>,
    pub world: Arc<World>,
}

/// Tells `story` in a new world.
pub fn run<F, Fut>(seed: u64, story: F) -> Run
where
    F: FnOnce(Arc<World>) -> Fut,
    Fut: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = runtime.block_on(async {
        let world = World::new(seed);
        story(world.clone()).await;
        world
    });
    // Ends every task of the world before the state is looked at.
    drop(runtime);
    let (trace, violations) = world.with(|s| (std::mem::take(&mut s.trace), s.model.violations.clone()));
    Run {
        trace,
        violations,
        world,
    }
}

/// The seeds of this test run: `WEIR_SIM_SEED=n` for one, `WEIR_SIM_SEEDS=count,from` for others.
pub fn chosen(usual: Range<u64>) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok();
    if let Some(one) = number("WEIR_SIM_SEED").and_then(|s| s.parse().ok()) {
        return one..one + 1;
    }
    let Some(many) = number("WEIR_SIM_SEEDS") else {
        return usual;
    };
    let mut parts = many.split(',').map(|p| p.trim().parse::<u64>().unwrap());
    let (count, from) = (parts.next().unwrap(), parts.next().unwrap_or(0));
    // Each of the tests takes its part.
    let share = usual.end - usual.start;
    let part = usual.start / share;
    let size = count.div_ceil(4);
    from + part * size..from + (part + 1) * size
}

/// Panics with everything one needs to look at a broken run, one of `all`.
pub fn demand_kept(test: &str, seed: u64, run: &Run, all: &[u64]) {
    if run.violations.is_empty() {
        return;
    }
    if let Ok(file) = std::env::var("WEIR_SIM_TRACE") {
        std::fs::write(file, run.trace.join("\n")).unwrap();
    }
    panic!(
        "seed {seed} (of {all:?}) broke {} promises:\n  {}\nthe last of its trace ({} lines; all with WEIR_SIM_TRACE=<file>):\n{}\nrun it alone:\n  \
         WEIR_SIM_SEED={seed} cargo nextest run --test sim -E 'test(={test})'",
        run.violations.len(),
        run.violations.join("\n  "),
        run.trace.len(),
        tail(&run.trace, 60),
    );
}
