//! What a stored value may be wrapped in: compressors, base64, encryption.
//!
//! To add a wrapper: a function here or a file in `wrapper/`, and a row in [`WRAPPERS`].

#![forbid(unsafe_code)]

mod deflate;
mod encrypted;
mod fastlz;
mod lz4;
mod lzf;
mod zstd;

use std::io::Read;

use base64::Engine;

use super::budget::Budget;
use super::Reason;
use crate::session::envelope::Encrypter;
use crate::session::secrets::BASE64;

pub(super) use self::deflate::inflate;

/// A wrapper by its name in `session_redis_format`.
#[derive(Debug)]
pub(super) struct Wrapper {
    pub(super) name: &'static str,
    /// Whether a value is in this wrapper; one that is not is taken as it stands. The compressors' own
    /// writers read so, phpredis and django-redis: they do not compress what is short, and what was stored
    /// before they compressed anything is still there.
    pub(super) wraps: fn(&[u8]) -> bool,
    /// What is in it.
    pub(super) unwrap: Unwrap,
    /// Whether it begins with bytes of its own and is checked to its end: then `auto` takes it off.
    proven: bool,
}

type Unwrap = fn(&[u8], Option<&Encrypter>, &Budget) -> Result<Vec<u8>, Reason>;

/// The name of the wrapper that needs keys.
pub(super) const ENCRYPTED: &str = "encrypted";

/// All wrappers.
pub(super) const WRAPPERS: &[Wrapper] = &[
    Wrapper { name: "base64", wraps: |_| true, unwrap: unbase64, proven: false },
    Wrapper {
        name: "zlib",
        wraps: deflate::is_zlib,
        unwrap: |raw, _, budget| inflate(raw, budget),
        proven: true,
    },
    Wrapper {
        name: "gzip",
        wraps: deflate::is_gzip,
        unwrap: |raw, _, budget| deflate::gunzip(raw, budget),
        proven: true,
    },
    Wrapper {
        name: "zstd",
        wraps: zstd::begins,
        unwrap: |raw, _, budget| zstd::decompress(raw, budget),
        proven: true,
    },
    Wrapper {
        name: "lz4",
        wraps: lz4::begins,
        unwrap: |raw, _, budget| lz4::decompress(raw, budget),
        proven: true,
    },
    Wrapper {
        name: "fastlz",
        wraps: fastlz::fits,
        unwrap: |raw, _, budget| fastlz::decompress(raw, budget),
        proven: true,
    },
    Wrapper {
        name: "lzf",
        wraps: lzf::fits,
        unwrap: |raw, _, budget| lzf::decompress(raw, budget),
        proven: false,
    },
    Wrapper { name: ENCRYPTED, wraps: |_| true, unwrap: encrypted::open, proven: false },
];

impl Wrapper {
    /// The wrapper that a value proves to be in by its first bytes.
    pub(super) fn proven(value: &[u8]) -> Option<&'static Self> {
        WRAPPERS.iter().find(|wrapper| wrapper.proven && (wrapper.wraps)(value))
    }
}

fn unbase64(raw: &[u8], _: Option<&Encrypter>, budget: &Budget) -> Result<Vec<u8>, Reason> {
    budget.draw(raw.len())?;
    BASE64.decode(raw).map_err(|_| Reason::Malformed)
}

/// All that a decompressor gives.
fn read(mut decompressor: impl Read, mut plain: Plain<'_>) -> Result<Vec<u8>, Reason> {
    let mut part = [0; 8 * 1024];
    loop {
        match decompressor.read(&mut part).map_err(|_| Reason::Malformed)? {
            0 => return Ok(plain.bytes),
            length => plain.append(part.get(..length).unwrap_or_default())?,
        }
    }
}

/// What a compressor describes, as it grows within a budget.
struct Plain<'b> {
    bytes: Vec<u8>,
    budget: &'b Budget,
}

impl<'b> Plain<'b> {
    /// Room for what so many compressed bytes mostly become.
    fn of(compressed: usize, budget: &'b Budget) -> Result<Self, Reason> {
        const TIMES: usize = 2;
        let most = compressed.saturating_mul(TIMES).min(budget.unpackable());
        Ok(Self { bytes: budget.list(most)?, budget })
    }

