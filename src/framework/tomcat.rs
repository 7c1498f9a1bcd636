//! Tomcat, with a manager that keeps its sessions in Redis or memcached, or with none of them.

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
use crate::stored::{Life, Shape};

pub(super) const ROW: Row = Row {
    names: &["tomcat"],
    options: &[("manager", "redisson"), ("prefix", ""), ("param", "jsessionid")],
    build,
};

/// A session in the URL counts where there is none in a cookie (`CoyoteAdapter.postParseRequest`).
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let param = Some(options.get("param")).filter(|param| !param.is_empty());
    let tomcat = Framework {
        cookies: vec!["JSESSIONID".to_owned()],
        paths: param.map(str::to_owned).into_iter().collect(),
        identity: IDENTITY,
        ..Framework::plain(options.framework)
    };
    match options.one_of("manager", &["redisson", "msm", "none"])? {
        "redisson" => redisson(options, tomcat),
        "msm" => msm(options, tomcat),
        _ if options.given("prefix").is_some() => {
            Err(ConfigError::new("tomcat: with \"manager=none\" nothing has a \"prefix=\""))
        }
        _ => Ok(tomcat),
    }
}

/// Of the cookies of one name Tomcat takes the first, unless that is no session, and decodes nothing. The
/// route is part of the id, and so is the node that memcached-session-manager puts before it.
const IDENTITY: Identity = Identity {
    pick: Pick::First,
    spelling: Spelling::Exact,
    unquote: false,
    url_decode: false,
    scheme: Scheme::Plain,
    rule: IdRule::new("A-Za-z0-9._-", 16, 256),
};

/// `RedissonSessionManager`: a hash of the attributes and, as `session:…`, of what Tomcat knows itself.
fn redisson(options: &Options<'_>, tomcat: Framework) -> Result<Framework, ConfigError> {
    const NAME: &str = "redisson:tomcat_session:";
    let key = match options.get("prefix") {
        "" => NAME.to_owned(),
        prefix => format!("{prefix}:{NAME}"),
    };
    let mut life = life("/session:")?;
    // With `broadcastSessionEvents` one that was invalidated is kept for a minute, and marked by this alone.
    life.push(Life::Over { at: Pointer::parse("/session:isExpirationLocked")? });
    Ok(Framework {
        key: Some(KeyForm::prefixed(key)),
        shape: Shape::Hash,
        format: Some(Pipeline::parse(&["jvm"])?),
        life,
        ..tomcat
    })
}

/// `memcached-session-manager` (`SessionIdFormat`, `StorageKeyFormat`). What it keeps beside a session is for
/// sessions that are not sticky.
fn msm(options: &Options<'_>, tomcat: Framework) -> Result<Framework, ConfigError> {
    let key = match options.get("prefix") {
        "" => String::new(),
        prefix => format!("{prefix}_"),
    };
    let beside = ["validity:", "lock:", "bak:"];
    Ok(Framework {
        keys_beside: beside.map(|name| KeyForm::prefixed(format!("{name}{key}"))).to_vec(),
        key: Some(KeyForm::prefixed(key)),
        format: Some(Pipeline::parse(&["msm"])?),
        life: life("/")?,
        ..tomcat
    })
}

