//! Ruby's Marshal, version 4.8, as Rack, Rails and dalli keep sessions.
//!
//! Ruby tells the format in `doc/marshal.rdoc` and `marshal.c`. Nothing is ever made of a class: objects are
//! their instance variables, and what a class dumps itself is its text or data, but for the few classes of
//! [`known`]. A session in Rails' cache is what an entry of that cache holds: [`cache`].

#![forbid(unsafe_code)]

mod cache;
mod known;
mod reader;

use serde_json::Value;

use self::reader::Reader;
use super::budget::Budget;
use super::{Reason, Wanted};

/// Reads a session, which is a hash, or any other value. A symbol is a text, and so is a class; keys of a
/// hash are names, and an instance variable's name loses its `@`.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    if let Some(session) = cache::decode(raw, wanted, budget) {
        return session;
    }
    let (graph, root) = Reader::read(raw, budget)?;
    match cache::entry(&graph, root) {
        None => graph.value(root, wanted),
        Some(entry) => entry.decode(&graph, wanted),
    }
}

/// Whether `raw` begins with the version, or as an entry of Rails' cache does.
pub(super) fn begins(raw: &[u8]) -> bool {
    matches!(raw, [4, 8, _, ..]) || cache::begins(raw)
}

/// When the entry of Rails' cache that `raw` is ends, in Unix ms; `None`: never, or it is none. What can be decoded within
/// a budget can be asked this within as much.
pub(super) fn entry_end(raw: &[u8], budget: &Budget) -> Option<u64> {
    cache::end(raw, budget)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{captured, edited, edits, parts_agree, pointers};
    use crate::format::MAX_DEPTH;

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    fn entry_end(raw: &[u8]) -> Option<u64> {
        super::entry_end(raw, &of(raw))
    }

    /// Written by Ruby 3.1: links and symbols, objects, structs, subclasses, sets, modules, ranges, encodings.
    const EACH: &str = "BAh7HDoIc3ltSToI44GCBjoGRVQ6CmFnYWluWwc7BjsAOgl1c2VyZToPQ29tcGFyYWJsZW86CVVzZXIHOghAaWRpDDoIQG1lQAc6CXNhb\
        WVABzoKcG9pbnRTOgpQb2ludAc6BnhpBjoGeUkiBnkGOwdUOgl0YWdzQzoJVGFnc1sGSSIGYQY7B1Q6CGJhZ0M6CEJhZ30GSSIGawY7B1\
        RpBmkKOghzZXRvOghTZXQGOgpAaGFzaH0IaQZUWwZJIgZ4BjsHVFQwVEY6CG1vZFsHbQ9Db21wYXJhYmxlYwtTdHJpbmc6CnJhbmdlWwl\
        vOgpSYW5nZQg6CWV4Y2xGOgpiZWdpbmkGOghlbmRpCm87HAg7HVQ7HmkGOx9pCm87HAg7HUY7HmkGOx8wbzscCDsdRjseSSIGYQY7B1Q7\
        H0kiBmIGOwdUOgdyZVsHSS8GYQcGOwdGSS8GYgEGOwdGOglub3RlSSIGcwc7B1Q6CkBub3RlWwZJIgZuBjsHVDoJb3BlblU6D09wZW5Td\
        HJ1Y3R7BjoGYWkGOgpyYXRpb1U6DVJhdGlvbmFsWwdpBmkIOglyb3dzWwd7BkkiCGtleQY7B1RpBnsGQChpBzoJdGV4dEkiBnQGOwdUOg\
        p0ZXh0c1sAOglzamlzSSIHgqAGOg1lbmNvZGluZyIOU2hpZnRfSklTOgpsYXRpbkkiBukGOywiD0lTTy04ODU5LTE6CnV0ZjE2SSIJYQB\
        CMAY7LCINVVRGLTE2TEU6CnV0ZjMySSIJYQAAAAY7LCINVVRGLTMyTEU6CGJpbiIG/zoKaWRlbnRDOglIYXNoewA=";
    /// Moments and days, with zones, before 1900, with less than a nanosecond.
    const TIMES: &str = "BAhbEkl1OglUaW1lDa0HH4BA4vE4CjoNbmFub19udW1pAhUDOg1uYW5vX2RlbmkGOg1zdWJtaWNybyIHeJA6C29mZnNldGkCgHA6CXpvb\
        mVJIghDU1QGOgZFRkl1OwANIIARwAAAAAAJOwZpBjsHaQY7CCIHABA7CkkiCFVUQwY7C0ZJdTsADZMHH4CQ0DOABzsJaQJYTTsKMEl1Ow\
        ANoQcfgAAAMAgHOwlpADsKMEl1OwAPQwAAwAAAUBAGZAY7CkAKSXU7ABBDAADAAABQEAdtBwY7CkAKSXU7AA337+jHAACw7wY7CkAKSXU\
        7AA0ggBHAQOIBAAk7BmkCexk7B2kMOwgiB5MQOwpACkl1OwAPIwAAgAAAAHgGEQc7CWn+yM47CjBVOglEYXRlWwtpAGkD0oolaQBpAGkA\
        ZgwyMjk5MTYxVToNRGF0ZVRpbWVbC2kAaQPSiiVpAqdJaQQAZc0daQKAcEAWVTsNWwtpAGkD0YolaQJn8mkAaQKAcEAWVTsNWwtpAGkDi\
        z0laQN/UQFpAGkAQBY=";
    /// Of BigDecimal.
    const DECIMALS: &str = "BAhbEnU6D0JpZ0RlY2ltYWwNMTg6MC4xZTN1OwAQMTg6LTAuMTJlLTN1OwAPMTg6MC4xOTllMnU7AAsxODowLjB1OwAMMTg6LTAuMHU7A\
        Ao5Ok5hTnU7AA85OkluZmluaXR5dTsAEDk6LUluZmluaXR5dTsADzE4OjAuMWUyMDF1OwAQMTg6MC4xZS0xOTl1OwASMTg6MC4xMjM0NT\
        ZlM3U7AA8xODowLjFlMTAxdTsADzE4OjAuMWUxMDM=";
    /// At the ends of each width.
    const INTEGERS: &str = "BAhbGmkAaQZp+ml/aQF7aYBp/4RpAf9pAgABaf8Aaf7//mkC//9pAwAAAWn+AABp/f///mkE////P2wrBwAAAEBp/AAAAMBsLQcBAABAb\
        CsKAAAAAAAAAAABAGwtCwAAAAAAAAAAAAABAA==";
    /// A hash with keys of many classes.
    const KEYS: &str = "BAh7E2kGaQZmCDEuNWkHMGkIVGkJWwZpBmkKbCsKAAAAAAAAAABAAGkLVToJRGF0ZVsLaQBpA5eKJWkAaQBpAGYMMjI5OTE2MWkMbzoKU\
        mFuZ2UIOglleGNsRjoKYmVnaW5pBjoIZW5kaQdpDWMLT2JqZWN0aQ46BnNpD0kiBnQGOgZFVGkQZToPQ29tcGFyYWJsZW86CVVzZXIHOg\
        hAaWRpDDoIQG1lQA9pEXsGaQZpB2kSVToPT3BlblN0cnVjdHsGOgZhaQZpEw==";

    fn written(base64: &str) -> Vec<u8> {
        STANDARD.decode(base64).unwrap()
    }

    fn whole(base64: &str) -> Value {
        decode(&written(base64), &Wanted::All).unwrap()
    }

    /// What stands behind the version.
    fn value(bytes: &[u8]) -> Result<Value, Reason> {
        decode(&[b"\x04\x08", bytes].concat(), &Wanted::All)
    }

    #[test]
    fn each_kind_of_value() {
        let user = json!({"id": 7, "me": null});
        let expected = json!({
            "sym": "あ", "again": ["あ", "sym"], "user": user, "same": user, "point": {"x": 1, "y": "y"},
            "tags": ["a"], "bag": {"k": 1}, "set": [1, ["x"], null], "mod": ["Comparable", "String"],
            "range": ["1..5", "1...5", "1..", "a..b"], "re": ["(?mix:a)", "(?i-mx:b)"], "note": "s",
            "open": {"a": 1}, "ratio": [1, 3], "rows": [{"key": 1}, {"key": 2}], "text": "t", "texts": [],
            "sjis": "あ", "latin": "é", "utf16": "aあ", "utf32": "a\0\0\0", "bin": "base64:/w==", "ident": {},
        });
        assert_eq!(whole(EACH), expected);
    }

    #[test]
    fn a_class_is_given_where_it_is_asked_for() {
        let wanted = Wanted::of(&pointers(&["/user/@class", "/point/@class", "/point/x"]));
        let expected = json!({"user": {"@class": "User"}, "point": {"@class": "Point", "x": 1}});
        assert_eq!(decode(&written(EACH), &wanted), Ok(expected));
    }

    #[test]
    fn days_and_moments() {
        let expected = json!([
            "2024-02-29T21:14:15.123456789+08:00",
            "1970-01-01T00:00:00.000000001Z",
            "2024-02-29T01:02:03.250000000+05:30",
            "2024-02-29T01:02:03.000000000+00:00",
            "1800-01-02T03:04:05.000000000Z",
            "-0001-01-02T03:04:05.000000000Z",
            "9999-12-31T23:59:59.000000000Z",
            "1970-01-01T00:00:00.123456931Z",
            "1883-01-01T00:00:00.000000000-03:30",
            "2024-02-29",
            "2024-02-29T13:14:15.500000000+08:00",
            "2024-02-29T01:14:15.000000000+08:00",
            "1969-12-31T23:59:59.000000000+00:00",
        ]);
        assert_eq!(whole(TIMES), expected);
        // From before Ruby 1.8: seconds and microseconds.
        let old = b"u:\x09Time\x0d\x01\0\0\0\x02\0\0\0";
        assert_eq!(value(old), Ok(json!("1970-01-01T00:00:01.000002000Z")));
    }

    #[test]
    fn what_is_no_moment_is_its_bytes() {
        for (dumped, expected) in [
            // No month of that number, no day, too many microseconds, too few bytes, a year too far away.
            (&b"\x0d\0\x34\0\x80\0\0\0\0"[..], "base64:ADQAgAAAAAA="),
            (b"\x0d\0\0\0\x80\0\0\0\0", "base64:AAAAgAAAAAA="),
            (b"\x0d\x20\0\0\x80\xff\xff\x0f\0", "base64:IAAAgP//DwA="),
            (b"\x09abcd", "abcd"),
            (b"\x10\x20\xc0\xff\xff\0\0\0\0\x07\xff\xff", "base64:IMD//wAAAAAH//8="),
        ] {
            assert_eq!(value(&[b"u:\x09Time", dumped].concat()), Ok(json!(expected)));
        }
        let parts = value(b"U:\x09Date[\x0bi\0i\x04\xff\xff\xff\x7fi\0i\0i\0i\0");
        assert_eq!(parts, Ok(json!([0, i32::MAX, 0, 0, 0, 0])));
        assert_eq!(value(b"U:\x09Date@\x00"), Ok(json!(null)));
    }

    #[test]
    fn decimals() {
        let zeros = |count: usize| "0".repeat(count);
        let expected = json!([
            "100.0",
            "-0.00012",
            "19.9",
            "0.0",
            "-0.0",
            "NaN",
            "Infinity",
            "-Infinity",
            "0.1e201",
            "0.1e-199",
            "123.456",
            format!("1{}.0", zeros(100)),
            "0.1e103",
        ]);
        assert_eq!(whole(DECIMALS), expected);
    }

    #[test]
    fn integers_are_exact() {
        let expected = [
            "0",
            "1",
            "-1",
            "122",
            "123",
            "-123",
            "-124",
            "255",
            "256",
            "-256",
            "-257",
            "65535",
            "65536",
            "-65536",
            "-65537",
            "1073741823",
            "1073741824",
            "-1073741824",
            "-1073741825",
            "18446744073709551616",
            "-1208925819614629174706176",
        ];
        assert_eq!(whole(INTEGERS).to_string(), format!("[{}]", expected.join(",")));
    }

    #[test]
    fn keys_are_names() {
        let expected = json!({
            "1": 1, "1.5": 2, "": 3, "true": 4, "[...]": 5, "1180591620717411303424": 6, "2024-01-01": 7,
            "1..2": 8, "Object": 9, "s": 10, "t": 11, "#<User>": 12, "{...}": 14,
        });
        assert_eq!(whole(KEYS), expected);
    }

    #[test]
    fn values_that_stand_alone() {
        for (bytes, expected) in [
            (&b"0"[..], json!(null)),
            (b"F", json!(false)),
            (b"f\x08inf", json!("Infinity")),
            (b"f\x09-inf", json!("-Infinity")),
            (b"f\x08nan", json!("NaN")),
            (b"f\x082e3", json!(2000.0)),
            (b"M\x06A", json!("A")),
            (b"d:\x06A[\x06i\x06", json!([1])),
            (b"u:\x06A\x07ab", json!("ab")),
            (b"Iu:\x06A\x07ab\x06:\x06ET", json!("ab")),
            (b"[\x08Iu:\x06A\x06a\x06:\x06b\"\x06c@\x06@\x07", json!(["a", "c", "a"])),
            (b"[\x07o:\x06A\x06:\x08@me@\x06@\x06", json!([{"me": null}, {"me": null}])),
            (b"[\x07I:\x06\xe9\x06:\x0dencoding\"\x0fISO-8859-1;\x00", json!(["é", "é"])),
            (b"I\"\x06\x81\x06:\x0dencoding\"\x0eShift_JIS", json!("base64:gQ==")),
            (
                b"o:\x0aRange\x08:\x09exclF:\x0abegin[\x00:\x08end0",
                json!({"excl": false, "begin": [], "end": null}),
            ),
            (b"o:\x08Set\x06:\x0a@hash{\x06i\x06T", json!([1])),
            (b"o:\x08Bag\x06:\x0a@hash{\x06i\x06T", json!({"hash": {"1": true}})),
            (b"{\x06[\x00e:\x06M[\x00", json!({"[...]": []})),
        ] {
            assert_eq!(value(bytes), Ok(expected), "{bytes:?}");
        }
        assert_eq!(value(b"f\x07-0").unwrap().to_string(), "-0.0");
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for bytes in [
            &b""[..],
            b"x",
            b"00",
            b"i",
            b"i\x04\0\0\0",
            b"\"\x06",
            b"\"\xff\x01",
            b"[\x07i\x00",
            b"[\x04\xff\xff\xff\x7fi\x00",
            b"[\xfa",
            b"{\x06i\x00",
            b"}\x00",
            b";\x00",
            b"@\x00",
            b"[\x06@\x06",
            b"I@\x00\x00",
            b"[\x07\"\x06aI@\x06\x00",
            b"C:\x06A@\x00",
            b"II\"\x06a\x00\x00",
            b"I\"\x06a",
            b"I\"\x06a\x06T0",
            b"o\"\x06A\x00",
            b"o:\x06A\xfa",
            b"oI\"\x06A\x00\x00",
            b"o:\x08Set\x06:\x0a@hash[\x00",
            b"S:\x06A\x06",
            b"u:\x06A",
            b"U:\x06A",
            b"e:\x06A",
            b"l*\x06\0\0",
            b"l+\x07\0\0",
            b"l+\xfa",
            b"/\x06a",
            b"f\x00",
            b"f\x082,5",
            b"f\x0dinfinity",
            b"f\x081.\xff",
        ] {
            assert_eq!(value(bytes), Err(Reason::Malformed), "{bytes:?}");
        }
        for bytes in [&b"\x04\x090"[..], b"\x03\x080", b"\x04", b"a:0:{}"] {
            assert_eq!(decode(bytes, &Wanted::Nothing), Err(Reason::Malformed));
            assert!(!begins(bytes));
        }
    }

    /// Written by ActiveSupport 6.1, 7.0 (one of them in the format of 6.1) and 7.1.
    const OF_RAILS: [(&str, bool); 7] = [
        ("BAhvOiBBY3RpdmVTdXBwb3J0OjpDYWNoZTo6RW50cnkJOgtAdmFsdWV7BkkiDHVzZXJfaWQGOgZFVGkMOg1AdmVyc2lvbjA6EEBjcm\
            VhdGVkX2F0ZhcxNzk1MjM4MjE5LjQ3MDk0MjU6EEBleHBpcmVzX2luZgg2ZTE=", false),
        ("BAhvOiBBY3RpdmVTdXBwb3J0OjpDYWNoZTo6RW50cnkKOgtAdmFsdWUiMnicY+GoZvdU4iktTi2Kz0xhs2JzDcnk8VRiK2GzZgjxVH\
            KsoACAjAAAJFQkIDoNQHZlcnNpb24wOhBAY3JlYXRlZF9hdGYXMTc5NTIzODIxOS40NzEwMjg2OhBAZXhwaXJlc19pbmYINmUxOhBAY29\
            tcHJlc3NlZFQ=", true),
        ("AAQIWwd7BkkiDHVzZXJfaWQGOgZFVGkMZhcxNzk1MjM4Mjc5LjgxMzIwMDU=", false),
        ("AXicY+GIZq9m91TiKS1OLYrPTGGzYnMNyeTxVGIrYbNmCPFUcqygAICMSBMzNLc0NTK2MDK31LMwNDYyMwQAJ40odg==", true),
        ("BAhvOiBBY3RpdmVTdXBwb3J0OjpDYWNoZTo6RW50cnkKOgtAdmFsdWUiMnicY+GoZvdU4iktTi2Kz0xhs2JzDcnk8VRiK2GzZgjxVH\
            KsoACAjAAAJFQkIDoNQHZlcnNpb24wOhBAY3JlYXRlZF9hdGYGMDoQQGV4cGlyZXNfaW5mFzE3OTUyMzgyNzkuODEzMzc4ODoQQGNvbXB\
            yZXNzZWRU", true),
        ("ABEBuvcJYkrA2kH/////BAh7BkkiDHVzZXJfaWQGOgZFVGkM", false),
        ("ABGBvPgJYkrA2kECAAAAdjF4nGPhqGb3VOIpLU4tis9MYbNicw3J5PFUYiths2YI8VRyrKAAgIwAACRUJCA=", true),
    ];

    #[test]
    fn entries_of_the_cache_of_rails() {
        for (entry, with_text) in OF_RAILS {
            let mut expected = json!({"user_id": 7});
            if with_text {
                expected["t"] = json!("x".repeat(60));
            }
            assert!(begins(&written(entry)));
            assert_eq!(whole(entry), expected);
            parts_agree(decode, &written(entry), &["/t", "/user_id"]);
        }
        // A text is kept as it is, a list that ends before its first part holds nil.
        assert_eq!(whole("ABECAAAAAAAA8L//////dGV4dA=="), json!("text"));
        assert_eq!(decode(b"\0\x04\x08[\0", &Wanted::All), Ok(json!(null)));
        // Deeper in a value, an entry is an object as others are.
        let list = [b"\x04\x08[\x06", &written(OF_RAILS[0].0)[2..]].concat();
        assert_eq!(decode(&list, &Wanted::All).unwrap()[0]["value"], json!({"user_id": 7}));
    }

    #[test]
    fn entries_end() {
        let ends = OF_RAILS.map(|(entry, _)| entry_end(&written(entry)));
        let expected = [
            1_795_238_279_470,
            1_795_238_279_471,
            1_795_238_279_813,
            1_795_238_279_813,
            1_795_238_279_813,
            1_795_238_280_155,
            1_795_238_280_155,
        ];
        assert_eq!(ends, expected.map(Some));
        let of_4_0 = b"\x04\x08o:\x20ActiveSupport::Cache::Entry\x07:\x07@v{\0:\x07@xi\x02\xe8\x03";
        assert_eq!(entry_end(of_4_0), Some(1_000_000));
        for endless in [
            // 7.1, 7.0, 6.1; a session that is in no entry; nothing.
            &b"\0\x11\x01\0\0\0\0\0\0\xf0\xbf\xff\xff\xff\xff\x04\x08{\0"[..],
            b"\0\x04\x08[\x06{\0",
            b"\x04\x08o:\x20ActiveSupport::Cache::Entry\x08:\x0b@value{\0:\x10@created_ati\x06:\x10@expires_in0",
            b"\x04\x08{\x06:\x06xi\x06",
            b"\0\x11\x01\0\0",
            b"",
        ] {
            assert_eq!(entry_end(endless), None, "{endless:?}");
        }
    }

    #[test]
    fn entries_that_are_none() {
        for entry in [
            &b"\0"[..],
            b"\0\x04\x080",
            b"\x01\x04\x08[\0",
            b"\0\x11\x01\0\0\0\0\0\0\0\0\xff\xff\xff\xff",
            b"\0\x11\x01\0\0\0\0\0\0\0\0\x02\0\0\0\x04\x080",
            b"\0\x11\x05\0\0\0\0\0\0\0\0\xff\xff\xff\xff\x04\x080",
            b"\0\x11\x81\0\0\0\0\0\0\0\0\xff\xff\xff\xff\x04\x080",
            b"\0\x11\x01\0\0\0",
        ] {
            for wanted in [Wanted::All, Wanted::Nothing] {
                assert_eq!(decode(entry, &wanted), Err(Reason::Malformed), "{entry:?}");
            }
        }
    }

    #[test]
    fn objects_of_rails() {
        // TimeWithZone, HashWithIndifferentAccess, Duration, SafeBuffer.
        let session = "BAh7CUkiB2F0BjoGRVRVOiBBY3RpdmVTdXBwb3J0OjpUaW1lV2l0aFpvbmVbCEl1OglUaW1lDa0HH8Agofc4BjoJ\
            em9uZUkiCFVUQwY7AEZJIhJBc2lhL1NoYW5naGFpBjsAVEl1OwcNtQcfwCCh9zgGOwhACUkiBmgGOwBUQzotQWN0aXZlU3VwcG9ydD\
            o6SGFzaFdpdGhJbmRpZmZlcmVudEFjY2Vzc3sGSSIGYQY7AEZpBkkiBmQGOwBUbzocQWN0aXZlU3VwcG9ydDo6RHVyYXRpb24IOgtA\
            cGFydHN7BjoJZGF5c2kGOgtAdmFsdWVpA4BRAToOQHZhcmlhYmxlVEkiCXNhZmUGOwBUSUM6HkFjdGl2ZVN1cHBvcnQ6OlNhZmVCdW\
            ZmZXIiCDxiPgc7AFQ6D0BodG1sX3NhZmVU";
        let expected = json!({
            "at": "2024-02-29T13:14:15.500000000Z", "h": {"a": 1}, "safe": "<b>",
            "d": {"parts": {"days": 1}, "value": 86_400, "variable": true},
        });
        assert_eq!(whole(session), expected);
    }

    #[test]
    fn a_long_name_cannot_stand_everywhere() {
        let long = [b"\x02\x60\xea", "x".repeat(60_000).as_bytes()].concat();
        let times = |first: &[u8], again: &[u8], count: usize| {
            let length = [&[2], &u16::try_from(count + 1).unwrap().to_le_bytes()[..]].concat();
            let list = [b"[", length.as_slice(), first, &long, &again.repeat(count)].concat();
            value(&list).map(drop)
        };
        // A symbol, a class, keys, the ends of ranges.
        for (first, again) in [
            (&b":"[..], &b";\x00"[..]),
            (b":", b"o;\x00\x00"),
            (b":", b"{\x06;\x000"),
            (b"\"", b"{\x06@\x060"),
            (b"\"", b"o:\x0aRange\x08:\x09exclF:\x0abegin@\x06:\x08end@\x06"),
        ] {
            assert_eq!(times(first, again, 5), Ok(()));
            assert_eq!(times(first, again, 100), Err(Reason::TooLarge));
        }
        // What should be a moment.
        let range =
            [b"o:\x0aRange\x08:\x09exclF:\x0abegin\"", long.as_slice(), b":\x08end0"].concat();
        let times = |count: u8| {
            let again = b"U:\x20ActiveSupport::TimeWithZone@\x06".repeat(usize::from(count));
            value(&[b"[\x01", &[count + 1][..], b"[\x06", &range, &again].concat()).map(drop)
        };
        assert_eq!(times(5), Ok(()));
        assert_eq!(times(100), Err(Reason::TooLarge));
    }

    #[test]
    fn nesting_is_bounded_whatever_is_wanted() {
        for inner in [&b"[\x06"[..], b"o:\x06A\x06:\x06b", b"{\x06i\x00", b"S:\x06A\x06:\x06b"] {
            let nested =
                |depth: usize| [b"\x04\x08", inner.repeat(depth).as_slice(), b"0"].concat();
            for wanted in [Wanted::All, Wanted::Nothing] {
                let of = |depth| decode(&nested(depth), &wanted).map(drop);
                assert_eq!(of(MAX_DEPTH), Ok(()));
                assert_eq!(of(MAX_DEPTH + 1), Err(Reason::TooDeep));
                assert_eq!(of(100_000), Err(Reason::TooDeep));
            }
        }
        for inner in [&b"I\"\x06a\x06:\x06b"[..], b"U:\x06A", b"d:\x06A", b"I:\x06A\x06", b"}\x00"]
        {
            assert_eq!(value(&inner.repeat(100_000)), Err(Reason::TooDeep), "{inner:?}");
        }
    }

    #[test]
    fn captured_sessions_cut_off_are_refused() {
        let captured = captured().into_iter().filter(|session| session.format == "marshal");
        let ours = [EACH, TIMES, DECIMALS, KEYS, OF_RAILS[1].0, OF_RAILS[3].0, OF_RAILS[6].0];
        let sessions: Vec<_> =
            captured.map(|session| session.raw).chain(ours.map(written)).collect();
        assert!(sessions.len() >= 12);
        for session in sessions {
            for cut in 0..session.len() {
                for wanted in [Wanted::All, Wanted::Nothing] {
                    assert_eq!(decode(&session[..cut], &wanted), Err(Reason::Malformed), "{cut}");
                }
            }
        }
    }

    const BYTES: &str = "\0\x01\x06\x07\x0b0TFi:;@[{}\"fICUuoSeEl+/c";

    proptest! {
        #[test]
        fn parts_of_what_is_spoilt_are_those_of_the_whole(
            base64 in prop::sample::select(&[EACH, TIMES, KEYS, OF_RAILS[0].0, OF_RAILS[2].0, OF_RAILS[5].0][..]),
            edits in edits(BYTES),
            wanted in proptest::collection::vec("(/(user|set|rows|range|user_id|[0-3*])){1,3}", 0..4),
        ) {
            parts_agree(decode, &edited(&written(base64), &edits), &wanted);
        }

        #[test]
        fn parts_of_anything_are_those_of_the_whole(
            bytes in proptest::collection::vec(
                prop_oneof![4 => prop::sample::select(BYTES.as_bytes()), 1 => any::<u8>()],
                0..48,
            ),
            wanted in proptest::collection::vec("(/[01*]){0,3}", 0..3),
        ) {
            parts_agree(decode, &[b"\x04\x08", bytes.as_slice()].concat(), &wanted);
        }
    }
}
