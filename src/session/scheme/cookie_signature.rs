//! `cookie-signature` of node, which Express and Fastify sign ids with.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::Hmac;
use sha2::Sha256;

use super::{signed, Carried, Open};
use crate::session::id::Invalid;
use crate::session::secrets::Secrets;

/// A prefix, the id, `.`, and the HMAC-SHA-256 of the id in base64 without padding.
pub(super) struct CookieSignature {
    prefix: &'static str,
    hmacs: Vec<Hmac<Sha256>>,
}

impl CookieSignature {
    pub(super) fn new(prefix: &'static str, secrets: Option<&Secrets>) -> Self {
        Self { prefix, hmacs: secrets.into_iter().flat_map(Secrets::hmacs).collect() }
    }
}

/// Tells nothing of the keys.
impl fmt::Debug for CookieSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieSignature").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Open for CookieSignature {
    fn open<'v>(&self, value: &'v [u8], _: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        let signed = value.strip_prefix(self.prefix.as_bytes()).ok_or(Invalid::Unsigned)?;
        let (id, signature) = signed::cut(signed)?;
        signed::verify(&self.hmacs, &[id], &STANDARD_NO_PAD, signature)?;
        Ok(Cow::Borrowed(id))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use hmac::Mac;
    use proptest::prelude::*;

    use super::*;
    use crate::session::scheme::tests::CARRIED;

    const ID: &str = "5caS6ncLjt3AtX2RQWNYQuTRD1-OOpNn";
    const SIGNATURE: &str = "SRRhn7lrb0VUjIcyi0yIYu6zTShiF01r5cmbIa4ohUA";

    fn express(secrets: Option<&Secrets>) -> CookieSignature {
        CookieSignature::new("s:", secrets)
    }

    fn open(value: &str, secrets: &[&str]) -> Result<String, Invalid> {
        let secrets = Secrets::parse_args(secrets).unwrap();
        let id = express(Some(&secrets)).open(value.as_bytes(), &CARRIED)?.into_owned();
        Ok(String::from_utf8(id).unwrap())
    }

    #[test]
    fn captured_cookies_of_express_and_nest() {
        let signed = format!("s:{ID}.{SIGNATURE}");
        assert_eq!(open(&signed, &["keyboard cat"]).unwrap(), ID);
        assert_eq!(open(&signed, &["newer", "keyboard cat"]).unwrap(), ID);
        let nest = "s:h2q1AWMgpU-LZBQU3yuAlRH-ALJonWfR.RPepG247TvUzVdNW4IjzxcDe+rQhylx1sRmpcySgrEE";
        assert_eq!(open(nest, &["nest-secret-密钥"]).unwrap(), "h2q1AWMgpU-LZBQU3yuAlRH-ALJonWfR");
    }

    #[test]
    fn without_a_good_signature_there_is_no_id() {
        let (a, z) = (&SIGNATURE[..42], &SIGNATURE[1..]);
        for (value, reason) in [
            (String::new(), Invalid::Unsigned),
            (ID.to_owned(), Invalid::Unsigned),
            (format!("{ID}.{SIGNATURE}"), Invalid::Unsigned),
            (format!("S:{ID}.{SIGNATURE}"), Invalid::Unsigned),
            (format!("j:{ID}.{SIGNATURE}"), Invalid::Unsigned),
            (format!("s:{ID}"), Invalid::Unsigned),
            (format!("s:{ID}."), Invalid::Unsigned),
            ("s:".to_owned(), Invalid::Unsigned),
            ("s:.".to_owned(), Invalid::Unsigned),
            (format!("s:.{SIGNATURE}"), Invalid::Signature),
            // Short, padded, of another alphabet, with a last character of the same 32 bytes, or with more.
            (format!("s:{ID}.S"), Invalid::Signature),
            (format!("s:{ID}.{a}"), Invalid::Signature),
            (format!("s:{ID}.{z}"), Invalid::Signature),
            (format!("s:{ID}.{SIGNATURE}="), Invalid::Signature),
            (format!("s:{ID}.{SIGNATURE}A"), Invalid::Signature),
            (format!("s:{ID}.{a}B"), Invalid::Signature),
            (format!("s:{ID}.{}", SIGNATURE.to_lowercase()), Invalid::Signature),
            (format!("s:{ID}.{a}_"), Invalid::Signature),
            // Of another cookie, and of the id with something before or behind.
            (format!("s:6caS6ncLjt3AtX2RQWNYQuTRD1-OOpNn.{SIGNATURE}"), Invalid::Signature),
            (format!("s:{ID}.{ID}.{SIGNATURE}"), Invalid::Signature),
            (format!("s:s:{ID}.{SIGNATURE}"), Invalid::Signature),
            (format!("s:{ID} .{SIGNATURE}"), Invalid::Signature),
            // As the fixture has it: wrong in the one before the last.
            (
                "s:5caS6ncLjt3AtX2RQWNYQuTRD1-OOpNn.SRRhn7lrb0VUjIcyi0yIYu6zTShiF01r5cmbIa4ohAA"
                    .to_owned(),
                Invalid::Signature,
            ),
        ] {
            assert_eq!(open(&value, &["keyboard cat"]), Err(reason), "{value}");
        }
        let signed = format!("s:{ID}.{SIGNATURE}");
        assert_eq!(open(&signed, &["another secret"]), Err(Invalid::Signature));
        assert_eq!(express(None).open(signed.as_bytes(), &CARRIED), Err(Invalid::Signature));
    }

    #[test]
    fn the_last_dot_separates() {
        let id = "a.b/c+d.e";
        let secrets = Secrets::parse_args(&["keyboard cat"]).unwrap();
        let value = format!("s:{id}.{}", sign(id, &secrets));
        assert_eq!(open(&value, &["keyboard cat"]).unwrap(), id);
    }

    fn sign(id: &str, secrets: &Secrets) -> String {
        let hmac = secrets.hmacs().next().unwrap();
        STANDARD_NO_PAD.encode(hmac.chain_update(id).finalize().into_bytes())
    }

    proptest! {
        #[test]
        fn only_what_was_signed_opens(id in ".{0,30}", change in any::<(prop::sample::Index, u8)>()) {
            let secrets = Secrets::parse_args(&["keyboard cat"]).unwrap();
            let mut value = format!("s:{id}.{}", sign(&id, &secrets)).into_bytes();
            let express = express(Some(&secrets));
            let opened = express.open(&value, &CARRIED).map(Cow::into_owned);
            prop_assert_eq!(opened, Ok(id.into_bytes()));
            let at = change.0.index(value.len());
            if change.1 != 0 {
                value[at] ^= change.1;
                prop_assert!(express.open(&value, &CARRIED).is_err());
            }
        }
    }
}
