//! What the fuzz targets of all formats check.

use std::borrow::Cow;

use ngx_http_session_redis_module::format::{Pipeline, Reason, Undecodable, Wanted, MAX_DEPTH};
use ngx_http_session_redis_module::framework::Framework;
use ngx_http_session_redis_module::inject::{session_header, Encode};
use ngx_http_session_redis_module::pointer::{Pointer, Selected};
use ngx_http_session_redis_module::session::identity::Verifier;
use ngx_http_session_redis_module::session::scheme::Carried;
use ngx_http_session_redis_module::session::secrets::Secrets;
use serde_json::Value;

/// How many places of a session are read.
const PLACES: usize = 16;

/// Reads a value of `format`: what comes of it is bounded, can be a header, and is the same in part.
pub fn decode(format: &str, value: &[u8]) {
    decode_by(&Pipeline::parse(&[format]).expect("a known format"), value);
}

/// As [`decode`], by any pipeline.
pub fn decode_by(pipeline: &Pipeline, value: &[u8]) {
    let whole = pipeline.decode(value, &Wanted::All);
    let nothing = pipeline.decode(value, &Wanted::Nothing);
    // A reader that makes values may use up its budget before it meets the fault that one sees which skips them.
    let too_large = matches!(whole, Err(Undecodable { reason: Reason::TooLarge, .. }));
    let malformed = |read: &Result<_, Undecodable>| {
        matches!(read, Err(Undecodable { reason: Reason::Malformed, .. }))
    };
    assert!(
        too_large || malformed(&whole) == malformed(&nothing),
        "what is malformed is so whatever is wanted"
    );
    let Ok(whole) = whole else { return };
    assert!(depth(&whole) <= MAX_DEPTH);

    let mut pointers = Vec::new();
    places(&whole, &mut String::new(), &mut pointers);
    pointers.extend(["/*", "/*/*", "/a/*/b", "/0", "/*/0"].map(str::to_owned));
    let pointers: Vec<Pointer> =
        pointers.iter().map(|pointer| Pointer::parse(pointer).expect("a pointer")).collect();
    let read = |wanted: &Wanted| {
        pipeline.decode(value, wanted).expect("what can be read whole can be read in part")
    };
    let same = |pointer: &Pointer, part: &Value| {
        assert_eq!(pick(pointer, part), pick(pointer, &whole), "{}", pointer.as_str());
    };
    let part = read(&Wanted::of(&pointers));
    pointers.iter().for_each(|pointer| same(pointer, &part));
    // Each on its own would take most of the time: one is, another for another value.
    let chosen =
        value.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    let pointer = &pointers[chosen % pointers.len()];
    let part = read(&Wanted::of([pointer]));
    same(pointer, &part);
    header(&pointer.select(&part));
}

/// Opens a cookie's value; a second line is that of the cookie beside it. Of all values only spellings of the
/// captured one, with the session `id`, open: nothing else was made with the secret.
pub fn open(framework: &[&str], secret: &str, id: &str, input: &[u8]) {
    let verifier = verifier(framework, &[secret]);
    let framework = Framework::parse(framework).expect("a known framework");
    let (value, beside) = match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&input[..at], Some(&input[at + 1..])),
        None => (input, None),
    };
    let carried = Carried { name: &framework.cookies[0], beside, now: NOW };
    if let Ok(opened) = verifier.verify(value, &carried) {
        assert!(opened.as_str() == id, "opened what nobody made");
    }
}

/// Takes `wrapper` off a value: what was in it is bounded, and can be read. What `wrap` makes of some
/// values is taken off again.
pub fn unwrap(wrapper: &str, value: &[u8], wrap: impl FnOnce(&[u8]) -> Vec<u8>) {
    let pipeline = |format| Pipeline::parse(&[wrapper, format]).expect("a known wrapper");
    let raw = |value: &[u8]| pipeline("raw").decode(value, &Wanted::All);
    if let Ok(Value::String(plain)) = raw(value) {
        let encoded = plain.strip_prefix("base64:");
        let length = encoded.map_or(plain.len(), |encoded| encoded.len() / 4 * 3);
        assert!(length <= (8 * value.len()).max(1024 * 1024) + 3);
    }
    decode_by(&pipeline("auto"), value);
    // Compressors are slow: some values will do.
    if value.len() % 16 != 7 {
        return;
    }
    let wrapped = wrap(value);
    let plain = Pipeline::parse(&["raw"]).expect("a known format").decode(value, &Wanted::All);
    assert_eq!(raw(&wrapped), plain, "what was wrapped is taken off");
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

/// When cookies are looked at, in Unix seconds.
pub const NOW: u64 = 1_795_219_200;

/// How a framework takes its ids, by these arguments and secrets.
pub fn verifier(framework: &[&str], secrets: &[&str]) -> Verifier {
    let secrets = Secrets::parse_args(secrets).expect("secrets");
    let framework = Framework::parse(framework).expect("a framework");
    framework.identity.verifier(Some(&secrets)).expect("good secrets")
}

/// The id in the value of a cookie `sid`, if there is one.
pub fn verify(verifier: &Verifier, value: &[u8]) -> Option<String> {
    let carried = Carried { name: "sid", beside: None, now: NOW };
    verifier.verify(value, &carried).ok().map(|id| id.as_str().to_owned())
}
