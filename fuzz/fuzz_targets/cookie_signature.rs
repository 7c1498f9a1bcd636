#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let secret = "keyboard cat";
    fuzz::open(&["express"], secret, "5caS6ncLjt3AtX2RQWNYQuTRD1-OOpNn", input);
});
