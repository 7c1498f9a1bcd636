//! The encrypted cookies of Rails, in which redis-actionpack keeps ids where it is told `signed: true`.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use aes_gcm::{Aes256Gcm, KeyInit};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use pbkdf2::pbkdf2_hmac_array;
use serde_json::Value;
use sha1::Sha1;
use sha2::Sha256;
use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;

use super::{Carried, Open};
use crate::session::cipher::gcm;
use crate::session::id::Invalid;
use crate::session::secrets::Secrets;

/// What `ActiveSupport::MessageEncryptor` makes with AES-256-GCM, the default since Rails 5.2: what is
/// encrypted, the IV and the tag, each in base64, with `--` between them.
pub(super) struct RailsEncrypted(Vec<Aes256Gcm>);

impl RailsEncrypted {
    /// The secrets are `secret_key_base`. Keys are derived as Rails does by the defaults of 7.0 and, since
    /// its older ones cannot be told from these, by those as well.
    pub(super) fn new(secrets: Option<&Secrets>) -> Self {
        /// `config.action_dispatch.authenticated_encrypted_cookie_salt`.
        const SALT: &[u8] = b"authenticated encrypted cookie";
        const ROUNDS: u32 = 1000;
        let keys = secrets.into_iter().flat_map(Secrets::iter).flat_map(|secret| {
            [
                pbkdf2_hmac_array::<Sha256, 32>(secret, SALT, ROUNDS),
                pbkdf2_hmac_array::<Sha1, 32>(secret, SALT, ROUNDS),
            ]
        });
        Self(keys.map(|key| Aes256Gcm::new(&key.into())).collect())
    }
}

/// Tells nothing of the keys.
impl fmt::Debug for RailsEncrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RailsEncrypted").finish_non_exhaustive()
    }
}

impl Open for RailsEncrypted {
    fn open<'v>(&self, value: &'v [u8], carried: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        let [sealed, iv, tag] = parts(value).ok_or(Invalid::Unsigned)?;
        let message = self.0.iter().find_map(|key| gcm(key, &iv, &tag, &sealed));
        let message = message.ok_or(Invalid::Signature)?;
        let serialised = match message.starts_with(b"{\"_rails\":") {
            true => unwrap(&message, carried)?,
            false => message,
        };
        text(&serialised).map(Cow::Owned).ok_or(Invalid::Signature)
    }
}

