use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// An item in DynamoDB's JSON. Types that no row of Weir's uses are left out.
fn item(json: &Value) -> Item {
    json.as_object()
        .unwrap()
        .iter()
        .filter_map(|(name, value)| {
            let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
            let text = |v: &Value| v.as_str().unwrap().to_owned();
            let attr = match kind.as_str() {
                "S" => Attr::S(text(value)),
                "N" => Attr::N(text(value)),
                "BOOL" => Attr::Bool(value.as_bool().unwrap()),
                "SS" => Attr::Ss(value.as_array().unwrap().iter().map(text).collect()),
                _ => return None,
            };
            Some((name.clone(), attr))
        })
        .collect()
}

fn golden_rows() -> Vec<Item> {
    let mut rows = Vec::new();
    for version in ["2.5.8", "3.1.3"] {
        let path = format!("{}/tests/golden/kcl/{version}.json", env!("CARGO_MANIFEST_DIR"));
        let steps: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for step in steps.as_array().unwrap() {
            rows.extend(step["leases"].as_array().unwrap().iter().map(item));
        }
    }
    rows
}

#[test]
fn every_row_of_a_real_kcl_table_keeps_the_attributes_that_weir_knows() {
    let rows = golden_rows();
    assert!(rows.len() >= 200, "{}", rows.len());
    for row in rows {
        let lease = to_lease(&row).unwrap().unwrap();
        assert_eq!(
            lease.shard.as_str(),
            lease.key.as_str(),
            "a one-stream table keys by shard"
        );
        let again = from_lease(&lease);
        for (name, value) in &again {
            assert_eq!(row.get(name), Some(value), "{name} of {row:?}");
        }
        let unknown = ["throughputKBps", lease_attr::CHECKPOINT_OWNER];
        for name in row.keys() {
            assert!(
                again.contains_key(name) || unknown.contains(&name.as_str()),
                "{name} was lost"
            );
        }
    }
}

#[test]
fn the_shard_is_the_last_part_of_a_key() {
    for (key, shard) in [
        ("shardId-000000000001", "shardId-000000000001"),
        ("orders/shardId-0001-f35f62ef", "shardId-0001-f35f62ef"),
        ("111122223333:audit:1700000000:shardId-7", "shardId-7"),
    ] {
        assert_eq!(shard_in(key), shard);
    }
}

#[test]
fn rows_of_another_entity_are_no_leases() {
    let mut row = golden_rows().remove(0);
    row.insert(lease_attr::ENTITY.to_owned(), Attr::S("LEASE".to_owned()));
    assert!(to_lease(&row).unwrap().is_some());
    row.insert(
        lease_attr::ENTITY.to_owned(),
        Attr::S("WORKER_METRIC_STATS".to_owned()),
    );
    assert_eq!(to_lease(&row).unwrap(), None);
}

#[test]
fn an_unreadable_row_names_its_key_and_attribute() {
    let good = golden_rows().remove(0);
    let key = to_lease(&good).unwrap().unwrap().key;
    for (attribute, value) in [
        (lease_attr::COUNTER, None),
        (lease_attr::COUNTER, Some(Attr::S("7".to_owned()))),
        (lease_attr::COUNTER, Some(Attr::N("7.5".to_owned()))),
        (lease_attr::CHECKPOINT, None),
        (lease_attr::CHECKPOINT, Some(Attr::S("HERE".to_owned()))),
        (lease_attr::OWNER, Some(Attr::Bool(true))),
        (lease_attr::PARENTS, Some(Attr::S("shardId-0".to_owned()))),
    ] {
        let mut bad = good.clone();
        bad.remove(attribute);
        bad.extend(value.map(|v| (attribute.to_owned(), v)));
        let error = to_lease(&bad).unwrap_err();
        assert_eq!((error.key.as_str(), error.attribute), (key.as_str(), attribute));
        assert!(error.to_string().contains(attribute), "{error}");
    }
    let mut at_time = good;
    at_time.insert(lease_attr::CHECKPOINT.to_owned(), text("AT_TIMESTAMP"));
    let lease = to_lease(&at_time).unwrap().unwrap();
    assert_eq!(
        lease.checkpoint,
        Checkpoint::AtUnknownTimestamp,
        "KCL keeps the time elsewhere"
    );
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn id() -> &'static str {
    "[a-zA-Z0-9_.-]{1,12}"
}

fn arn() -> impl Strategy<Value = StreamArn> {
    "arn:aws:dynamodb:eu-west-1:[0-9]{12}:table/[a-z]{3,8}/stream/[0-9]{4}".prop_map(StreamArn::new)
}

fn shard_set() -> impl Strategy<Value = Vec<ShardId>> {
    prop::collection::btree_set(id(), 0..4).prop_map(|ids| ids.into_iter().map(ShardId::new).collect())
}

