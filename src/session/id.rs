//! A session id, parsed once: what has this type keeps to its rule and is safe in a key.

#![forbid(unsafe_code)]

use std::fmt;

use smallvec::SmallVec;

/// Which bytes an id is made of, and how many: what one framework makes, and no more.
#[derive(Clone, PartialEq, Eq)]
pub struct IdRule {
    /// Whether a byte is allowed.
    alphabet: [bool; 256],
    /// Whether the alphabet has what a reserved id is known by.
    marked: bool,
    min: usize,
    max: usize,
}

impl Default for IdRule {
    /// 16 to 256 bytes of what ids are made of in all frameworks but a few.
    fn default() -> Self {
        Self::new("A-Za-z0-9,._~+/=-", 16, 256)
    }
}

impl IdRule {
    /// Ids of `min` to `max` bytes. `alphabet` is written as in a regular expression's brackets: `A-Z` is a
    /// range, `-` at the end is itself; control bytes, blanks, braces and what is not ASCII are left out.
    pub const fn new(alphabet: &str, min: usize, max: usize) -> Self {
        let written = alphabet.as_bytes();
        let mut alphabet = [false; 256];
        let mut at = 0;
        while at < written.len() {
            let is_range = at + 2 < written.len() && written[at + 1] == b'-';
            let last = if is_range { written[at + 2] } else { written[at] };
            let mut byte = written[at];
            while byte <= last && byte < 0x80 {
                // Braces would choose the key's slot in a Cluster.
                alphabet[byte as usize] = byte.is_ascii_graphic() && byte != b'{' && byte != b'}';
                byte += 1;
            }
            at += if is_range { 3 } else { 1 };
        }
        let marked = alphabet[b'.' as usize] || alphabet[b'_' as usize];
        Self { alphabet, marked, min, max }
    }

    /// The same alphabet with other lengths, as `session_redis_id_length` sets them.
    #[must_use]
    pub const fn with_length(&self, min: usize, max: usize) -> Self {
        Self { alphabet: self.alphabet, marked: self.marked, min, max }
    }

    /// Takes the id if it keeps to the rule and cannot be mistaken for another key of the store.
    pub fn parse(&self, id: &[u8]) -> Result<SessionId, Invalid> {
        if id.len() < self.min {
            return Err(Invalid::Short);
        }
        if id.len() > self.max {
            return Err(Invalid::Long);
        }
        // Without a way out of the loop, which is faster for ids as short as they are.
        if !id.iter().fold(true, |allowed, byte| allowed & self.allows(*byte)) {
            return Err(Invalid::Alphabet);
        }
        if self.marked && is_reserved(id) {
            return Err(Invalid::Reserved);
        }
        Ok(SessionId(SmallVec::from_slice(id)))
    }

    fn allows(&self, byte: u8) -> bool {
        self.alphabet[usize::from(byte)]
    }
}

/// Tells the lengths; the table would only fill the screen.
impl fmt::Debug for IdRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdRule")
            .field("min", &self.min)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// Whether the id would name the lock beside another session, or step out of a path: `<id>_LOCK` is
/// phpredis', `lock.<id>` the memcached extension's and `<id>.lock` the memcache extension's.
fn is_reserved(id: &[u8]) -> bool {
    id.ends_with(b"_LOCK")
        || id.ends_with(b".lock")
        || id.starts_with(b"lock.")
        || memchr::memmem::find(id, b"..").is_some()
}

/// An id that keeps to its rule: printable ASCII without blanks and braces. In place, since hardly any is longer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(SmallVec<[u8; 48]>);

impl SessionId {
    /// The id as it stands in a key.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Tells nothing: an id is as good as a password.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// Why what a request carries is no id. Never holds a byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// A byte that such ids do not have.
    Alphabet,
    /// No base64, where a framework keeps its ids in such.
    Base64,
    /// `%` without two hexadecimal digits.
    Encoding,
    /// Its own end has come.
    Expired,
    /// More bytes than such ids have.
    Long,
    /// It is signed, but does not begin with the framework's prefix.
    Prefix,
    /// It names a lock, or steps out of a path.
    Reserved,
    /// Fewer bytes than such ids have; nothing at all, too.
    Short,
    /// None of the secrets made the signature.
    Signature,
    /// A value longer than [`super::cookie::MAX_VALUE`], of which not even the signature is looked at.
    Size,
    /// There is no signature.
    Unsigned,
}

