//! Ruby on Rails, with one of the stores that keep sessions in Redis or memcached.

#![forbid(unsafe_code)]

use super::{rack, Framework, Options, Row};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::session::scheme::Scheme;
use crate::stored::Life;

pub(super) const ROW: Row = Row {
    names: &["rails"],
    options: &[
        ("prefix", ""),
        ("store", "redis-store"),
        ("cookie", ""),
        ("encrypted", "off"),
        ("private_id", "on"),
    ],
    build,
};

/// A gem that keeps sessions, by its name in `store=`.
struct Store {
    name: &'static str,
    /// What stands before an id unless `prefix=` says otherwise.
    prefix: &'static str,
    /// What stands between that and the id in any case.
    infix: &'static str,
    format: &'static [&'static str],
}

const STORES: [Store; 4] = [
    // redis-actionpack. It has no namespace by itself; this one is that of its documentation.
    Store { name: "redis-store", prefix: "session:", infix: "", format: rack::MARSHAL },
    // `ActionDispatch::Session::CacheStore`; the cache has no namespace by itself.
    Store { name: "cache", prefix: "", infix: "_session_id:", format: rack::MARSHAL },
    // redis-session-store: Marshal, JSON or, if it is `hybrid`, both.
    Store { name: "session-store", prefix: "", infix: "", format: &["auto"] },
    // `ActionDispatch::Session::MemCacheStore`
    Store { name: "dalli", prefix: rack::PREFIX, infix: "", format: rack::DALLI },
];

/// How long a session lives on is said in the application only (`expire_after`), and so is the cookie's name.
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let name = options.one_of("store", &STORES.each_ref().map(|store| store.name))?;
    let store = STORES.iter().find(|store| store.name == name).unwrap_or(&STORES[0]);
    let prefix = options.given("prefix").unwrap_or(store.prefix);
    let cookie = Some(options.get("cookie")).filter(|cookie| !cookie.is_empty());
    let scheme = match options.one_of("encrypted", &["on", "off"])? {
        "off" => Scheme::Plain,
        _ if store.name == "redis-store" => Scheme::RailsEncrypted,
        _ => {
            return Err(ConfigError::new(format!(
                "rails: cookies of store \"{}\" are not encrypted",
                store.name
            ))
            .hint("\"encrypted=on\" is for redis-store with \"signed: true\""));
        }
    };
    Ok(Framework {
        cookies: cookie.map(str::to_owned).into_iter().collect(),
        identity: rack::identity(scheme, 32),
        key: Some(rack::key(options, format!("{prefix}{}", store.infix))?),
        format: Some(Pipeline::parse(store.format)?),
        life: if store.name == "cache" { vec![Life::Entry] } else { Vec::new() },
        user: Some(rack::devise()?),
        ..Framework::plain(options.framework)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framework::tests::{framework, id, key, refused};
    use crate::session::id::Invalid;

    const ID: &str = "7038b10ac1c9094d885ace02bd5968c2";
    const DIGEST: &str = "78614bf5d98ab656579a01dc0b219df00354e18523936712610fad91dec241ff";

    fn rails(options: &[&str]) -> Framework {
        framework("rails", options)
    }

    #[test]
    fn each_store_has_its_keys() {
        for (options, prefix) in [
            (&[][..], "session:"),
            (&["prefix=shop:"], "shop:"),
            (&["store=cache"], "_session_id:"),
            (&["store=cache", "prefix=shop:"], "shop:_session_id:"),
            (&["store=session-store"], ""),
            (&["store=session-store", "prefix=myapp:session:"], "myapp:session:"),
            (&["store=dalli"], "rack:session:"),
        ] {
            assert_eq!(key(&rails(options), ID, &[]), format!("{prefix}2::{DIGEST}"));
        }
        assert_eq!(key(&rails(&["private_id=off"]), ID, &[]), format!("session:{ID}"));
    }

    #[test]
    fn a_session_in_the_cache_ends_with_its_entry() {
        assert_eq!(rails(&["store=cache"]).life, [Life::Entry]);
        assert_eq!(rails(&[]).life, []);
    }

    #[test]
    fn a_cookie_has_a_name_only_if_it_is_said() {
        assert_eq!(rails(&[]).cookies, Vec::<String>::new());
        assert_eq!(rails(&["cookie=_shop_session"]).cookies, ["_shop_session"]);
    }

    #[test]
    fn a_plain_id_is_none_where_cookies_are_encrypted() {
        let secret = ["fixture-secret-key-base"];
        assert!(id(&rails(&[]), ID, &[]).is_ok());
        assert_eq!(id(&rails(&[]), &ID.to_uppercase(), &[]), Err(Invalid::Alphabet));
        let encrypted = rails(&["encrypted=on"]);
        assert!(encrypted.identity.scheme.needs_secret());
        assert_eq!(id(&encrypted, ID, &secret), Err(Invalid::Unsigned));
    }

    #[test]
    fn values_that_options_do_not_have() {
        assert_eq!(
            refused(&["rails", "store=redis"]),
            "rails: \"store=\" cannot be \"redis\"; known: redis-store, cache, session-store, dalli"
        );
        assert_eq!(
            refused(&["rails", "store=cache", "encrypted=on"]),
            "rails: cookies of store \"cache\" are not encrypted; \"encrypted=on\" is for redis-store with \"signed: true\""
        );
    }
}
