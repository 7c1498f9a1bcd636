#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let secret = "base64:5WRD1dkYAhpQKVtTWW6vlQGo84k6fGEPbH3giCkWBNY=";
    fuzz::open(
        &["laravel", "app=shop", "version=8"],
        secret,
        "ZusYFbwCdasvwstaz0khogTIAlwGE2pseHAhl1gq",
        input,
    );
});
