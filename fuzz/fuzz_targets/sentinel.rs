#![no_main]

use ngx_http_session_redis_module::store::endpoint::Address;
use ngx_http_session_redis_module::store::resp::{Limits, Reader};
use ngx_http_session_redis_module::store::sentinel::{Heard, Talk};

// What a Sentinel sends, being asked again behind each of its answers. Whatever it names can be written in a url.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mut reader = Reader::new(Limits { bulk: 1 << 16, other: 1 << 16 });
    let mut talk = Talk::new("mymaster");
    talk.ask(&mut Vec::new());
    while let Ok(Some(reply)) = reader.next(&mut rest) {
        match talk.take(reply) {
            Ok(Heard::Master(address)) => {
                named(&address);
                talk.ask(&mut Vec::new());
            }
            Ok(Heard::Switched(address)) => named(&address),
            Ok(Heard::UnknownMaster) => talk.ask(&mut Vec::new()),
            Ok(Heard::Change | Heard::Nothing) => {}
            Err(_) => return,
        }
    }
});

fn named(address: &Address) {
    assert_eq!(Address::parse(&address.to_string()).as_ref(), Some(address));
}
