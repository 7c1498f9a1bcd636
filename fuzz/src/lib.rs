//! What the fuzz targets of all formats check.

use std::borrow::Cow;

use ngx_http_session_redis_module::format::{Pipeline, Reason, Undecodable, Wanted, MAX_DEPTH};
use ngx_http_session_redis_module::inject::{session_header, Encode};
use ngx_http_session_redis_module::pointer::{Pointer, Selected};
use serde_json::Value;

/// How many places of a session are read on their own.
const PLACES: usize = 16;

/// Reads a value of `format`: what comes of it is bounded, can be a header, and is the same in part.
pub fn decode(format: &str, value: &[u8]) {
    let pipeline = Pipeline::parse(&[format]).expect("a known format");
    let whole = pipeline.decode(value, &Wanted::All);
    let nothing = pipeline.decode(value, &Wanted::Nothing);
    let malformed = |read: &Result<_, Undecodable>| {
        matches!(read, Err(Undecodable { reason: Reason::Malformed, .. }))
    };
    assert_eq!(
        malformed(&whole),
        malformed(&nothing),
        "what is malformed is so whatever is wanted"
    );
    let Ok(whole) = whole else { return };
    assert!(depth(&whole) <= MAX_DEPTH);

    let mut pointers = Vec::new();
    places(&whole, &mut String::new(), &mut pointers);
    pointers.extend(["/*", "/*/*", "/a/*/b", "/0", "/*/0"].map(str::to_owned));
    let pointers: Vec<Pointer> =
        pointers.iter().map(|pointer| Pointer::parse(pointer).expect("a pointer")).collect();
    let together = Wanted::of(&pointers);
    for wanted in pointers.iter().map(|pointer| Wanted::of([pointer])).chain([together]) {
        let part =
            pipeline.decode(value, &wanted).expect("what can be read whole can be read in part");
        for pointer in pointers.iter().filter(|pointer| wanted.covers(&Wanted::of([*pointer]))) {
            assert_eq!(pick(pointer, &part), pick(pointer, &whole), "{}", pointer.as_str());
            header(&pointer.select(&part));
        }
    }
}

fn header(selected: &Selected<'_>) {
    for encode in [Encode::Raw, Encode::Uri, Encode::Base64, Encode::Json] {
        for join in [None, Some(",")] {
            let value =
                session_header(selected, join, encode).ok().flatten().unwrap_or(Cow::Borrowed(b""));
            assert!(!value.iter().any(u8::is_ascii_control));
            assert!(encode == Encode::Raw || value.is_ascii());
        }
    }
}

fn pick(pointer: &Pointer, value: &Value) -> Option<Vec<Value>> {
    match pointer.select(value) {
        Selected::None => None,
        Selected::One(found) => Some(vec![found.clone()]),
        Selected::Many(found) => Some(found.into_iter().cloned().collect()),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Pointers to the first values in `value`, below `place`.
fn places(value: &Value, place: &mut String, found: &mut Vec<String>) {
    if found.len() >= PLACES {
        return;
    }
    found.push(place.clone());
    let length = place.len();
    let mut go_on = |name: &str, value: &Value| {
        place.push('/');
        place.push_str(&name.replace('~', "~0").replace('/', "~1"));
        places(value, place, found);
        place.truncate(length);
    };
    match value {
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(at, value)| go_on(&at.to_string(), value));
        }
        Value::Object(members) => members.iter().for_each(|(name, value)| go_on(name, value)),
        _ => {}
    }
}
