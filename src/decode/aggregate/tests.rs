use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::stream::SequenceNumber;

/// Writes protobuf, the way the reader expects it and other ways.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn tag(self, number: u32, wire: u8) -> Self {
        self.varint(u64::from(number << 3) | u64::from(wire))
    }

    fn number(self, field: u32, value: u64) -> Self {
        self.tag(field, 0).varint(value)
    }

    fn bytes(self, field: u32, value: &[u8]) -> Self {
        let mut message = self.tag(field, 2).varint(value.len() as u64);
        message.0.extend(value);
        message
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn record(self, key: u64, data: &[u8]) -> Self {
        self.bytes(3, &Message::default().number(1, key).bytes(3, data).0)
    }

    fn sealed(&self) -> Bytes {
        [&MAGIC[..], &self.0, &Md5::digest(&self.0)[..]].concat().into()
    }
}

fn new() -> Message {
    Message::default()
}

fn part(key: &str, data: &[u8]) -> Part {
    Part {
        partition_key: Some(key.into()),
        data: Bytes::copy_from_slice(data),
    }
}

#[test]
fn an_aggregate_made_elsewhere_comes_apart() {
    // Made with Google's protobuf from the published format.
    let text = "84mawgoEcGstMAoEcGstMRoLCAAaB3siYSI6MX0aCggBGgbml6XmnKwaBAgAGgCEisb04bg45T6JggI9c/Vx";
    let data = Bytes::from(STANDARD.decode(text).unwrap());
    let parts = vec![
        part("pk-0", br#"{"a":1}"#),
        part("pk-1", "日本".as_bytes()),
        part("pk-0", b""),
    ];
    assert_eq!(take_apart(&data), Aggregate::Parts(parts));
}

#[test]
fn fields_may_stand_in_any_order_and_unknown_ones_are_passed_over() {
    let tag = new().bytes(1, b"name").bytes(2, b"value").0;
    let inner = new()
        .bytes(4, &tag)
        .bytes(3, b"data")
        .number(9, u64::MAX)
        .number(2, 7)
        .number(1, 0)
        .0;
    let group = new()
        .tag(5, 3)
        .number(1, 5)
        .tag(6, 3)
        .bytes(1, b"x")
        .tag(6, 4)
        .tag(5, 4)
        .0;
    let message = new()
        .bytes(3, &inner)
        .tag(7, 1)
        .raw(&[0; 8])
        .tag(8, 5)
        .raw(&[0; 4])
        .raw(&group)
        .bytes(2, b"12345")
        .number(1, 3)
        .bytes(1, b"key");
    assert_eq!(
        take_apart(&message.sealed()),
        Aggregate::Parts(vec![part("key", b"data")])
    );
    let twice = new().bytes(1, b"a").bytes(1, b"b").bytes(
        3,
        &new().number(1, 0).bytes(3, b"x").number(1, 1).bytes(3, b"y").0,
    );
    assert_eq!(
        take_apart(&twice.sealed()),
        Aggregate::Parts(vec![part("b", b"y")])
    );
    assert_eq!(
        take_apart(&new().sealed()),
        Aggregate::Parts(vec![]),
        "of nothing"
    );
}

#[test]
fn a_part_is_a_slice_of_its_aggregate() {
    let data = new().bytes(1, b"k").record(0, &[7; 1000]).sealed();
    let Aggregate::Parts(parts) = take_apart(&data) else {
        panic!("an aggregate")
    };
    assert!(data.as_ptr_range().contains(&parts[0].data.as_ptr()));
}

#[test]
fn what_begins_like_an_aggregate_and_is_none_stays_whole() {
    let many = |n| {
        (0..n)
            .fold(new().bytes(1, b"k"), |m, _| m.record(0, b""))
            .sealed()
    };
    assert!(matches!(take_apart(&many(MAX_PARTS)), Aggregate::Parts(parts) if parts.len() == MAX_PARTS));
    let deep = (0..101).fold(new(), |m, _| m.tag(5, 3));
    let mut wrong = new().bytes(1, b"k").record(0, b"x").sealed().to_vec();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    for (data, reason) in [
        (Bytes::from_static(&MAGIC), "shorter"),
        (Bytes::from([&MAGIC[..], &[0; 15]].concat()), "shorter"),
        (Bytes::from([&MAGIC[..], &[0; 16]].concat()), "MD5"),
        (Bytes::from(wrong), "MD5"),
        (new().record(0, b"x").sealed(), "not in the table"),
        (new().bytes(1, b"k").record(1, b"x").sealed(), "not in the table"),
        (
            new().bytes(1, b"k").record(u64::MAX, b"x").sealed(),
            "not in the table",
        ),
        (new().bytes(1, b"\xff").record(0, b"x").sealed(), "not UTF-8"),
        (
            new().bytes(3, &new().bytes(3, b"x").0).sealed(),
            "no partition key",
        ),
        (
            new().bytes(1, b"k").bytes(3, &new().number(1, 0).0).sealed(),
            "no data",
        ),
        (
            new()
                .bytes(1, b"k")
                .bytes(3, &new().number(1, 0).number(3, 1).0)
                .sealed(),
            "no data",
        ),
        (new().tag(3, 2).varint(5).raw(b"four").sealed(), "breaks off"),
        (new().tag(3, 2).varint(u64::MAX).sealed(), "breaks off"),
        (new().tag(1, 0).sealed(), "breaks off"),
        (new().tag(7, 1).raw(&[0; 7]).sealed(), "breaks off"),
        (new().tag(5, 3).sealed(), "breaks off"),
        (new().tag(5, 3).tag(6, 4).sealed(), "never began"),
        (new().tag(5, 4).sealed(), "never began"),
        (deep.sealed(), "too deep"),
        (many(MAX_PARTS + 1), "too many"),
        (new().tag(5, 6).sealed(), "wire type"),
        (new().tag(0, 0).number(1, 1).sealed(), "number 0"),
        (new().varint(1 << 32).sealed(), "too large"),
        (new().tag(5, 0).raw(&[0xff; 10]).sealed(), "64 bits"),
        (new().tag(5, 0).raw(&[0x80; 9]).raw(&[2]).sealed(), "64 bits"),
    ] {
        match take_apart(&data) {
            Aggregate::Damaged(says) => assert!(says.contains(reason), "{reason}: {says}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
    for plain in [&b""[..], b"\xf3\x89\x9a", b"{}", &new().sealed()[1..]] {
        assert_eq!(take_apart(&Bytes::copy_from_slice(plain)), Aggregate::Plain);
    }
}

fn record(data: Bytes) -> Record {
    Record {
        partition_key: Some("outer".into()),
        ..Record::new(
            SequenceNumber::parse("7").unwrap(),
            Some(Timestamp::from_millis(5)),
            data,
        )
    }
}

#[test]
fn user_records_know_their_place() {
    let told = |data: &Bytes| {
        let (records, damaged) = user_records(&record(data.clone()));
        let told: Vec<_> = records
            .into_iter()
            .map(|r| {
                assert_eq!(
                    (r.sequence_number.as_str(), r.time),
                    ("7", record(r.data.clone()).time)
                );
                let key = r.partition_key.unwrap_or_default().to_string();
                (r.sub_sequence_number, key, r.data)
            })
            .collect();
        (told, damaged)
    };
    let two = new().bytes(1, b"k").record(0, b"x").record(0, b"y").sealed();
    let one = |at, key: &str, data: &'static [u8]| (at, key.to_owned(), Bytes::from_static(data));
    assert_eq!(told(&two), (vec![one(0, "k", b"x"), one(1, "k", b"y")], false));
    assert_eq!(told(&new().sealed()), (vec![], false));
    let plain = Bytes::from_static(b"text");
    assert_eq!(told(&plain), (vec![one(0, "outer", b"text")], false));
    assert_eq!(
        told(&Bytes::from_static(&MAGIC)),
        (vec![one(0, "outer", &MAGIC)], true)
    );
}

proptest! {
    #[test]
    fn what_was_put_together_comes_apart_and_never_wrongly(
        keys in proptest::collection::vec(".{0,12}", 1..5),
        parts in proptest::collection::vec((any::<proptest::sample::Index>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..12),
        flip in any::<(proptest::sample::Index, std::num::NonZeroU8)>(),
    ) {
        let table = keys.iter().fold(new(), |m, key| m.bytes(1, key.as_bytes()));
        let message = parts.iter().fold(table, |m, (key, data)| m.record(key.index(keys.len()) as u64, data));
        let expected = parts.iter().map(|(key, data)| part(&keys[key.index(keys.len())], data)).collect();
        let sealed = message.sealed();
        prop_assert_eq!(take_apart(&sealed), Aggregate::Parts(expected));

        let mut flipped = sealed.to_vec();
        flipped[flip.0.index(sealed.len())] ^= flip.1.get();
        prop_assert!(!matches!(take_apart(&flipped.into()), Aggregate::Parts(_)));
    }

    #[test]
    fn no_message_is_too_much(body in proptest::collection::vec(any::<u8>(), 0..200), clean in any::<bool>()) {
        // Small numbers make more of a message.
        let body = body.into_iter().map(|b| if clean { b % 40 } else { b }).collect();
        let sealed = Message(body).sealed();
        if let Aggregate::Parts(parts) = take_apart(&sealed) {
            let together: usize = parts.iter().map(|p| p.data.len()).sum();
            prop_assert!(together <= sealed.len());
        }
    }
}
