//! Rack's sessions, in Redis by redis-rack or in memcached by dalli.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row, User};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::cookie::Spelling;
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::key::{IdForm, KeyForm};
use crate::session::scheme::Scheme;

pub(super) const ROW: Row = Row {
    names: &["rack"],
    options: &[
        ("prefix", PREFIX),
        ("store", "redis-store"),
        ("cookie", "rack.session"),
        ("private_id", "on"),
    ],
    build,
};

/// The default namespace of redis-rack and of dalli.
pub(super) const PREFIX: &str = "rack:session:";

/// The formats of redis-rack, and of dalli, which compresses what is long.
pub(super) const MARSHAL: &[&str] = &["marshal"];
pub(super) const DALLI: &[&str] = &["zlib", "marshal"];

/// How long a session lives on is said in the application only (`expire_after`).
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let format = match options.one_of("store", &["redis-store", "dalli"])? {
        "dalli" => DALLI,
        _ => MARSHAL,
    };
    Ok(Framework {
        cookies: vec![options.get("cookie").to_owned()],
        identity: identity(Scheme::Plain, 64),
        key: Some(key(options, options.get("prefix").to_owned())?),
        format: Some(Pipeline::parse(format)?),
        user: Some(devise()?),
        ..Framework::plain(options.framework)
    })
}

/// Of the cookies of one name Rack takes the first, with the quotes that stand around its value
/// (`Rack::Utils.parse_cookies_header`). Ids are hexadecimal, `length` of it.
pub(super) fn identity(scheme: Scheme, length: usize) -> Identity {
    let rule = IdRule::new("0-9a-f", length, length);
    Identity {
        pick: Pick::First,
        spelling: Spelling::Exact,
        unquote: false,
        url_decode: true,
        scheme,
        rule,
    }
}

/// The key of what Rack calls the private id, `2::` and its SHA-256, or of the id itself, as before Rack
/// 2.0.8 and dalli 3.1.
pub(super) fn key(options: &Options<'_>, prefix: String) -> Result<KeyForm, ConfigError> {
    Ok(match options.one_of("private_id", &["on", "off"])? {
        "on" => KeyForm { prefix: prefix + "2::", id: IdForm::Sha256Hex, suffix: "" },
        _ => KeyForm::prefixed(prefix),
    })
}

/// The id of the user whom devise has logged in, in its scope `user`.
pub(super) fn devise() -> Result<User, ConfigError> {
    Pointer::parse("/warden.user.user.key/0/0").map(User::at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::framework::tests::{framework, id, key, refused};
    use crate::session::id::Invalid;
    use crate::value::text;

    const ID: &str = "c2c7f84b52943be0ad27bb10e2a7947f2aa37fa100a3dab719962e80ab180a55";
    const DIGEST: &str = "8de35583780e20982ad1e8a2cee28f3e7c2a3355871ceb53b232c7470d8ebf17";

    #[test]
    fn keys_are_of_private_ids() {
        let of = |options: &[&str]| key(&framework("rack", options), ID, &[]);
        assert_eq!(of(&[]), format!("rack:session:2::{DIGEST}"));
        assert_eq!(of(&["store=dalli"]), format!("rack:session:2::{DIGEST}"));
        assert_eq!(of(&["prefix="]), format!("2::{DIGEST}"));
        assert_eq!(of(&["private_id=off"]), format!("rack:session:{ID}"));
    }

    #[test]
    fn a_private_id_is_no_id() {
        let rack = framework("rack", &["cookie=sid"]);
        assert_eq!(rack.cookies, ["sid"]);
        for (value, reason) in [
            (format!("2::{DIGEST}"), Invalid::Long),
            (format!("2::{}", &DIGEST[3..]), Invalid::Alphabet),
            (ID.to_uppercase(), Invalid::Alphabet),
            (ID[1..].to_owned(), Invalid::Short),
            (format!("\"{}\"", &ID[2..]), Invalid::Alphabet),
        ] {
            assert_eq!(id(&rack, &value, &[]), Err(reason), "{value}");
        }
    }

    #[test]
    fn the_user_of_devise() {
        let user = devise().unwrap();
        let session = json!({"warden.user.user.key": [[1001], "$2a$11$abcdefghijklmnopqrstuv"]});
        assert_eq!(user.with(&session, |found| text(found).map(String::from)).unwrap(), "1001");
    }

    #[test]
    fn values_that_options_do_not_have() {
        assert_eq!(
            refused(&["rack", "store=cache"]),
            "rack: \"store=\" cannot be \"cache\"; known: redis-store, dalli"
        );
        assert_eq!(
            refused(&["rack", "private_id=yes"]),
            "rack: \"private_id=\" cannot be \"yes\"; known: on, off"
        );
    }
}
