//! Envelopes: every message comes out as a full JSON parser reads it, or none does.
#![no_main]

use serde_json::Value;
use weir_fuzz::decode::{Decode, Gzip};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(decoded) = weir_fuzz::decode(data, Decode::Subscription, Gzip::Auto) else {
        return;
    };
    if data.starts_with(&[0x1f, 0x8b]) {
        return;
    }
    let mut messages = decoded.events.iter().map(|e| e.event.message.as_str());
    for envelope in serde_json::Deserializer::from_slice(data).into_iter::<Value>() {
        // Numbers that are no f64, and nesting that is too deep, are JSON that this parser does not take.
        let Ok(envelope) = envelope else { return };
        if envelope["messageType"] != "DATA_MESSAGE" {
            continue;
        }
        for event in envelope["logEvents"].as_array().into_iter().flatten() {
            assert_eq!(messages.next(), event["message"].as_str(), "in order, each once");
        }
    }
    assert_eq!(messages.next(), None);
});
