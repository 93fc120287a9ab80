//! Audit lines: each becomes one JSON object, whatever it holds.
#![no_main]

use weir_fuzz::decode::{Decode, Envelope, Gzip, audit};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut messages = audit::Messages::default();
    let envelope = Envelope {
        log_group: "/aws/rds/cluster/shop/audit".to_owned(),
        log_stream: "shop-1.audit.log.0".to_owned(),
        owner: "111122223333".to_owned(),
    };
    messages.come_in(0, &envelope);
    let is_object = |message: &str| {
        let json: serde_json::Value = serde_json::from_str(message).expect("JSON");
        assert!(json.is_object());
    };
    is_object(&messages.message(&text, Some("31")).0);
    let mut lines = 0;
    for line in audit::lines(&text) {
        is_object(&messages.message(line, Some("31")).0);
        lines += 1;
    }
    match weir_fuzz::decode(data, Decode::Audit, Gzip::Never) {
        Ok(decoded) if decoded.envelopes.is_empty() && decoded.skipped.is_none() => {
            assert_eq!(decoded.events.len(), lines, "one event a line");
        }
        _ => {}
    }
});
