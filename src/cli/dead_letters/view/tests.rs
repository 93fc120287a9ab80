use super::*;
use crate::clock::Timestamp;
use crate::config::{DestinationConfig, PipelineConfig, SourceConfig, StreamChoice};
use crate::logs::LogEvent;
use crate::logs::dead_letter::LetterId;
use crate::logs::template::{Template, TemplateKind};
use crate::redact::Redaction;
use crate::stream::{Place, SequenceNumber};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn place() -> LogDestination {
    LogDestination {
        group: "/g".into(),
        stream: "dead-letter".into(),
    }
}

fn found(body: Body, redriven: Option<Redriven>) -> Found {
    let letter = Letter {
        id: LetterId::new("0123456789abcdef"),
        written: NOW,
        reason: "undecodable".into(),
        detail: "why".into(),
        origin: Origin {
            pipeline: "p".into(),
            stream: "arn:aws:kinesis:eu-west-1:1:stream/s".into(),
            shard: "shardId-1".into(),
            place: Place {
                sequence_number: SequenceNumber::of(1),
                sub_sequence_number: 0,
            },
        },
        meant_for: place(),
        bytes: 3,
        body,
        redacted: false,
    };
    Found {
        of: 0,
        letter,
        has_destination: true,
        redriven,
    }
}

fn record(data: Data) -> Body {
    Body::Record(RecordBody {
        data,
        partition_key: None,
        time: None,
    })
}

fn event() -> LogEvent {
    LogEvent {
        timestamp: NOW,
        message: "card 4711".into(),
    }
}

fn mark(events: u64, discarded: bool) -> Redriven {
    Redriven {
        letter: LetterId::new("0123456789abcdef"),
        at: NOW,
        events,
        discarded,
    }
}

fn shown(found: Found) -> Shown {
    let group = Template::parse("/g", TemplateKind::Group).unwrap();
    let source = SourceConfig::of(StreamChoice::Kinesis("s".into()));
    Shown {
        config: PipelineConfig::of("p", source, DestinationConfig::of(group)),
        today: Ok(vec![Addressed {
            to: place(),
            event: event(),
            id: "id".into(),
        }]),
        found,
    }
}

fn bytes() -> Body {
    record(Data::Bytes(b"abc".to_vec().into()))
}

#[test]
fn a_letter_that_has_a_mark_is_not_said_to_be_delivered_today() {
    let told = described(&shown(found(bytes(), None)));
    assert!(told.contains("\nwould be delivered today:\n"), "{told}");
    for (mark, words, row) in [
        (mark(1, false), "was sent again at 2027-01-15", ", 1 event\n"),
        (mark(0, false), "gave no event when", ", 0 events\n"),
        (mark(0, true), "was discarded at", ", discarded\n"),
    ] {
        let told = described(&shown(found(bytes(), Some(mark))));
        assert!(!told.contains("would be delivered today"), "{told}");
        for part in [words, row, "--again sends it once more"] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }
}

#[test]
fn a_letter_without_a_destination_names_none() {
    let mut found = found(bytes(), None);
    found.has_destination = false;
    let json = serde_json::to_value(LetterView::of(&found)).unwrap();
    assert!(json["destination"].is_null());
    let told = described(&shown(found));
    assert!(told.contains("it had no destination"), "{told}");
}

#[test]
fn a_withheld_letter_tells_that_it_must_be_sent_in_time() {
    let withheld = found(record(Data::withheld(b"abc")), None);
    let mut listing = Listing {
        found: vec![withheld.clone()],
        ..Listing::default()
    };
    let table = listed(&listing, false, None, None);
    assert!(
        table.contains("3 B withheld") && table.contains("24 hours"),
        "{table}"
    );
    assert!(described(&shown(withheld)).contains("24 hours"));
    // Too late, or done: no hurry.
    listing.found[0].redriven = Some(mark(0, true));
    let table = listed(&listing, true, None, None);
    assert!(
        !table.contains("24 hours") && table.contains("Z discarded"),
        "{table}"
    );
}

