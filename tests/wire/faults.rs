//! The table of faults.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::inject::{Reply, Rule, on};
use crate::judge::Account;
use crate::records::Kind;
use crate::server::State;
use crate::shards::Service;
use crate::story::{POISONED, Repeats, Script, Story, Told};
use crate::world::GROUP;

/// A row without a fault, of a DynamoDB stream.
fn row(name: &'static str) -> Story {
    Story {
        name,
        service: Service::DynamoDb,
        rules: Vec::new(),
        poison: Vec::new(),
        prepare: |_| {},
        after: |state| {
            let kept = state.logs.groups[GROUP].retention;
            assert_eq!(kept, Some(30), "the retention of the group that Weir made");
        },
        script: Script::None,
        repeats: Repeats::Never,
        counts: Vec::new(),
        by_chance: false,
    }
}

impl Story {
    fn kinesis(mut self) -> Self {
        self.service = Service::Kinesis;
        self
    }

    fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    fn poison(mut self, kinds: &[Kind]) -> Self {
        self.poison.extend(kinds);
        self
    }

    fn prepare(mut self, prepare: fn(&mut State)) -> Self {
        self.prepare = prepare;
        self
    }

    fn after(mut self, after: fn(&State)) -> Self {
        self.after = after;
        self
    }

    fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    fn repeats(mut self, repeats: Repeats) -> Self {
        self.repeats = repeats;
        self
    }

    fn by_chance(mut self) -> Self {
        self.by_chance = true;
        self
    }

    fn counts(mut self, series: &'static str) -> Self {
        self.counts.push(series);
        self
    }
}

const THROTTLED: &str = "weir_put_errors_total{class=\"throttled\"";
const UNANSWERED: &str = "weir_put_errors_total{class=\"unanswered\"";
const UNAVAILABLE: &str = "weir_put_errors_total{class=\"unavailable\"";
const DENIED: &str = "weir_put_errors_total{class=\"denied\"";
const READ_THROTTLED: &str = "weir_source_errors_total{class=\"throttled\"";
const READ_UNAVAILABLE: &str = "weir_source_errors_total{class=\"unavailable\"";
const EXPIRED: &str = "weir_source_errors_total{class=\"iterator_expired\"";
const TABLE: &str = "weir_table_errors_total";
const MAYBE: &str = "weir_events_possibly_repeated_total";

fn put() -> Rule {
    on("PutLogEvents").after(2)
}

/// A put whose log stream is that of the shard that is struck alone.
fn put_alone() -> Rule {
    on("PutLogEvents").with("\"logStreamName\":\"shardId-00000001700000000002-0a1b2c3d\"")
}

/// A write to the worker's own row.
fn beat() -> Rule {
    on("UpdateItem").with("{\"S\":\"worker\"}")
}

/// The shard that is struck alone can be read once, then no more.
fn unread() -> Rule {
    let read = on("GetRecords").with("shardId-00000001700000000002-");
    read.error(500, "InternalServerError").after(1).always()
}

/// A read of the Kinesis shard that splits is a success without a body.
fn nothing() -> Rule {
    let read = on("GetRecords").with("shardId-000000000000@");
    read.replies(Reply::Empty).after(2)
}

const MAY_NOT: &str = "User: arn:aws:sts::111122223333:assumed-role/weir/1 is not authorized to perform: \
                       logs:PutLogEvents on resource: arn:aws:logs:eu-west-1:111122223333:log-group:/cdc/orders";
const SKEWED: &str = "Signature not yet current: 20260102T040000Z is still later than 20260102T035500Z";

