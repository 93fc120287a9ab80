//! Weir's decoders alone, to be fuzzed: `src/decode` and `src/json` by links, and the few nouns it knows, as small as may be.
//!
//! Weir as a whole would bring the AWS SDK, which takes many minutes to build with the fuzzer's marks in it.
//! A noun that differs from Weir's own in what the decoders use of it does not compile.
#![allow(
    dead_code,
    reason = "the decoders use a part of the nouns, and the targets of the decoders"
)]

pub mod decode;
pub mod json;

use bytes::Bytes;
use decode::{Decode, DecodeError, DecodeSettings, Decoded, Gzip, Origin, UnknownMessages};
use stream::{Record, SequenceNumber, ShardId, StreamArn};

pub mod clock {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Timestamp(i64);

    impl Timestamp {
        pub const fn from_millis(millis: i64) -> Self {
            Self(millis)
        }

        pub const fn millis(self) -> i64 {
            self.0
        }
    }
}

pub mod logs {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LogEvent {
        pub timestamp: crate::clock::Timestamp,
        pub message: String,
    }
}

pub mod stream {
    pub mod change;

    use std::fmt;
    use std::sync::Arc;

    use bytes::Bytes;

    use crate::clock::Timestamp;

    macro_rules! text_id {
        ($name:ident) => {
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name(Arc<str>);

            impl $name {
                pub fn new(text: &str) -> Self {
                    Self(text.into())
                }

                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        };
    }

    text_id!(StreamArn);
    text_id!(ShardId);
    text_id!(SequenceNumber);

    impl StreamArn {
        pub fn service_arn(&self) -> &str {
            self.as_str().split('#').next().unwrap_or_default()
        }
    }

    #[derive(Clone, Debug)]
    pub struct Record {
        pub sequence_number: SequenceNumber,
        pub sub_sequence_number: u64,
        pub time: Option<Timestamp>,
        pub partition_key: Option<Arc<str>>,
        pub data: Bytes,
        pub fields: Option<Box<change::ChangeFields>>,
    }
}

/// What one record may grow to here: the fuzzer's process has 512 MiB.
const INFLATE_LIMIT: usize = 1 << 20;

/// A record of these bytes.
pub fn record(data: &[u8]) -> Record {
    Record {
        sequence_number: SequenceNumber::new("49"),
        sub_sequence_number: 0,
        time: Some(clock::Timestamp::from_millis(1_767_225_600_000)),
        partition_key: Some("key".into()),
        data: Bytes::copy_from_slice(data),
        fields: None,
    }
}

/// Decodes the bytes, and checks what holds of every record: it becomes events, or a reason why there are none,
/// or an error, within its limits.
pub fn decode(data: &[u8], how: Decode, gzip: Gzip) -> Result<Decoded, DecodeError> {
    let settings = DecodeSettings {
        how,
        gzip,
        inflate_limit: INFLATE_LIMIT,
        unknown_messages: UnknownMessages::Skip,
        keep_lines: data.first().is_some_and(|first| first % 2 == 0),
    };
    let stream = StreamArn::new("arn:aws:kinesis:eu-west-1:111122223333:stream/audit#1700000000");
    let shard = ShardId::new("shardId-000000000000");
    let origin = Origin {
        stream: &stream,
        shard: &shard,
    };
    let record = record(data);
    decode::estimate(&record, &settings);
    let decoded = decode::decode(&record, origin, &settings)?;
    assert_eq!(decoded.events.is_empty(), decoded.skipped.is_some());
    assert!(decoded.unparsed_lines <= decoded.events.len() as u64);
    for event in &decoded.events {
        assert!(event.envelope.is_none_or(|at| at < decoded.envelopes.len()));
    }
    for envelope in &decoded.envelopes {
        let _ = (envelope.cluster(), envelope.instance());
    }
    Ok(decoded)
}

/// The settings that the first byte of an input asks for, and the rest of it.
pub fn gzip_and_rest(data: &[u8]) -> (Gzip, &[u8]) {
    match data.split_first() {
        Some((b'n', rest)) => (Gzip::Never, rest),
        Some((b'z', rest)) => (Gzip::Always, rest),
        _ => (Gzip::Auto, data),
    }
}
