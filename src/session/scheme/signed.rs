//! Signatures that stand in cookies as text: base64 of an HMAC, under any of the keys.

#![forbid(unsafe_code)]

use base64::engine::GeneralPurpose;
use base64::Engine;
use hmac::digest::Digest;
use hmac::{EagerHash, Hmac, Mac};
use subtle::ConstantTimeEq;

use crate::session::id::Invalid;

/// Cuts `id.signature`. An id may hold dots, the last one separates.
pub(super) fn cut(signed: &[u8]) -> Result<(&[u8], &[u8]), Invalid> {
    let dot = memchr::memrchr(b'.', signed).ok_or(Invalid::Unsigned)?;
    match signed.split_at_checked(dot) {
        Some((id, [b'.', signature @ ..])) if !signature.is_empty() => Ok((id, signature)),
        _ => Err(Invalid::Unsigned),
    }
}

/// Whether `signature` is what `engine` writes of the HMAC of the parts, one after another, under one of the
/// keys. It is compared as text, so that of its spellings in base64 only the one is taken that the framework
/// itself writes.
pub(super) fn verify<D: EagerHash + Digest>(
    hmacs: &[Hmac<D>],
    parts: &[&[u8]],
    engine: &GeneralPurpose,
    signature: &[u8],
) -> Result<(), Invalid> {
    let is_good = |hmac: &Hmac<D>| {
        let mut hmac = hmac.clone();
        parts.iter().for_each(|part| hmac.update(part));
        // Room for 48 bytes; SHA-256 has 32.
        let mut text = [0; 64];
        let length = engine.encode_slice(hmac.finalize().into_bytes(), &mut text).unwrap_or(0);
        let expected = text.get(..length).unwrap_or_default();
        !expected.is_empty() && bool::from(expected.ct_eq(signature))
    };
    hmacs.iter().any(is_good).then_some(()).ok_or(Invalid::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_dot_separates() {
        assert_eq!(cut(b"a.b.c"), Ok((&b"a.b"[..], &b"c"[..])));
        assert_eq!(cut(b".c"), Ok((&b""[..], &b"c"[..])));
        for unsigned in ["", ".", "a", "a.", "a.b."] {
            assert_eq!(cut(unsigned.as_bytes()), Err(Invalid::Unsigned), "{unsigned}");
        }
    }
}