    fn append(&mut self, literals: &[u8]) -> Result<(), Reason> {
        self.grow(literals.len())?;
        self.bytes.extend_from_slice(literals);
        Ok(())
    }

    /// Appends `length` bytes again that begin `distance` before the end, and not before `floor`. What is
    /// repeated may reach into what the repetition makes.
    fn repeat(&mut self, distance: usize, length: usize, floor: usize) -> Result<(), Reason> {
        let from = self.bytes.len().checked_sub(distance).filter(|from| *from >= floor);
        let from = from.filter(|_| distance > 0).ok_or(Reason::Malformed)?;
        self.grow(length)?;
        let mut left = length;
        while left > 0 {
            let part = left.min(self.bytes.len() - from);
            self.bytes.extend_from_within(from..from + part);
            left -= part;
        }
        Ok(())
    }

    fn grow(&mut self, by: usize) -> Result<(), Reason> {
        self.budget.unpack(by)?;
        self.budget.reserve(&mut self.bytes, by)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::{GzEncoder, ZlibEncoder};
    use flate2::Compression;
    use proptest::prelude::*;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{edited, edits};
    use crate::format::Pipeline;

    /// One session, as the writers that are named compress it.
    const SESSIONS: [(&str, &str, &str); 12] = [
        ("fastlz", "php-memcached", "1AIAAB91aWR8aTo3O25hbWV8czo5OiLnjovlsI/mmI4iO2xvbgBnIBQUNjIwOiIwMTIzNDU2Nzg5YWJjZGVm4P0P4CEPAGHg/QDgHAAfIjtyb2xlc3xhOjM6e2k6MDtzOjU6ImFkbWluIjtpOjEgDwg2OiJlZGl0b3JAEAAyIBAKNToiYWRtaW4iO30="),
        ("fastlz", "php-memcached, by zlib", "1AIAAHicK81Mqcm0MrfOS8xNrSm2srRSet7X/XRD/7MZfUrWOfl56UBBMyMDKyUDQyNjE1MzcwvLxKTklNS0UT5p/MRRQDRQsi7Kz0ktrkm0MraqzrQysC62MrVSSkzJzcxTss60MgTyzayUUlMyS/KLQAJGKApqAbHq7Xc="),
        ("lzf", "phpredis", "H3VpZHxpOjc7bmFtZXxzOjk6IueOi+Wwj+aYjiI7bG9uAGcgFBQ2MjA6IjAxMjM0NTY3ODlhYmNkZWbg/w/hHw8AYeD/AOAaAB8iO3JvbGVzfGE6Mzp7aTowO3M6NToiYWRtaW4iO2k6MSAPCDY6ImVkaXRvckAQADIgEOAAIAE7fQ=="),
        ("zstd", "phpredis", "KLUv/WDUAa0DAILGGCGwJx3AMIckpaO766Sa9WxvJmftiqUxoGSSRjYhZD+U7NAIBbkCL8OvdyLnxMbPKn55ZzofnlxfM8dBiTpgKwhoA2DWoiQKSfik1vsRmnMSo4VDwWgkoge+eT/2aEvm/JYNAQQARJ0gzaCg4FSRLaNOKA=="),
        ("zstd", "zstd, without a size and with a checksum", "KLUv/QRYpQMAwgYZIbAnHcAwhySlo7vrpJr1bG8mZ+2KpTGgZJJGNiFkP5Ts0Ah1ToRcgZfh1zuRc2LjZxW/vDOdD0+ur5njoEQdsBUEtAEwa1EShSR8Uuv9CM05idHCoWA0EtED37wfe7Qlc37LhgMAQdQBKDiVZcuocw9bjnjv"),
        ("lz4", "phpredis", "fNQCAAD/KnVpZHxpOjc7bmFtZXxzOjk6IueOi+Wwj+aYjiI7bG9uZ3xzOjYyMDoiMDEyMzQ1Njc4OWFiY2RlZhAA/x4fYQEA/xnwHSI7cm9sZXN8YTozOntpOjA7czo1OiJhZG1pbiI7aToxO3M6NjoiZWRpdG9yEQAVMiEAUGluIjt9"),
        ("lz4", "python's lz4.frame", "BCJNGGhA1AIAAAAAAAAXfwAAAP8qdWlkfGk6NztuYW1lfHM6OToi546L5bCP5piOIjtsb25nfHM6NjIwOiIwMTIzNDU2Nzg5YWJjZGVmEAD/Hh9hAQD/GfAdIjtyb2xlc3xhOjM6e2k6MDtzOjU6ImFkbWluIjtpOjE7czo2OiJlZGl0b3IRABUyIQBQaW4iO30AAAAA"),
        ("lz4", "lz4, with a checksum", "BCJNGGRAp38AAAD/KnVpZHxpOjc7bmFtZXxzOjk6IueOi+Wwj+aYjiI7bG9uZ3xzOjYyMDoiMDEyMzQ1Njc4OWFiY2RlZhAA/x4fYQEA/xnwHSI7cm9sZXN8YTozOntpOjA7czo1OiJhZG1pbiI7aToxO3M6NjoiZWRpdG9yEQAVMiEAUGluIjt9AAAAAPnZXHE="),
        ("lz4", "lz4, with a checksum of each block", "BCJNGHRAvX8AAAD/KnVpZHxpOjc7bmFtZXxzOjk6IueOi+Wwj+aYjiI7bG9uZ3xzOjYyMDoiMDEyMzQ1Njc4OWFiY2RlZhAA/x4fYQEA/xnwHSI7cm9sZXN8YTozOntpOjA7czo1OiJhZG1pbiI7aToxO3M6NjoiZWRpdG9yEQAVMiEAUGluIjt9HPYChwAAAAD52Vxx"),
        ("zlib", "PHP", "eJwrzUypybQyt85LzE2tKbaytFJ63tf9dEP/sxl9StY5+XnpQEEzIwMrJQNDI2MTUzNzC8vEpOSU1LRRPmn8xFFANFCyLsrPSS2uSbQytqrOtDKwLrYytVJKTMnNzFOyzrQyBPLNrJRSUzJL8otAAkYoCmoBsertdw=="),
        ("gzip", "PHP", "H4sIAAAAAAAAAyvNTKnJtDK3zkvMTa0ptrK0Unre1/10Q/+zGX1K1jn5eelAQTMjAyslA0MjYxNTM3MLy8Sk5JTUtFE+afzEUUA0ULIuys9JLa5JtDK2qs60MrAutjK1UkpMyc3MU7LOtDIE8s2slFJTMkvyi0ACRigKagFe+7j91AIAAA=="),
        ("gzip", "python", "H4sIAF0oAWsC/yvNTKnJtDK3zkvMTa0ptrK0Unre1/10Q/+zGX1K1jn5eelAQTMjAyslA0MjYxNTM3MLy8Sk5JTUtFE+afzEUUA0ULIuys9JLa5JtDK2qs60MrAutjK1UkpMyc3MU7LOtDIE8s2slFJTMkvyi0ACRigKagFe+7j91AIAAA=="),
    ];

    fn row(name: &str) -> &'static Wrapper {
        WRAPPERS.iter().find(|wrapper| wrapper.name == name).unwrap()
    }