fn any_checkpoint() -> impl Strategy<Value = Checkpoint> {
    prop_oneof![
        Just(Checkpoint::TrimHorizon),
        Just(Checkpoint::Latest),
        Just(Checkpoint::ShardEnd),
        Just(Checkpoint::AtUnknownTimestamp),
        time().prop_map(Checkpoint::AtTimestamp),
        ("[0-9]{1,56}", any::<u64>())
            .prop_map(|(digits, sub)| Checkpoint::At(SequenceNumber::parse(&digits).unwrap(), sub)),
    ]
}

prop_compose! {
    fn lease()(
        key in "[a-z]{1,6}[/:]?[a-z0-9-]{1,9}",
        owner in prop::option::of(id()),
        counter in any::<u64>(),
        checkpoint in any_checkpoint(),
        stream in prop::option::of(arn()),
        shard in id(),
        parents in shard_set(),
        children in shard_set(),
        owner_switches in any::<u64>(),
        hash_range in prop::option::of(("[0-9]{1,39}", "[0-9]{1,39}")),
    ) -> Lease {
        Lease {
            key: LeaseKey::new(key),
            owner: owner.map(WorkerId::new),
            counter,
            checkpoint,
            stream,
            shard: ShardId::new(shard),
            parents,
            children,
            owner_switches,
            hash_range: hash_range.map(|(starting, ending)| HashKeyRange {
                starting: starting.into(),
                ending: ending.into(),
            }),
        }
    }
}

/// In the order of a set, each once.
fn notes() -> impl Strategy<Value = Vec<Note>> {
    let word = "[a-z/:-]{1,9}";
    let note = (word, any::<u64>(), word, prop::option::of("[a-z -]{1,9}"));
    prop::collection::btree_map(0..99_u8, note, 0..4).prop_map(|notes| {
        let mut notes: Vec<Note> = notes
            .into_values()
            .map(|(lease, counter, to, owner)| Note {
                lease: LeaseKey::new(lease),
                owner: owner.map(WorkerId::new),
                counter,
                to: WorkerId::new(to),
            })
            .collect();
        notes.sort_by_key(note_text);
        notes.dedup();
        notes
    })
}

prop_compose! {
    fn worker()(
        id in id(),
        numbers in any::<(u64, u64)>(),
        flags in any::<(bool, bool, bool)>(),
        pipelines in prop::collection::btree_set(id(), 0..4),
        notes in notes(),
        version in "\\PC{0,9}",
        started in time(),
    ) -> WorkerRow {
        WorkerRow {
            id: WorkerId::new(id),
            heartbeat: numbers.0,
            evicted: flags.0,
            tombstone: flags.1,
            draining: flags.2,
            held: pipelines.iter().map(|p| (p.clone(), numbers.1)).collect(),
            totals: pipelines.iter().map(|p| (p.clone(), numbers.0)).collect(),
            rounds: [("p".to_owned(), 3)].into(),
            saw: pipelines.iter().map(|p| (WorkerId::new(p.as_str()), 7)).collect(),
            notes,
            lag: pipelines.iter().map(|p| (p.clone(), numbers.1)).collect(),
            until_trim: [("p".to_owned(), numbers.0)].into(),
            lease: Duration::from_millis(numbers.0),
            version,
            started,
        }
    }
}

proptest! {
    #[test]
    fn a_lease_comes_back_from_its_row(lease in lease()) {
        prop_assert_eq!(to_lease(&from_lease(&lease)).unwrap(), Some(lease));
    }

    #[test]
    fn a_worker_comes_back_from_its_row(worker in worker()) {
        prop_assert_eq!(to_worker(&from_worker(&worker)).unwrap(), worker);
    }

    #[test]
    fn a_pipeline_comes_back_from_its_row(name in id(), paused: bool, since in prop::option::of(time())) {
        let pipeline = PipelineRow { name, paused, unlisted_since: since };
        prop_assert_eq!(to_pipeline(&from_pipeline(&pipeline)).unwrap(), pipeline);
    }

    #[test]
    fn a_stream_comes_back_from_its_row(
        pipeline in id(),
        arn in arn(),
        start in prop_oneof![Just(ResolvedStart::TrimHorizon), time().prop_map(ResolvedStart::At)],
        complete: bool,
    ) {
        let stream = StreamRow { pipeline, arn, start, complete };
        prop_assert_eq!(to_stream(&from_stream(&stream)).unwrap(), stream);
    }

    #[test]
    fn a_gap_comes_back_from_its_row(
        pipeline in id(),
        arn in arn(),
        shard in id(),
        after in any_checkpoint(),
        noticed in time(),
        reason in "\\PC{0,20}",
    ) {
        let gap = GapRow { pipeline, arn, shard: ShardId::new(shard), after: after.to_string(), noticed, reason };
        prop_assert_eq!(to_gap(&from_gap(&gap)).unwrap(), gap);
    }
}
