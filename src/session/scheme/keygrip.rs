//! `keygrip`, by which Koa signs a cookie in another one beside it.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Hmac;
use sha1::Sha1;

use super::{signed, Carried, Open};
use crate::session::id::Invalid;
use crate::session::secrets::{hmac, Secrets};

/// What the name of the cookie that signs adds to the name of the one that it signs.
pub(super) const SUFFIX: &str = ".sig";

/// A prefix and the id; beside it, in base64url without padding, the HMAC-SHA-1 of `name=value`.
pub(super) struct Keygrip {
    prefix: String,
    hmacs: Vec<Hmac<Sha1>>,
}

impl Keygrip {
    pub(super) fn new(prefix: &str, secrets: Option<&Secrets>) -> Self {
        let hmacs = secrets.into_iter().flat_map(Secrets::iter).map(hmac).collect();
        Self { prefix: prefix.to_owned(), hmacs }
    }
}

/// Tells nothing of the keys.
impl fmt::Debug for Keygrip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keygrip").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Open for Keygrip {
    /// The prefix is looked at last: what was not signed here says nothing about it.
    fn open<'v>(&self, value: &'v [u8], carried: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        let signature = carried.beside.filter(|text| !text.is_empty()).ok_or(Invalid::Unsigned)?;
        let parts = [carried.name.as_bytes(), b"=", value];
        signed::verify(&self.hmacs, &parts, &URL_SAFE_NO_PAD, signature)?;
        value.strip_prefix(self.prefix.as_bytes()).map(Cow::Borrowed).ok_or(Invalid::Prefix)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use hmac::Mac;
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "koa:app:af8b5a37-f2d5-45e8-b0cd-e4ebbab30684";
    const SIGNATURE: &str = "pzqwTWFoYXJ5NvRQZMxR9yhGdNU";

    fn open(
        (prefix, name): (&str, &str),
        value: &str,
        signature: Option<&str>,
        secrets: &[&str],
    ) -> Result<String, Invalid> {
        let secrets = (!secrets.is_empty()).then(|| Secrets::parse_args(secrets).unwrap());
        let carried = Carried { name, beside: signature.map(str::as_bytes), now: 0 };
        let keygrip = Keygrip::new(prefix, secrets.as_ref());
        let id = keygrip.open(value.as_bytes(), &carried)?.into_owned();
        Ok(String::from_utf8(id).unwrap())
    }

    #[test]
    fn a_captured_cookie_of_koa() {
        let koa = |prefix| open((prefix, "koa.sess"), KEY, Some(SIGNATURE), &["x", "koa-key-new"]);
        assert_eq!(koa("koa:app:").unwrap(), "af8b5a37-f2d5-45e8-b0cd-e4ebbab30684");
        assert_eq!(koa("").unwrap(), KEY);
        assert_eq!(koa("koa:shop:"), Err(Invalid::Prefix));
    }

    #[test]
    fn without_a_good_signature_there_is_no_id() {
        let secrets = &["koa-key-new", "koa-key-old"][..];
        let named = ("koa:app:", "koa.sess");
        for signature in [None, Some("")] {
            assert_eq!(open(named, KEY, signature, secrets), Err(Invalid::Unsigned));
        }
        for signature in [
            "pzqwTWFoYXJ5NvRQZMxR9yhGdAU",
            "pzqwTWFoYXJ5NvRQZMxR9yhGdNV",
            "pzqwTWFoYXJ5NvRQZMxR9yhGdNU=",
            "pzqwTWFoYXJ5NvRQZMxR9yhGdN",
            "PzqwTWFoYXJ5NvRQZMxR9yhGdNU",
        ] {
            let refused = open(named, KEY, Some(signature), secrets);
            assert_eq!(refused, Err(Invalid::Signature), "{signature}");
        }
        for (named, value) in [
            (("koa:app:", "koa.sid"), KEY),
            (("koa:app:", ""), KEY),
            (named, &KEY[1..]),
            (named, "koa:app:"),
        ] {
            assert_eq!(open(named, value, Some(SIGNATURE), secrets), Err(Invalid::Signature));
        }
        for secrets in [&["another"][..], &[]] {
            let refused = open(named, KEY, Some(SIGNATURE), secrets);
            assert_eq!(refused, Err(Invalid::Signature));
        }
    }

    proptest! {
        #[test]
        fn only_what_was_signed_opens(
            value in "[ -~]{0,40}",
            other in "[ -~]{0,40}",
            name in "[a-z.]{1,9}",
        ) {
            let tag = hmac::<Sha1>(b"key").chain_update(format!("{name}={value}")).finalize();
            let signature = URL_SAFE_NO_PAD.encode(tag.into_bytes());
            let open = |value| open(("", &name), value, Some(&signature), &["key"]);
            prop_assert_eq!(open(&value), Ok(value.clone()));
            if other != value {
                prop_assert_eq!(open(&other), Err(Invalid::Signature));
            }
        }
    }
}
