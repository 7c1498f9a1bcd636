#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let secret = "beaker-secret";
    fuzz::open(&["beaker"], secret, "dc4d832647e44f689b0dc4b07b444a86", input);
});
