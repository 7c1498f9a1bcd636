//! What sessions may cost: those that somebody made to cost much are refused, honest ones near `max_size` are read.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::Compression;

use super::tests::pointers;
use super::{Pipeline, Reason, Wanted};

/// As many bytes as may be stored.
const MOST: usize = Pipeline::MAX_SIZE;

fn read(names: &str, raw: &[u8], wanted: &Wanted) -> Result<(), Reason> {
    assert!(raw.len() <= MOST, "{names}: {} bytes", raw.len());
    let pipeline = Pipeline::parse(&names.split(' ').collect::<Vec<_>>()).unwrap();
    pipeline.decode(raw, wanted).map(drop).map_err(|error| error.reason)
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Checks that a session is too large for all of it to be read.
fn is_refused(names: &str, raw: &[u8]) {
    assert_eq!(read(names, raw, &Wanted::All), Err(Reason::TooLarge), "{names}");
}

/// Checks that a session is too large, whatever is wanted.
fn is_refused_always(names: &str, raw: &[u8]) {
    for wanted in [Wanted::All, Wanted::Nothing, Wanted::of(&pointers(&["/user_id"]))] {
        assert_eq!(read(names, raw, &wanted), Err(Reason::TooLarge), "{names} {wanted:?}");
    }
}

/// A pickle of a dict: `items` are its keys and values.
fn dict(items: &[Vec<u8>]) -> Vec<u8> {
    [&b"\x80\x04}("[..], &items.concat(), b"u."].concat()
}

#[test]
fn values_of_a_byte_or_two() {
    is_refused("json", format!("[{}0]", "0,".repeat(MOST / 2 - 2)).as_bytes());
    is_refused("json", format!("[{}[]]", "[[]],".repeat(MOST / 5 - 2)).as_bytes());
    is_refused("jackson", format!("[{}0]", "0,".repeat(MOST / 2 - 2)).as_bytes());
    let nils = u16::try_from(MOST - 3).unwrap();
    is_refused("msgpack", &[b"\xdc", &nils.to_be_bytes()[..], &vec![0xc0; nils.into()]].concat());
}

#[test]
fn what_is_compressed() {
    let nulls = [b"(", &b"N".repeat(500_000)[..], b"l"].concat();
    let pickle = [&b"\x80\x04}X\x04\x00\x00\x00cart"[..], &nulls, b"s."].concat();
    is_refused_always("zlib pickle", &zlib(&pickle));
    is_refused("zlib json", &zlib(format!("[{}0]", "0,".repeat(60_000)).as_bytes()));
    is_refused("zlib zlib json", &zlib(&zlib(format!("[{}0]", "0,".repeat(60_000)).as_bytes())));
}

#[test]
fn one_name_again_and_again() {
    is_refused("json", format!("{{{}\"a\":0}}", "\"a\":0,".repeat(MOST / 6 - 2)).as_bytes());
    // Where it is only passed over, it costs nothing.
    let names = format!("{{{}\"a\":0}}", "\"a\":0,".repeat(MOST / 6 - 2));
    assert_eq!(read("json", names.as_bytes(), &Wanted::of(&pointers(&["/b"]))), Ok(()));
}

#[test]
fn digits() {
    // Long integers, whose digits take the square of their length.
    let long = [&b"\x8a\xff"[..], &[0x7f; 255]].concat();
    is_refused_always("pickle", &[&b"\x80\x04("[..], &long.repeat(MOST / 257 - 1), b"l."].concat());
    // Floats half-way between two.
    let float = "d:2.47032822920623272083e-324;";
    let floats: String = (0..1800).map(|at| format!("i:{at};{float}")).collect();
    let php = format!("f|a:1800:{{{floats}}}");
    is_refused("php", php.as_bytes());
    assert_eq!(read("php", php.as_bytes(), &Wanted::Nothing), Ok(()));
    let floats = b"F2.47032822920623272083e-324\n".repeat(2000);
    is_refused_always("pickle", &[&b"\x80\x04("[..], &floats, b"l."].concat());
    // A float as the name of a member, as Python prints it.
    let names = b"h\x00N".repeat(20_000);
    is_refused_always(
        "pickle",
        &[&b"\x80\x04G\0\0\0\0\0\0\0\x01q\x00}("[..], &names, b"u."].concat(),
    );
}

#[test]
fn dates() {
    let call = b"cdatetime\ndate\nq\x00C\x04\x07\xe8\x02\x1d\x85q\x01(";
    is_refused_always("pickle", &[&call[..], &b"h\x00h\x01R".repeat(12_000), b"l."].concat());
    let moments = b"\xd6\xff\0\0\0\x01".repeat(10_000);
    is_refused("msgpack", &[b"\xdc\x27\x10", &moments[..]].concat());
}

#[test]
fn names_of_encodings() {
    // Each text has one of 30000 blanks.
    let blanks = [&b"\"\x02\x30\x75"[..], &[b' '; 30_000]].concat();
    let text = b"I\"\x00\x06:\x0dencoding@\x06";
    let again = b"I\"\x00\x06;\x00@\x06".repeat(3000);
    let list = [&b"\x04\x08[\x02\xba\x0b"[..], &blanks, text, &again].concat();
    assert_eq!(read("marshal", &list, &Wanted::All), Ok(()));
}

#[test]
fn honest_json_near_the_largest() {
    let rows = |row: fn(usize) -> String, count| (0..count).map(row).collect::<Vec<_>>().join(",");
    let items = rows(|at| format!("{{\"id\":{at},\"qty\":{}}}", at % 9), 2900);
    let numbers = rows(|at| at.to_string(), 11_000);
    let members = rows(|at| format!("\"k{at}\":{at}"), 4800);
    let cart = rows(
        |at| {
            format!("{{\"sku\":\"SKU-{at:06}\",\"title\":\"Caf\u{e9} {at}\",\"price\":19.99,\"gift\":false}}")
        },
        800,
    );
    for json in [
        format!("{{\"cart\":[{items}]}}"),
        format!("{{\"seen\":[{numbers}]}}"),
        format!("{{{members}}}"),
        format!("{{\"cart\":[{cart}]}}"),
    ] {
        assert!(json.len() > 52_000, "{}", json.len());
        for wanted in [Wanted::All, Wanted::Described, Wanted::of(&pointers(&["/cart/*/id"]))] {
            assert_eq!(read("json", json.as_bytes(), &wanted), Ok(()), "{}", &json[..40]);
            assert_eq!(read("jackson", json.as_bytes(), &wanted), Ok(()), "{}", &json[..40]);
        }
        let part = Wanted::of(&pointers(&["/cart/*/id"]));
        assert_eq!(read("auto", &zlib(json.as_bytes()), &part), Ok(()), "{}", &json[..40]);
    }
}

#[test]
fn an_honest_cart_of_php() {
    let item = |at: usize| {
        format!(
            "i:{at};a:4:{{s:3:\"sku\";s:10:\"SKU-{at:06}\";s:3:\"qty\";i:{};s:5:\"price\";d:19.989999999999998;s:4:\"gift\";b:0;}}",
            at % 9
        )
    };
    let cart: String = (0..580).map(item).collect();
    let php = format!("user|i:7;cart|a:580:{{{cart}}}");
    assert!(php.len() > 58_000, "{}", php.len());
    assert_eq!(read("php", php.as_bytes(), &Wanted::All), Ok(()));
}

#[test]
fn an_honest_pickle_of_django() {
    let text = |text: String| {
        let length = u8::try_from(text.len()).unwrap();
        [&[0x8c, length][..], text.as_bytes(), b"\x94"].concat()
    };
    let items = (0..4200).map(|at| [text(format!("item-{at}")), b"K\x07".to_vec()].concat());
    let pickle = dict(&items.collect::<Vec<_>>());
    assert!(pickle.len() > 52_000, "{}", pickle.len());
    assert_eq!(read("pickle", &pickle, &Wanted::All), Ok(()));
    assert_eq!(read("zlib pickle", &zlib(&pickle), &Wanted::of(&pointers(&["/item-7"]))), Ok(()));
    // Rows whose names are in the memo.
    let row = b"}(h\x00K\x01h\x01K\x02u".repeat(4800);
    let rows = [&b"\x80\x04\x8c\x02id\x940\x8c\x03qty\x940]("[..], &row, b"e."].concat();
    assert_eq!(read("pickle", &rows, &Wanted::of(&pointers(&["/7/id"]))), Ok(()));
}

#[test]
fn a_hash_has_one_budget() {
    let field = |at: usize| {
        (format!("f{at}").into_bytes(), format!("[{}0]", "0,".repeat(3000)).into_bytes())
    };
    let hash = |count| {
        let fields: Vec<_> = (0..count).map(field).collect();
        Pipeline::parse(&["json"])
            .unwrap()
            .decode_hash(&fields, &Wanted::All)
            .map(drop)
            .map_err(|error| error.reason)
    };
    assert_eq!((hash(2), hash(10)), (Ok(()), Err(Reason::TooLarge)));
}

#[test]
fn a_store_of_larger_sessions_lets_them_become_more() {
    let json = format!("[{}0]", "0,".repeat(32_000));
    let read = |max_size| {
        let pipeline = Pipeline::parse(&["zlib", "json"]).unwrap().with_max_size(max_size);
        pipeline
            .decode(&zlib(format!("\"{}\"", "x".repeat(300_000)).as_bytes()), &Wanted::All)
            .map(drop)
    };
    assert_eq!(read(MOST).unwrap_err().reason, Reason::TooLarge);
    assert_eq!(read(4 * MOST), Ok(()));
    is_refused("json", json.as_bytes());
}
