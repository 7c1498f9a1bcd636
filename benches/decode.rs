//! What the decode of a session costs, by format, size and what is wanted of it.
//!
//! `cargo bench --no-default-features` times every case. With `-- CASE RUNS` it only runs one, so many times,
//! for callgrind: `valgrind --tool=callgrind --toggle-collect='*Pipeline::decode*' target/release/deps/decode-…
//! json-300-user.id 1000` counts a thousand decodes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ngx_http_session_redis_module::format::{Pipeline, Wanted};
use ngx_http_session_redis_module::pointer::Pointer;
use serde_json::{json, Value};

/// A decode that is measured.
struct Case {
    name: String,
    pipeline: Pipeline,
    raw: Vec<u8>,
    wanted: Wanted,
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let cases = cases();
    match arguments.as_slice() {
        [] => cases.iter().for_each(time),
        [name, runs] => {
            let case = cases.iter().find(|case| case.name == *name).expect("a case");
            run(case, runs.parse().expect("a number of runs"));
        }
        _ => eprintln!("usage: decode [CASE RUNS]"),
    }
}

fn time(case: &Case) {
    /// Long enough to outlast what else the machine does.
    const ENOUGH: Duration = Duration::from_millis(200);
    let (mut runs, mut taken) = (1, Duration::ZERO);
    while taken < ENOUGH {
        runs *= 2;
        let start = Instant::now();
        run(case, runs);
        taken = start.elapsed();
    }
    let each = taken.as_secs_f64() * 1e9 / f64::from(runs);
    println!("{:24} {:6} bytes {each:9.0} ns", case.name, case.raw.len());
}

fn run(case: &Case, runs: u32) {
    for _ in 0..runs {
        let value = black_box(case).pipeline.decode(&case.raw, &case.wanted);
        drop(black_box(value.expect("a session")));
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, items) in [("300", 0), ("4k", 22), ("64k", 370)] {
        let session = session(items);
        let json = session.to_string().into_bytes();
        for (format, raw) in [("json", json), ("php", php(&session))] {
            for pointer in ["/user_id", "/user/id", "/gone", ""] {
                let part = match pointer {
                    "" => "all".to_owned(),
                    _ => pointer[1..].replace('/', "."),
                };
                cases.push(Case {
                    name: format!("{format}-{size}-{part}"),
                    pipeline: Pipeline::default(),
                    raw: raw.clone(),
                    wanted: Wanted::of([&Pointer::parse(pointer).expect("a pointer")]),
                });
            }
        }
    }
    cases
}

/// A session as Express keeps it, with a number of items in the cart.
fn session(items: usize) -> Value {
    let mut session = json!({
        "cookie": {"originalMaxAge": null, "expires": null, "httpOnly": true, "path": "/"},
        "user": {
            "id": 1001,
            "name": "User abcdefgh",
            "email": "abcdefghij@example.com",
            "roles": ["editor", "author"],
            "admin": false,
            "csrf": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "locale": "en_GB",
        },
        "user_id": 1001,
        "views": 1234,
    });
    if items > 0 {
        session["cart"] = (0..items)
            .map(|number| {
                json!({
                    "sku": format!("SKU-{number:08}"),
                    "title": format!("Café crème, large \"{number}\""),
                    "price": 1999,
                    "rate": 0.19,
                    "options": {"gift": false, "colour": "red", "sizes": ["S", "M", "L"]},
                })
            })
            .collect();
    }
    session
}

/// The session as PHP's handler `php` writes it.
fn php(session: &Value) -> Vec<u8> {
    let members = session.as_object().expect("an object");
    members
        .iter()
        .map(|(name, value)| format!("{name}|{}", serialize(value)))
        .collect::<String>()
        .into_bytes()
}

fn serialize(value: &Value) -> String {
    let array = |elements: Vec<String>| format!("a:{}:{{{}}}", elements.len(), elements.concat());
    match value {
        Value::Null => "N;".to_owned(),
        Value::Bool(truth) => format!("b:{};", u8::from(*truth)),
        Value::Number(number) if number.is_f64() => format!("d:{number};"),
        Value::Number(number) => format!("i:{number};"),
        Value::String(text) => format!("s:{}:\"{text}\";", text.len()),
        Value::Array(elements) => array(
            elements
                .iter()
                .enumerate()
                .map(|(at, element)| format!("i:{at};{}", serialize(element)))
                .collect(),
        ),
        Value::Object(members) => array(
            members
                .iter()
                .map(|(name, value)| {
                    format!("{}{}", serialize(&name.as_str().into()), serialize(value))
                })
                .collect(),
        ),
    }
}
