//! JSON (RFC 8259), as Node's, Python's and others' session stores write it.

#![forbid(unsafe_code)]

use serde_json::Value;

use super::{Reason, Wanted};

/// Reads a value of any kind.
pub(super) fn decode(raw: &[u8], _wanted: &Wanted) -> Result<Value, Reason> {
    serde_json::from_slice(raw).map_err(|_| Reason::Malformed)
}

/// Whether `raw` begins as an object or array does.
pub(super) fn begins(raw: &[u8]) -> bool {
    matches!(raw.trim_ascii_start().first(), Some(b'{' | b'['))
}
