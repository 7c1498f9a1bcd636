#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let secret = "flask-secret-密钥";
    fuzz::open(
        &["flask", "signed=on"],
        secret,
        "Sd1W2cG233I-WPC1Mt3z6F1XVK7Mg33aexMKXC96p8c",
        input,
    );
});
