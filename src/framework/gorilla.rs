//! Go's gorilla/sessions with redistore.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::session::cookie::Spelling;
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;
use crate::session::scheme::Scheme;

pub(super) const ROW: Row = Row {
    names: &["gorilla"],
    options: &[
        ("prefix", "session_"),
        ("name", ""),
        ("encrypted", "off"),
        // `sessionExpire`, 30 days.
        ("max_age", "2592000"),
    ],
    build,
};

/// The name of a session is its cookie's, and the application's to give. A session that is only read lives
/// no longer.
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let plain = Framework::plain(options.framework);
    let name = Some(options.get("name")).filter(|name| !name.is_empty());
    let encrypted = options.one_of("encrypted", &["on", "off"])? == "on";
    let max_age = options.get("max_age").parse().map_err(|_| {
        ConfigError::new("gorilla: \"max_age=\" must be a number of seconds")
            .hint("0: a cookie may be as old as it is")
    })?;
    Ok(Framework {
        cookies: name.map(str::to_owned).into_iter().collect(),
        // `Request.Cookie` takes the first of a name, takes off quotes and decodes nothing.
        identity: Identity {
            pick: Pick::First,
            spelling: Spelling::Exact,
            unquote: true,
            url_decode: false,
            scheme: Scheme::SecureCookie { max_age, encrypted },
            // 32 bytes in base32 without padding.
            rule: IdRule::new("A-Z2-7", 52, 52),
        },
        key: Some(KeyForm::prefixed(options.get("prefix"))),
        // gob or JSON, as the store's serializer.
        format: Some(Pipeline::parse(&["auto"])?),
        ..plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framework::tests::{framework, id, key, refused};
    use crate::session::id::Invalid;

    const SIGNED: &str = "MTc5NTIyMDA4MXxOd3dBTkROWU5GTktRbEpPTkZrMU1rWlVTMEZaV0ZRMlV6WlhRVVpIVEZGRFdrYzFOazlXVkRORVdEWkhTVkZMUjA4ME4wNUhORUU9fJIisfjePvuQS5hwwgEqHiSJ2J8dASKrgvZcWIj1aR-4";
    const ID: &str = "3X4SJBRN4Y52FTKAYXT6S6WAFGLQCZG56OVT3DX6GIQKGO47NG4A";
    const SECRET: [&str; 1] = ["gorilla-hash-key-0123456789abcdef"];

    fn gorilla(options: &[&str]) -> Framework {
        framework("gorilla", &[&["name=session-name"], options].concat())
    }

    #[test]
    fn keys_have_the_stores_prefix() {
        assert_eq!(key(&gorilla(&[]), SIGNED, &SECRET), format!("session_{ID}"));
        assert_eq!(key(&gorilla(&["prefix=shop:"]), SIGNED, &SECRET), format!("shop:{ID}"));
        let quoted = format!("\"{SIGNED}\"");
        assert_eq!(key(&gorilla(&["max_age=0"]), &quoted, &SECRET), format!("session_{ID}"));
    }

    #[test]
    fn nothing_is_taken_that_is_not_signed() {
        assert!(gorilla(&[]).identity.scheme.needs_secret());
        assert_eq!(id(&gorilla(&[]), ID, &SECRET), Err(Invalid::Unsigned));
        assert_eq!(id(&gorilla(&[]), SIGNED, &["other"]), Err(Invalid::Signature));
        let other = framework("gorilla", &["name=other"]);
        assert_eq!(id(&other, SIGNED, &SECRET), Err(Invalid::Signature));
        let unnamed = framework("gorilla", &[]);
        assert_eq!(unnamed.cookies, Vec::<String>::new());
    }

    #[test]
    fn values_that_options_do_not_have() {
        assert_eq!(
            refused(&["gorilla", "max_age=30d"]),
            "gorilla: \"max_age=\" must be a number of seconds; 0: a cookie may be as old as it is"
        );
        assert_eq!(
            refused(&["gorilla", "encrypted=yes"]),
            "gorilla: \"encrypted=\" cannot be \"yes\"; known: on, off"
        );
    }
}
