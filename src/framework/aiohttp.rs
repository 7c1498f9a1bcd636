//! aiohttp with aiohttp-session's `RedisStorage`.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;

pub(super) const ROW: Row =
    Row { names: &["aiohttp"], options: &[("prefix", "AIOHTTP_SESSION_")], build };

/// The key begins with the cookie's name; a session that is only read is not saved.
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let plain = Framework::plain(options.framework);
    Ok(Framework {
        cookies: vec!["AIOHTTP_SESSION".to_owned()],
        // Python's `SimpleCookie` overwrites a name and decodes nothing.
        identity: Identity { pick: Pick::Last, url_decode: false, ..plain.identity },
        key: Some(KeyForm::prefixed(options.get("prefix"))),
        format: Some(Pipeline::parse(&["json"])?),
        // Beside it stands `created`.
        root: Some(Pointer::parse("/session")?),
        ..plain
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::format::Wanted;
    use crate::framework::tests::{framework, id, key};
    use crate::pointer::Selected;
    use crate::session::id::Invalid;

    #[test]
    fn keys() {
        let own = "29b365aec0c644549acfa61cdf36dd2d";
        let aiohttp = framework("aiohttp", &["prefix=SHOP_"]);
        assert_eq!(aiohttp.cookies, ["AIOHTTP_SESSION"]);
        assert_eq!(key(&aiohttp, own, &[]), format!("SHOP_{own}"));
        assert_eq!(id(&aiohttp, &own.replace('c', "%63"), &[]), Err(Invalid::Alphabet));
    }

    #[test]
    fn pointers_begin_at_the_session() {
        let Framework { root, format, .. } = framework("aiohttp", &[]);
        let stored = br#"{"created": 1795219644, "session": {"user_id": 1001}}"#;
        let session = format.unwrap().decode(stored, &Wanted::All).unwrap();
        let user = root.unwrap().join(&Pointer::parse("/user_id").unwrap());
        assert_eq!(user.select(&session), Selected::One(&json!(1001)));
    }
}
