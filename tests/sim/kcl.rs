//! Stories with the Kinesis Client Library: its stopped fleet's table is gone on with, a live one is left
//! alone, and what Weir leaves behind KCL can take over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use weir::config::StreamChoice;
use weir::lease::item::{from_lease, lease_attr};
use weir::lease::keys::{Keys, Reader};
use weir::lease::{Checkpoint, Lease, LeaseKey, WorkerId};
use weir::stream::{ShardId, StreamArn};

use crate::directed::{PATIENCE, enable, repeats, s, tell};
use crate::process::Slot;
use crate::scenario::{any, settle, write_some};
use crate::seeds::{Run, chosen, demand_kept, run};
use crate::streams::ShardNo;
use crate::subject;
use crate::world::{State, World};

/// Longer than any story: a process that refuses to work is not started again.
const FOR_EVER: Duration = Duration::from_secs(100_000);

fn one_stream() -> Keys {
    Keys::KclOneStream("orders".to_owned())
}

fn several_streams() -> Keys {
    Keys::KclStreams(vec![Reader {
        pipeline: "orders".to_owned(),
        stream: StreamChoice::Table("orders".to_owned()),
        region: None,
    }])
}

/// How far KCL came in a shard.
#[derive(Clone, Copy)]
enum Far {
    /// Its lease was created, no more.
    Horizon,
    Latest,
    /// So many of its changes are delivered and checkpointed.
    At(usize),
    End,
    /// Read to the end, and its lease cleaned up.
    Cleaned,
    /// It was not known yet.
    Never,
}

impl State {
    /// KCL's row of a shard, and what it has delivered.
    fn kcl_left(&mut self, shard: usize, far: Far, owner: Option<&str>) {
        let at: ShardNo = (0, shard);
        let changes = self.streams.shard(at).changes.clone();
        let delivered = match far {
            Far::Horizon | Far::Latest | Far::Never => 0,
            Far::At(n) => n,
            Far::End | Far::Cleaned => changes.len(),
        };
        for &gid in &changes[..delivered] {
            self.delivered_elsewhere(gid);
        }
        let checkpoint = match far {
            Far::Cleaned | Far::Never => return,
            Far::Horizon => Checkpoint::TrimHorizon,
            Far::Latest => Checkpoint::Latest,
            Far::At(n) => Checkpoint::At(self.streams.changes[changes[n - 1]].seq.clone(), 0),
            Far::End => Checkpoint::ShardEnd,
        };
        let arn = self.streams.streams[0].arn.clone();
        let ids = |shards: &[usize], s: &Self| -> Vec<ShardId> {
            shards
                .iter()
                .map(|&i| s.streams.shard((0, i)).id.clone())
                .collect()
        };
        let id = self.streams.shard(at).id.clone();
        let parents = ids(&self.streams.shard(at).parents.clone(), self);
        let children = match far {
            Far::End => ids(&self.streams.children(at), self),
            _ => Vec::new(),
        };
        let lease = self.keys.row(&Lease {
            key: self.keys.of("orders", &arn, false, &id),
            owner: owner.map(WorkerId::new),
            counter: 40 + shard as u64,
            checkpoint,
            stream: Some(arn),
            shard: id,
            parents,
            children,
            owner_switches: 0,
            hash_range: None,
        });
        self.table.leases.insert(lease.key.clone(), lease);
    }

    fn kcl_keys(&self) -> BTreeSet<LeaseKey> {
        self.table.leases.keys().cloned().collect()
    }
}

/// Three shards; the first was split into 3 and 4, the others were merged into 5.
async fn a_resharded_stream(world: &Arc<World>) {
    enable(world, 3);
    write_some(world, 200, 300, s(20)).await;
    world.with(|s| {
        let now = s.now;
        s.streams.divide((0, 0), 2, now, Duration::ZERO, &mut s.rng);
    });
    write_some(world, 200, 300, s(10)).await;
    world.with(|s| {
        let now = s.now;
        assert!(s.streams.merge(0, now, Duration::ZERO, &mut s.rng));
        assert_eq!(s.streams.shard((0, 5)).parents, [1, 2]);
    });
    write_some(world, 200, 300, s(10)).await;
}

