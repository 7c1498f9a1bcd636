//! Beaker's `SignedCookie`.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::{Carried, Open};
use crate::session::id::Invalid;
use crate::session::key::hex;
use crate::session::secrets::{hmac, Secrets};

/// The HMAC-SHA-1 of the id in lower-case hexadecimal, and the id. Without `session.secret` Beaker signs
/// nothing: then the id alone.
pub(super) struct BeakerCookie(Option<Vec<Hmac<Sha1>>>);

impl BeakerCookie {
    pub(super) fn new(secrets: Option<&Secrets>) -> Self {
        Self(secrets.map(|secrets| secrets.iter().map(hmac).collect()))
    }
}

/// Tells nothing of the keys.
impl fmt::Debug for BeakerCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BeakerCookie({})", self.0.as_ref().map_or(0, Vec::len))
    }
}

impl Open for BeakerCookie {
    fn open<'v>(&self, value: &'v [u8], _: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        /// 20 bytes in hexadecimal.
        const LENGTH: usize = 40;
        let Some(hmacs) = &self.0 else { return Ok(Cow::Borrowed(value)) };
        let (signature, id) = value.split_at_checked(LENGTH).ok_or(Invalid::Unsigned)?;
        let is_good = |hmac: &Hmac<Sha1>| {
            let tag = hex(&hmac.clone().chain_update(id).finalize().into_bytes());
            bool::from(tag.as_bytes().ct_eq(signature))
        };
        hmacs.iter().any(is_good).then_some(Cow::Borrowed(id)).ok_or(Invalid::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::scheme::tests::CARRIED;

    const ID: &str = "dc4d832647e44f689b0dc4b07b444a86";
    const SIGNATURE: &str = "28870a12c89b50f821217c03e024b06cb04bd4d1";

    fn open(value: &str, secrets: &[&str]) -> Result<String, Invalid> {
        let secrets = (!secrets.is_empty()).then(|| Secrets::parse_args(secrets).unwrap());
        let scheme = BeakerCookie::new(secrets.as_ref());
        let id = scheme.open(value.as_bytes(), &CARRIED)?.into_owned();
        Ok(String::from_utf8(id).unwrap())
    }

    #[test]
    fn a_captured_cookie() {
        let value = format!("{SIGNATURE}{ID}");
        assert_eq!(open(&value, &["newer", "beaker-secret"]).unwrap(), ID);
        assert_eq!(open(&value, &["another"]), Err(Invalid::Signature));
        assert_eq!(open(ID, &[]).unwrap(), ID);
        // With a secret nothing is taken that is not signed.
        assert_eq!(open(ID, &["beaker-secret"]), Err(Invalid::Unsigned));
    }

    #[test]
    fn without_a_good_signature_there_is_no_id() {
        for value in [
            format!("08870a12c89b50f821217c03e024b06cb04bd4d1{ID}"),
            format!("{}{ID}", SIGNATURE.to_uppercase()),
            format!("{SIGNATURE}{}", &ID[1..]),
            format!("{SIGNATURE}{ID}0"),
            SIGNATURE.to_owned(),
            format!("{ID}{SIGNATURE}"),
        ] {
            assert_eq!(open(&value, &["beaker-secret"]), Err(Invalid::Signature), "{value}");
        }
    }
}
