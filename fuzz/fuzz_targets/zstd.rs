#![no_main]

use ruzstd::encoding::{compress_to_vec, CompressionLevel};

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    fuzz::unwrap("zstd", value, |plain| compress_to_vec(plain, CompressionLevel::Fastest));
});