/// The names of attributes that KCL's own rows have, by a dump of a real run.
fn kcl_row(lease: &Lease) -> BTreeSet<&'static str> {
    use lease_attr as attr;
    let mut names = BTreeSet::from([
        attr::KEY,
        attr::COUNTER,
        attr::CHECKPOINT,
        attr::SUB_SEQUENCE,
        attr::SWITCHES,
    ]);
    names.extend(lease.owner.is_some().then_some(attr::OWNER));
    names.extend((!lease.parents.is_empty()).then_some(attr::PARENTS));
    names.extend((!lease.children.is_empty()).then_some(attr::CHILDREN));
    if lease.key.as_str().contains(':') {
        names.extend([attr::STREAM, attr::SHARD]);
    }
    names
}

/// Rows that a KCL application can go on from at once: its keys, its attributes, nobody's.
fn kcl_can_go_on(s: &State) {
    assert!(!s.table.leases.is_empty());
    for lease in s.table.leases.values() {
        // As of KCL's own, the last owner's name stays on what has ended.
        let ended = lease.checkpoint == Checkpoint::ShardEnd;
        assert!(ended || lease.owner.is_none(), "{lease:?}");
        let row = from_lease(lease);
        let names: BTreeSet<&str> = row.keys().map(String::as_str).collect();
        assert_eq!(names, kcl_row(lease), "{lease:?}");
        let one = lease.key.as_str() == lease.shard.as_str() && lease.stream.is_none();
        let name = "111122223333:eu-west-1$111122223333$orders$2026-01-01T00_00_00.000-0:1";
        let several = lease.key.as_str() == format!("{name}:{}", lease.shard)
            && lease.stream.as_ref().map(StreamArn::as_str) == Some(name);
        assert!(one || several, "{lease:?}");
    }
}

fn starts(world: &Arc<World>, number: usize) -> Slot {
    Slot::start(world, number, &subject::program(), FOR_EVER)
}

#[test]
fn a_stopped_fleets_table_is_gone_on_with_from_its_checkpoints() {
    use Far::{At, Cleaned, End, Horizon, Never};
    // Of the six shards of `a_resharded_stream`, in its order.
    let tables: [(&str, [Far; 6]); 6] = [
        (
            "in the first shards",
            [At(3), At(1), Horizon, Never, Never, Never],
        ),
        (
            "the split's parent ended",
            [End, At(5), At(4), At(2), Horizon, Never],
        ),
        (
            "one parent of the merge ended",
            [End, At(3), End, At(2), At(1), Horizon],
        ),
        (
            "ended leases cleaned up",
            [Cleaned, End, End, At(2), At(3), At(1)],
        ),
        ("all cleaned up", [Cleaned, Cleaned, Cleaned, At(2), At(3), At(1)]),
        (
            "a sibling not known",
            [End, Cleaned, Cleaned, At(2), Never, At(1)],
        ),
    ];
    for (keys, seeds) in [(one_stream(), 3), (several_streams(), 1)] {
        for (what, table) in &tables {
            let name = "kcl::a_stopped_fleets_table_is_gone_on_with_from_its_checkpoints";
            let runs = tell(name, seeds, async |world| {
                world.with(|s| s.keys = keys.clone());
                a_resharded_stream(&world).await;
                let before = world.with(|s| {
                    for (shard, far) in table.iter().enumerate() {
                        let owner = [Some("w1"), Some("w2"), None][shard % 3];
                        s.kcl_left(shard, *far, owner);
                    }
                    s.table.leases.clone()
                });
                let (weir, other) = (starts(&world, 0), starts(&world, 1));
                write_some(&world, 60, 12, s(15)).await;
                world.with(|s| {
                    assert_eq!(
                        s.table.leases, before,
                        "{what}: nothing is written before KCL is known to be dead"
                    );
                });
                write_some(&world, 100, 12, s(60)).await;
                settle(&world, PATIENCE).await;
                for slot in [&weir, &other] {
                    slot.stop();
                    slot.gone().await;
                }
                world.with(|s| {
                    let keys = s.kcl_keys();
                    assert!(before.keys().all(|key| keys.contains(key)), "{what}");
                    for (shard, far) in table.iter().enumerate() {
                        let there = s.lease_of((0, shard)).is_some();
                        assert_eq!(there, !matches!(far, Cleaned), "{what}: shard {shard}");
                    }
                    kcl_can_go_on(s);
                });
            });
            assert!(
                runs.iter().all(|run| repeats(run) == 0),
                "{what}: what KCL had checkpointed was delivered again"
            );
        }
    }
}