    fn unwrap(name: &str, raw: &[u8]) -> Result<Vec<u8>, Reason> {
        (row(name).unwrap)(raw, None, &of(raw))
    }

    fn plain() -> Vec<u8> {
        let long = "0123456789abcdef".repeat(20) + &"a".repeat(300);
        let name = "\u{738b}\u{5c0f}\u{660e}";
        format!(
            "uid|i:7;name|s:9:\"{name}\";long|s:620:\"{long}\";\
             roles|a:3:{{i:0;s:5:\"admin\";i:1;s:6:\"editor\";i:2;s:5:\"admin\";}}"
        )
        .into_bytes()
    }

    fn sessions() -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>)> {
        SESSIONS.into_iter().map(|(name, writer, raw)| (name, writer, BASE64.decode(raw).unwrap()))
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_each_writer_compressed_is_read() {
        for (name, writer, raw) in sessions() {
            assert!((row(name).wraps)(&raw), "{name} by {writer}");
            assert_eq!(unwrap(name, &raw), Ok(plain()), "{name} by {writer}");
            let proven = Wrapper::proven(&raw).map(|wrapper| wrapper.name);
            assert_eq!(proven, (name != "lzf").then_some(name), "{name} by {writer}");
        }
    }

    #[test]
    fn what_is_cut_off_or_followed_by_more_is_malformed() {
        for (name, writer, raw) in sessions() {
            for end in 0..raw.len() {
                let read = unwrap(name, &raw[..end]);
                // LZF has no end of its own.
                let malformed = read == Err(Reason::Malformed);
                assert!(malformed || name == "lzf" && read != Ok(plain()), "{end} {writer}");
            }
            let more = [&raw[..], b"\0"].concat();
            assert_eq!(unwrap(name, &more), Err(Reason::Malformed), "{name} by {writer}");
        }
    }

    #[test]
    fn what_has_a_checksum_is_not_read_wrongly() {
        let checked =
            |writer: &str| !["phpredis", "php-memcached", "python's lz4.frame"].contains(&writer);
        for (name, writer, raw) in sessions().filter(|(_, writer, _)| checked(writer)) {
            for at in 0..raw.len() {
                let mut spoilt = raw.clone();
                spoilt[at] ^= 1 << (at % 8);
                if let Ok(read) = unwrap(name, &spoilt) {
                    assert_eq!(read, plain(), "{name} by {writer}, byte {at}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_compressed_is_in_no_wrapper() {
        let uncompressed = [
            &b"{\"a\":1}"[..],
            b"uid|i:7;",
            b"a:1:{s:1:\"k\";i:5;}",
            b"\x80\x05\x95\x0b\x00\x00\x00\x00\x00\x00\x00}",
            b"\x04\x08{\x00",
            b"\x82\xa3uid\x07",
            b"\x00\x00\x00\x02\x14\x01\x11\x03uid\x06\x07",
            b"\xac\xed\x00\x05sr",
            b"x",
            b"\x1f\x8b",
        ];
        for raw in uncompressed {
            for wrapper in WRAPPERS.iter().filter(|wrapper| wrapper.proven || wrapper.name == "lzf")
            {
                assert!(!(wrapper.wraps)(raw), "{} {raw:?}", wrapper.name);
            }
        }
    }

    #[test]
    fn expansion_is_bounded() {
        let most = Budget::of(0, Pipeline::MAX_SIZE).unpackable();
        let zeros = |length: usize| vec![0_u8; length];
        for (name, compress) in
            [("zlib", zlib as fn(&[u8]) -> Vec<u8>), ("gzip", gzip), ("lz4", lz4::tests::phpredis)]
        {
            assert!(unwrap(name, &compress(&zeros(most))) == Ok(zeros(most)), "{name}");
            let more = compress(&zeros(most + 1));
            assert!(unwrap(name, &more) == Err(Reason::TooLarge), "{name}");
            // A store with larger sessions lets them become more, though one that is small itself does not take all of it.
            let larger = Budget::of(more.len(), 16 * Pipeline::MAX_SIZE);
            assert!((row(name).unwrap)(&more, None, &larger) == Ok(zeros(most + 1)), "{name}");
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for encoded in ["Zm9v+/8=", "Zm9v+/8"] {
            assert_eq!(unwrap("base64", encoded.as_bytes()), Ok(b"foo\xfb\xff".to_vec()));
        }
        for encoded in ["Zm9v-_8=", "Zm9v\n", "Zm9v+/9", "Z"] {
            assert_eq!(unwrap("base64", encoded.as_bytes()), Err(Reason::Malformed), "{encoded}");
        }
    }

    #[test]
    fn without_keys_nothing_encrypted_is_read() {
        assert_eq!(unwrap(ENCRYPTED, b"e30="), Err(Reason::Malformed));
    }

    proptest! {
        #[test]
        fn what_was_compressed_is_read(parts in proptest::collection::vec("[a-c]{1,9}", 0..60), times in 1..9_usize) {
            let plain = parts.concat().repeat(times).into_bytes();
            prop_assert_eq!(unwrap("zlib", &zlib(&plain)), Ok(plain.clone()));
            prop_assert_eq!(unwrap("gzip", &gzip(&plain)), Ok(plain));
        }

        #[test]
        fn whatever_comes_stays_in_bounds(
            which in 0..SESSIONS.len(),
            edits in edits("\0\x01\x0f\x1f \x40\x7f"),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let (name, _, raw) = sessions().nth(which).unwrap();
            for raw in [edited(&raw, &edits), [&raw[..8.min(raw.len())], &bytes].concat(), bytes] {
                if let Ok(plain) = unwrap(name, &raw) {
                    prop_assert!(plain.len() <= raw.len().max(of(&raw).unpackable()));
                }
            }
        }
    }
}