fn puts() -> Vec<Story> {
    vec![
        row("put throttled")
            .rule(put().error(400, "ThrottlingException").times(12))
            .counts(THROTTLED),
        row("put refused with 500")
            .rule(put().error(500, "InternalFailure").times(5))
            .repeats(Repeats::Counted)
            .counts(UNANSWERED),
        row("put refused with 503")
            .rule(put().error(503, "ServiceUnavailableException").times(8))
            .counts(UNAVAILABLE),
        row("put reset before its body is read")
            .rule(put().replies(Reply::ResetUnread).times(3))
            .repeats(Repeats::Counted)
            .counts(UNANSWERED),
        row("put reset, not carried out")
            .rule(put().times(3))
            .repeats(Repeats::Counted)
            .counts(MAYBE),
        row("put carried out, its answer lost")
            .rule(put().applied(Reply::Reset).times(3))
            .repeats(Repeats::Counted)
            .counts(MAYBE),
        row("put carried out, half an answer")
            .rule(put().applied(Reply::Half).times(3))
            .repeats(Repeats::Counted)
            .counts(MAYBE),
        row("put carried out, the answer after the time-out")
            .rule(put().applied(Reply::Late(Duration::from_secs(7))))
            .repeats(Repeats::Counted)
            .counts(MAYBE),
        row("put carried out, a slow answer")
            .rule(put().applied(Reply::Late(Duration::from_secs(2))).times(2)),
        row("put carried out, an answer that is no JSON")
            .rule(put().applied(Reply::Garbled).times(3))
            .repeats(Repeats::Counted)
            .counts(MAYBE),
        row("put carried out, an empty answer")
            .rule(put().applied(Reply::Empty).times(3))
            .repeats(Repeats::Counted)
            .counts(MAYBE),
        row("put not carried out, a success without a body")
            .rule(put().replies(Reply::Empty).times(3))
            .repeats(Repeats::Counted)
            .counts(MAYBE),
        row("put refused for a key, as a parameter")
            .rule(
                put_alone()
                    .error(400, "InvalidParameterException")
                    .says("The KMS key is disabled")
                    .always(),
            )
            .script(Script::CureWhenTold("KMS")),
        row("put answered by a proxy: 413")
            .rule(put().replies(Reply::Page(413)).times(3))
            .counts(UNAVAILABLE),
        row("put answered by a proxy: 502, 200")
            .rule(put().replies(Reply::Page(502)).times(3))
            .rule(put().replies(Reply::Page(200)).times(2))
            .repeats(Repeats::Counted)
            .counts(MAYBE),
        row("put hangs")
            .rule(put().replies(Reply::Never))
            .repeats(Repeats::Counted)
            .counts(MAYBE),
        row("put denied for one stream")
            .rule(
                put_alone()
                    .error(400, "AccessDeniedException")
                    .says(MAY_NOT)
                    .always(),
            )
            .script(Script::CureWhenTold("AccessDeniedException"))
            .counts(DENIED),
        row("put refused for the group's key")
            .rule(put_alone().error(400, "KMSDisabledException").always())
            .script(Script::CureWhenTold("KMSDisabledException"))
            .counts(DENIED),
        row("put refused for a wrong clock")
            .rule(
                put_alone()
                    .error(403, "RequestTimeTooSkewed")
                    .says(SKEWED)
                    .always(),
            )
            .script(Script::CureWhenTold("RequestTimeTooSkewed"))
            .counts(DENIED),
        row("group and stream creation throttled")
            .rule(on("CreateLogGroup").error(400, "ThrottlingException").times(3))
            .rule(
                on("CreateLogStream")
                    .error(400, "LimitExceededException")
                    .times(5),
            )
            .counts(THROTTLED),
        row("creations carried out, their answers lost")
            .rule(on("CreateLogGroup").applied(Reply::Reset))
            .rule(on("CreateLogStream").applied(Reply::Half).after(1).times(2))
            .rule(on("PutRetentionPolicy").applied(Reply::Reset))
            .counts(UNANSWERED),
        row("group deleted in the midst")
            .script(Script::DeleteGroup)
            .counts("weir_put_errors_total{class=\"missing\""),
    ]
}

