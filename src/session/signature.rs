//! How frameworks sign the id in a cookie, so that nobody makes one up.

#![forbid(unsafe_code)]

use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::Engine;
use hmac::Mac;
use subtle::ConstantTimeEq;

use super::id::Invalid;
use super::secrets::Secrets;

/// A framework's way of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// The value is the id.
    None,
    /// `cookie-signature` of node: prefix, id, `.`, and the HMAC-SHA-256 of the id in base64 without padding.
    CookieSignature {
        /// What stands before the id: express-session writes `s:`.
        prefix: &'static str,
    },
}

impl Signing {
    /// Whether there is anything to verify, without which no value is taken.
    pub fn needs_secret(self) -> bool {
        self != Self::None
    }

    /// The id in `value`, if one of the secrets has signed it.
    pub fn open<'a>(self, value: &'a [u8], secrets: Option<&Secrets>) -> Result<&'a [u8], Invalid> {
        match self {
            Self::None => Ok(value),
            Self::CookieSignature { prefix } => {
                let signed = value.strip_prefix(prefix.as_bytes()).ok_or(Invalid::Unsigned)?;
                cookie_signature(signed, secrets)
            }
        }
    }
}

/// An id may hold dots (`genid` gives any): the last one separates. The signature is compared as text, so
/// that of its spellings in base64 only the one is taken that `cookie-signature` itself takes.
fn cookie_signature<'a>(signed: &'a [u8], secrets: Option<&Secrets>) -> Result<&'a [u8], Invalid> {
    /// 32 bytes in base64 without padding.
    const LENGTH: usize = 43;
    let dot = memchr::memrchr(b'.', signed).ok_or(Invalid::Unsigned)?;
    let (id, signature) = signed.split_at_checked(dot).ok_or(Invalid::Unsigned)?;
    let signature = signature.get(1..).filter(|text| !text.is_empty()).ok_or(Invalid::Unsigned)?;
    let matches = secrets.into_iter().flat_map(Secrets::hmacs).any(|hmac| {
        let mut expected = [0; LENGTH];
        let tag = hmac.chain_update(id).finalize().into_bytes();
        // Fails only for want of room, which leaves zeros that no base64 equals.
        let _ = STANDARD_NO_PAD.encode_slice(tag, &mut expected);
        expected.ct_eq(signature).into()
    });
    if matches {
        Ok(id)
    } else {
        Err(Invalid::Signature)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXPRESS: Signing = Signing::CookieSignature { prefix: "s:" };
    const ID: &str = "5caS6ncLjt3AtX2RQWNYQuTRD1-OOpNn";
    const SIGNATURE: &str = "SRRhn7lrb0VUjIcyi0yIYu6zTShiF01r5cmbIa4ohUA";

    fn open(value: &str, secrets: &[&str]) -> Result<String, Invalid> {
        let secrets = Secrets::parse_args(secrets).unwrap();
        let id = EXPRESS.open(value.as_bytes(), Some(&secrets))?;
        Ok(String::from_utf8(id.to_vec()).unwrap())
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
        assert_eq!(EXPRESS.open(signed.as_bytes(), None), Err(Invalid::Signature));
    }

    #[test]
    fn the_last_dot_separates() {
        let id = "a.b/c+d.e";
        let secrets = Secrets::parse_args(&["keyboard cat"]).unwrap();
        let value = format!("s:{id}.{}", sign(id, &secrets));
        assert_eq!(EXPRESS.open(value.as_bytes(), Some(&secrets)), Ok(id.as_bytes()));
    }

    #[test]
    fn unsigned_values_are_their_id() {
        assert_eq!(Signing::None.open(b"a.b", None), Ok(&b"a.b"[..]));
        assert!(EXPRESS.needs_secret() && !Signing::None.needs_secret());
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
            prop_assert_eq!(EXPRESS.open(&value, Some(&secrets)), Ok(id.as_bytes()));
            let at = change.0.index(value.len());
            if change.1 != 0 {
                value[at] ^= change.1;
                prop_assert!(EXPRESS.open(&value, Some(&secrets)).is_err());
            }
        }
    }
}
