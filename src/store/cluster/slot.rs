//! Which of the 16384 slots a key belongs to.

#![forbid(unsafe_code)]

/// Slots of a cluster, of any cluster.
pub const SLOTS: u16 = 16384;

/// The slot of a key: CRC-16 of the key, or of its hash tag: what stands between the first `{` and the `}` after it.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOTS
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let (_, behind) = split_at_byte(key, b'{')?;
    let (tag, _) = split_at_byte(behind, b'}')?;
    (!tag.is_empty()).then_some(tag)
}

fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, bytes)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// CRC-16/XMODEM: polynomial 0x1021, from 0, not reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sum_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    /// As `CLUSTER KEYSLOT` of Redis 7 answers.
    #[test]
    fn slots_are_those_of_redis() {
        let cases: [(&[u8], u16); 5] =
            [(b"foo", 12182), (b"bar", 5061), (b"hello", 866), (b"", 0), (b"somekey", 11058)];
        for (key, slot) in cases {
            assert_eq!(slot_of(key), slot, "{key:?}");
        }
    }

    #[test]
    fn a_hash_tag_stands_for_the_key() {
        let cases: [(&[u8], &[u8]); 7] = [
            (b"{user1000}.following", b"user1000"),
            (b"foo{}{bar}", b"foo{}{bar}"),
            (b"foo{{bar}}zap", b"{bar"),
            (b"foo{bar}{zap}", b"bar"),
            (b"foo{bar", b"foo{bar"),
            (b"foo}bar{", b"foo}bar{"),
            (b"{}", b"{}"),
        ];
        for (key, hashed) in cases {
            assert_eq!(slot_of(key), crc16(hashed) % SLOTS, "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn any_key_has_a_slot(key: Vec<u8>) {
            prop_assert!(slot_of(&key) < SLOTS);
        }

        #[test]
        fn keys_of_one_tag_are_together(tag in "[a-z]{1,9}", before in "[a-z]{0,9}", behind: Vec<u8>) {
            let key = [before.as_bytes(), b"{", tag.as_bytes(), b"}", &behind].concat();
            prop_assert_eq!(slot_of(&key), slot_of(tag.as_bytes()));
        }
    }
}
