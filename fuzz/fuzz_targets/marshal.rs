#![no_main]

libfuzzer_sys::fuzz_target!(|value: &[u8]| fuzz::decode("marshal", value));
