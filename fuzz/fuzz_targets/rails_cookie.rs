#![no_main]

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use ngx_http_session_redis_module::session::identity::Verifier;
use pbkdf2::pbkdf2_hmac_array;
use sha2::Sha256;

const SECRET: &str = "a secret key base";

thread_local! {
    static RAILS: Verifier = fuzz::verifier(&["rails", "cookie=sid", "encrypted=on"], &[SECRET]);
    static KEY: Aes256Gcm = Aes256Gcm::new(
        &pbkdf2_hmac_array::<Sha256, 32>(SECRET.as_bytes(), b"authenticated encrypted cookie", 1000)
            .into(),
    );
}

// What comes as a value, as a message that the application encrypted, and as one in its envelope.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let open = |value: &[u8]| RAILS.with(|rails| fuzz::verify(rails, value));
    assert_eq!(open(input), None);
    let envelope = format!(
        "{{\"_rails\":{{\"message\":\"{}\",\"exp\":null,\"pur\":\"cookie.sid\"}}}}",
        STANDARD.encode(input)
    );
    for message in [input, envelope.as_bytes()] {
        if let Some(id) = open(&seal(message)) {
            assert_eq!(id.len(), 32);
        }
    }
});

fn seal(message: &[u8]) -> Vec<u8> {
    let (iv, mut sealed) = (b"twelve bytes", message.to_vec());
    let tag = KEY.with(|key| {
        key.encrypt_inout_detached(iv.into(), b"", sealed.as_mut_slice().into()).expect("a tag")
    });
    let parts = [sealed.as_slice(), iv, &tag].map(|part| STANDARD.encode(part));
    parts.join("--").replace('+', "%2B").into_bytes()
}
