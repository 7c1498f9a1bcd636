#![no_main]

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use ngx_http_session_redis_module::format::Pipeline;
use ngx_http_session_redis_module::session::envelope::Encrypter;
use ngx_http_session_redis_module::session::secrets::Secrets;
use sha2::Sha256;

const KEY: &str = "0123456789abcdef";

// What comes as an envelope, as the JSON in it, and as IV and value with the MAC that a key holder makes.
libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    let secrets = Secrets::parse_args(&[KEY, "0123456789abcdef0123456789abcdef"]).expect("keys");
    let encrypter = Encrypter::new(&secrets, None).expect("keys");
    let pipeline = Pipeline::parse(&["encrypted", "auto"]).expect("known names");
    let pipeline = pipeline.with_secrets(Some(&secrets), None).expect("keys");

    fuzz::decode_by(&pipeline, value);
    fuzz::decode_by(&pipeline, STANDARD.encode(value).as_bytes());
    let Some((iv, data)) = value.split_at_checked(16) else { return };
    let (iv, data) = (STANDARD.encode(iv), STANDARD.encode(data));
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).expect("a key");
    mac.update([iv.as_str(), &data].concat().as_bytes());
    let mac: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let json = serde_json::json!({ "iv": iv, "value": data, "mac": mac, "tag": "" }).to_string();
    let envelope = STANDARD.encode(json);
    if let Some(plain) = encrypter.open(envelope.as_bytes()) {
        assert_eq!(value.len() % 16, 0);
        assert!(plain.len() < value.len() - 16);
    }
    fuzz::decode_by(&pipeline, envelope.as_bytes());
});
