#![no_main]

use ngx_http_session_redis_module::store::endpoint::{is_url, Endpoint};

const PASSWORD: &str = "pass12word";

// What was read is written so that it reads the same, and a refusal repeats no password.
libfuzzer_sys::fuzz_target!(|url: &str| {
    if let Ok(endpoint) = Endpoint::parse(url) {
        assert!(is_url(url));
        assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
    }
    let split =
        url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?)));
    if let Some((scheme, (before, after))) = split {
        if let Err(error) = Endpoint::parse(&format!("{scheme}://{before}:{PASSWORD}@{after}")) {
            let told = error.to_string();
            assert!(!told.contains(PASSWORD), "{told}");
        }
    }
});