fn poisons() -> Vec<Story> {
    vec![
        row("event too old").poison(&[Kind::TooOld]),
        row("event too new").poison(&[Kind::TooNew]),
        row("event older than the retention")
            .poison(&[Kind::Expired])
            .prepare(|state| state.logs.keep(GROUP, 1))
            .after(|state| {
                assert_eq!(
                    state.logs.groups[GROUP].retention,
                    Some(1),
                    "somebody else's group"
                )
            }),
        row("Kinesis: batches of the largest size")
            .kinesis()
            .prepare(|state| (0..12).for_each(|_| state.stream.append(POISONED, Kind::Quarter)))
            .after(|state| assert_eq!(state.logs.largest, 1_048_576, "the largest batch")),
        row("batches refused whole for one event")
            .poison(&[Kind::Marked, Kind::Marked])
            .prepare(|state| state.logs.refuses_marked = true),
        row("a change that can't be decoded").poison(&[Kind::Undecodable]),
        row("dead letters refused for a while")
            .poison(&[Kind::Undecodable])
            .rule(
                on("PutLogEvents")
                    .with("\"logStreamName\":\"dead-letter\"")
                    .error(400, "InvalidParameterException")
                    .says("Log events are invalid.")
                    .always(),
            )
            .script(Script::CureWhenTold("refuses dead letters")),
        row("dead letters denied for a while")
            .poison(&[Kind::TooOld])
            .rule(
                on("PutLogEvents")
                    .with("\"logStreamName\":\"dead-letter\"")
                    .error(400, "AccessDeniedException")
                    .says(MAY_NOT)
                    .always(),
            )
            .script(Script::CureWhenTold("dead-letter")),
        row("Kinesis: an event of more than 1 MiB")
            .kinesis()
            .poison(&[Kind::Oversize]),
        row("Kinesis: a record of nothing")
            .kinesis()
            .poison(&[Kind::Empty]),
        row("Kinesis: damaged gzip")
            .kinesis()
            .poison(&[Kind::Undecodable]),
        row("Kinesis: an envelope of an unknown type")
            .kinesis()
            .poison(&[Kind::UnknownMessage]),
        row("Kinesis: control messages")
            .kinesis()
            .poison(&[Kind::Control, Kind::Envelope, Kind::Control])
            .counts("weir_records_filtered_total{pipeline=\"orders\",reason=\"control_message\""),
    ]
}

fn reads() -> Vec<Story> {
    vec![
        row("iterators expire").script(Script::Expire).counts(EXPIRED),
        row("records trimmed before they are read")
            .rule(unread())
            .script(Script::Trim)
            .counts("weir_trimmed_gaps_total"),
        row("a shard is gone before it is read")
            .rule(unread())
            .script(Script::Vanish)
            .counts("weir_trimmed_gaps_total"),
        row("reads throttled")
            .rule(
                on("GetRecords")
                    .error(400, "LimitExceededException")
                    .after(1)
                    .times(10),
            )
            .counts(READ_THROTTLED),
        row("reads reset, cut in half, garbled, answered by a proxy")
            .rule(on("GetRecords").after(2).times(2))
            .rule(on("GetRecords").applied(Reply::Half).after(2).times(3))
            .rule(on("GetRecords").applied(Reply::Garbled).after(2).times(2))
            .rule(on("GetRecords").replies(Reply::Page(502)).after(2).times(2))
            .counts(READ_UNAVAILABLE),
        row("reads answered with nothing at all")
            .rule(on("GetRecords").replies(Reply::Empty).after(2).times(2)),
        row("a read hangs").rule(on("GetRecords").replies(Reply::Never).after(3)),
        row("Kinesis: reads answered with nothing at all, twice")
            .kinesis()
            .rule(nothing().times(2)),
        row("Kinesis: reads answered with nothing at all, again and again")
            .kinesis()
            .rule(nothing().times(12)),
        row("iterators refused with 500")
            .rule(on("GetShardIterator").error(500, "InternalServerError").times(4))
            .counts(READ_UNAVAILABLE),
        row("listings throttled").rule(
            on("DescribeStream")
                .error(400, "LimitExceededException")
                .after(1)
                .times(5),
        ),
        row("listings refused with 500, cut in half")
            .rule(on("DescribeStream").error(500, "InternalServerError").times(2))
            .rule(on("DescribeStream").applied(Reply::Half).times(2)),
        row("a shard splits between two pages of a listing")
            .prepare(|state| state.stream.splits_in_listing = true),
        row("Kinesis: throughput exceeded")
            .kinesis()
            .rule(
                on("GetRecords")
                    .error(400, "ProvisionedThroughputExceededException")
                    .after(1)
                    .times(8),
            )
            .counts(READ_THROTTLED),
        row("Kinesis: iterators expire")
            .kinesis()
            .script(Script::Expire)
            .counts(EXPIRED),
        row("Kinesis: a split and a merge")
            .kinesis()
            .script(Script::Merge),
        row("Kinesis: listings throttled, refused, and a split between two pages")
            .kinesis()
            .rule(
                on("ListShards")
                    .error(400, "LimitExceededException")
                    .after(1)
                    .times(3),
            )
            .rule(on("DescribeStreamSummary").error(500, "InternalFailure").times(2))
            .prepare(|state| state.stream.splits_in_listing = true),
        row("Kinesis: reads reset, cut in half")
            .kinesis()
            .rule(on("GetRecords").after(2).times(2))
            .rule(on("GetRecords").applied(Reply::Half).after(2).times(3))
            .counts(READ_UNAVAILABLE),
        row("Kinesis: a key of KMS is disabled")
            .kinesis()
            .rule(
                on("GetRecords")
                    .with("shardId-000000000002@")
                    .error(400, "KMSDisabledException")
                    .always(),
            )
            .script(Script::CureWhenTold("enable the stream's KMS key")),
    ]
}

