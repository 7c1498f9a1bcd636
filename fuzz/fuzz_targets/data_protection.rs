#![no_main]

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use ngx_http_session_redis_module::session::identity::Verifier;

/// That of the captured session in `t/data`.
const KEY: &str = "base64:UgWKNKOE8hZpvWdOx8EQ4+LeUo18YHUkmfq9iRpXhN/MZEyEt0AVRtidMPSecGZlx+rlIUt+8sJNbIKCjM4rxg==";
const COOKIE: &str = "CfDJ8C0ciz9fTnFggpOktcbX6PmbBd5z1D+MTsERDGvMUxK88LU7LaBB/KSe8LmDkGCzRTxOrT8Z1oBwtsAdjzmQxi3ppMLL9X1rcM7fHZMUX5PjTKTkWI7Tdve95L5417RZgZhPsWIb1Ml7Z/4or8I+xC9FXaoGDL3H3ClLfQLBSV55";

thread_local! {
    static ASPNET: Verifier = fuzz::verifier(&["aspnet", "application=shop-app"], &[KEY]);
}

// What comes as a value, as the bytes in it, and as changes to a cookie: none is taken but that cookie.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let cookie = STANDARD.decode(COOKIE).expect("base64");
    let mut changed = cookie.clone();
    changed.iter_mut().zip(input).for_each(|(to, change)| *to ^= change);
    for bytes in [input, &changed] {
        let value = STANDARD.encode(bytes);
        let id = ASPNET.with(|aspnet| fuzz::verify(aspnet, value.as_bytes()));
        assert_eq!(id.is_some(), *bytes == cookie);
    }
    ASPNET.with(|aspnet| fuzz::verify(aspnet, input));
});
