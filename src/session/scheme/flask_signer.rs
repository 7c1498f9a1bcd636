//! `itsdangerous.Signer` as Flask-Session signs ids with it (`SESSION_USE_SIGNER`).

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::{signed, Carried, Open};
use crate::session::id::Invalid;
use crate::session::secrets::{hmac, Secrets};

/// The salt that Flask-Session gives the signer.
const SALT: &str = "flask-session";

/// The id, `.`, and its HMAC-SHA-1 in base64url without padding, under a key that is the HMAC-SHA-1 of the salt
/// under the application's.
pub(super) struct FlaskSigner(Vec<Hmac<Sha1>>);

impl FlaskSigner {
    pub(super) fn new(secrets: Option<&Secrets>) -> Self {
        let derived =
            |secret: &[u8]| hmac(&hmac::<Sha1>(secret).chain_update(SALT).finalize().into_bytes());
        Self(secrets.into_iter().flat_map(Secrets::iter).map(derived).collect())
    }
}

/// Tells nothing of the keys.
impl fmt::Debug for FlaskSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlaskSigner({})", self.0.len())
    }
}

impl Open for FlaskSigner {
    fn open<'v>(&self, value: &'v [u8], _: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        let (id, signature) = signed::cut(value)?;
        signed::verify(&self.0, &[id], &URL_SAFE_NO_PAD, signature)?;
        Ok(Cow::Borrowed(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::scheme::tests::CARRIED;

    const ID: &str = "Sd1W2cG233I-WPC1Mt3z6F1XVK7Mg33aexMKXC96p8c";
    const SIGNATURE: &str = "enTKNVJJoNITMLDYTquzoazwHhc";

    fn open(value: &str, secrets: &[&str]) -> Result<String, Invalid> {
        let secrets = Secrets::parse_args(secrets).unwrap();
        let id = FlaskSigner::new(Some(&secrets)).open(value.as_bytes(), &CARRIED)?.into_owned();
        Ok(String::from_utf8(id).unwrap())
    }

    #[test]
    fn a_captured_cookie() {
        let value = format!("{ID}.{SIGNATURE}");
        assert_eq!(open(&value, &["flask-secret-密钥"]).unwrap(), ID);
        assert_eq!(open(&value, &["newer", "flask-secret-密钥"]).unwrap(), ID);
        assert_eq!(open(&value, &["flask-secret"]), Err(Invalid::Signature));
        assert_eq!(
            FlaskSigner::new(None).open(value.as_bytes(), &CARRIED),
            Err(Invalid::Signature)
        );
    }

    #[test]
    fn without_a_good_signature_there_is_no_id() {
        for (value, reason) in [
            (ID.to_owned(), Invalid::Unsigned),
            (format!("{ID}."), Invalid::Unsigned),
            (format!("{ID}.enTKNVJJoNITMLDYTquzoazwHAc"), Invalid::Signature),
            (format!("{ID}.{SIGNATURE}="), Invalid::Signature),
            (format!("{ID}.{ID}.{SIGNATURE}"), Invalid::Signature),
            (format!("{}.{SIGNATURE}", &ID[1..]), Invalid::Signature),
            (format!("a.{ID}{SIGNATURE}"), Invalid::Signature),
        ] {
            assert_eq!(open(&value, &["flask-secret-密钥"]), Err(reason), "{value}");
        }
    }
}
