//! Ten thousand good records, and one of each kind that can't be delivered in their midst: the good ones are
//! delivered in order, the others become dead letters, and are delivered once the settings are mended and a person
//! sends them again.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::inject::{Reply, on};
use crate::judge::{OTHER_TIME, messages_since};
use crate::records::{Fate, Kind, SECRET, Unit};
use crate::shards::{Record, Service, Shard};
use crate::until;
use crate::weir::Weir;
use crate::world::{GROUP, Numbers, PATIENCE, Settings, World, balanced, problems};

const RECORDS: usize = 10_000;
const PAYROLL: &str = "/cdc/payroll";

/// What becomes of a dead letter by mended settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// The message that the record holds, whole, to this group.
    ToGroup(&'static str),
    /// At the time of the put, with its own time inside.
    Now,
    /// Its secret is masked.
    Masked,
    /// The record's bytes, in base64.
    Bytes,
    /// There is nothing to send, and that is all right.
    Nothing,
    /// It still can't be sent, for this reason.
    Left(&'static str),
}

/// A kind, the reason of its dead letter, and what becomes of that.
type Poison = (Kind, &'static str, Sent);

const ORDERS: Sent = Sent::ToGroup(GROUP);

/// With `before()`; by `mended()`, but for the one whose bytes are damaged.
const OF_EACH_KIND: [Poison; 11] = [
    (Kind::Undecodable, "undecodable", Sent::Left("gzip")),
    (Kind::Marked, "invalid", ORDERS),
    (Kind::TooOld, "too_old", Sent::Now),
    (Kind::Oversize, "oversize", ORDERS),
    (Kind::TooNew, "too_new", Sent::Now),
    (Kind::Empty, "empty", Sent::Left("an empty message")),
    (Kind::UnknownMessage, "undecodable", Sent::Nothing),
    (Kind::Foreign, "no_destination", Sent::ToGroup(PAYROLL)),
    (Kind::Expired, "expired", Sent::Now),
    (Kind::Bomb, "undecodable", ORDERS),
    (Kind::Marked, "invalid", ORDERS),
];

/// Settings that leave as much as they can to the dead letters.
fn before() -> Settings {
    Settings {
        pipeline: vec!["inflate_limit: 1MiB"],
        destination: "group: \"/cdc{log_group:-/orders}\", oversize: dead_letter, allow_groups: [ /cdc/orders ]",
        ..Settings::of(Service::Kinesis)
    }
}

fn mended() -> Settings {
    Settings {
        pipeline: vec!["unknown_messages: skip"],
        destination: "group: \"/cdc{log_group:-/orders}\", too_old: now, too_new: now, allow_groups: [ /cdc/* ]",
        ..before()
    }
}

/// For what no other reading helps with. With one group for all records, the letters' own would be another by default.
fn as_bytes() -> Settings {
    Settings {
        pipeline: vec![
            "decode: base64",
            "gzip: never",
            "dead_letter: { group: /weir/orders }",
        ],
        destination: "group: /cdc/orders",
        ..before()
    }
}

fn fates_before(kind: Kind) -> Fate {
    match OF_EACH_KIND.iter().find(|(poison, ..)| *poison == kind) {
        Some((_, reason, _)) => Fate::Letter(reason),
        None => kind.fate(),
    }
}

/// `weir run`, once all is where it should be: so many good records, and the poison in their midst with good ones
/// between.
async fn started(world: &mut World, good: Kind, records: usize, poison: &[Poison]) -> Weir {
    for record in 0..records {
        if let Some((kind, ..)) = record.checked_sub(records / 2).and_then(|at| poison.get(at)) {
            world.append(0, *kind);
        }
        world.append(0, good);
    }
    let mut weir = world.start().await;
    let account = world.settle(&mut weir, PATIENCE).await;
    assert!(account.is_settled(), "lost: {:?}", account.lost);
    let numbers: Numbers = balanced(&mut weir).await;
    let series = "weir_records_dead_lettered_total";
    assert_eq!(numbers.sum(series), poison.len() as f64, "{series}");
    until("the problems to be solved", Duration::from_secs(30), async || {
        problems(&weir).await.is_empty()
    })
    .await;
    weir
}

/// The same, and its end.
async fn run(world: &mut World, good: Kind, records: usize, poison: &[Poison]) {
    let mut weir = started(world, good, records, poison).await;
    weir.terminate();
    assert_eq!(weir.ended().await.code(), Some(0));
    let account = world.account();
    assert!(account.wrong.is_empty(), "{:#?}", account.wrong);
    assert_eq!(
        (account.delivered, account.letters, account.repeats),
        (records, poison.len(), 0)
    );
    world.drained().unwrap();
    println!("{records} delivered in order, {} dead letters", poison.len());
}

/// The places of the poison in the shard.
fn places(world: &World, good: Kind) -> Vec<usize> {
    let state = world.aws.state();
    let records = state.stream.shards[0].records.iter().enumerate();
    records
        .filter(|(_, record)| record.kind != good)
        .map(|(at, _)| at)
        .collect()
}

/// One redrive, and all that it put: what each kind became, in the order of the poison.
struct Redrive {
    answer: Value,
    code: i32,
    /// The group and the message, by the record's place.
    put: Vec<(usize, String, String)>,
    /// Events of any kind that were put, marks too.
    events: u64,
}

async fn redrive(world: &World, settings: &Settings, arguments: &[&str]) -> Redrive {
    let arrivals = world.aws.state().logs.arrivals();
    let (answer, code) = world.letters(settings, &[&["redrive"], arguments].concat()).await;
    println!(
        "redrive {}: {} delivered, {} left, exit code {code}",
        arguments.join(" "),
        answer["delivered"],
        answer["left"]
    );
    let state = world.aws.state();
    let shard = &state.stream.shards[0];
    let mut put: Vec<_> = messages_since(&state, arrivals)
        .into_iter()
        .map(|message| {
            assert_eq!(message.stream, shard.id, "its log stream");
            let unit = Unit::of(&message.text).map(|unit| unit.record);
            let record = unit.unwrap_or_else(|| of_bytes(&message.text, shard));
            if message.text.starts_with(OTHER_TIME) {
                let delay = message.event.ingested - message.event.timestamp;
                assert!((0..60_000).contains(&delay), "put {delay} ms after its time");
            }
            (record, message.group.to_owned(), message.text)
        })
        .collect();
    put.sort();
    Redrive {
        answer,
        code,
        put,
        events: state.logs.arrivals() - arrivals,
    }
}

/// The place of the record whose bytes a message tells.
fn of_bytes(message: &str, shard: &Shard) -> usize {
    let told: Value = serde_json::from_str(message).unwrap();
    let is_it = |record: &Record| told["sequenceNumber"] == record.sequence.as_str();
    shard
        .records
        .iter()
        .position(is_it)
        .expect("of a record of the shard")
}

impl Redrive {
    /// It did with each letter what was to be done, and put nothing else: no good record, and nothing twice.
    fn must_have(&self, world: &World, places: &[usize], sent: impl Fn(usize) -> Option<Sent>) {
        let state = world.aws.state();
        let shard = &state.stream.shards[0];
        let letters = self.answer["letters"].as_array().unwrap();
        let mut put = self.put.iter();
        let (mut chosen, mut left) = (0, 0);
        for (which, at) in places.iter().enumerate() {
            let Some(sent) = sent(which) else { continue };
            chosen += 1;
            let record = &shard.records[*at];
            let position = format!(":{}:0", record.sequence);
            let letter = letters
                .iter()
                .find(|l| l["position"].as_str().unwrap().ends_with(&position));
            let letter = letter.unwrap_or_else(|| panic!("nothing of {:?} in {letters:#?}", record.kind));
            println!(
                "  {:<16} {:<14} {:<10} {} events {}",
                format!("{:?}", record.kind),
                letter["reason"].as_str().unwrap(),
                letter["fate"].as_str().unwrap(),
                letter["events"],
                letter["why"].as_str().unwrap_or_default(),
            );
            let fate = match sent {
                Sent::Nothing => "filtered",
                Sent::Left(why) => {
                    left += 1;
                    assert!(letter["why"].as_str().unwrap().contains(why), "{letter}");
                    "left"
                }
                _ => "delivered",
            };
            assert_eq!(letter["fate"], fate, "{letter}");
            if fate != "delivered" {
                continue;
            }
            let (found, group, message) = put.next().expect("a message of each that was delivered");
            assert_eq!(found, at, "the message of {:?}", record.kind);
            let to = if let Sent::ToGroup(group) = sent {
                group
            } else {
                GROUP
            };
            assert_eq!(group, to);
            let text = record.kind.text(&shard.unit(*at));
            let json = || serde_json::from_str::<Value>(message).unwrap();
            match sent {
                Sent::Now => {
                    assert!(message.starts_with(OTHER_TIME), "{message:.200}");
                    assert_eq!(json()["message"], text);
                }
                Sent::Masked => {
                    let mut masked: Value = serde_json::from_str(&text).unwrap();
                    masked["card"] = "***".into();
                    assert!(json() == masked, "{message:.200}");
                }
                Sent::Bytes => {
                    let bytes = record.kind.bytes(&shard.unit(*at), record.at);
                    assert_eq!(json()["data"], STANDARD.encode(bytes));
                }
                _ => assert!(*message == text, "{:?}: {message:.200}", record.kind),
            }
        }
        assert_eq!(put.next(), None, "and nothing else");
        assert_eq!(letters.len(), chosen);
        assert_eq!(
            (self.answer["left"].as_u64(), self.code),
            (Some(left), i32::from(left > 0))
        );
    }
}

/// The kinds and reasons of the letters that were not sent again yet.
async fn listed(world: &World, settings: &Settings) -> Vec<String> {
    let (answer, code) = world.letters(settings, &["list"]).await;
    assert_eq!((code, &answer["incomplete"]), (0, &json!([])));
    let letters = answer["letters"].as_array().unwrap().iter();
    let mut reasons: Vec<_> = letters
        .map(|l| l["reason"].as_str().unwrap().to_owned())
        .collect();
    reasons.sort();
    reasons
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_are_delivered_around_one_poison_of_each_kind_and_each_is_once_when_it_is_sent_again() {
    let mut world = World::new(&before(), fates_before, 1).await;
    {
        let mut state = world.aws.state();
        state.logs.refuses_marked = true;
        state.logs.keep(GROUP, 1);
    }
    run(&mut world, Kind::Good, RECORDS, &OF_EACH_KIND).await;
    let places = places(&world, Kind::Good);
    let mut reasons = OF_EACH_KIND.map(|(_, reason, _)| reason);
    reasons.sort_unstable();
    assert_eq!(listed(&world, &before()).await, reasons);

    // Nothing is mended: nothing is sent, not even a mark.
    let in_vain = redrive(&world, &before(), &["--everything"]).await;
    assert_eq!((in_vain.events, in_vain.code), (0, 1));
    in_vain.must_have(&world, &places, |_| Some(Sent::Left("")));

    world.aws.state().logs.refuses_marked = false;
    world.inject([on("PutLogEvents").error(400, "ThrottlingException").times(2)]);
    let done = redrive(&world, &mended(), &["--everything"]).await;
    done.must_have(&world, &places, |which| Some(OF_EACH_KIND[which].2));
    assert_eq!(listed(&world, &mended()).await, ["empty", "undecodable"]);

    let done = redrive(&world, &as_bytes(), &["--reason", "undecodable"]).await;
    done.must_have(&world, &places, |which| {
        (OF_EACH_KIND[which].0 == Kind::Undecodable).then_some(Sent::Bytes)
    });
    // What is empty can never be put.
    for settings in [mended(), as_bytes()] {
        let again = redrive(&world, &settings, &["--everything"]).await;
        assert_eq!(again.events, 0, "nothing a second time");
        again.must_have(&world, &places, |which| {
            let (kind, _, sent) = OF_EACH_KIND[which];
            (kind == Kind::Empty).then_some(sent)
        });
    }
    assert_eq!(listed(&world, &mended()).await, ["empty"]);
    assert_eq!(world.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_worker_and_with_answers_lost_no_more_is_repeated_than_is_told() {
    const SOME: usize = 200;
    let mut world = World::new(&before(), fates_before, 1).await;
    let mut poison = OF_EACH_KIND.to_vec();
    poison.retain(|(kind, ..)| matches!(kind, Kind::TooOld | Kind::TooNew | Kind::Foreign));
    let mut weir = started(&mut world, Kind::Good, SOME, &poison).await;
    let places = places(&world, Kind::Good);
    // The worker has nothing to put meanwhile. Of the redrive, the marks are put last, and are no message.
    world.inject([on("PutLogEvents").applied(Reply::Reset).times(2)]);
    world.inject([on("PutLogEvents")
        .error(503, "ServiceUnavailableException")
        .times(2)]);
    let done = redrive(&world, &mended(), &["--everything"]).await;
    let told = done.answer["perhaps_twice"].as_u64().unwrap();
    println!("  perhaps twice: {told} events");
    assert_eq!((done.code, &done.answer["left"]), (0, &json!(0)));
    for place in &places {
        assert!(
            done.put.iter().any(|(at, ..)| at == place),
            "{place} is delivered"
        );
    }
    let mut once = done.put.clone();
    once.dedup();
    assert!(once.iter().all(|(at, ..)| places.contains(at)), "no good one");
    let repeats = (done.put.len() - once.len()) as u64;
    assert!(repeats > 0 && repeats <= told, "{repeats} repeated, {told} told");
    let again = redrive(&world, &mended(), &["--everything"]).await;
    assert_eq!((again.events, again.code), (0, 0), "nothing a second time");

    for _ in 0..SOME {
        world.append(0, Kind::Good);
    }
    let account = world.settle(&mut weir, PATIENCE).await;
    assert!(account.is_settled(), "lost: {:?}", account.lost);
    weir.terminate();
    assert_eq!(weir.ended().await.code(), Some(0));
    world.drained().unwrap();
    assert_eq!(world.complaints(), Vec::<String>::new());
}

/// Records with a secret, of which nothing is told: neither in the log, nor in the dead letters, nor by Weir itself.
async fn hidden_all_along(wrong: &Settings, mended: &Settings, poison: &[Poison]) {
    let mut world = World::new(wrong, Kind::fate, 1).await;
    world.aws.state().logs.refuses_marked = true;
    run(&mut world, Kind::Json, 500, poison).await;
    let places = places(&world, Kind::Json);
    // A letter with the record's bytes has them in base64.
    let told = || !world.aws.state().logs.holding(&[SECRET, "\"data\":"]).is_empty();
    assert!(!told());
    let mut reasons: Vec<_> = poison.iter().map(|(_, reason, _)| *reason).collect();
    reasons.sort_unstable();
    assert_eq!(listed(&world, wrong).await, reasons);

    let in_vain = redrive(&world, wrong, &["--everything"]).await;
    assert_eq!(in_vain.events, 0);
    in_vain.must_have(&world, &places, |_| Some(Sent::Left("")));

    world.aws.state().logs.refuses_marked = false;
    let done = redrive(&world, mended, &["--everything"]).await;
    done.must_have(&world, &places, |which| Some(poison[which].2));
    let again = redrive(&world, mended, &["--everything"]).await;
    assert_eq!((again.events, again.code), (0, 0), "nothing a second time");
    again.must_have(&world, &places, |_| None);
    assert_eq!(listed(&world, mended).await, Vec::<String>::new());
    assert!(!told() && !in_vain.answer.to_string().contains(SECRET));
    assert_eq!(world.indiscretions(), Vec::<String>::new());
    assert_eq!(world.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_redaction_hides_is_in_no_dead_letter_and_is_read_again_and_a_torn_message_is_whole_again() {
    let wrong = Settings {
        pipeline: vec!["decode: json", "gzip: never", "redact: [ card ]"],
        ..Settings::of(Service::Kinesis)
    };
    let mended = Settings {
        pipeline: vec!["decode: auto", "redact: [ card ]"],
        ..wrong.clone()
    };
    let poison = [
        (Kind::Sealed, "undecodable", Sent::Masked),
        (Kind::Torn, "invalid", Sent::Masked),
    ];
    hidden_all_along(&wrong, &mended, &poison).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_record_can_not_be_decoded_tells_nothing_of_what_a_redaction_hides() {
    let wrong = Settings {
        pipeline: vec!["redact: [ card ]"],
        ..Settings::of(Service::Kinesis)
    };
    let mended = Settings {
        pipeline: vec!["redact: [ card ]", "unknown_messages: skip"],
        ..wrong.clone()
    };
    let poison = [(Kind::Blurted, "undecodable", Sent::Nothing)];
    hidden_all_along(&wrong, &mended, &poison).await;
}
