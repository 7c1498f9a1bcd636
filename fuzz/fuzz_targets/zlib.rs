#![no_main]

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::Compression;

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    fuzz::unwrap("zlib", value, |plain| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).expect("room");
        encoder.finish().expect("room")
    });
});