#[test]
fn a_shard_that_kcl_had_at_latest_is_read_from_its_horizon() {
    let name = "kcl::a_shard_that_kcl_had_at_latest_is_read_from_its_horizon";
    let runs = tell(name, 2, async |world| {
        world.with(|s| s.keys = one_stream());
        enable(&world, 2);
        write_some(&world, 40, 8, s(10)).await;
        world.with(|s| {
            s.kcl_left(0, Far::Latest, Some("w1"));
            s.kcl_left(1, Far::Latest, None);
            // Says nothing to a lease that stands in the table.
            s.settings.start = weir::config::Start::Latest;
        });
        let _weir = starts(&world, 0);
        write_some(&world, 40, 8, s(40)).await;
        settle(&world, PATIENCE).await;
    });
    for run in runs {
        run.world
            .with(|s| assert_eq!(s.model.delivered(), s.streams.changes.len(), "nothing is skipped"));
    }
}

#[test]
fn rows_of_a_stream_before_the_present_one_are_read_there() {
    let name = "kcl::rows_of_a_stream_before_the_present_one_are_read_there";
    for keys in [one_stream(), several_streams()] {
        let runs = tell(name, 2, async |world| {
            world.with(|s| {
                s.keys = keys.clone();
                s.streams.ids_apart = true;
            });
            enable(&world, 2);
            write_some(&world, 60, 8, s(10)).await;
            world.with(|s| {
                s.kcl_left(0, Far::At(3), Some("w1"));
                s.kcl_left(1, Far::At(4), Some("w1"));
            });
            // While KCL is stopped, and before Weir has begun.
            enable(&world, 2);
            write_some(&world, 60, 8, s(10)).await;
            let _weir = starts(&world, 0);
            write_some(&world, 60, 8, s(100)).await;
            settle(&world, PATIENCE).await;
        });
        for run in runs {
            assert_eq!(repeats(&run), 0);
            run.world.with(|s| {
                assert_eq!(s.table.gaps.len(), 0, "{:?}", s.table.gaps);
                assert_eq!(s.model.delivered(), 180);
            });
        }
    }
}

#[test]
fn what_was_trimmed_while_kcl_was_stopped_is_a_recorded_gap() {
    let name = "kcl::what_was_trimmed_while_kcl_was_stopped_is_a_recorded_gap";
    let runs = tell(name, 2, async |world| {
        world.with(|s| s.keys = one_stream());
        a_resharded_stream(&world).await;
        world.with(|s| {
            s.kcl_left(0, Far::At(3), Some("w1"));
            s.kcl_left(1, Far::At(3), Some("w1"));
            s.kcl_left(2, Far::At(3), None);
            s.streams.shard_mut((0, 0)).gone = true;
            s.streams.trim((0, 1), 10);
        });
        let _weir = starts(&world, 0);
        write_some(&world, 100, 12, s(60)).await;
        settle(&world, PATIENCE).await;
    });
    for run in runs {
        run.world.with(|s| {
            let after: Vec<_> = s.table.gaps.iter().map(|g| (&g.shard, &g.after)).collect();
            let third = |shard: usize| {
                let shard = s.streams.shard((0, shard));
                (&shard.id, s.streams.changes[shard.changes[2]].seq.to_string())
            };
            let mut gaps: Vec<_> = after
                .iter()
                .map(|(shard, after)| (*shard, (*after).clone()))
                .collect();
            gaps.sort();
            assert_eq!(gaps, [third(0), third(1)], "each after KCL's checkpoint");
        });
    }
}

#[test]
fn the_table_of_another_stream_is_not_touched() {
    let name = "kcl::the_table_of_another_stream_is_not_touched";
    tell(name, 1, async |world| {
        world.with(|s| s.keys = one_stream());
        enable(&world, 1);
        write_some(&world, 20, 8, s(10)).await;
        let before = world.with(|s| {
            s.kcl_left(0, Far::At(3), Some("w1"));
            let mut lease = s.table.leases.pop_first().unwrap().1;
            lease.key = LeaseKey::new("shardId-000000000000");
            lease.shard = ShardId::new("shardId-000000000000");
            s.table.leases.insert(lease.key.clone(), lease);
            s.table.leases.clone()
        });
        let _weir = starts(&world, 0);
        world.pass_time(s(300)).await;
        world.with(|s| assert_eq!(s.table.leases, before));
    });
}