fn parts(value: &[u8]) -> Option<[Vec<u8>; 3]> {
    let parts = std::str::from_utf8(value).ok()?.split("--");
    let decoded = parts.map(|part| STANDARD.decode(part).ok());
    decoded.collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// What is in an envelope of `ActiveSupport::Messages::Metadata`. It names the cookie that it was made for,
/// if `use_cookies_with_metadata` is on, and its end, if it has one.
fn unwrap(message: &[u8], carried: &Carried<'_>) -> Result<Vec<u8>, Invalid> {
    let envelope: Value = serde_json::from_slice(message).map_err(|_| Invalid::Signature)?;
    let member = |name| envelope.get("_rails").and_then(|rails| rails.get(name)?.as_str());
    let purpose = member("pur").unwrap_or_default();
    if !purpose.is_empty() && purpose.strip_prefix("cookie.") != Some(carried.name) {
        return Err(Invalid::Signature);
    }
    if let Some(end) = member("exp") {
        let end = OffsetDateTime::parse(end, &Rfc3339).map_err(|_| Invalid::Expired)?;
        if i128::from(carried.now) * 1_000_000_000 >= end.unix_timestamp_nanos() {
            return Err(Invalid::Expired);
        }
    }
    let message = member("message").and_then(|message| STANDARD.decode(message).ok());
    message.ok_or(Invalid::Signature)
}

/// A text serialised as `config.action_dispatch.cookies_serializer` says: in JSON or by Marshal.
fn text(serialised: &[u8]) -> Option<Vec<u8>> {
    match serialised.strip_prefix(b"\x04\x08I\"") {
        // A number up to 122 is a byte that is 5 more. Behind the text stands its encoding.
        Some([length, rest @ ..]) => {
            let length = length.checked_sub(5).filter(|length| *length <= 122)?;
            rest.get(..length.into()).map(<[u8]>::to_vec)
        }
        _ => serde_json::from_slice::<String>(serialised).ok().map(String::into_bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use aes_gcm::aead::AeadInOut;
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "_shop_session";
    const SECRET: &str = "fixture-secret-key-base-0000000000000000000000000000000000000000";
    const ID: &str = "1b531eba72c433b2a8b3aa3ccf15a894";
    /// 2026-11-21T01:42:57Z, in which second the captured cookie ends.
    const END: u64 = 1_795_225_377;

    const CAPTURED: &str = "Dly/J16Jm3HHeWltOHGwdc+zZL/qCzKdeTs8VBrKP0ArVUAUuB13ENch/leg+AFZ2l9OjGp6V11SxxslJvse06/EM5tqjWa+KvCO08Af2/6dnFGsRSWGkATl+HnDdlpF3hMBxGCJ7R+gR7vNKsDFexkUyqjPuG2zd2LbsKrcd5JrJz0Zpqia--gYi9uk9Qg+4HLRpY--w1SZKqTumYwRqPT83CrDXg==";

    /// Its keys take a while to derive.
    static SCHEME: LazyLock<RailsEncrypted> = LazyLock::new(|| scheme(&[SECRET]));

    fn scheme(secrets: &[&str]) -> RailsEncrypted {
        RailsEncrypted::new(Some(&Secrets::parse_args(secrets).unwrap()))
    }

    fn open(value: &str, name: &str, now: u64) -> Result<String, Invalid> {
        let carried = Carried { name, beside: None, now };
        let id = SCHEME.open(value.as_bytes(), &carried)?.into_owned();
        Ok(String::from_utf8(id).unwrap())
    }

    /// A cookie as Rails makes it by its newer defaults.
    fn seal(message: impl Into<Vec<u8>>) -> String {
        let mut message = message.into();
        let key = &SCHEME.0[0];
        let iv = b"twelve bytes";
        let tag = key.encrypt_inout_detached(iv.into(), b"", message.as_mut_slice().into());
        let part = |bytes: &[u8]| STANDARD.encode(bytes);
        format!("{}--{}--{}", part(&message), part(iv), part(&tag.unwrap()))
    }

    fn envelope(serialised: &[u8], rest: &str) -> String {
        let message = STANDARD.encode(serialised);
        seal(format!("{{\"_rails\":{{\"message\":\"{message}\",{rest}}}}}"))
    }

    #[test]
    fn a_captured_cookie() {
        assert_eq!(open(CAPTURED, NAME, END).unwrap(), ID);
        assert_eq!(open(CAPTURED, NAME, END + 1), Err(Invalid::Expired));
        assert_eq!(open(CAPTURED, "_other_session", END), Err(Invalid::Signature));
        assert_eq!(open(CAPTURED, "", END), Err(Invalid::Signature));
        let carried = Carried { name: NAME, beside: None, now: END };
        let rotated = scheme(&["newer", SECRET]).open(CAPTURED.as_bytes(), &carried);
        assert_eq!(rotated, Ok(ID.as_bytes().into()));
        for keys in [scheme(&["other"]), RailsEncrypted::new(None)] {
            let refused = keys.open(CAPTURED.as_bytes(), &carried);
            assert_eq!(refused, Err(Invalid::Signature));
        }
    }

    #[test]
    fn by_either_serializer_with_and_without_metadata() {
        let json = format!("\"{ID}\"");
        let marshalled = format!("\u{4}\u{8}I\"%{ID}\u{6}:\u{6}ET");
        for serialised in [json, marshalled] {
            let purpose = format!("\"exp\":null,\"pur\":\"cookie.{NAME}\"");
            for value in [
                envelope(serialised.as_bytes(), &purpose),
                envelope(serialised.as_bytes(), "\"exp\":null,\"pur\":null"),
                envelope(serialised.as_bytes(), "\"exp\":\"2106-02-07T06:28:15.500Z\""),
                seal(serialised.as_bytes()),
            ] {
                assert_eq!(open(&value, NAME, END).unwrap(), ID);
            }
        }
    }

    #[test]
    fn what_holds_no_text() {
        for value in [
            seal("7"),
            seal(""),
            seal("\u{4}\u{8}I\"%short"),
            seal("\u{4}\u{8}I\"\u{4}"),
            seal("\u{4}\u{8}i\u{6}"),
            seal("{\"_rails\":{"),
            seal("{\"_rails\":7}"),
            seal("{\"_rails\":{\"message\":\"?\"}}"),
            envelope(b"[]", "\"pur\":null"),
            envelope(b"\"id\"", "\"pur\":\"reset\""),
        ] {
            assert_eq!(open(&value, NAME, END), Err(Invalid::Signature), "{value}");
        }
        let odd = envelope(b"\"id\"", "\"exp\":\"soon\"");
        assert_eq!(open(&odd, NAME, END), Err(Invalid::Expired));
    }

    #[test]
    fn what_is_not_encrypted() {
        let (sealed, _) = CAPTURED.rsplit_once("--").unwrap();
        let more = format!("{CAPTURED}--");
        let truncated = format!("{sealed}--w1SZKqTumYwRqPT83CrD");
        for (value, reason) in [
            ("", Invalid::Unsigned),
            (ID, Invalid::Unsigned),
            ("----", Invalid::Signature),
            (sealed, Invalid::Unsigned),
            (&more, Invalid::Unsigned),
            (&truncated, Invalid::Signature),
        ] {
            assert_eq!(open(value, NAME, END), Err(reason), "{value}");
        }
    }

    #[test]
    fn keys_do_not_show_in_a_log() {
        assert_eq!(format!("{:?}", *SCHEME), "RailsEncrypted { .. }");
    }

    proptest! {
        #[test]
        fn only_what_was_encrypted_opens(change in any::<(prop::sample::Index, u8)>()) {
            let carried = Carried { name: NAME, beside: None, now: END };
            let mut value = CAPTURED.as_bytes().to_vec();
            let at = change.0.index(value.len());
            prop_assume!(change.1 != 0);
            value[at] ^= change.1;
            prop_assert!(SCHEME.open(&value, &carried).is_err());
        }
    }
}
