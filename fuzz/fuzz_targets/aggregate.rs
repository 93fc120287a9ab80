//! Aggregates: the input as it is, and as the message inside a well-sealed aggregate.
#![no_main]

use bytes::Bytes;
use md5::{Digest, Md5};
use weir_fuzz::decode::aggregate::{Aggregate, take_apart, user_records};
use weir_fuzz::record;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The fuzzer can't guess a digest.
    let sealed = [&[0xf3, 0x89, 0x9a, 0xc2], data, &Md5::digest(data)[..]].concat();
    for bytes in [data, &sealed] {
        let whole = Bytes::copy_from_slice(bytes);
        match take_apart(&whole) {
            Aggregate::Parts(parts) => {
                for part in &parts {
                    let within = whole.as_ptr_range().contains(&part.data.as_ptr());
                    assert!(part.data.is_empty() || within, "a slice, not a copy");
                    assert!(part.partition_key.is_some());
                }
                let together: usize = parts.iter().map(|p| p.data.len()).sum();
                assert!(together <= bytes.len(), "no byte is in two parts");
                assert_eq!(user_records(&record(bytes)).0.len(), parts.len());
            }
            Aggregate::Plain => assert!(!bytes.starts_with(&[0xf3, 0x89, 0x9a, 0xc2])),
            Aggregate::Damaged(_) => assert_eq!(user_records(&record(bytes)).0.len(), 1),
        }
    }
});
