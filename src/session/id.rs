//! A session id, parsed once.

#![forbid(unsafe_code)]

use std::fmt;

/// Which ids are taken.
#[derive(Debug, Clone)]
pub struct IdRule {
    alphabet: [u64; 4],
    min: usize,
    max: usize,
}

/// An id that meets its rule: ASCII without control bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(Vec<u8>);

/// Why there is no id. Never tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    Short,
    Long,
    Alphabet,
    Encoding,
    Unsigned,
    Signature,
    Reserved,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "too short",
            Self::Long => "too long",
            Self::Alphabet => "it holds a byte outside the alphabet",
            Self::Encoding => "bad percent-encoding",
            Self::Unsigned => "it is not signed",
            Self::Signature => "its signature is wrong",
            Self::Reserved => "it names a lock",
        })
    }
}

impl Default for IdRule {
    fn default() -> Self {
        Self::new("A-Za-z0-9,._~+/=-", 16, 256)
    }
}

impl IdRule {
    /// `alphabet` as in a regular expression's class.
    pub fn new(alphabet: &str, min: usize, max: usize) -> Self {
        let mut bits = [0_u64; 4];
        let bytes = alphabet.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let (from, to) = match bytes.get(at + 1..at + 3) {
                Some([b'-', to]) => (bytes[at], *to),
                _ => (bytes[at], bytes[at]),
            };
            for byte in from..=to {
                bits[usize::from(byte >> 6)] |= 1 << (byte & 63);
            }
            at += if from == to { 1 } else { 3 };
        }
        Self { alphabet: bits, min, max }
    }

    /// The same alphabet with other lengths.
    pub fn with_length(&self, min: usize, max: usize) -> Self {
        Self { alphabet: self.alphabet, min, max }
    }

    /// Checks an id.
    pub fn parse(&self, id: Vec<u8>) -> Result<SessionId, Invalid> {
        if id.len() < self.min {
            return Err(Invalid::Short);
        }
        if id.len() > self.max {
            return Err(Invalid::Long);
        }
        if !id.iter().all(|byte| self.alphabet[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1) {
            return Err(Invalid::Alphabet);
        }
        if id.ends_with(b"_LOCK") || id.ends_with(b".lock") || id.windows(2).any(|two| two == b"..")
        {
            return Err(Invalid::Reserved);
        }
        Ok(SessionId(id))
    }
}

impl SessionId {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
