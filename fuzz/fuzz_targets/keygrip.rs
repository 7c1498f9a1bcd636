#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let secret = "koa-key-new";
    fuzz::open(
        &["koa", "variant=session", "prefix=koa:app:"],
        secret,
        "af8b5a37-f2d5-45e8-b0cd-e4ebbab30684",
        input,
    );
});
