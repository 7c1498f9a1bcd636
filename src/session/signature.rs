//! Signed cookies.

#![forbid(unsafe_code)]

use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::id::Invalid;
use super::secrets::Secrets;

/// How an id is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    None,
    /// node's cookie-signature, behind a prefix.
    CookieSignature {
        prefix: &'static str,
    },
}

impl Signing {
    /// The id out of a decoded cookie value.
    pub fn open(self, value: Vec<u8>, secrets: Option<&Secrets>) -> Result<Vec<u8>, Invalid> {
        let Self::CookieSignature { prefix } = self else { return Ok(value) };
        let signed = value.strip_prefix(prefix.as_bytes()).ok_or(Invalid::Unsigned)?;
        let dot = signed.iter().rposition(|&byte| byte == b'.').ok_or(Invalid::Unsigned)?;
        let (id, signature) = (&signed[..dot], &signed[dot + 1..]);
        let good = secrets.into_iter().flat_map(Secrets::iter).any(|secret| {
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
            mac.update(id);
            let expected = STANDARD_NO_PAD.encode(mac.finalize().into_bytes());
            bool::from(expected.as_bytes().ct_eq(signature))
        });
        good.then(|| id.to_vec()).ok_or(Invalid::Signature)
    }
}