#[test]
fn an_event_of_before_a_redaction_is_not_shown() {
    let body = Body::Event {
        index: 0,
        event: event(),
    };
    let mut shown = shown(found(body, None));
    shown.today = Err("left".into());
    assert!(described(&shown).contains("4711"));
    shown.config.shape.redact = Redaction::new(Vec::new(), true);
    let told = described(&shown);
    let json = serde_json::to_string(&ShownView::of(&shown)).unwrap();
    assert!(
        !told.contains("4711") && told.contains("withheld") && !json.contains("4711"),
        "{told}"
    );
    shown.found.letter.redacted = true;
    assert!(described(&shown).contains("4711"));
}

#[test]
fn a_place_that_does_not_exist_is_named_with_its_region() {
    let region = |own: Option<&str>, environment| {
        let listing = Listing {
            missing: [(place(), own.map(str::to_owned))].into(),
            ..Listing::default()
        };
        listed(&listing, false, None, environment)
    };
    let told = region(None, Some("eu-west-1"));
    assert!(
        told.starts_with("no dead letters; 0 log events were read"),
        "{told}"
    );
    assert!(told.contains("the log stream dead-letter of the log group /g doesn't exist in eu-west-1"));
    assert!(region(Some("us-east-1"), Some("eu-west-1")).contains("in us-east-1"));
    assert!(region(None, None).contains("region of the AWS settings"));
}

#[test]
fn what_was_not_read_and_what_is_of_another_is_told() {
    let listing = Listing {
        others: [(LetterId::new("a"), "q".to_owned())].into(),
        cut_at: Some(NOW),
        read: 1,
        ..Listing::default()
    };
    let told = listed(&listing, false, None, None);
    for part in [
        "1 log event was read",
        "1 more in the same place: of other pipelines (q)",
        "`--until 2027-01-15T08:00:00.001Z`",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("--since"));
}

#[test]
fn a_fate_is_told_as_it_is() {
    let to = vec![place()];
    let one = |fate: &Fate, dry_run| {
        let done = Done {
            letters: vec![(found(bytes(), None), fate.clone())],
            ..Done::default()
        };
        let json = serde_json::to_value(DoneView::of(&done, dry_run, None)).unwrap();
        let word = json["letters"][0]["fate"].as_str().unwrap().to_owned();
        (word, super::done(&done, dry_run, None))
    };
    let why = || "denied".to_owned();
    for (fate, dry_run, word, text) in [
        (
            Fate::Delivered {
                events: 1,
                to: to.clone(),
            },
            true,
            "would_deliver",
            "would be delivered: 1 event to /g:dead-letter",
        ),
        (
            Fate::Delivered { events: 2, to },
            false,
            "delivered",
            "delivered: 2 events to",
        ),
        (
            Fate::Unmarked {
                events: 0,
                why: why(),
            },
            false,
            "unmarked",
            "gives no event by today's settings, and its mark could not be put (denied)",
        ),
        (
            Fate::Unmarked {
                events: 1,
                why: why(),
            },
            false,
            "unmarked",
            "delivered: 1 event, and its mark could not be put (denied): a further redrive delivers it once more",
        ),
        (
            Fate::Already(mark(1, false)),
            false,
            "already_redriven",
            "was sent again at 2027-01-15T08:00:00.000Z; --again sends it once more",
        ),
    ] {
        let (told, line) = one(&fate, dry_run);
        assert_eq!(told, word);
        assert!(line.contains(text), "{text} in {line}");
    }
}

#[test]
fn a_discard_tells_what_it_did() {
    let letters = [
        (Outcome::Marked, "discarded", "nothing of it was sent"),
        (
            Outcome::Already(mark(1, false)),
            "already_redriven",
            "nothing to discard",
        ),
        (
            Outcome::Already(mark(0, true)),
            "already_discarded",
            "was discarded at",
        ),
        (
            Outcome::Unmarked("denied".into()),
            "unmarked",
            "could not be put (denied)",
        ),
    ];
    for (outcome, word, text) in letters {
        let letters = [Discarded {
            id: LetterId::new("0123456789abcdef"),
            reason: "empty".into(),
            outcome,
        }];
        let json = serde_json::to_value(DiscardedView::of(&letters)).unwrap();
        assert_eq!(json["letters"][0]["fate"], word);
        let told = discarded(&letters);
        assert!(
            told.starts_with("01234567  empty  ") && told.contains(text),
            "{told}"
        );
    }
}
