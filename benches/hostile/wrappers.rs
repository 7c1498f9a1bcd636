//! The worst that wrappers can be around a session, and compressors that reach what each of them can.

use std::io::Write;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::Compression;

/// What is hostile about a wrapper itself, whatever is in it: names, as in `session_redis_format`, and a value of
/// about so many bytes.
pub(crate) const WRAPPERS: &[Row] = &[
    (&["zlib", "json"], "empty blocks", |size| {
        deflated(b"\x78\x9c", EMPTY, size, &checksum(SESSION))
    }),
    (&["auto"], "zlib, empty blocks", |size| {
        deflated(b"\x78\x9c", EMPTY, size, &checksum(SESSION))
    }),
    (&["auto"], "zlib, empty blocks, a wrong checksum", |size| {
        deflated(b"\x78\x9c", EMPTY, size, b"\0\0\0\0")
    }),
    (&["gzip", "json"], "empty blocks", |size| {
        deflated(b"\x1f\x8b\x08\0\0\0\0\0\0\xff", EMPTY, size, &gzip_end(SESSION))
    }),
    (&["zlib", "json"], "blocks with tables of their own", |size| {
        deflated(b"\x78\x9c", TABLES, size, &checksum(SESSION))
    }),
    (&["zstd", "json"], "blocks with the usual tables", |size| {
        zstd(b"\x34\0\0\0\x01\0\0\0\x02", size)
    }),
    (&["zstd", "json"], "blocks with tables of their own", zstd_tables),
    (&["zstd", "json"], "a window of 8 MB", |_| zstd_frame(0x68, b"")),
    (&["lz4", "json"], "frames of empty blocks", lz4_empty),
    (&["base64", "base64", "base64", "base64", "json"], "base64 four times", |size| {
        let text = format!("{{\"user_id\":7,\"h\":\"{}\"}}", " ".repeat(size / 4));
        (0..4).fold(text.into_bytes(), |bytes, _| STANDARD.encode(bytes).into_bytes())
    }),
    (&["encrypted", "json"], "an envelope of numbers", |size| {
        let envelope = format!("{{\"a\":[{}0]}}", "1,".repeat(size * 3 / 8));
        STANDARD.encode(envelope).into_bytes()
    }),
    (&["encrypted", "json"], "an envelope that no key made", |size| {
        let value = STANDARD.encode(vec![0; size / 16 * 9]);
        let envelope = format!(
            r#"{{"iv":"AAAAAAAAAAAAAAAA","value":"{value}","mac":"","tag":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#
        );
        STANDARD.encode(envelope).into_bytes()
    }),
];

/// Names, what is hostile, and how it is made.
pub(crate) type Row = (&'static [&'static str], &'static str, fn(usize) -> Vec<u8>);

/// A session that blanks may follow.
const SESSION: &[u8] = b"{\"user_id\":7,\"h\":[]}                ";

pub(crate) fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("room")
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("room")
}

pub(crate) fn lz4(plain: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).expect("room");
    encoder.finish().expect("room")
}

/// The key of what is encrypted, and one that is tried before or after it.
pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const OLD_KEY: &str = "fedcba9876543210fedcba9876543210";

/// Laravel's envelope, by AES-256-GCM.
pub(crate) fn encrypted(plain: &[u8]) -> Vec<u8> {
    let iv = [0; 12];
    let mut sealed = plain.to_vec();
    let key = Aes256Gcm::new_from_slice(KEY.as_bytes()).expect("a key");
    let tag = key.encrypt_inout_detached(&iv.into(), b"", sealed.as_mut_slice().into());
    let [iv, value, tag] =
        [&iv[..], &sealed, &tag.expect("a tag")].map(|part| STANDARD.encode(part));
    let envelope = format!(r#"{{"iv":"{iv}","value":"{value}","mac":"","tag":"{tag}"}}"#);
    STANDARD.encode(envelope).into_bytes()
}

/// Repetitions of what stands one to eight bytes before, or literals.
pub(crate) fn lzf(plain: &[u8]) -> Vec<u8> {
    const LONGEST: usize = 264;
    let (mut bytes, mut at) = (Vec::new(), 0);
    while at < plain.len() {
        let run = |distance: &usize| {
            let again = plain[at..].iter().zip(&plain[at - distance..]);
            again.take(LONGEST).take_while(|(one, two)| one == two).count()
        };
        let best =
            (1..=at.min(8)).max_by_key(run).map_or((0, 0), |distance| (distance, run(&distance)));
        match best {
            (distance, length @ 3..) => {
                let (low, long) = ((distance - 1) as u8, length - 2);
                match long {
                    ..7 => bytes.extend([(long << 5) as u8, low]),
                    _ => bytes.extend([7 << 5, (long - 7) as u8, low]),
                }
                at += length;
            }
            _ => {
                bytes.extend([0, plain[at]]);
                at += 1;
            }
        }
    }
    bytes
}

/// Level 1 of FastLZ is LZF whose distances of one byte are these; its first byte tells the level.
pub(crate) fn fastlz(plain: &[u8]) -> Vec<u8> {
    let length = u32::try_from(plain.len()).expect("not too long");
    [&length.to_le_bytes()[..], &lzf(plain)].concat()
}

/// Bits, each byte's lowest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    /// Appends the lowest bits of a number.
    fn push(&mut self, number: u64, count: usize) {
        for bit in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(number >> bit & 1 == 1) << (self.count % 8);
            }
            self.count += 1;
        }
    }
}

