//! The table of faults.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::inject::{Reply, Rule, on};
use crate::judge::{Account, Fates, Message, OTHER_TIME, messages_since};
use crate::records::{Fate, Kind, MARK, SECRET};
use crate::server::State;
use crate::shards::Service;
use crate::story::{POISONED, Repeats, SHARDS, Script, Story, Told};
use crate::world::{ALL, GROUP, Settings};

/// A row without a fault, of a DynamoDB stream.
fn row(name: &'static str) -> Story {
    Story {
        name,
        settings: Settings::of(Service::DynamoDb),
        shards: SHARDS,
        rules: Vec::new(),
        poison: Vec::new(),
        fates: Kind::fate,
        prepare: |_| {},
        cure: |_| {},
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
        self.settings.service = Service::Kinesis;
        self
    }

    /// A key of the settings' file.
    fn file(mut self, key: &'static str) -> Self {
        self.settings.file.push(key);
        self
    }

    /// A key of the pipeline.
    fn pipeline(mut self, key: &'static str) -> Self {
        self.settings.pipeline.push(key);
        self
    }

    /// All keys of its destination.
    fn destination(mut self, keys: &'static str) -> Self {
        self.settings.destination = keys;
        self
    }

    /// A second pipeline reads the stream too.
    fn copied(mut self) -> Self {
        self.settings.copies = true;
        self
    }

    fn shards(mut self, shards: u128) -> Self {
        self.shards = shards;
        self
    }

    fn fates(mut self, fates: Fates) -> Self {
        self.fates = fates;
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

    fn cure(mut self, cure: fn(&mut State)) -> Self {
        self.cure = cure;
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

/// Settings that say what becomes of poison.
fn ways_out() -> Vec<Story> {
    vec![
        row("Kinesis: an event of more than 1 MiB, truncated")
            .kinesis()
            .destination("group: /cdc/orders, retention_days: 30, oversize: truncate")
            .poison(&[Kind::Oversize])
            .after(|state| {
                let [cut] = &found(state, "[truncated: kept ")[..] else {
                    panic!("one is cut");
                };
                assert!(cut.text.len() <= 1_048_550, "{}", cut.text.len());
            }),
        row("Kinesis: an event of more than 1 MiB, to the dead letters")
            .kinesis()
            .destination("group: /cdc/orders, retention_days: 30, oversize: dead_letter")
            .poison(&[Kind::Oversize])
            .fates(|kind| match kind {
                Kind::Oversize => Fate::Letter("oversize"),
                kind => kind.fate(),
            }),
        row("Kinesis: a part of a large event refused")
            .kinesis()
            .poison(&[Kind::Torn])
            .prepare(|state| state.logs.refuses_marked = true)
            .after(|state| {
                assert_eq!(found(state, MARK).len(), 0, "what was refused");
                let group = &state.logs.groups[GROUP];
                let events = group.streams.values().flatten();
                let parts = events.filter(|e| e.message.contains("\"part\":1,\"parts\":2,"));
                assert_eq!(parts.filter(|e| e.message.starts_with("{\"id\":")).count(), 1);
            }),
        row("event too old, told now")
            .destination("group: /cdc/orders, retention_days: 30, too_old: now")
            .poison(&[Kind::TooOld])
            .fates(told_now)
            .after(|state| assert_told_now(state, &[Kind::TooOld])),
        row("event too new, told now")
            .destination("group: /cdc/orders, retention_days: 30, too_new: now")
            .poison(&[Kind::TooNew])
            .fates(told_now)
            .after(|state| assert_told_now(state, &[Kind::TooNew])),
        row("Kinesis: events too old, expired and too new, told now")
            .kinesis()
            .destination("group: /cdc/orders, too_old: now, too_new: now")
            .prepare(|state| state.logs.keep(GROUP, 1))
            .poison(&[Kind::TooOld, Kind::TooNew, Kind::Expired])
            .fates(told_now)
            .after(|state| assert_told_now(state, &[Kind::TooOld, Kind::TooNew, Kind::Expired])),
        now_and_then(
            row("some of it hidden, some left out, everything now and then"),
            40,
        )
        .pipeline(HIDDEN)
        .pipeline(LEFT_OUT)
        .poison(&[Kind::Draft, Kind::TooOld, Kind::Draft])
        .fates(without_drafts)
        .after(|state| {
            assert_hidden(state);
            let masked = found(state, "\"card\":{\"S\":\"***\"}").len();
            assert!(masked > 300, "{masked} are masked");
        })
        .counts("weir_records_filtered_total{pipeline=\"orders\",reason=\"filter\""),
        now_and_then(row("some of it hidden, some left out, and kill -9"), 50)
            .pipeline(HIDDEN)
            .pipeline(LEFT_OUT)
            .poison(&[Kind::Draft, Kind::TooOld, Kind::Draft])
            .fates(without_drafts)
            .script(Script::Kill)
            .repeats(Repeats::SinceCheckpoint)
            .after(assert_hidden),
    ]
}

const HIDDEN: &str = "redact: [ \"*.card\" ]";
const LEFT_OUT: &str =
    "filter: [ { dynamodb: { NewImage: { status: { S: [ { anything-but: [ draft ] } ] } } } } ]";

fn without_drafts(kind: Kind) -> Fate {
    match kind {
        Kind::Draft => Fate::Filtered,
        kind => kind.fate(),
    }
}

/// No message and no dead letter tells what is hidden.
fn assert_hidden(state: &State) {
    let telling = state.logs.holding(&[SECRET, "\"data\":\""]);
    assert!(telling.is_empty(), "{telling:#?}");
    let withheld = state.logs.holding(&["\"withheld\":true"]);
    assert!(!withheld.is_empty(), "the letter of what can't be decoded");
}

/// The messages that hold this text.
fn found<'s>(state: &'s State, text: &str) -> Vec<Message<'s>> {
    let all = messages_since(state, 0).into_iter();
    all.filter(|message| message.text.contains(text)).collect()
}

/// Whatever its time, it is delivered.
fn told_now(kind: Kind) -> Fate {
    match kind {
        Kind::TooOld | Kind::TooNew | Kind::Expired => Fate::Delivered(1),
        kind => kind.fate(),
    }
}

/// Each of these, and nothing else, stands at the time of its put, and tells its own.
fn assert_told_now(state: &State, kinds: &[Kind]) {
    let told = found(state, OTHER_TIME);
    assert_eq!(told.len(), kinds.len(), "{told:#?}");
    let poisoned = &state.stream.shards[POISONED];
    for kind in kinds {
        let at = poisoned.records.iter().position(|r| r.kind == *kind).unwrap();
        let unit = poisoned.unit(at).to_string();
        let message = told.iter().find(|m| m.text.contains(&unit)).unwrap();
        let delay = message.event.ingested - message.event.timestamp;
        assert!((0..60_000).contains(&delay), "put {delay} ms after its time");
        let body: serde_json::Value = serde_json::from_str(&message.text).unwrap();
        let time: jiff::Timestamp = body["weirOriginalTime"].as_str().unwrap().parse().unwrap();
        let off = time.as_millisecond() - kind.time(poisoned.records[at].at);
        // A change has whole seconds.
        assert!((-1000..=0).contains(&off), "{off} ms off");
    }
}

/// Settings of groups.
fn groups() -> Vec<Story> {
    vec![
        row("a group that must be there is made by hand")
            .destination("group: /cdc/orders, stream: all, create: false")
            .script(Script::CureFirst("create it"))
            .cure(|state| {
                state.logs.keep(GROUP, 30);
                let group = state.logs.groups.get_mut(GROUP).unwrap();
                group.streams.insert(ALL.to_owned(), Vec::new());
            })
            .counts("weir_put_errors_total{class=\"missing\"")
            .after(|state| assert_eq!(state.logs.groups[GROUP].streams.len(), 1, "no other stream")),
        row("a group's key will not do, when it is made")
            .destination(KEYED)
            .rule(
                on("CreateLogGroup")
                    .error(400, "InvalidParameterException")
                    .says("Unable to validate if specified KMS key is valid.")
                    .always(),
            )
            .script(Script::CureFirst("KMS"))
            .counts(DENIED)
            .after(|state| {
                let group = &state.logs.groups[GROUP];
                assert_eq!(group.key.as_deref(), Some(KEY));
                assert_eq!(group.retention, Some(30));
            }),
        row("a group of another retention, and looks at it throttled")
            .destination("group: /cdc/orders, retention_days: 30, reconcile: true")
            .prepare(|state| state.logs.keep(GROUP, 7))
            .rule(on("DescribeLogGroups").error(400, "ThrottlingException").times(2)),
        row("one group denied to many shards, the other goes on")
            .shards(MANY)
            .copied()
            .rule(
                on("PutLogEvents")
                    .with("\"logGroupName\":\"/cdc/orders\"")
                    .error(400, "AccessDeniedException")
                    .says(MAY_NOT)
                    .always(),
            )
            .script(Script::CureWhenCopied("AccessDeniedException"))
            .counts(DENIED)
            .after(|state| {
                let copies = Account::of_copies(state);
                assert!(copies.is_settled() && copies.wrong.is_empty(), "{copies:#?}");
                assert_eq!(copies.repeats, 0);
                // Each stream's first put, and then one at a time for all: where each tried by itself, some ten each.
                let tried = state.rules.0[0].struck;
                assert!(tried < 60, "{tried} puts to the group that refuses all");
            }),
        row("one put a second").file("put_rate: 1").after(|state| {
            let puts = &state.logs.puts;
            let within = puts[puts.len() - 1].duration_since(puts[0]).as_secs_f64();
            assert!(puts.len() > 4, "{}", puts.len());
            assert!(
                puts.len() as f64 <= within + 4.0,
                "{} puts in {within} s",
                puts.len()
            );
        }),
    ]
}

const MANY: u128 = 16;
const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const KEYED: &str = "group: /cdc/orders, retention_days: 30, \
                     kms_key: \"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab\"";

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
        now_and_then(row("everything now and then, by the SDK").file("wire: sdk"), 40),
        now_and_then(row("Kinesis: everything now and then").kinesis(), 10),
        now_and_then(
            row("Kinesis: everything now and then, by the SDK")
                .kinesis()
                .file("wire: sdk"),
            50,
        ),
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
    all.extend(ways_out());
    all.extend(groups());
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