/// What Tomcat itself judges a session by, which stands under names that begin so.
fn life(prefix: &str) -> Result<Vec<Life>, ConfigError> {
    let at = |name: &str| Pointer::parse(&format!("{prefix}{name}"));
    Ok(vec![
        Life::Valid { at: at("isValid")? },
        // `StandardSession.isValid` counts it only where it is more than 0.
        Life::Idle { last: at("lastAccessedTime")?, max: at("maxInactiveInterval")?, least: 1 },
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::framework::tests::{framework, id, key, refused};
    use crate::session::id::Invalid;

    const ID: &str = "A1B2C3D4E5F60718293A4B5C6D7E8F90-n1.tomcat1";

    fn tomcat(options: &[&str]) -> Framework {
        framework("tomcat", options)
    }

    #[test]
    fn keys_hold_the_whole_id() {
        for (options, prefix) in [
            (&[][..], "redisson:tomcat_session:"),
            (&["prefix=shop"], "shop:redisson:tomcat_session:"),
            (&["manager=msm"], ""),
            (&["manager=msm", "prefix=shop"], "shop_"),
        ] {
            assert_eq!(key(&tomcat(options), ID, &[]), format!("{prefix}{ID}"));
        }
    }

    #[test]
    fn what_goes_with_a_session_of_msm() {
        let beside = ["validity:shop_", "lock:shop_", "bak:shop_"].map(KeyForm::prefixed);
        assert_eq!(tomcat(&["manager=msm", "prefix=shop"]).keys_beside, beside);
        assert_eq!(tomcat(&["prefix=shop"]).keys_beside, []);
    }

    #[test]
    fn an_id_in_a_cookie_or_in_the_path() {
        let sources = |options| (tomcat(options).cookies, tomcat(options).paths);
        let cookie = vec!["JSESSIONID".to_owned()];
        assert_eq!(sources(&[]), (cookie.clone(), vec!["jsessionid".to_owned()]));
        assert_eq!(sources(&["param=sid"]), (cookie.clone(), vec!["sid".to_owned()]));
        assert_eq!(sources(&["param="]), (cookie, Vec::new()));
    }

    #[test]
    fn no_id_names_what_is_kept_beside_another() {
        for manager in ["manager=redisson", "manager=msm", "manager=none"] {
            let tomcat = tomcat(&[manager]);
            assert!(id(&tomcat, ID, &[]).is_ok());
            for (value, reason) in [
                ("validity:A1B2C3D4E5F60718293A4B5C6D7E8F90-n1", Invalid::Alphabet),
                ("A1B2C3D4E5F60718293A4B5C6D7E8F90%2Dn1", Invalid::Alphabet),
                ("A1B2C3D4E5F6071", Invalid::Short),
                ("A1B2C3D4E5F60718..tomcat1", Invalid::Reserved),
            ] {
                assert_eq!(id(&tomcat, value, &[]), Err(reason), "{value}");
            }
        }
    }

    #[test]
    fn a_session_ends_when_it_is_invalid_or_unused() {
        for (manager, prefix) in [("manager=redisson", "session:"), ("manager=msm", "")] {
            let life = tomcat(&[manager]).life;
            let end = |valid: bool, max: i64| {
                let session = json!({
                    format!("{prefix}isValid"): valid,
                    format!("{prefix}lastAccessedTime"): 1_709_212_500_456_u64,
                    format!("{prefix}maxInactiveInterval"): max,
                });
                life.iter().filter_map(|life| life.end(&session)).min()
            };
            assert_eq!((end(true, 1800), end(false, 1800)), (Some(1_709_214_300_456), Some(0)));
            assert_eq!((end(true, 0), end(true, -1)), (None, None));
        }
    }

    #[test]
    fn a_session_of_redisson_ends_for_all_nodes() {
        let life = tomcat(&[]).life;
        let end = |locked: bool| {
            let session = json!({"session:isValid": true, "session:isExpirationLocked": locked});
            life.iter().filter_map(|life| life.end(&session)).min()
        };
        assert_eq!((end(false), end(true)), (None, Some(0)));
    }

    #[test]
    fn without_a_manager_there_is_a_route_and_no_more() {
        let none = tomcat(&["manager=none"]);
        assert_eq!((none.key, none.format, none.life), (None, None, Vec::new()));
    }

    #[test]
    fn values_that_options_do_not_have() {
        assert_eq!(
            refused(&["tomcat", "manager=redis"]),
            "tomcat: \"manager=\" cannot be \"redis\"; known: redisson, msm, none"
        );
        assert_eq!(
            refused(&["tomcat", "manager=none", "prefix=shop"]),
            "tomcat: with \"manager=none\" nothing has a \"prefix=\""
        );
    }
}
