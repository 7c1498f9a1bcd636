//! PHP's own sessions: in Redis by the session handler of phpredis, in memcached by that of the extension
//! memcached or of its elder, memcache.

#![forbid(unsafe_code)]

use super::{Framework, Options, Refresh, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::session::cookie::Spelling;
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;
use crate::session::scheme::Scheme;

pub(super) const ROW: Row = Row {
    names: &["php"],
    options: &[("prefix", "PHPREDIS_SESSION:"), ("handler", "auto"), ("store", "redis")],
    build,
};

/// `session.serialize_handler`, each by the name of its format.
const HANDLERS: &[&str] = &["auto", "php", "php_serialize", "php_binary", "igbinary", "msgpack"];

/// `session.name`.
pub(super) const COOKIE: &str = "PHPSESSID";

/// Of the cookies of one name PHP reads the first (`main/php_variables.c`), of whose value it takes no quotes
/// off. Its ids have 22 to 256 bytes of `session.sid_bits_per_character` (`ext/session/session.c`).
pub(super) const IDENTITY: Identity = Identity {
    pick: Pick::First,
    spelling: Spelling::Php,
    unquote: false,
    url_decode: true,
    scheme: Scheme::Plain,
    rule: IdRule::new("A-Za-z0-9,-", 22, 256),
};

fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let handler = options.one_of("handler", HANDLERS)?;
    let prefix = |default| options.given("prefix").unwrap_or(default);
    // What is kept beside a session is its lock.
    let (key, keys_beside) = match options.one_of("store", &["redis", "memcached", "memcache"])? {
        // `memcached.sess_prefix`; `s_lock_session` of php-memcached.
        "memcached" => {
            let prefix = prefix("memc.sess.key.");
            (prefix, vec![KeyForm::prefixed(format!("{prefix}lock."))])
        }
        // The id alone, while `memcache.session_prefix_host_key` and its like are off.
        "memcache" => {
            let prefix = prefix("");
            (prefix, vec![KeyForm { suffix: ".lock", ..KeyForm::prefixed(prefix) }])
        }
        _ => (options.get("prefix"), Vec::new()),
    };
    Ok(Framework {
        cookies: vec![COOKIE.to_owned()],
        identity: IDENTITY,
        key: Some(KeyForm::prefixed(key)),
        keys_beside,
        format: Some(Pipeline::parse(&[handler])?),
        // `session.gc_maxlifetime`, which each request sets anew, that of a reader too.
        refresh: Some(Refresh::Fixed(1_440_000)),
        ..Framework::plain(options.framework)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framework::tests::{id, key, refused};
    use crate::session::id::Invalid;

    #[test]
    fn keys_of_captured_sessions() {
        let php = Framework::parse(&["php"]).unwrap();
        assert_eq!(php.cookies, ["PHPSESSID"]);
        assert_eq!(
            key(&php, "nvo7je1puqt5fqpmlimb09ne8i", &[]),
            "PHPREDIS_SESSION:nvo7je1puqt5fqpmlimb09ne8i"
        );
        let shop = Framework::parse(&["php", "prefix=shop:sess:", "handler=php"]).unwrap();
        assert_eq!(
            key(&shop, "95uho6308e9g9rif9i1igh1k6e", &[]),
            "shop:sess:95uho6308e9g9rif9i1igh1k6e"
        );
        assert_eq!(shop.format, Some(Pipeline::parse(&["php"]).unwrap()));
    }

    #[test]
    fn what_php_would_take_and_the_edge_does_not() {
        let php = Framework::parse(&["php"]).unwrap();
        for (value, reason) in [
            ("bad!id$", Invalid::Short),
            ("bad!id$bad!id$bad!id$bad!id$", Invalid::Alphabet),
            ("nvo7je1puqt5fqpmlimb09ne8i_LOCK", Invalid::Alphabet),
        ] {
            assert_eq!(id(&php, value, &[]), Err(reason));
        }
    }

    #[test]
    fn keys_in_memcached() {
        let id = "nvo7je1puqt5fqpmlimb09ne8i";
        for (options, session, lock) in [
            (&["php", "store=memcached"][..], "memc.sess.key.", Some(("memc.sess.key.lock.", ""))),
            (&["php", "store=memcached", "prefix="], "", Some(("lock.", ""))),
            (&["php", "store=memcache"], "", Some(("", ".lock"))),
            (&["php", "store=memcache", "prefix=p"], "p", Some(("p", ".lock"))),
            (&["php"], "PHPREDIS_SESSION:", None),
        ] {
            let php = Framework::parse(options).unwrap();
            assert_eq!(key(&php, id, &[]), format!("{session}{id}"));
            let beside =
                lock.map(|(prefix, suffix)| KeyForm { suffix, ..KeyForm::prefixed(prefix) });
            assert_eq!(php.keys_beside, beside.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_unknown_handler() {
        assert_eq!(
            refused(&["php", "handler=foo"]),
            "php: \"handler=\" cannot be \"foo\"; known: auto, php, php_serialize, php_binary, igbinary, msgpack"
        );
    }
}
