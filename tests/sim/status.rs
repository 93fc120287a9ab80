//! What a worker tells of the fleet, and what that costs.

use std::sync::Arc;
use std::time::Duration;

use weir::clock::Clock;
use weir::status::fleet::FleetView;
use weir::stream::lineage::Waiting;

use crate::clock::SimClock;
use crate::directed::{PATIENCE, enable, s, start, tell};
use crate::process::Slot;
use crate::scenario::{settle, write_some};
use crate::world::{Seat, State, World};

fn view(world: &World, slot: &Slot) -> Arc<FleetView> {
    let pid = slot.pid().unwrap();
    world.with(|s| s.reports[&pid].fleet()).unwrap()
}

fn clock(world: &Arc<World>, slot: &Slot) -> SimClock {
    SimClock::new(Seat {
        world: world.clone(),
        pid: slot.pid().unwrap(),
    })
}

fn ask(world: &Arc<World>, slot: &Slot) {
    let (now, pid) = (clock(world, slot).now(), slot.pid().unwrap());
    world.with(|s| s.reports[&pid].ask(now));
}

/// Reads of the state tables over so long.
async fn reads(world: &Arc<World>, over: Duration) -> u64 {
    let before = world.with(|s| s.cost.reads);
    world.pass_time(over).await;
    world.with(|s| s.cost.reads) - before
}

#[test]
fn the_leases_are_read_oftener_only_while_somebody_looks() {
    let name = "status::the_leases_are_read_oftener_only_while_somebody_looks";
    tell(name, 3, async |world| {
        enable(&world, 4);
        world.with(|s| s.page = Some(1_000));
        let slots = [start(&world, 0), start(&world, 1), start(&world, 2)];
        world.pass_time(s(120)).await;
        let idle = slots
            .iter()
            .find(|slot| !view(&world, slot).is_caretaker("orders"))
            .unwrap();
        let scanned = |slot: &Slot| view(&world, slot).scan.as_ref().unwrap().at;
        let last = scanned(idle);
        let usual = reads(&world, s(120)).await;
        assert_eq!(
            scanned(idle),
            last,
            "nobody looks: the leases are not read for that"
        );

        let before = world.with(|s| s.cost.reads);
        for _ in 0..24 {
            ask(&world, idle);
            world.pass_time(s(5)).await;
            let age = clock(&world, idle).now().since(scanned(idle));
            assert!(age <= s(16), "what is shown is {age:?} old");
        }
        let looked = world.with(|s| s.cost.reads) - before;
        // Each look reads the streams' rows and the leases, each 10 s at most; and the rows' reads vary.
        assert!(looked > usual + 10, "{looked} reads beside the usual {usual}");
        assert!(
            looked <= usual + 2 * 14 + usual / 10,
            "{looked} reads beside the usual {usual}"
        );

        // The look counts for a minute.
        world.pass_time(s(75)).await;
        let last = scanned(idle);
        let after = reads(&world, s(120)).await;
        assert_eq!(scanned(idle), last, "nobody looks any more");
        assert!(after <= usual + usual / 10, "{after} reads, and {usual} before");
        settle(&world, PATIENCE).await;
    });
}

#[test]
fn a_large_table_is_read_for_a_look_each_half_minute_at_most() {
    let name = "status::a_large_table_is_read_for_a_look_each_half_minute_at_most";
    tell(name, 1, async |world| {
        enable(&world, 1_200);
        world.with(|s| {
            s.page = Some(2_000);
            s.settings.poll_idle = Duration::from_secs(60);
            s.settings.memory = 1 << 40;
            s.tracing = false;
        });
        let slots = [start(&world, 0), start(&world, 1)];
        world.pass_time(s(120)).await;
        let idle = slots
            .iter()
            .find(|slot| !view(&world, slot).is_caretaker("orders"))
            .unwrap();
        let mut scans = std::collections::BTreeSet::new();
        for _ in 0..100 {
            ask(&world, idle);
            world.pass_time(s(1)).await;
            scans.insert(view(&world, idle).scan.as_ref().unwrap().at);
        }
        // The one before, and one each 30 s.
        assert!((3..=5).contains(&scans.len()), "{} scans", scans.len());
    });
}

#[test]
fn a_view_tells_who_waits_for_what_and_each_row_the_lag_of_its_worker() {
    let name = "status::a_view_tells_who_waits_for_what_and_each_row_the_lag_of_its_worker";
    tell(name, 3, async |world| {
        enable(&world, 2);
        // A lag is told by the calendars.
        world.with(|s| s.skew = Duration::ZERO);
        let slots = [start(&world, 0), start(&world, 1)];
        write_some(&world, 40, 10, s(20)).await;
        world.pass_time(s(10)).await;
        for slot in &slots {
            let view = view(&world, slot);
            assert_eq!(view.rows.len(), 2);
            assert!(view.beats.contains_key(&view.me), "its own heartbeat too");
            assert_eq!(view.pipelines["orders"].wanted, Some(1), "{:?}", view.pipelines);
        }
        // Nothing is delivered, and so no parent ends.
        world.with(|s| s.sink_down_until = s.now + Duration::from_secs(120));
        write_some(&world, 20, 10, s(5)).await;
        world.with(State::reshard);
        write_some(&world, 20, 10, s(5)).await;
        world.pass_time(s(60)).await;
        world.with(|s| {
            let rows = || s.table.workers.values();
            assert!(rows().all(|row| row.held["orders"] == 1 && row.lag.contains_key("orders")));
            // Behind since the outage began, as of the last heartbeat.
            let lag = rows().map(|row| row.lag["orders"]).max();
            assert!(
                lag.is_some_and(|lag| (60_000..75_000).contains(&lag)),
                "{lag:?} ms"
            );
        });
        for slot in &slots {
            ask(&world, slot);
        }
        world.pass_time(s(15)).await;
        for slot in &slots {
            let view = view(&world, slot);
            let scan = view.scan.as_ref().unwrap();
            assert!(
                !scan.waiting.is_empty(),
                "children wait for parents that can't be delivered"
            );
            let parents = scan.waiting.values().all(|why| {
                matches!(
                    why,
                    Waiting::Parent(_) | Waiting::ParentWithoutLease(_) | Waiting::Listing
                )
            });
            assert!(parents, "{:?}", scan.waiting);
            assert!(scan.unread.is_empty(), "{:?}", scan.unread);
        }
        settle(&world, PATIENCE).await;
    });
}
