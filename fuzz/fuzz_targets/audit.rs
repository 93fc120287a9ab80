//! Audit lines: each becomes one JSON object, whatever it holds.
#![no_main]

use weir_fuzz::decode::{Decode, Gzip, audit};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let context = audit::Context {
        log_group: Some("/aws/rds/cluster/shop/audit"),
        log_stream: Some("shop-1.audit.log.0"),
        owner: Some("111122223333"),
        id: Some("31"),
    };
    let is_object = |message: &str| {
        let json: serde_json::Value = serde_json::from_str(message).expect("JSON");
        assert!(json.is_object());
    };
    is_object(&audit::message(&text, &context).0);
    let mut lines = 0;
    for line in audit::lines(&text) {
        is_object(&audit::message(line, &context).0);
        lines += 1;
    }
    match weir_fuzz::decode(data, Decode::Audit, Gzip::Never) {
        Ok(decoded) if decoded.envelopes.is_empty() && decoded.skipped.is_none() => {
            assert_eq!(decoded.events.len(), lines, "one event a line");
        }
        _ => {}
    }
});
