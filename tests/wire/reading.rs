//! `weir tail`, `weir verify` and `weir replay` beside and after a run: nothing is missing after it, what is taken out
//! of the log is found to the last event, and is put back without a repeat.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::records::{Fate, Kind, Unit};
use crate::shards::Service;
use crate::until;
use crate::world::{GROUP, PATIENCE, Settings, World, balanced};

/// A run over two thousand records in three shards, one of which splits on the way; ended.
async fn run(service: Service, others: &[Kind]) -> World {
    let settings = Settings::of(service);
    let mut world = World::new(&settings, Kind::fate, 3).await;
    let mut weir = world.start().await;
    for step in 0..500 {
        world.append_everywhere(Kind::Good);
        if step % 100 == 50 {
            others.iter().for_each(|kind| world.append(1, *kind));
        }
        if step == 250 {
            world.aws.state().stream.split(0);
        }
        tokio::task::yield_now().await;
    }
    let account = world.settle(&mut weir, PATIENCE).await;
    assert!(account.is_settled() && account.wrong.is_empty(), "{account:#?}");
    balanced(&mut weir).await;
    weir.terminate();
    assert_eq!(weir.ended().await.code(), Some(0));
    world
}

async fn verify(world: &World) -> (Value, i32) {
    let (answer, told, code) = world.ask(&["verify", "--to", "0s", "--json"]).await;
    let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {told}"));
    assert!(told.contains("one more reader"), "{told}");
    (answer, code)
}

fn records(world: &World) -> usize {
    let state = world.aws.state();
    state.stream.shards.iter().map(|shard| shard.records.len()).sum()
}

/// Takes this event of a shard's log stream out, as if it had been accepted and forgotten. Gives its unit.
fn take_out(world: &World, shard: usize, at: usize) -> Unit {
    let mut state = world.aws.state();
    let id = state.stream.shards[shard].id.clone();
    let stream = state.logs.groups.get_mut(GROUP).unwrap().streams.get_mut(&id);
    let event = stream.unwrap().remove(at);
    Unit::of(&event.message).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_events_that_the_log_forgot_are_found_and_put_back() {
    let others = [
        Kind::Envelope,
        Kind::Oversize,
        Kind::Undecodable,
        Kind::Empty,
        Kind::TooOld,
        Kind::Control,
    ];
    let world = run(Service::Kinesis, &others).await;
    let letters = others
        .iter()
        .filter(|kind| matches!(kind.fate(), Fate::Letter(_)))
        .count()
        * 5;
    let (all, code) = verify(&world).await;
    assert_eq!(
        (code, &all["complete"], &all["missing"]),
        (0, &true.into(), &0.into()),
        "{all:#}"
    );
    assert_eq!(all["records"], records(&world), "{all:#}");
    assert_eq!(all["dead_lettered"], letters, "{all:#}");
    assert_eq!((&all["repeated"], &all["differs"]), (&0.into(), &0.into()));

    let mut forgotten: Vec<Unit> = [(0, 3), (1, 400), (4, 7)]
        .map(|(shard, at)| take_out(&world, shard, at))
        .into();
    let (found, code) = verify(&world).await;
    assert_eq!(
        (code, &found["complete"], &found["missing"]),
        (1, &false.into(), &3.into()),
        "{found:#}"
    );
    let missing = found["missing_events"].as_array().unwrap();
    let mut positions: Vec<String> = missing
        .iter()
        .map(|off| off["id"].as_str().unwrap().to_owned())
        .collect();
    let of_unit = |unit: &Unit| {
        let state = world.aws.state();
        let shard = state
            .stream
            .shards
            .iter()
            .find(|shard| shard.id == unit.shard)
            .unwrap();
        let (shard, sequence) = (&shard.id, &shard.records[unit.record].sequence);
        format!(":{shard}:{sequence}:0")
    };
    forgotten.sort();
    positions.sort();
    for (unit, position) in forgotten.iter().zip(&positions) {
        assert!(position.ends_with(&of_unit(unit)), "{position} is not {unit}");
    }

    let replay = ["replay", "--to", "0s", "--skip-delivered", "--json"];
    let (sent, told, code) = world.ask(&replay).await;
    let sent: Value = serde_json::from_str(&sent).unwrap_or_else(|e| panic!("{e}: {told}"));
    assert_eq!(
        (code, &sent["events"], &sent["dead_lettered"]),
        (0, &3.into(), &0.into()),
        "{sent:#}"
    );
    let (mended, code) = verify(&world).await;
    assert_eq!(
        (code, &mended["complete"], &mended["repeated"]),
        (0, &true.into(), &0.into()),
        "{mended:#}"
    );
    assert!(world.account().is_settled());
    let complaints = world.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_known_by_their_ids_and_tail_prints_what_is_in_the_log() {
    let world = run(Service::DynamoDb, &[Kind::Undecodable]).await;
    {
        // One told by other settings, and one twice.
        let mut state = world.aws.state();
        let id = state.stream.shards[1].id.clone();
        let stream = state
            .logs
            .groups
            .get_mut(GROUP)
            .unwrap()
            .streams
            .get_mut(&id)
            .unwrap();
        stream[5].message = stream[5].message.replace("placed", "***");
        let again = stream[9].clone();
        stream.push(again);
    }
    let (found, code) = verify(&world).await;
    let counts = ["differs", "repeated", "missing", "dead_lettered"].map(|name| found[name].as_u64());
    assert_eq!(
        (code, counts),
        (1, [Some(1), Some(1), Some(0), Some(5)]),
        "{found:#}"
    );

    // All that it holds, as it stands in the log.
    let (printed, told, code) = world.ask(&["tail", "--no-follow"]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(told.matches("would be a dead letter").count(), 5, "{told}");
    let mut printed: Vec<&str> = printed.lines().collect();
    printed.sort_unstable();
    let mut logged: Vec<String> = Vec::new();
    {
        let state = world.aws.state();
        for (name, stream) in &state.logs.groups[GROUP].streams {
            let is_of_letters = name == crate::logs::LETTERS;
            logged.extend(
                stream
                    .iter()
                    .filter(|_| !is_of_letters)
                    .map(|event| event.message.clone()),
            );
        }
    }
    logged.sort_unstable();
    logged.dedup();
    let same = printed
        .iter()
        .filter(|line| logged.binary_search_by(|have| have.as_str().cmp(line)).is_ok());
    assert_eq!(
        (printed.len(), same.count()),
        (records(&world) - 5, records(&world) - 6)
    );

    // What comes from now on, until Ctrl-C.
    let mut tail = world.follow(&["tail", "--json"]);
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let appended = std::cell::Cell::new(0);
    until("a line of tail", Duration::from_secs(60), async || {
        world.append(1, Kind::Good);
        appended.set(appended.get() + 1);
        tokio::time::timeout(Duration::from_secs(1), lines.next_line())
            .await
            .is_ok_and(|line| {
                let line: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
                line["group"] == GROUP && line["message"].as_str().unwrap().contains("placed")
            })
    })
    .await;
    let pid = Pid::from_raw(tail.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = tokio::time::timeout(PATIENCE, tail.wait())
        .await
        .expect("hangs")
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(world.complaints().is_empty(), "{:#?}", world.complaints());
}
