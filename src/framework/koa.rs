//! Koa, with koa-generic-session and koa-redis, or with koa-session and a store of its own.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::cookie::Spelling;
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;
use crate::session::scheme::Scheme;
use crate::stored::Life;

pub(super) const ROW: Row =
    Row { names: &["koa"], options: &[("variant", "generic"), ("prefix", "koa:sess:")], build };

/// Neither variant prolongs a session that is only read.
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    match options.one_of("variant", &["generic", "session"])? {
        "generic" => generic(options),
        _ => session(options),
    }
}

/// The cookie holds the id, the prefix is the store's (`koa-generic-session/src/store.js`).
fn generic(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let plain = Framework::plain(options.framework);
    let prefix = options.get("prefix");
    Ok(Framework {
        cookies: vec!["koa.sid".to_owned()],
        identity: identity("", IdRule::default()),
        key: Some(KeyForm::prefixed(prefix)),
        format: Some(Pipeline::parse(&["json"])?),
        ..plain
    })
}

/// The cookie holds the whole key, and by default there is no prefix (`koa-session/src/index.ts`). `genid` may
/// give any id, one with colons too.
fn session(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let plain = Framework::plain(options.framework);
    let prefix = options.given("prefix").unwrap_or_default();
    Ok(Framework {
        cookies: vec!["koa.sess".to_owned()],
        identity: identity(prefix, IdRule::new("A-Za-z0-9,._~+/=:-", 16, 256)),
        key: Some(KeyForm::prefixed(prefix)),
        format: Some(Pipeline::parse(&["json"])?),
        // Redis keeps a session for 10 s more.
        life: vec![Life::Millis { at: Pointer::parse("/_expire")? }],
        ..plain
    })
}

/// `cookies` of node finds the first cookie of a name, takes quotes off and decodes nothing.
fn identity(prefix: &str, rule: IdRule) -> Identity {
    Identity {
        pick: Pick::First,
        spelling: Spelling::Exact,
        unquote: true,
        url_decode: false,
        scheme: Scheme::Keygrip { prefix: prefix.to_owned() },
        rule,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::framework::tests::{framework, id_beside, key_of, refused};
    use crate::session::id::Invalid;

    const VALUE: &str = "koa:app:af8b5a37-f2d5-45e8-b0cd-e4ebbab30684";
    const SIGNATURE: &str = "pzqwTWFoYXJ5NvRQZMxR9yhGdNU";

    #[test]
    fn nothing_is_taken_that_is_not_signed() {
        let koa = framework("koa", &["variant=session", "prefix=koa:app:"]);
        assert_eq!(koa.cookies, ["koa.sess"]);
        assert_eq!(koa.identity.scheme.beside("koa.sess").unwrap(), "koa.sess.sig");
        assert!(koa.identity.scheme.needs_secret());
        let id = |signature| id_beside(&koa, VALUE, signature, &["koa-key-new", "koa-key-old"]);
        assert!(id(Some(SIGNATURE)).is_ok());
        assert_eq!(id(Some("pzqwTWFoYXJ5NvRQZMxR9yhGdAU")), Err(Invalid::Signature));
        assert_eq!(id(Some("")), Err(Invalid::Unsigned));
        assert_eq!(id(None), Err(Invalid::Unsigned));
    }

    #[test]
    fn a_key_outside_the_prefix_is_refused_though_signed() {
        let key = |options: &[&str]| {
            let koa = framework("koa", &[&["variant=session"], options].concat());
            let id = id_beside(&koa, VALUE, Some(SIGNATURE), &["koa-key-new"])?;
            Ok(key_of(&koa, &id))
        };
        assert_eq!(key(&["prefix=koa:app:"]).unwrap(), VALUE);
        assert_eq!(key(&[]).unwrap(), VALUE);
        assert_eq!(key(&["prefix=koa:shop:"]), Err(Invalid::Prefix));
    }

    #[test]
    fn a_session_ends_when_its_data_says_so() {
        let koa = framework("koa", &["variant=session"]);
        let end = |session| koa.life.first().unwrap().end(&session);
        assert_eq!(end(json!({"_expire": 1_795_305_806_461_u64})), Some(1_795_305_806_461));
        assert_eq!(end(json!({"_session": true})), None);
        assert_eq!(framework("koa", &[]).life, []);
    }

    #[test]
    fn the_variant_of_koa_generic_session() {
        let koa = framework("koa", &[]);
        assert_eq!(koa.cookies, ["koa.sid"]);
        let id = "3lJ1lN3RyVTxYFqPp4nPcL4i2mGyJXuN";
        // HMAC-SHA-1 of `koa.sid=` and the id.
        let signature = Some("huXDl0bek8ftooXJ_UM0zZBfP48");
        for value in [id, &format!("\"{id}\"")] {
            let id = id_beside(&koa, value, signature, &["key"]).unwrap();
            assert_eq!(key_of(&koa, &id), format!("koa:sess:{}", id.as_str()));
        }
        let encoded = id.replace("VTx", "V%54x");
        assert_eq!(id_beside(&koa, &encoded, signature, &["key"]), Err(Invalid::Signature));
    }

    #[test]
    fn an_unknown_variant() {
        assert_eq!(
            refused(&["koa", "variant=koa-session"]),
            "koa: \"variant=\" cannot be \"koa-session\"; known: generic, session"
        );
    }
}
