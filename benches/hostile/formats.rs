//! The worst sessions known of each format. Each holds `user_id`, the hostile part at `/h`, and about so many bytes.

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::Engine;

/// A hostile session.
pub(crate) struct Shape {
    /// What is hostile in it.
    pub(crate) name: &'static str,
    /// The format, as in `session_redis_format`.
    pub(crate) format: &'static str,
    /// Where the hostile part stands.
    pub(crate) part: &'static [&'static str],
    /// A session of about so many bytes.
    pub(crate) make: fn(usize) -> Vec<u8>,
}

/// A float for which Rust's parser takes its slowest way, since it lies half-way between two.
const HALFWAY: &str = "2.47032822920623272083e-324";
/// One for which Rust's printer does.
const SLOW: f64 = 5e-324;
/// What a place in each element needs room for.
const COLUMNS: &[&str] = &["/h/*/a", "/h/*/b", "/h/*/c", "/h/*/d", "/h/*/e", "/h/*/f"];

const fn shape(format: &'static str, name: &'static str, make: fn(usize) -> Vec<u8>) -> Shape {
    Shape { name, format, part: &["/h"], make }
}

const fn at(part: &'static [&'static str], shape: Shape) -> Shape {
    Shape { part, ..shape }
}

/// All of them.
pub(crate) const SHAPES: &[Shape] = &[
    shape("json", "empty arrays", |size| json("[", "[],", size, "0]")),
    shape("json", "empty objects", |size| json("[", "{},", size, "0]")),
    shape("json", "one-digit numbers", |size| json("[", "1,", size, "0]")),
    shape("json", "empty texts", |size| json("[", "\"\",", size, "0]")),
    shape("json", "nested to the limit", |size| {
        json("[", &format!("{}{},", "[".repeat(124), "]".repeat(124)), size, "0]")
    }),
    shape("json", "many members", |size| {
        listed(br#"{"user_id":7,"h":{"#, size, |at| format!("\"{at:x}\":0,"), b"\"\":0}}")
    }),
    shape("json", "one name again and again", |size| json("{", "\"\":0,", size, "\"\":0}")),
    shape("json", "objects of one member", |size| json("[", "{\"\":0},", size, "0]")),
    at(COLUMNS, shape("json", "columns of tiny rows", |size| json("[", "{\"a\":0},", size, "0]"))),
    at(&["/h/x"], shape("json", "escaped names", |size| json("{", "\"\\n\":0,", size, "\"\":0}"))),
    shape("json", "escapes", |size| json("\"", "\\n", size, "\"")),
    shape("json", "surrogates that stand alone", |size| json("\"", "\\ud800", size, "\"")),
    shape("json", "DEL, six bytes each in a header", |size| json("[\"", "\u{7f}", size, "\"]")),
    shape("json", "texts of two bytes each", |size| json("[\"", "é", size, "\"]")),
    shape("jackson", "one-digit numbers", |size| json("[", "1,", size, "0]")),
    shape("jackson", "objects of one member", |size| json("[", "{\"\":0},", size, "0]")),
    shape("jackson", "classes and nothing", |size| json("[", "[\"a.A\",0],", size, "0]")),
    shape("php_serialize", "nulls", |size| php("i:0;N;", size)),
    shape("php_serialize", "nulls, a list", php_list),
    shape("php_serialize", "empty arrays", |size| php("i:0;a:0:{}", size)),
    shape("php_serialize", "floats half-way", |size| php(&format!("i:0;d:{HALFWAY};"), size)),
    shape("php_serialize", "references from the depth", php_deep_references),
    shape("php_serialize", "one array again and again", php_shared),
    at(&["/h/x"], shape("php_serialize", "numbers for names", |size| php("i:1;N;", size))),
    at(
        COLUMNS,
        shape("php_serialize", "columns of tiny rows", |size| php("i:0;a:1:{s:1:\"a\";N;}", size)),
    ),
    shape("php", "floats half-way", |size| {
        [&b"user_id|i:7;h|"[..], &php_array(&format!("i:0;d:{HALFWAY};"), size)].concat()
    }),
    at(
        &[""],
        shape("php", "many names", |size| {
            listed(b"user_id|i:7;h|", size, |at| format!("a:0:{{}}{at:x}|"), b"N;")
        }),
    ),
    shape("php_binary", "floats half-way", |size| {
        [&b"\x07user_idi:7;\x01h"[..], &php_array(&format!("i:0;d:{HALFWAY};"), size)].concat()
    }),
    shape("igbinary", "one name again and again", |size| igbinary(b"\x0d\0", size)),
    shape("igbinary", "nulls, numbered", |size| igbinary(b"\x06\x05\0", size)),
    shape("igbinary", "empty arrays", |size| igbinary(b"\x0d\x14\0", size)),
    at(COLUMNS, shape("igbinary", "columns of empty rows", |size| igbinary(b"\x0d\x14\0", size))),
    shape("igbinary", "one array again and again", igbinary_shared),
    shape("msgpack", "nulls", |size| msgpack(b"\xc0", size)),
    shape("msgpack", "small numbers", |size| msgpack(b"\x01", size)),
    shape("msgpack", "empty lists", |size| msgpack(b"\x90", size)),
    shape("msgpack", "empty texts", |size| msgpack(b"\xa0", size)),
    at(COLUMNS, shape("msgpack", "columns of empty rows", |size| msgpack(b"\x80", size))),
    shape("msgpack", "moments", |size| msgpack(b"\xd6\xff\x65\xe0\x83\x27", size)),
    shape("msgpack", "numbers for names", |size| msgpack(b"\x81\x01\x01", size)),
    shape("msgpack", "one list again and again", msgpack_shared),
    shape("pickle", "nulls", |size| pickle(b"](", b"N", size, b"e")),
    shape("pickle", "small numbers", |size| pickle(b"](", b"K\x01", size, b"e")),
    shape("pickle", "empty lists", |size| pickle(b"](", b"]", size, b"e")),
    shape("pickle", "one null again and again", |size| pickle(b"](N", b"2", size, b"e")),
    at(COLUMNS, shape("pickle", "columns of empty rows", |size| pickle(b"](", b"}", size, b"e"))),
    at(
        COLUMNS,
        shape("pickle", "columns of one empty row", |size| pickle(b"](}", b"2", size, b"e")),
    ),
    shape("pickle", "one list again and again", pickle_shared),
    shape("pickle", "one name again and again", |size| {
        pickle(b"}(\x8c\0q\0N", b"h\0N", size, b"u")
    }),
    shape("pickle", "marks", |size| pickle(b"N", b"(1", size, b"")),
    shape("pickle", "numbers in the memo", |size| pickle(b"N", b"\x94", size, b"")),
    shape("pickle", "one float for a name", |size| {
        pickle(&[b"}(G", &SLOW.to_be_bytes()[..], b"q\0N"].concat(), b"h\0N", size, b"u")
    }),
    shape("pickle", "a tuple of floats for a name", |size| {
        let tuple = [&b"(G"[..], &SLOW.to_be_bytes(), &b"2".repeat(100), b"t"].concat();
        pickle(&[b"}(", &tuple[..], b"q\0N"].concat(), b"h\0N", size, b"u")
    }),
    shape("pickle", "numbers of 2040 bits", |size| {
        pickle(b"](", &[&b"\x8a\xff"[..], &[0x7f; 255]].concat(), size, b"e")
    }),
    shape("pickle", "floats half-way", |size| {
        pickle(b"](", format!("F{HALFWAY}\n").as_bytes(), size, b"e")
    }),
    shape("pickle", "one moment, made again and again", |size| {
        let state = b"C\x0a\x07\xe8\x02\x1d\x0d\x0e\x0f\0\0\x01";
        let call = [&b"cdatetime\ndatetime\nq\0"[..], state, b"\x85q\x01R"].concat();
        pickle(&[b"](", &call[..]].concat(), b"h\0h\x01R", size, b"e")
    }),
    shape("pickle", "objects of no class", |size| pickle(b"](ca\nb\nq\0)R", b"h\0)R", size, b"e")),
    shape("pickle", "classes", |size| pickle(b"](", b"c\n\n", size, b"e")),
    shape("marshal", "nils", |size| marshal_list(b"0", size)),
    shape("marshal", "small numbers", |size| marshal_list(b"i\x06", size)),
    shape("marshal", "empty arrays", |size| marshal_list(b"[\0", size)),
    at(COLUMNS, shape("marshal", "columns of empty rows", |size| marshal_list(b"{\0", size))),
    shape("marshal", "one array again and again", marshal_shared),
    shape("marshal", "an empty name again and again", marshal_names),
    shape("marshal", "objects without variables", |size| {
        marshal(1, b"o:\x06A\0", b"o;\x07\0", size)
    }),
    shape("marshal", "floats half-way", |size| {
        marshal_list(&[b"f\x20", HALFWAY.as_bytes()].concat(), size)
    }),
    shape("marshal", "numbers of 2048 bits", |size| {
        marshal_list(&[&b"l+\x01\x80"[..], &[0xff; 256]].concat(), size)
    }),
    shape("marshal", "one encoding with blanks before it", marshal_encodings),
    shape("marshal", "one symbol in an encoding", marshal_symbols),
    shape("marshal", "moments", |size| {
        marshal(1, b":\x09Time", b"u;\x07\x0d\0\0\0\0\x01\0\0\0", size)
    }),
    shape("marshal", "one day, made again and again", |size| {
        let day = b"U:\x09Date[\x0bi\0i\x03\x7d\x8b\x25i\0i\0i\0f\x060";
        marshal(1, day, b"U;\x07@\x08", size)
    }),
    shape("marshal", "decimals of zeros", |size| {
        marshal(1, b":\x0fBigDecimal", b"u;\x07\x0f18:0.1e-99", size)
    }),
    shape("gob", "booleans", |size| gob(0, b"\x01", size)),
    shape("gob", "empty structs", |size| gob(1, b"\0", size)),
    at(COLUMNS, shape("gob", "columns of empty rows", |size| gob(1, b"\0", size))),
    shape("gob", "floats for names", |size| {
        let bytes = SLOW.to_bits().swap_bytes().to_be_bytes();
        gob(2, &[&[0xf8][..], &bytes, &[1]].concat(), size)
    }),
    shape("gob", "complex numbers", |size| {
        let float = [&[0xf8][..], &1e-300_f64.to_bits().swap_bytes().to_be_bytes()].concat();
        gob(3, &float.repeat(2), size)
    }),
    shape("gob", "moments", |size| {
        gob(4, b"\x0f\x01\0\0\0\x0e\xdd\x2c\x5c\xa7\x07\x5b\xcd\x15\0\x3c", size)
    }),
    shape("gob", "interfaces without values", |size| gob(5, b"\0", size)),
    shape("gob", "fields without names", gob_fields),
    shape("gob", "types", gob_types),
    shape("java", "booleans", |size| java_array(b"[Z", b"\x01", size)),
    shape("java", "nulls", |size| java_array(b"[LA;", b"\x70", size)),
    shape("java", "objects without fields", |size| {
        java_objects(&[class(b"A", 2, b"", b"\x70")], b"", b"", size)
    }),
    at(
        COLUMNS,
        shape("java", "columns of rows without fields", |size| {
            java_objects(&[class(b"A", 2, b"", b"\x70")], b"", b"", size)
        }),
    ),
    shape("java", "objects of 64 classes", java_lineage),
    shape("java", "classes of 64 classes", java_proxies),
    shape("java", "fields without names", java_fields),
    shape("java", "one BigInteger, made again and again", java_big_integers),
    shape("java", "one BigDecimal, made again and again", java_big_decimals),
    shape("java", "moments", |size| {
        let calendar = class(b"java.util.Calendar", 2, b"\0\x01J\0\x04time", b"\x70");
        java_objects(&[calendar], &[0, 0, 1, 0x8d, 0xf3, 0x72, 0xd4, 0x35], b"", size)
    }),
    shape("java", "one array again and again", java_shared),
    shape("java", "maps without entries", |size| {
        java_objects(&[class(b"java.util.HashMap", 3, b"", b"\x70")], b"", b"\x78", size)
    }),
    at(&["/attributes/h"], shape("msm", "booleans", |size| msm(java_array(b"[Z", b"\x01", size)))),
    at(
        &["/attributes/h"],
        shape("msm", "one BigInteger, made again and again", |size| msm(java_big_integers(size))),
    ),
    at(&[""], shape("aspnet", "one name again and again", |size| aspnet(|_| [0; 2], size))),
    at(
        &[""],
        shape("aspnet", "many names", |size| {
            aspnet(|at| u16::try_from(at % 0xffff).unwrap_or_default().to_be_bytes(), size)
        }),
    ),
    shape("beaker", "nulls", |size| beaker(&pickle(b"](", b"N", size / 4 * 3, b"e"))),
    shape("django_signed", "nulls", |size| django(&pickle(b"](", b"N", size / 4 * 3, b"e"))),
    shape("django_signed", "one-digit numbers", |size| {
        django(&json("[", "1,", size / 4 * 3, "0]"))
    }),
    at(
        &[""],
        shape("auto", "JSON up to its last byte, then php", |size| {
            let mut json = json("[", "1,", size / 2, "0]");
            json.pop();
            [json.as_slice(), b"|", &php_array("i:0;N;", size / 2)].concat()
        }),
    ),
    at(&[""], shape("raw", "bytes that are no text", |size| vec![0xff; size])),
];

/// Puts so many values, which stand before the others, and as many units as fit into a session.
pub(crate) type Frame = fn(usize, &[u8], &[u8], usize) -> Vec<u8>;

/// What the search for worse ones fills, by format.
pub(crate) const FRAMES: &[(&str, Frame)] = &[
    ("json", |_, first, unit, size| json_frame(first, unit, size)),
    ("jackson", |_, first, unit, size| json_frame(first, unit, size)),
    ("php_serialize", |firsts, first, unit, size| {
        let count = firsts + count(60 + first.len(), unit.len(), size);
        let units = unit.repeat(count - firsts);
        php_session(&[format!("a:{count}:{{").as_bytes(), first, &units, b"}"].concat())
    }),
    ("igbinary", |firsts, first, unit, size| {
        let count = count(30 + first.len(), unit.len(), size);
        let units = [first, &unit.repeat(count)].concat();
        igbinary_session(&igbinary_array(&units, firsts + count))
    }),
    ("msgpack", |firsts, first, unit, size| {
        let count = count(16 + first.len(), unit.len(), size);
        msgpack_session(&msgpack_list(&[first, &unit.repeat(count)].concat(), firsts + count))
    }),
    ("pickle", |firsts, first, unit, size| match firsts {
        0 => pickle(&[b"](", first].concat(), unit, size, b"e"),
        1 => pickle(&[b"}(", first].concat(), unit, size, b"u"),
        _ => pickle(&[b"]", first].concat(), unit, size, b""),
    }),
    ("marshal", marshal),
    ("gob", |firsts, first, unit, size| {
        let count = count(190 + first.len(), unit.len(), size);
        let h = [&[0][..], &uint(firsts + count), first, &unit.repeat(count)].concat();
        gob_session(b"", 72, &h)
    }),
    ("java", |firsts, first, unit, size| {
        let count = count(90 + first.len(), unit.len(), size);
        java_array_of(b"[LA;", &[first, &unit.repeat(count)].concat(), firsts + count)
    }),
];

fn json_frame(first: &[u8], unit: &[u8], size: usize) -> Vec<u8> {
    let head = [&b"{\"user_id\":7,\"h\":["[..], first].concat();
    filled(&head, unit, size, b"0]}")
}

/// `head`, then as many units as fit, then `tail`.
fn filled(head: &[u8], unit: &[u8], size: usize, tail: &[u8]) -> Vec<u8> {
    let room = size.saturating_sub(head.len() + tail.len());
    [head, &unit.repeat(room / unit.len()), tail].concat()
}

/// As many as [`filled`] takes of what has to be counted before.
fn count(fixed: usize, unit: usize, size: usize) -> usize {
    size.saturating_sub(fixed) / unit
}

fn listed(head: &[u8], size: usize, unit: impl Fn(usize) -> String, tail: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    for at in 0.. {
        let unit = unit(at);
        if bytes.len() + unit.len() + tail.len() > size {
            break;
        }
        bytes.extend(unit.as_bytes());
    }
    bytes.extend(tail);
    bytes
}

fn json(head: &str, unit: &str, size: usize, tail: &str) -> Vec<u8> {
    let head = format!("{{\"user_id\":7,\"h\":{head}");
    filled(head.as_bytes(), unit.as_bytes(), size, format!("{tail}}}").as_bytes())
}

/// An array of these, which are no list but where there is one alone.
fn php_array(unit: &str, size: usize) -> Vec<u8> {
    let count = count(60, unit.len(), size);
    format!("a:{}:{{i:9;N;{}}}", count + 1, unit.repeat(count)).into_bytes()
}

fn php_session(h: &[u8]) -> Vec<u8> {
    [&b"a:2:{s:7:\"user_id\";i:7;s:1:\"h\";"[..], h, b"}"].concat()
}

fn php(unit: &str, size: usize) -> Vec<u8> {
    php_session(&php_array(unit, size))
}

fn php_list(size: usize) -> Vec<u8> {
    let units = listed(b"", size.saturating_sub(60), |at| format!("i:{at};N;"), b"");
    let count = units.split(|byte| *byte == b'N').count() - 1;
    php_session(&[format!("a:{count}:{{").as_bytes(), &units, b"}"].concat())
}

fn php_deep_references(size: usize) -> Vec<u8> {
    const DEPTH: usize = 124;
    let inner = php_array("i:0;R:2;", size.saturating_sub(DEPTH * 10));
    let head = "a:1:{i:9;".repeat(DEPTH);
    php_session(&[head.as_bytes(), &inner, "}".repeat(DEPTH).as_bytes()].concat())
}

/// A quarter is an array, the rest references to it.
fn php_shared(size: usize) -> Vec<u8> {
    let shared = php_array("i:0;N;", (size / 4).min(2048));
    let again = count(shared.len() + 60, 8, size);
    let head = format!("a:{}:{{i:9;", again + 1);
    php_session(&[head.as_bytes(), &shared, "i:0;R:4;".repeat(again).as_bytes(), b"}"].concat())
}

fn igbinary_array(units: &[u8], count: usize) -> Vec<u8> {
    [&[0x16][..], &u32::try_from(count).unwrap_or_default().to_be_bytes(), units].concat()
}

fn igbinary_session(h: &[u8]) -> Vec<u8> {
    [&b"\0\0\0\x02\x14\x02\x11\x07user_id\x06\x07\x11\x01h"[..], h].concat()
}

fn igbinary(unit: &[u8], size: usize) -> Vec<u8> {
    let count = count(30, unit.len(), size);
    igbinary_session(&igbinary_array(&unit.repeat(count), count))
}

fn igbinary_shared(size: usize) -> Vec<u8> {
    let shared = count(0, 2, (size / 4).min(2048));
    let again = count(shared * 2 + 40, 3, size);
    let shared = igbinary_array(&b"\x0d\0".repeat(shared), shared);
    let units = [&b"\x0d"[..], &shared, &b"\x0d\x01\x02".repeat(again)].concat();
    igbinary_session(&igbinary_array(&units, again + 1))
}

fn msgpack_list(units: &[u8], count: usize) -> Vec<u8> {
    [&[0xdd][..], &u32::try_from(count).unwrap_or_default().to_be_bytes(), units].concat()
}

fn msgpack_session(h: &[u8]) -> Vec<u8> {
    [&b"\x82\xa7user_id\x07\xa1h"[..], h].concat()
}

fn msgpack(unit: &[u8], size: usize) -> Vec<u8> {
    let count = count(16, unit.len(), size);
    msgpack_session(&msgpack_list(&unit.repeat(count), count))
}

/// By references of PHP.
fn msgpack_shared(size: usize) -> Vec<u8> {
    const AGAIN: &[u8] = b"\x82\xc0\x04\0\x03";
    let shared = (size / 4).min(2048);
    let again = count(shared + 40, AGAIN.len(), size);
    let shared = msgpack_list(&b"\x01".repeat(shared), shared);
    msgpack_session(&msgpack_list(&[shared, AGAIN.repeat(again)].concat(), again + 1))
}

fn pickle(head: &[u8], unit: &[u8], size: usize, tail: &[u8]) -> Vec<u8> {
    let head = [&b"\x80\x04}(\x8c\x07user_idK\x07\x8c\x01h"[..], head].concat();
    filled(&head, unit, size, &[tail, b"u."].concat())
}

fn pickle_shared(size: usize) -> Vec<u8> {
    let shared = [&b"](]("[..], &b"K\x01".repeat((size / 8).min(1024)), b"e"].concat();
    pickle(&shared, b"2", size, b"e")
}

/// A number as Marshal writes it in four bytes.
fn long(number: usize) -> Vec<u8> {
    [&[4][..], &u32::try_from(number).unwrap_or_default().to_le_bytes()].concat()
}

const MARSHAL: &[u8] = b"\x04\x08{\x07:\x0cuser_idi\x0c:\x06h";

/// An array of so many values, which are `first`, and as many units as fit. It is the object 1; symbol 2 is the first
/// new one.
fn marshal(firsts: usize, first: &[u8], unit: &[u8], size: usize) -> Vec<u8> {
    let count = count(30 + first.len(), unit.len(), size);
    [MARSHAL, b"[", &long(firsts + count), first, &unit.repeat(count)].concat()
}

fn marshal_list(unit: &[u8], size: usize) -> Vec<u8> {
    marshal(0, b"", unit, size)
}

fn marshal_names(size: usize) -> Vec<u8> {
    let count = count(30, 3, size);
    [MARSHAL, b"{", &long(1 + count), b"\"\x000", &b"@\x070".repeat(count)].concat()
}

fn marshal_shared(size: usize) -> Vec<u8> {
    let shared = (size / 4).min(2048);
    let first = [&b"["[..], &long(shared), &b"0".repeat(shared)].concat();
    marshal(1, &first, b"@\x07", size)
}

/// An encoding's name may have blanks before it.
fn marshal_encodings(size: usize) -> Vec<u8> {
    let blanks = (size / 2).min(32 * 1024);
    let label = [&b"\""[..], &long(blanks), &b" ".repeat(blanks)].concat();
    let first = [&b"I\"\0\x06:\x0dencoding"[..], &label].concat();
    marshal(1, &first, b"I\"\0\x06;\x07@\x08", size)
}

/// A symbol that is read in another encoding wherever it stands.
fn marshal_symbols(size: usize) -> Vec<u8> {
    let length = (size / 8).min(4096);
    let symbol = [&b":"[..], &long(length), &b"\xb1".repeat(length)].concat();
    let first = [&symbol[..], b"I\"\0\x06:\x0dencoding\"\x0eShift_JIS"].concat();
    marshal(2, &first, b"I;\x07\x06;\x08@\x08", size)
}

fn uint(number: usize) -> Vec<u8> {
    match u32::try_from(number).unwrap_or_default() {
        small @ ..0x80 => vec![small as u8],
        number => [&[0xfc][..], &number.to_be_bytes()].concat(),
    }
}

/// A map with the names `user_id` and `h`, whose values are interfaces, and the types 65 to 72 that `h` may have.
fn gob_session(more: &[u8], id: usize, h: &[u8]) -> Vec<u8> {
    // Each message's length, the type's number negated, its kind, its parts.
    let types: [&[u8]; 10] = [
        b"\x7f\x04\x02\x0c\x01\x10\0\0",
        b"\xff\x81\x02\x02\x02\0\0",
        b"\xff\x83\x02\x02\xff\x8a\0\0",
        b"\xff\x85\x04\x02\x08\x01\x02\0\0",
        b"\xff\x87\x02\x02\x0e\0\0",
        b"\xff\x89\x03\0\0",
        b"\xff\x8b\x05\x01\x01\x04Time\0\0\0",
        b"\xff\x8d\x02\x02\xff\x8c\0\0",
        b"\xff\x8f\x02\x02\x10\0\0",
        more,
    ];
    let types = types.iter().filter(|of| !of.is_empty()).flat_map(|of| [&b"\0"[..], of].concat());
    let value = b"\0\xff\x80\0\x02\x07user_id\x03int\x04\0\0\x0e\x01h\x01x";
    [types.collect(), value.to_vec(), int(id), vec![0], h.to_vec()].concat()
}

fn int(number: usize) -> Vec<u8> {
    uint(number * 2)
}

/// Units of one of these kinds: booleans, structs, members of a map, complex numbers, moments, interfaces.
fn gob(kind: usize, unit: &[u8], size: usize) -> Vec<u8> {
    let count = count(190, unit.len(), size);
    let id = [65, 66, 67, 68, 71, 72][kind];
    gob_session(b"", id, &[vec![0], uint(count), unit.repeat(count)].concat())
}

fn gob_fields(size: usize) -> Vec<u8> {
    let count = count(190, 1, size);
    let of = [&b"\xff\x91\x03\x02"[..], &uint(count), &b"\0".repeat(count), b"\0\0"].concat();
    gob_session(&of, 73, b"\0")
}

fn gob_types(size: usize) -> Vec<u8> {
    let mut types = b"\xff\x91\x03\0\0".to_vec();
    for at in 74..74 + count(190, 10, size) {
        types.extend([&b"\0"[..], &uint(at * 2 - 1), b"\x03\0\0"].concat());
    }
    gob_session(&types, 73, b"\0")
}

/// The description of a class: its name, flags, fields (none where empty), and what stands for its superclass.
fn class(name: &[u8], flags: u8, fields: &[u8], above: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap_or_default().to_be_bytes();
    let fields = if fields.is_empty() { b"\0\0" } else { fields };
    [&b"\x72"[..], &length, name, &[0; 8], &[flags], fields, b"\x78", above].concat()
}

/// An object with the fields `user_id` and `h`. It has the handles 0 to 2; those of `h` begin at 3.
fn java(h: &[u8]) -> Vec<u8> {
    let fields = b"\0\x02I\0\x07user_idL\0\x01h\x74\0\x01L";
    [&b"\xac\xed\0\x05\x73"[..], &class(b"S", 2, fields, b"\x70"), b"\0\0\0\x07", h].concat()
}

fn handle(number: usize) -> Vec<u8> {
    [&[0x71][..], &u32::try_from(0x7e_0000 + number).unwrap_or_default().to_be_bytes()].concat()
}

/// An array with the handles 3 and 4.
fn java_array_of(name: &[u8], units: &[u8], count: usize) -> Vec<u8> {
    let count = u32::try_from(count).unwrap_or_default().to_be_bytes();
    java(&[&b"\x75"[..], &class(name, 2, b"", b"\x70"), &count, units].concat())
}

fn java_array(name: &[u8], unit: &[u8], size: usize) -> Vec<u8> {
    let count = count(90, unit.len(), size);
    java_array_of(name, &unit.repeat(count), count)
}

/// Objects of the last of these classes, of which the first describes itself: with these fields, and what follows them.
fn java_objects(classes: &[Vec<u8>], fields: &[u8], data: &[u8], size: usize) -> Vec<u8> {
    let described = classes.concat();
    // The handle of the class that is described first.
    let again = [&b"\x73"[..], &handle(5), fields, data].concat();
    let count = count(120 + described.len(), again.len(), size);
    let first = [&b"\x73"[..], &described, fields, data].concat();
    java_array_of(b"[LA;", &[first, again.repeat(count)].concat(), count + 1)
}

fn java_lineage(size: usize) -> Vec<u8> {
    let above = |_| class(b"A", 2, b"", b"");
    let mut classes: Vec<Vec<u8>> = (0..64).map(above).collect();
    classes.push(b"\x70".to_vec());
    java_objects(&classes, b"", b"", size)
}

/// Classes, each of which has 63 superclasses.
fn java_proxies(size: usize) -> Vec<u8> {
    let classes = class(b"A", 2, b"", b"").repeat(63);
    let first = [&b"\x76"[..], &classes, b"\x70"].concat();
    let again = [&b"\x76\x7d\0\0\0\0\x78"[..], &handle(5)].concat();
    let count = count(120 + first.len(), again.len(), size);
    java_array_of(b"[LA;", &[first, again.repeat(count)].concat(), count + 1)
}

fn java_fields(size: usize) -> Vec<u8> {
    let fields = (size / 6).min(0xffff);
    let described =
        [&u16::try_from(fields).unwrap_or_default().to_be_bytes(), &b"B\0\0".repeat(fields)[..]];
    let values = vec![1; fields];
    java_objects(&[class(b"A", 2, &described.concat(), b"\x70")], &values, b"", size)
}

fn java_big_integers(size: usize) -> Vec<u8> {
    let magnitude = [&b"\x75"[..], &class(b"[B", 2, b"", b"\x70"), &[0, 0, 1, 0], &[0xff; 256]];
    let fields = b"\0\x02I\0\x06signum[\0\x09magnitude\x74\0\x02[B";
    let number = class(b"java.math.BigInteger", 2, fields, b"\x70");
    let first = [&b"\x73"[..], &number, &[0, 0, 0, 1], &magnitude.concat()].concat();
    // Behind the array come the class, its string, the object, the class of the bytes, these.
    let again = [&b"\x73"[..], &handle(5), &[0, 0, 0, 1], &handle(9)].concat();
    let count = count(90 + first.len(), again.len(), size);
    java_array_of(b"[LA;", &[first, again.repeat(count)].concat(), count + 1)
}

fn java_big_decimals(size: usize) -> Vec<u8> {
    let magnitude = [&b"\x75"[..], &class(b"[B", 2, b"", b"\x70"), &[0, 0, 1, 0], &[0xff; 256]];
    let fields = b"\0\x02I\0\x06signum[\0\x09magnitude\x74\0\x02[B";
    let integer = class(b"java.math.BigInteger", 2, fields, b"\x70");
    let integer = [&b"\x73"[..], &integer, &[0, 0, 0, 1], &magnitude.concat()].concat();
    let fields = b"\0\x02I\0\x05scaleL\0\x06intVal\x74\0\x01L";
    let decimal = class(b"java.math.BigDecimal", 2, fields, b"\x70");
    let first = [&b"\x73"[..], &decimal, &[0, 0, 0, 1], &integer].concat();
    // Behind the array come the class, its string, the object, the integer's class, its string, the integer.
    let again = [&b"\x73"[..], &handle(5), &[0, 0, 0, 1], &handle(10)].concat();
    let count = count(90 + first.len(), again.len(), size);
    java_array_of(b"[LA;", &[first, again.repeat(count)].concat(), count + 1)
}

fn java_shared(size: usize) -> Vec<u8> {
    let shared = (size / 4).min(2048);
    let length = u32::try_from(shared).unwrap_or_default().to_be_bytes();
    let first = [&b"\x75"[..], &class(b"[Z", 2, b"", b"\x70"), &length, &vec![1; shared]].concat();
    let count = count(90 + first.len(), 5, size);
    java_array_of(b"[LA;", &[first, handle(6).repeat(count)].concat(), count + 1)
}

/// What memcached-session-manager wrote before there were versions.
fn msm(attributes: Vec<u8>) -> Vec<u8> {
    [&b"\0\x20"[..], &[0; 20], b"00", &[0; 8], &attributes].concat()
}

fn aspnet(name: impl Fn(usize) -> [u8; 2], size: usize) -> Vec<u8> {
    let count = count(20, 8, size);
    let length = u32::try_from(count).unwrap_or_default().to_be_bytes();
    let entries = (0..count).flat_map(|at| {
        let [high, low] = name(at);
        [0, 2, high, low, 0, 0, 0, 0]
    });
    [&[2][..], &length[1..], &[0; 16], &entries.collect::<Vec<u8>>()].concat()
}

fn beaker(session: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(session);
    let length = u32::try_from(text.len()).unwrap_or_default().to_le_bytes();
    [&b"\x80\x04X"[..], &length, text.as_bytes(), b"."].concat()
}

fn django(session: &[u8]) -> Vec<u8> {
    format!("{}:1ABCDE:{}", URL_SAFE_NO_PAD.encode(session), "A".repeat(27)).into_bytes()
}
