#![no_main]

use base64::engine::general_purpose::STANDARD;
use base64::Engine;

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    fuzz::unwrap("base64", value, |plain| STANDARD.encode(plain).into_bytes());
});
