//! Keys.

#![forbid(unsafe_code)]

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::config::{unknown, ConfigError};

/// A digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    Md5,
    Sha1,
    Sha256,
}

impl Digest {
    /// By name.
    pub fn parse(name: &str) -> Result<Self, ConfigError> {
        match name {
            "md5" => Ok(Self::Md5),
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            _ => Err(unknown("digest", name, &["md5", "sha1", "sha256"])),
        }
    }
    /// In hexadecimal.
    pub fn hex(self, bytes: &[u8]) -> String {
        match self {
            Self::Md5 => to_hex(&Md5::digest(bytes)),
            Self::Sha1 => to_hex(&Sha1::digest(bytes)),
            Self::Sha256 => to_hex(&Sha256::digest(bytes)),
        }
    }
}

/// The digest of parts.
pub fn key_digest(digest: Digest, json: bool, parts: &[&[u8]]) -> Option<String> {
    if !json {
        return Some(digest.hex(&parts.concat()));
    }
    let texts =
        parts.iter().map(|part| std::str::from_utf8(part).ok()).collect::<Option<Vec<_>>>()?;
    Some(digest.hex(crate::value::json_ascii(&texts).replace('/', "\\/").as_bytes()))
}

/// Keyed hash of ids.
#[derive(Clone)]
pub struct IdHash(Vec<u8>);
impl IdHash {
    /// With a key.
    pub fn new(key: &[u8]) -> Self {
        Self(key.to_vec())
    }
    /// 16 hex digits.
    pub fn of(&self, id: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(id);
        to_hex(&mac.finalize().into_bytes()[..8])
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
