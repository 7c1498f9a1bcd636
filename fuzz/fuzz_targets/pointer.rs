#![no_main]

use ngx_http_session_redis_module::format::Wanted;
use ngx_http_session_redis_module::pointer::{Pointer, Selected};
use serde_json::Value;

// A pointer, a line end, and a document to look in.
libfuzzer_sys::fuzz_target!(|input: &str| {
    let (text, document) = input.split_once('\n').unwrap_or((input, "{}"));
    let Ok(pointer) = Pointer::parse(text) else { return };
    let Ok(document) = serde_json::from_str::<Value>(document) else { return };
    match pointer.select(&document) {
        Selected::Many(_) => assert!(text.contains('*')),
        Selected::One(found) => assert_eq!(Some(found), document.pointer(text)),
        Selected::None => assert!(text.contains('*') || document.pointer(text).is_none()),
    }
    let joined = pointer.join(&pointer);
    assert_eq!(Pointer::parse(joined.as_str()).as_ref(), Ok(&joined));
    assert!(Wanted::All.covers(&Wanted::of([&pointer, &joined])));
});
