//! Go's alexedwards/scs with its redisstore.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::id::IdRule;
use crate::session::identity::Identity;
use crate::session::key::{IdForm, KeyForm};
use crate::stored::Life;

pub(super) const ROW: Row = Row {
    names: &["scs"],
    options: &[("prefix", "scs:session:"), ("name", "session"), ("hash", "off")],
    build,
};

/// What is stored is the session's values and, beside these, when it ends.
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let plain = Framework::plain(options.framework);
    // `HashTokenInStore`
    let id = match options.one_of("hash", &["on", "off"])? {
        "on" => IdForm::Sha256Base64Url,
        _ => IdForm::Itself,
    };
    Ok(Framework {
        cookies: vec![options.get("name").to_owned()],
        // `Request.Cookie` takes the first of a name, takes off quotes and decodes nothing.
        identity: Identity {
            url_decode: false,
            // 32 bytes in base64url without padding.
            rule: IdRule::new("A-Za-z0-9_-", 43, 43),
            ..plain.identity
        },
        key: Some(KeyForm { id, ..KeyForm::prefixed(options.get("prefix")) }),
        format: Some(Pipeline::parse(&["gob"])?),
        life: vec![Life::Date { at: Pointer::parse("/Deadline")? }],
        root: Some(Pointer::parse("/Values")?),
        ..plain
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::framework::tests::{framework, id, key, refused};
    use crate::session::id::Invalid;

    const ID: &str = "vZ0Jmb9HkqgWk9Sd5uH2rGqkX1cC9nVQ3m8yEw0TqLs";

    fn scs(options: &[&str]) -> Framework {
        framework("scs", options)
    }

    #[test]
    fn keys_hold_the_token_or_its_digest() {
        assert_eq!(key(&scs(&[]), ID, &[]), format!("scs:session:{ID}"));
        assert_eq!(key(&scs(&["prefix=shop:"]), ID, &[]), format!("shop:{ID}"));
        assert_eq!(
            key(&scs(&["hash=on"]), ID, &[]),
            "scs:session:kB5hxOvs-HnluwwRta57qajDBEfd3P2ACTdfP3ARTDY"
        );
    }

    #[test]
    fn what_is_no_token() {
        assert_eq!(scs(&["name=shop"]).cookies, ["shop"]);
        for (value, reason) in [
            (&ID[1..], Invalid::Short),
            ("vZ0Jmb9HkqgWk9Sd5uH2rGqkX1cC9nVQ3m8yEw0TqL=", Invalid::Alphabet),
            ("vZ0Jmb9HkqgWk9Sd5uH2rGqkX1cC9nVQ3m8yEw0TqLs=", Invalid::Long),
        ] {
            assert_eq!(id(&scs(&[]), value, &[]), Err(reason), "{value}");
        }
    }

    #[test]
    fn a_session_ends_at_its_deadline() {
        let life = scs(&[]).life;
        let end = life.first().unwrap().end(&json!({"Deadline": "2026-11-21T22:26:40.0000005Z"}));
        assert_eq!(end, Some(1_795_300_000_000));
        assert_eq!(scs(&[]).root.unwrap().as_str(), "/Values");
    }

    #[test]
    fn values_that_options_do_not_have() {
        assert_eq!(
            refused(&["scs", "hash=sha256"]),
            "scs: \"hash=\" cannot be \"sha256\"; known: on, off"
        );
    }
}