fn states() -> Vec<Story> {
    vec![
        row("state writes carried out, their answers lost")
            .rule(
                on("UpdateItem")
                    .applied(Reply::Reset)
                    .after(3)
                    .percent(25, 1)
                    .times(8),
            )
            .counts(TABLE),
        row("leases created, the answers lost")
            .rule(on("PutItem").applied(Reply::Half).after(1).times(3))
            .counts(TABLE),
        row("state tables throttled")
            .rule(
                on("UpdateItem")
                    .error(400, "ProvisionedThroughputExceededException")
                    .percent(30, 2)
                    .times(12),
            )
            .rule(on("Scan").error(400, "ThrottlingException").times(2))
            .rule(on("Query").error(400, "ThrottlingException").after(1).times(3))
            .counts(TABLE),
        row("state tables created, the answers lost")
            .rule(on("CreateTable").applied(Reply::Reset))
            .rule(on("DescribeTable").error(500, "InternalServerError").after(1)),
        row("heartbeats hang: the worker fences itself")
            .rule(beat().replies(Reply::Never).after(2).always())
            .script(Script::CureWhenFenced)
            .repeats(Repeats::Counted)
            .counts("weir_fences_total"),
        row("kill -9 in the midst")
            .script(Script::Kill)
            .repeats(Repeats::SinceCheckpoint),
        row("kill -9, and the log can't be read back")
            .rule(on("GetLogEvents").error(400, "AccessDeniedException").always())
            .script(Script::Kill)
            .repeats(Repeats::SinceCheckpoint),
        row("trimmed while no worker lived")
            .script(Script::KillAndTrim)
            .repeats(Repeats::SinceCheckpoint)
            .counts("weir_trimmed_gaps_total"),
        row("Kinesis: trimmed while no worker lived")
            .kinesis()
            .script(Script::KillAndTrim)
            .repeats(Repeats::SinceCheckpoint)
            .counts("weir_trimmed_gaps_total"),
        row("SIGTERM while puts are throttled")
            .rule(
                on("PutLogEvents")
                    .error(400, "ThrottlingException")
                    .after(8)
                    .always(),
            )
            .script(Script::StopInOutage),
        row("Kinesis: kill -9 in the midst")
            .kinesis()
            .script(Script::Kill)
            .repeats(Repeats::SinceCheckpoint),
    ]
}

