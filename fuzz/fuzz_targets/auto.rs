//! Any record by its looks, gzip and all: a message that is the record itself holds every byte of it.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_fuzz::decode::{Decode, Gzip, gzip};
use weir_fuzz::gzip_and_rest;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (how_gzip, data) = gzip_and_rest(data);
    for how in [Decode::Json, Decode::Text, Decode::Base64] {
        let _ = weir_fuzz::decode(data, how, how_gzip);
    }
    let Ok(decoded) = weir_fuzz::decode(data, Decode::Auto, how_gzip) else {
        return;
    };
    if !decoded.envelopes.is_empty() || decoded.skipped.is_some() {
        return;
    }
    let message = &decoded.events[0].event.message;
    let content = match how_gzip {
        Gzip::Never => data.to_vec(),
        _ if gzip::is_gzip(data) => gzip::inflate(data, 1 << 20).expect("as the decoder did"),
        _ => data.to_vec(),
    };
    if content != message.as_bytes() {
        let json: serde_json::Value = serde_json::from_str(message).expect("JSON around base64");
        let bytes = json["data"].as_str().map(|text| STANDARD.decode(text));
        assert_eq!(bytes, Some(Ok(data.to_vec())), "the record's own bytes");
    }
});
