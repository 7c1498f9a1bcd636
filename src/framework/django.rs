//! Django, whose sessions are in its cache, and django-redis-sessions, which has Redis for itself.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row, User};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::id::IdRule;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;

pub(super) const ROW: Row = Row {
    names: &["django"],
    options: &[("engine", "cache"), ("prefix", ""), ("version", "1")],
    build,
};

/// A session that is only read lives no longer for it (`SESSION_SAVE_EVERY_REQUEST` is off).
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let engine = options.one_of("engine", &["cache", "cached_db", "redis-sessions"])?;
    let (prefix, format) = match engine {
        "redis-sessions" => (redis_sessions_prefix(options)?, "django_signed"),
        // Serializers and compressors of django-redis, and pickle, are told by how a value begins.
        _ => (cache_prefix(options, engine), "auto"),
    };
    let plain = Framework::plain(options.framework);
    Ok(Framework {
        cookies: vec!["sessionid".to_owned()],
        // `django/http/cookie.py` overwrites a name and decodes nothing; the ids are those of
        // `SessionBase._get_new_session_key`.
        identity: Identity {
            pick: Pick::Last,
            url_decode: false,
            rule: IdRule::new("a-z0-9", 32, 32),
            ..plain.identity
        },
        key: Some(KeyForm::prefixed(prefix)),
        format: Some(Pipeline::parse(&[format])?),
        user: Some(User::at(Pointer::parse("/_auth_user_id")?)),
        ..plain
    })
}

/// `default_key_func` of `django/core/cache/backends/base.py`, before it the prefix of the engine.
fn cache_prefix(options: &Options<'_>, engine: &str) -> String {
    let (prefix, version) = (options.get("prefix"), options.get("version"));
    format!("{prefix}:{version}:django.contrib.sessions.{engine}")
}

/// `get_real_stored_key` of `redis_sessions/session.py`.
fn redis_sessions_prefix(options: &Options<'_>) -> Result<String, ConfigError> {
    if options.given("version").is_some() {
        return Err(ConfigError::new("django: \"version=\" is for the cache's engines")
            .hint("\"engine=redis-sessions\" knows \"prefix=\", its SESSION_REDIS_PREFIX"));
    }
    Ok(match options.given("prefix") {
        None => "session:".to_owned(),
        Some("") => String::new(),
        Some(prefix) => format!("{prefix}:"),
    })
}

#[cfg(test)]
mod tests {
    use crate::framework::tests::{framework, id, key, refused};
    use crate::session::id::Invalid;

    const ID: &str = "a2k8ywydyfequ8lt5xvlg5h4brzyfabu";

    #[test]
    fn keys() {
        let of = |options: &[&str]| {
            let key = key(&framework("django", options), ID, &[]);
            key.strip_suffix(ID).unwrap().to_owned()
        };
        assert_eq!(of(&[]), ":1:django.contrib.sessions.cache");
        assert_eq!(
            of(&["engine=cached_db", "prefix=shop", "version=2"]),
            "shop:2:django.contrib.sessions.cached_db"
        );
        assert_eq!(of(&["engine=redis-sessions"]), "session:");
        assert_eq!(of(&["engine=redis-sessions", "prefix=shop"]), "shop:");
        assert_eq!(of(&["engine=redis-sessions", "prefix="]), "");
    }

    #[test]
    fn other_ids_than_its_own_are_refused() {
        let django = framework("django", &[]);
        assert_eq!(django.cookies, ["sessionid"]);
        for (value, reason) in [
            (ID.to_uppercase(), Invalid::Alphabet),
            (ID.replace('a', "%61"), Invalid::Long),
            (ID.replacen("a2k", "%61", 1), Invalid::Alphabet),
            (ID[1..].to_owned(), Invalid::Short),
            (format!("{ID}0"), Invalid::Long),
            (String::new(), Invalid::Short),
        ] {
            assert_eq!(id(&django, &value, &[]), Err(reason), "{value}");
        }
        assert_eq!(id(&django, &format!("\"{ID}\""), &[]).unwrap().as_str(), ID);
    }

    #[test]
    fn options_that_do_not_fit() {
        assert_eq!(
            refused(&["django", "engine=db"]),
            "django: \"engine=\" cannot be \"db\"; known: cache, cached_db, redis-sessions"
        );
        assert_eq!(
            refused(&["django", "engine=redis-sessions", "version=2"]),
            "django: \"version=\" is for the cache's engines; \"engine=redis-sessions\" knows \"prefix=\", its SESSION_REDIS_PREFIX"
        );
    }
}