/// A bit of everything, by chance.
fn now_and_then(story: Story, seed: u64) -> Story {
    let more: u64 = std::env::var("WEIR_WIRE_SEED").map_or(1, |text| text.parse().unwrap());
    let seed = |rule: u64| more * 100 + seed + rule;
    story
        .rule(
            on("PutLogEvents")
                .error(400, "ThrottlingException")
                .percent(10, seed(0))
                .times(20),
        )
        .rule(
            on("PutLogEvents")
                .applied(Reply::Reset)
                .percent(8, seed(1))
                .times(10),
        )
        .rule(on("PutLogEvents").percent(5, seed(2)).times(10))
        .rule(
            on("GetRecords")
                .applied(Reply::Half)
                .percent(5, seed(3))
                .times(20),
        )
        .rule(
            on("GetRecords")
                .error(400, "ExpiredIteratorException")
                .percent(5, seed(4))
                .times(20),
        )
        .rule(
            on("UpdateItem")
                .applied(Reply::Reset)
                .percent(10, seed(5))
                .times(10),
        )
        .rule(
            on("UpdateItem")
                .error(400, "ThrottlingException")
                .percent(10, seed(6))
                .times(10),
        )
        .rule(
            on("PutItem")
                .applied(Reply::Garbled)
                .percent(30, seed(7))
                .times(5),
        )
        .poison(&[Kind::Undecodable, Kind::Marked])
        .prepare(|state| state.logs.refuses_marked = true)
        .by_chance()
        .repeats(Repeats::Counted)
}

fn all() -> Vec<Story> {
    let mut all = vec![
        row("none"),
        row("Kinesis: none").kinesis().after(|state| {
            let throttled = state.stream.throttled;
            assert!(throttled <= 3, "{throttled} reads came too early");
        }),
        now_and_then(row("everything now and then"), 0),
        now_and_then(row("Kinesis: everything now and then").kinesis(), 10),
        now_and_then(
            row("everything now and then, and kill -9").script(Script::Kill),
            20,
        )
        .repeats(Repeats::SinceCheckpoint),
        now_and_then(
            row("Kinesis: everything now and then, and kill -9")
                .kinesis()
                .script(Script::Kill),
            30,
        )
        .repeats(Repeats::SinceCheckpoint),
    ];
    all.extend(puts());
    all.extend(poisons());
    all.extend(reads());
    all.extend(states());
    all
}

/// Runs a row on a thread of its own, so that a panic is this row's alone. `None`: it panicked.
fn alone(row: Story) -> Option<Told> {
    let name = row.name;
    let began = Instant::now();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(row.run())
    };
    let told = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .unwrap()
        .join();
    match &told {
        Ok(_) => println!("ok: {name} ({:.1?})", began.elapsed()),
        Err(_) => println!("FAILED: {name} ({:.1?})", began.elapsed()),
    }
    told.ok()
}

#[test]
fn no_fault_loses_a_record() {
    let only = std::env::var("WEIR_WIRE_ROWS").unwrap_or_default();
    let at_once = std::env::var("WEIR_WIRE_AT_ONCE").map_or(8, |text| text.parse().unwrap());
    let rows: Vec<Story> = all().into_iter().filter(|row| row.name.contains(&only)).collect();
    let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    assert!(!names.is_empty(), "no row's name holds {only:?}");
    let todo = Mutex::new(rows.into_iter());
    let told = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let row = todo.lock().unwrap().next();
                    let Some(row) = row else { return };
                    let done = alone(row);
                    told.lock().unwrap().extend(done);
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    let told: BTreeMap<&str, Account> = told.into_iter().map(|told| (told.name, told.account)).collect();
    println!(
        "{:<68} {:>7} {:>9} {:>8} {:>13} {:>8} {:>7} {:>4}",
        "fault", "records", "delivered", "repeated", "dead-lettered", "filtered", "trimmed", "lost"
    );
    for (name, a) in names.iter().filter_map(|name| Some((name, told.get(name)?))) {
        println!(
            "{name:<68} {:>7} {:>9} {:>8} {:>13} {:>8} {:>7} {:>4}",
            a.records,
            a.delivered,
            a.repeats,
            a.letters,
            a.filtered,
            a.trimmed,
            a.lost.len(),
        );
    }
    let failed: Vec<_> = names.iter().filter(|name| !told.contains_key(*name)).collect();
    assert!(failed.is_empty(), "{} rows failed: {failed:#?}", failed.len());
}
