//! What PHP's own session handlers write: `php`, `php_serialize`, `php_binary`.

#![forbid(unsafe_code)]

use serde_json::Value;

use super::{Reason, Wanted};

/// Handler `php`.
pub(super) fn decode(_raw: &[u8], _wanted: &Wanted) -> Result<Value, Reason> {
    Err(Reason::Malformed)
}

/// Handler `php_serialize`.
pub(super) fn decode_serialize(_raw: &[u8], _wanted: &Wanted) -> Result<Value, Reason> {
    Err(Reason::Malformed)
}

/// Handler `php_binary`.
pub(super) fn decode_binary(_raw: &[u8], _wanted: &Wanted) -> Result<Value, Reason> {
    Err(Reason::Malformed)
}

/// Whether `raw` begins with a name, `|`, and a value.
pub(super) fn begins(_raw: &[u8]) -> bool {
    false
}

/// Whether `raw` begins with a value.
pub(super) fn begins_serialize(_raw: &[u8]) -> bool {
    false
}

/// Whether `raw` begins with a length, a name of that length, and a value.
pub(super) fn begins_binary(_raw: &[u8]) -> bool {
    false
}