impl fmt::Display for Invalid {
    /// Reads on after `session id refused: `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alphabet => "a byte outside the alphabet",
            Self::Base64 => "no base64",
            Self::Encoding => "wrong URL-encoding",
            Self::Expired => "expired",
            Self::Long => "too long",
            Self::Prefix => "not the framework's prefix",
            Self::Reserved => "it would name a lock",
            Self::Short => "too short",
            Self::Signature => "wrong signature",
            Self::Size => "value over 4096 bytes",
            Self::Unsigned => "no signature",
        })
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PHP: IdRule = IdRule::new("A-Za-z0-9,-", 22, 256);

    fn refused(rule: &IdRule, id: impl AsRef<[u8]>) -> Option<Invalid> {
        rule.parse(id.as_ref()).err()
    }

    #[test]
    fn captured_ids_are_taken() {
        for id in ["5vskci7gjubb3itrl38lns61rh", "a,b-c45678901234567890123456"] {
            assert_eq!(PHP.parse(id.as_bytes()).unwrap().as_str(), id);
        }
        for id in ["5caS6ncLjt3AtX2RQWNYQuTRD1-OOpNn", "AZaz09,._~+/=-16"] {
            assert_eq!(IdRule::default().parse(id.as_bytes()).unwrap().as_bytes(), id.as_bytes());
        }
    }

    #[test]
    fn lengths_are_bounds_that_belong_to_the_rule() {
        assert_eq!(refused(&PHP, ""), Some(Invalid::Short));
        assert_eq!(refused(&PHP, "a"), Some(Invalid::Short));
        for (length, reason) in [
            (21, Some(Invalid::Short)),
            (22, None),
            (256, None),
            (257, Some(Invalid::Long)),
            (8192, Some(Invalid::Long)),
        ] {
            assert_eq!(refused(&PHP, "a".repeat(length)), reason, "{length}");
        }
        assert_eq!(refused(&PHP.with_length(1, 2), "a"), None);
        assert_eq!(refused(&PHP.with_length(1, 2), "abc"), Some(Invalid::Long));
        assert_eq!(refused(&PHP.with_length(1, 2), "_"), Some(Invalid::Alphabet));
    }

    #[test]
    fn bytes_outside_the_alphabet() {
        for odd in [
            "\0", "\r\n", " ", "\t", "\"", "'", "%00", "%", "*", "?", "[", "]", "^", "{", "}",
            "{tag}", ":", "\\", "$", "!", "\u{e9}", "\u{7f}", ";", "<", "|",
        ] {
            let id = format!("5vskci7gjubb3{odd}itrl38lns61rh");
            assert_eq!(refused(&PHP, &id), Some(Invalid::Alphabet), "{odd:?}");
            assert_eq!(refused(&IdRule::default(), &id), Some(Invalid::Alphabet), "{odd:?}");
        }
        assert_eq!(refused(&PHP, b"5vskci7gjubb3\xff\xc3itrl38lns61rh"), Some(Invalid::Alphabet));
        assert_eq!(refused(&PHP, "5vskci7gjubb3/..itrl38lns61rh"), Some(Invalid::Alphabet));
    }

    #[test]
    fn no_id_names_a_lock_or_leaves_its_prefix() {
        for id in [
            "5vskci7gjubb3itrl38lns61rh_LOCK",
            "5vskci7gjubb3itrl38lns61rh.lock",
            "lock.5vskci7gjubb3itrl38lns61rh",
            "../../5vskci7gjubb3itrl38lns61rh",
        ] {
            assert_eq!(refused(&IdRule::default(), id), Some(Invalid::Reserved));
        }
        assert_eq!(refused(&IdRule::default(), "5vskci7gjubb3.itrl38_LOCKlns61rh"), None);
    }

    #[test]
    fn what_no_alphabet_can_allow() {
        let rule = IdRule::new("\0-\u{7f}é", 1, 9);
        for byte in 0..=255 {
            let expected = byte > b' ' && byte < 0x7f && byte != b'{' && byte != b'}';
            assert_eq!(rule.allows(byte), expected, "{byte}");
        }
        assert!(IdRule::new("a-", 1, 9).allows(b'-'));
        assert!(!IdRule::new("z-a", 1, 9).allows(b'b'));
    }

    #[test]
    fn an_id_does_not_show_in_a_log() {
        let id = PHP.parse(b"5vskci7gjubb3itrl38lns61rh").unwrap();
        assert_eq!(format!("{id:?}"), "SessionId(…)");
    }

    proptest! {
        #[test]
        fn an_id_is_what_was_given(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(id) = IdRule::default().parse(&bytes) {
                prop_assert_eq!(id.as_bytes(), bytes.as_slice());
                prop_assert!(bytes.iter().all(|byte| b'!' <= *byte && *byte <= b'~'));
            }
        }
    }
}
