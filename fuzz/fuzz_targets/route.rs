#![no_main]

use ngx_http_session_redis_module::route::assignment::{is_name, Assignment};
use ngx_http_session_redis_module::route::set_cookie::SetCookie;

// What the store may hold as an assignment, and what a backend may set as a cookie.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(Assignment { server, written, life }) = Assignment::parse(input) {
        assert!(is_name(server));
        let again = [server, format!(" {written} {life}").as_bytes()].concat();
        assert_eq!(Assignment::parse(&again), Some(Assignment { server, written, life }));
    }
    if let Some(cookie) = SetCookie::parse(input) {
        assert!(!cookie.name.is_empty() && !cookie.name.contains(&b'=') && !cookie.value.contains(&b';'));
        // What has ended does not begin again.
        let ends = [0, 1_795_712_400, u64::MAX].map(|now| cookie.is_end(now));
        assert!(ends.is_sorted());
    }
});
