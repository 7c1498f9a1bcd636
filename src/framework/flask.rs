//! Flask with Flask-Session.

#![forbid(unsafe_code)]

use super::{Framework, Options, Refresh, Row, User};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;
use crate::session::scheme::Scheme;

pub(super) const ROW: Row =
    Row { names: &["flask"], options: &[("prefix", "session:"), ("signed", "off")], build };

/// 31 days, Flask's `PERMANENT_SESSION_LIFETIME`.
const LIFETIME_MS: u64 = 2_678_400_000;

fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let scheme = match options.one_of("signed", &["off", "on"])? {
        "on" => Scheme::FlaskSigner,
        _ => Scheme::Plain,
    };
    let plain = Framework::plain(options.framework);
    Ok(Framework {
        cookies: vec!["session".to_owned()],
        // Of Werkzeug's `MultiDict` of cookies the first counts; it decodes nothing. Ids are UUIDs or
        // `token_urlsafe`. Flask's own sessions, kept in a cookie of that name, have dots: they are no ids.
        identity: Identity {
            pick: Pick::First,
            url_decode: false,
            scheme,
            rule: IdRule::new("A-Za-z0-9_-", 16, 256),
            ..plain.identity
        },
        key: Some(KeyForm::prefixed(options.get("prefix"))),
        // MessagePack or JSON, up to 0.6 pickle: told by how a value begins.
        format: Some(Pipeline::parse(&["auto"])?),
        user: Some(User::at(Pointer::parse("/_user_id")?)),
        // `SESSION_REFRESH_EACH_REQUEST` is on.
        refresh: Some(Refresh::Fixed(LIFETIME_MS)),
        ..plain
    })
}

#[cfg(test)]
mod tests {
    use crate::framework::tests::{framework, id, refused};
    use crate::session::id::Invalid;

    #[test]
    fn a_session_of_flask_itself_is_none_of_flask_session() {
        let own = "eyJfZnJlc2giOmZhbHNlfQ.aR-3AA.0Y3cfBwTSB4AzVFqnSmA9zZwWGg";
        let flask = framework("flask", &[]);
        assert_eq!(flask.cookies, ["session"]);
        for value in [own, ".eJyrVkrOT0lVslJKzs8tSMxLBwA0JAX5.aR-3AA.0Y3cfBwTSB4AzVFqnSmA9zZwWGg"] {
            assert_eq!(id(&flask, value, &[]), Err(Invalid::Alphabet));
        }
        let signed = framework("flask", &["signed=on"]);
        assert_eq!(id(&signed, own, &["secret"]), Err(Invalid::Signature));
    }

    #[test]
    fn a_signature_is_asked_for_where_the_options_say_so() {
        let value = "Sd1W2cG233I-WPC1Mt3z6F1XVK7Mg33aexMKXC96p8c.enTKNVJJoNITMLDYTquzoazwHhc";
        let of = |option| {
            let flask = framework("flask", &[option]);
            let scheme = &flask.identity.scheme;
            (scheme.needs_secret(), id(&flask, value, &["flask-secret-密钥"]).map_err(Some))
        };
        let (needs_secret, id) = of("signed=on");
        assert!(needs_secret);
        assert_eq!(id.unwrap().as_str(), "Sd1W2cG233I-WPC1Mt3z6F1XVK7Mg33aexMKXC96p8c");
        assert_eq!(of("signed=off"), (false, Err(Some(Invalid::Alphabet))));
        assert_eq!(
            refused(&["flask", "signed=yes"]),
            "flask: \"signed=\" cannot be \"yes\"; known: off, on"
        );
    }
}
