#![no_main]

use ngx_http_session_redis_module::format::{Pipeline, Wanted};

// What is told by its own length twice is read, or refused, in bounds.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let fastlz = Pipeline::parse(&["fastlz", "raw"]).expect("known");
    let _ = fastlz.decode(input, &Wanted::All);
});