/// A KCL worker that renews what it owns, and takes what stands still for its failover time.
async fn kcl_works(world: Arc<World>, me: &'static str, takes: bool) {
    let me = WorkerId::new(me);
    let mut seen: std::collections::BTreeMap<LeaseKey, (u64, Duration)> = Default::default();
    loop {
        world.with(|s| {
            let now = s.now;
            for lease in s.table.leases.values_mut() {
                if lease.owner.as_ref() == Some(&me) {
                    lease.counter += 1;
                    continue;
                }
                let (counter, since) = seen.entry(lease.key.clone()).or_insert((lease.counter, now));
                if *counter != lease.counter {
                    (*counter, *since) = (lease.counter, now);
                } else if takes && now >= *since + Duration::from_secs(10) {
                    lease.owner = Some(me.clone());
                    lease.counter += 1;
                }
            }
        });
        world.pass_time(Duration::from_millis(3_300)).await;
    }
}

/// The one broken promise is that a process ended, and these are its last words.
fn ended_for(run: &Run, owner: &str) {
    let [told] = run.violations.as_slice() else {
        panic!("{:?}", run.violations)
    };
    let what = format!("died: `{owner}` holds leases of the table weir");
    assert!(
        told.contains(&what) && told.contains("stop the KCL application"),
        "{told}"
    );
}

#[test]
fn a_live_kcl_is_left_alone() {
    for seed in chosen(0..5) {
        let run = run(seed, async |world| {
            world.with(|s| s.keys = one_stream());
            a_resharded_stream(&world).await;
            world.with(|s| {
                // One lease is free, which Weir would take at once.
                let far = [Far::End, Far::At(3), Far::At(4), Far::At(1), Far::Horizon];
                for (shard, far) in far.into_iter().enumerate() {
                    let owner = [Some("w1"), Some("w1"), Some("dead"), Some("w1"), None][shard];
                    s.kcl_left(shard, far, owner);
                }
            });
            let kcl = tokio::spawn(kcl_works(world.clone(), "w1", false));
            let rows = |s: &mut State| -> Vec<_> {
                let leases = s.table.leases.values();
                leases
                    .map(|l| (l.key.clone(), l.owner.clone(), l.checkpoint.clone()))
                    .collect()
            };
            let before = world.with(rows);
            let weir = starts(&world, 0);
            world.pass_time(s(15)).await;
            assert_eq!(weir.pid(), None, "it has refused");
            world.with(|s| {
                assert_eq!(rows(s), before);
                assert!(s.table.streams.is_empty() && s.table.workers.is_empty());
                assert_eq!(s.logs.puts, 0);
            });
            kcl.abort();
        });
        ended_for(&run, "w1");
    }
}

#[test]
fn a_kcl_that_appears_ends_weir_by_a_drain() {
    for seed in chosen(0..5) {
        let run = run(seed, async |world| {
            world.with(|s| s.keys = one_stream());
            enable(&world, 2);
            let (first, second) = (starts(&world, 0), starts(&world, 1));
            write_some(&world, 60, 8, s(60)).await;
            // All is delivered and checkpointed; nothing new comes, so that nothing is put twice.
            world.pass_time(s(20)).await;
            let kcl = tokio::spawn(kcl_works(world.clone(), "w1", true));
            // The caretaker looks at all leases each 30 s, and then often; so does the next one after it.
            world.pass_time(s(100)).await;
            for slot in [&first, &second] {
                assert_eq!(slot.pid(), None, "it has drained");
            }
            world.with(|s| {
                let mine = |l: &&Lease| l.owner.as_ref() != Some(&WorkerId::new("w1"));
                assert_eq!(s.table.leases.values().find(mine), None);
                assert!(s.table.workers.is_empty(), "it has left: {:?}", s.table.workers);
            });
            kcl.abort();
        });
        // Until a scan shows KCL's worker, both read: that is what the two are never to be run together for.
        let told: Vec<&String> = run
            .violations
            .iter()
            .filter(|v| !v.contains("one_reader: "))
            .collect();
        let [one, two] = told.as_slice() else {
            panic!("{:?}", run.violations)
        };
        assert!(
            one.contains("`w1` holds leases") && two.contains("`w1` holds leases"),
            "{one} {two}"
        );
        assert_eq!(repeats(&run), 0);
    }
}

#[test]
fn every_story_keeps_the_promises_with_kcls_keys() {
    for seed in chosen(3_000..3_040) {
        let run = run(seed, async |world: Arc<World>| {
            world.with(|s| {
                s.keys = if s.rng.bool() {
                    one_stream()
                } else {
                    several_streams()
                };
                s.streams.ids_apart = true;
            });
            any(world, subject::program()).await;
        });
        demand_kept(
            "kcl::every_story_keeps_the_promises_with_kcls_keys",
            seed,
            &run,
            &[seed],
        );
    }
}
