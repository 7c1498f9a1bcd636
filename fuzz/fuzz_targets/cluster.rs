#![no_main]

use ngx_http_session_redis_module::store::cluster::map::{SlotMap, MOST_NODES};
use ngx_http_session_redis_module::store::cluster::nodes::{Due, Nodes, Route};
use ngx_http_session_redis_module::store::cluster::redirect::Redirect;
use ngx_http_session_redis_module::store::cluster::slot::SLOTS;
use ngx_http_session_redis_module::store::cluster::NodeAddress;
use ngx_http_session_redis_module::store::resp::{Limits, Reader, Reply};
use ngx_http_session_redis_module::store::servers::TriedSet;

/// Larger than any input, so that nothing is over them.
const LIMITS: Limits = Limits { bulk: 1 << 20, other: 1 << 20 };

// What a node sends in answer to CLUSTER SLOTS, and the redirects behind it: whatever it is, a key goes to a node that is
// known, or to none.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let asked = NodeAddress { host: "10.0.0.1".into(), port: 7000 };
    let mut nodes = Nodes::new(vec![asked.clone()], true);
    let mut now = 0;
    let mut reader = Reader::new(LIMITS);
    let mut rest = input;
    while let Ok(Some(reply)) = reader.next(&mut rest) {
        now += 20_000;
        match reply {
            Reply::Other(value) => {
                let Some(map) = SlotMap::parse(value, &asked) else { continue };
                assert!(map.shards().len() <= MOST_NODES);
                for range in map.ranges() {
                    assert!(range.first <= range.last && range.last < SLOTS && range.shard < map.shards().len());
                }
                if let Due::Map(node) = nodes.due(now) {
                    let _ = nodes.adopt(node, &map, now);
                }
            }
            Reply::Error(error) => {
                if let Some(redirect) = Redirect::parse(&error.to_string(), &asked) {
                    assert!(redirect.slot < SLOTS);
                    let again = redirect.to_reply();
                    let text = again.strip_prefix('-').and_then(|text| text.strip_suffix("\r\n")).unwrap_or("");
                    assert_eq!(Redirect::parse(text, &asked).as_ref(), Some(&redirect));
                    nodes.learn(redirect.slot, &redirect.address, now);
                }
            }
            _ => {}
        }
        for write in [false, true] {
            if let Ok(Route::To(node) | Route::ToReplica(node)) = nodes.route(input, write, &TriedSet::NONE, now) {
                assert!(nodes.address(node).is_some());
            }
        }
    }
});
