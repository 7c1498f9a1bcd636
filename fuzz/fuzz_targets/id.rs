#![no_main]

use ngx_http_session_redis_module::session::id::IdRule;

// An id that is taken is the one that was sent, and holds nothing that a key or a log could trip over.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let rules =
        [IdRule::default(), IdRule::new("A-Za-z0-9,-", 22, 256), IdRule::new("a-z0-9", 32, 32)];
    for rule in rules {
        if let Ok(id) = rule.parse(input) {
            assert_eq!(id.as_bytes(), input);
            assert!((16..=256).contains(&input.len()));
            assert!(input.iter().all(|b| b.is_ascii_graphic() && !b"{}:*?[]\\\"'%;".contains(b)));
        }
    }
});
