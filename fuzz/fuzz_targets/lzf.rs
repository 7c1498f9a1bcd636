#![no_main]

// Literals are enough of a compressor.
libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    fuzz::unwrap("lzf", value, |plain| {
        let run = |run: &[u8]| [&[u8::try_from(run.len() - 1).expect("at most 32")], run].concat();
        plain.chunks(32).flat_map(run).collect()
    });
});