/// An empty block by the fixed tables, of which a decoder makes tables each time: ten bits.
const EMPTY: &[(u64, usize)] = &[(0b010, 3), (0, 7)];

/// An empty block with tables of its own: the code of the block's end has one bit, distances have none.
const TABLES: &[(u64, usize)] = &[
    (0b100, 3),
    // 257 lengths and one, told by 18 lengths of codes: of 18 it has one bit, of 0 and of 1 two.
    (0, 5),
    (0, 5),
    (14, 4),
    (0, 6),
    (1, 3),
    (2, 3),
    (0, 39),
    (2, 3),
    // 138 zeros, 118, a one, a zero; then the end.
    (0, 1),
    (127, 7),
    (0, 1),
    (107, 7),
    (0b11, 2),
    (0b01, 2),
    (0, 1),
];

/// A session in a stored block, and so many blocks as fit.
fn deflated(head: &[u8], block: &[(u64, usize)], size: usize, end: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push(0, 8);
    let length = u16::try_from(SESSION.len()).expect("short");
    for part in [&length.to_le_bytes(), &(!length).to_le_bytes(), SESSION] {
        part.iter().for_each(|byte| bits.push((*byte).into(), 8));
    }
    while bits.bytes.len() + head.len() + end.len() + 14 < size {
        block.iter().for_each(|(number, count)| bits.push(*number, *count));
    }
    bits.push(0b011, 3);
    bits.push(0, 7);
    [head, &bits.bytes, end].concat()
}

fn checksum(plain: &[u8]) -> [u8; 4] {
    let zlib = zlib(plain);
    zlib.last_chunk().copied().expect("a checksum")
}

fn gzip_end(plain: &[u8]) -> [u8; 8] {
    let gzip = gzip(plain);
    gzip.last_chunk().copied().expect("a checksum and a length")
}

/// A frame with such a window: a session as it stands, these blocks, and an empty one.
fn zstd_frame(window: u8, blocks: &[u8]) -> Vec<u8> {
    [&b"\x28\xb5\x2f\xfd\0"[..], &[window], &block(0, SESSION), blocks, b"\x01\0\0"].concat()
}

fn block(kind: u32, content: &[u8]) -> Vec<u8> {
    let head = u32::try_from(content.len()).expect("short") << 3 | kind << 1;
    [&head.to_le_bytes()[..3], content].concat()
}

/// As many of one block as fit.
fn zstd(block: &[u8], size: usize) -> Vec<u8> {
    zstd_frame(0, &block.repeat(size.saturating_sub(80) / block.len()))
}

/// Each block has one literal, a line feed, by a table of 2048 entries, and one repetition of three blanks by tables
/// of 512, 256 and 512.
fn zstd_tables(size: usize) -> Vec<u8> {
    const COMPRESSED: u32 = 2;
    // One symbol has all: four bits for the size of the table, the rest for the probability.
    let table = |log: u64| ((2 << log) - 1) << 4 | (log - 5);
    let mut tables = Vec::new();
    for log in [9, 8, 9] {
        tables.extend(&table(log).to_le_bytes()[..2]);
    }
    let literals = b"\x12\x00\x02\x88\xba\x98\x76\x54\x30\x01\x02";
    let states = (1_u32 << 26).to_le_bytes();
    let content = [&literals[..], b"\x01\xa8", &tables, &states].concat();
    zstd(&block(COMPRESSED, &content), size)
}

fn lz4_empty(size: usize) -> Vec<u8> {
    let mut frame = lz4(SESSION);
    let end = frame.len() - 4;
    let empty = b"\0\0\0\x80".repeat(size.saturating_sub(frame.len()) / 4);
    frame.splice(end..end, empty);
    frame
}
