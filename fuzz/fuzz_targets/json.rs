//! JSON that is taken apart: what is read is JSON to serde too, and is the same after it was written.
#![no_main]

use weir_fuzz::json::{NoTree, Tree};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    match Tree::parse(text) {
        Ok(tree) => {
            assert!(is_json);
            let written = tree.to_string();
            assert_eq!(Tree::parse(&written).expect("what was written"), tree);
            assert_eq!(Tree::parse(&written).expect("what was written").to_string(), written);
        }
        Err(NoTree::NotJson(_)) => assert!(!is_json),
        // It is JSON all the same, and is told so.
        Err(_) => assert!(is_json),
    }
});
