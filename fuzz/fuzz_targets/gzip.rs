#![no_main]

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::Compression;

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    fuzz::unwrap("gzip", value, |plain| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).expect("room");
        encoder.finish().expect("room")
    });
});
