#![no_main]

use base64::engine::general_purpose::URL_SAFE;
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use ngx_http_session_redis_module::session::identity::Verifier;
use sha2::Sha256;

const HASH_KEY: &str = "a hash key";

thread_local! {
    static SIGNED: Verifier = fuzz::verifier(&["gorilla", "name=sid"], &[HASH_KEY]);
    static ENCRYPTED: Verifier = fuzz::verifier(
        &["gorilla", "name=sid", "encrypted=on"],
        &[HASH_KEY, "0123456789abcdef"],
    );
}

// What comes as a value, as the bytes in it, and as the payload of one that a key holder signed, who may have
// encrypted it.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let payload = format!("{}|{}", fuzz::NOW, URL_SAFE.encode(input));
    let mut mac = Hmac::<Sha256>::new_from_slice(HASH_KEY.as_bytes()).expect("a key");
    mac.update(format!("sid|{payload}").as_bytes());
    let mac = mac.finalize().into_bytes();
    let sealed = URL_SAFE.encode([payload.as_bytes(), b"|", &mac].concat());

    for scheme in [&SIGNED, &ENCRYPTED] {
        for value in [input, URL_SAFE.encode(input).as_bytes()] {
            assert_eq!(scheme.with(|scheme| fuzz::verify(scheme, value)), None);
        }
        if let Some(id) = scheme.with(|scheme| fuzz::verify(scheme, sealed.as_bytes())) {
            assert_eq!(id.len(), 52);
            assert!(input.len() > id.len());
        }
    }
});
