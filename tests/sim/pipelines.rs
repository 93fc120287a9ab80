//! Pipelines that are paused, and pipelines that a deploy leaves out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use weir::lease::PipelineRow;

use crate::directed::{repeats, start};
use crate::scenario::settle;
use crate::seeds::{chosen, demand_kept, run};
use crate::streams::table_name;
use crate::world::{State, World};

const PATIENCE: Duration = Duration::from_secs(300);

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Tables with a shard each, and workers on all of them.
fn tables(world: &World, tables: usize, slots: usize) {
    world.with(|s| {
        let now = s.now;
        for table in 0..tables {
            s.streams.enable_in(table, 1, now);
        }
        for slot in 0..slots {
            s.runs.insert(slot, (0..tables).collect());
        }
    });
}

async fn write(world: &Arc<World>, tables: usize, n: u32, during: Duration) {
    for i in 0..n {
        world.with(|s| s.write_to(i as usize % tables, 5));
        world.pass_time(during / n).await;
    }
}

fn owned(s: &State, pipeline: &str) -> usize {
    let of_pipeline = s
        .table
        .leases
        .values()
        .filter(|l| l.key.as_str().starts_with(&format!("{pipeline}/")));
    of_pipeline.filter(|l| l.owner.is_some()).count()
}

fn pause(world: &World, pipeline: &str, paused: bool) {
    let name = pipeline.to_owned();
    world.with(|s| {
        s.table.pipelines.insert(
            name.clone(),
            PipelineRow {
                name,
                paused,
                unlisted_since: None,
            },
        );
    });
}

#[test]
fn a_paused_pipeline_is_read_by_nobody_until_it_is_resumed() {
    for seed in chosen(0..5) {
        let run = run(seed, async |world| {
            tables(&world, 4, 2);
            let _slots = [start(&world, 0), start(&world, 1)];
            write(&world, 4, 40, s(20)).await;
            let name = table_name(1);
            pause(&world, &name, true);
            world.pass_time(s(15)).await;
            let settled = world.with(|s| {
                assert_eq!(owned(s, &name), 0, "given up within 15 s");
                assert_eq!(owned(s, &table_name(2)), 1, "the others are read");
                s.model.delivered()
            });
            write(&world, 4, 80, s(40)).await;
            world.pass_time(s(10)).await;
            world.with(|s| {
                assert_eq!(owned(s, &name), 0);
                assert_eq!(s.model.delivered() - settled, 60, "those of the three others");
            });
            pause(&world, &name, false);
            world.pass_time(s(20)).await;
            world.with(|s| assert_eq!(owned(s, &name), 1, "taken again within 20 s"));
            settle(&world, PATIENCE).await;
        });
        demand_kept(
            "pipelines::a_paused_pipeline_is_read_by_nobody_until_it_is_resumed",
            seed,
            &run,
            &[seed],
        );
        assert_eq!(repeats(&run), 0, "a pause repeats nothing");
    }
}

#[test]
fn a_removed_pipelines_leases_are_kept_for_a_while_and_then_go() {
    for seed in chosen(0..5) {
        let run = run(seed, async |world| {
            world.with(|s| {
                // Days in earnest, so that calendars which differ by hours don't matter: here they agree.
                s.settings.keep_removed = Duration::from_secs(600);
                s.skew = Duration::ZERO;
            });
            tables(&world, 3, 2);
            let slots = [start(&world, 0), start(&world, 1)];
            write(&world, 3, 30, s(20)).await;
            world.pass_time(s(20)).await;
            let gone = table_name(2);
            let leases = |s: &State| -> BTreeSet<String> {
                let keys = s.table.leases.keys().map(|key| key.as_str());
                keys.filter_map(|key| key.split('/').next())
                    .map(str::to_owned)
                    .collect()
            };
            // A rolling deploy without the third table.
            for (number, slot) in slots.iter().enumerate() {
                slot.stop();
                slot.gone().await;
                world.with(|s| s.runs.insert(number, [0, 1].into()));
                slot.resume();
                world.pass_time(s(10)).await;
            }
            world.pass_time(s(300)).await;
            world.with(|s| assert!(leases(s).contains(&gone), "kept for a while"));
            // It comes back: nothing of it was lost, and the days are counted anew.
            slots[0].stop();
            slots[0].gone().await;
            world.with(|s| s.runs.insert(0, [0, 1, 2].into()));
            slots[0].resume();
            write(&world, 3, 30, s(20)).await;
            world.pass_time(s(400)).await;
            world.with(|s| {
                assert!(leases(s).contains(&gone));
                assert!(s.table.pipelines.values().all(|row| row.unlisted_since.is_none()));
            });
            settle(&world, PATIENCE).await;
            assert_eq!(world.with(|s| s.model.repeats), 0);
            // And goes for good.
            slots[0].stop();
            slots[0].gone().await;
            world.with(|s| s.runs.insert(0, [0, 1].into()));
            slots[0].resume();
            world.pass_time(s(800)).await;
            world.with(|s| {
                assert_eq!(leases(s), [table_name(0), table_name(1)].into());
                assert!(s.table.streams.keys().all(|(pipeline, _)| *pipeline != gone));
                assert!(s.table.pipelines.is_empty(), "{:?}", s.table.pipelines);
            });
        });
        // The model holds that a lease stays while its shard is listed; a person said otherwise.
        let broken: Vec<&String> = run
            .violations
            .iter()
            .filter(|v| !v.contains("is deleted"))
            .collect();
        assert!(broken.is_empty(), "{broken:?}");
    }
}
