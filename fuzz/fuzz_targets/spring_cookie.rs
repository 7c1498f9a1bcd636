#![no_main]

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use ngx_http_session_redis_module::session::identity::Verifier;

thread_local! {
    static SPRING: Verifier = fuzz::verifier(&["spring"], &[]);
}

// An id that is taken is what the value begins with, in base64.
libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    for value in [value, STANDARD.encode(value).as_bytes()] {
        if let Some(id) = SPRING.with(|spring| fuzz::verify(spring, value)) {
            assert_eq!(id.len(), 36);
            assert!(value.starts_with(STANDARD.encode(id).as_bytes()));
        }
    }
});
