//! Changes of DynamoDB, from its own streams and through Kinesis.
#![no_main]

use weir_fuzz::decode::{Decode, Gzip};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(decoded) = weir_fuzz::decode(data, Decode::Change, Gzip::Never) {
        assert_eq!(decoded.events.len(), 1);
        assert_eq!(decoded.events[0].event.message.as_bytes(), data, "unchanged");
    }
    if let Ok(decoded) = weir_fuzz::decode(data, Decode::Lambda, Gzip::Never) {
        let message = &decoded.events[0].event.message;
        serde_json::from_str::<&serde_json::value::RawValue>(message).expect("JSON");
    }
});
