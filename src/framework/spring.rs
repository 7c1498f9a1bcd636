//! Spring Session in Redis, by either of its repositories.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row, User};
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
    names: &["spring"],
    options: &[("namespace", "spring:session"), ("tags", "strip"), ("indexed", "auto")],
    build,
};

/// Where `RedisIndexedSessionRepository` has the name of whoever has logged in, and where Spring Security
/// has them; an application may have a principal of its own class.
const USER: [&str; 4] = [
    "/sessionAttr:org.springframework.session.FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME",
    "/sessionAttr:SPRING_SECURITY_CONTEXT/authentication/principal/username",
    "/sessionAttr:SPRING_SECURITY_CONTEXT/authentication/principal/name",
    "/sessionAttr:SPRING_SECURITY_CONTEXT/authentication/principal",
];

/// Pointers begin with the fields' names: `/sessionAttr:user/id`.
fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let prefix = format!("{}:sessions:", options.get("namespace"));
    let format = match options.one_of("tags", &["strip", "keep"])? {
        "strip" => "jvm",
        _ => "jvm_tagged",
    };
    let keys_beside = match options.one_of("indexed", &["auto", "on", "off"])? {
        "off" => Vec::new(),
        _ => vec![KeyForm::prefixed(format!("{prefix}expires:"))],
    };
    let [index, username, name, principal] =
        USER.map(|place| Ok::<_, ConfigError>(User::name_at(Pointer::parse(place)?)));
    Ok(Framework {
        cookies: vec!["SESSION".to_owned()],
        identity: IDENTITY,
        key: Some(KeyForm::prefixed(prefix)),
        keys_beside,
        shape: Shape::Hash,
        format: Some(Pipeline::parse(&[format])?),
        // An indexed session is kept for five minutes more, and neither repository takes one that has ended.
        life: vec![Life::Idle {
            last: Pointer::parse("/lastAccessedTime")?,
            max: Pointer::parse("/maxInactiveInterval")?,
            least: 0,
        }],
        user: Some(index?.or(username?).or(name?).or(principal?)),
        ..Framework::plain(options.framework)
    })
}

/// `DefaultCookieSerializer` goes through all cookies of its name and leaves out what is no base64. Tomcat
/// takes off no quotes and decodes no `%`.
const IDENTITY: Identity = Identity {
    pick: Pick::First,
    spelling: Spelling::Exact,
    unquote: false,
    url_decode: false,
    scheme: Scheme::Base64Uuid,
    rule: IdRule::new("0-9a-f-", 36, 36),
};

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use super::*;
    use crate::framework::tests::{carried, framework, id, key, refused};
    use crate::session::id::Invalid;
    use crate::session::identity::Choice;
    use crate::value::text;

    const VALUE: &str = "NmYxYjJjM2QtNGU1Zi00YTZiLThjN2QtMDEyMzQ1Njc4OWFi";
    const ID: &str = "6f1b2c3d-4e5f-4a6b-8c7d-0123456789ab";

    fn spring(options: &[&str]) -> Framework {
        framework("spring", options)
    }

    #[test]
    fn keys_have_a_namespace() {
        let default = spring(&[]);
        assert_eq!(default.cookies, ["SESSION"]);
        assert_eq!(key(&default, VALUE, &[]), format!("spring:session:sessions:{ID}"));
        let shop = spring(&["namespace=shop"]);
        assert_eq!(key(&shop, VALUE, &[]), format!("shop:sessions:{ID}"));
    }

    #[test]
    fn what_goes_with_an_indexed_session() {
        let beside = |options: &[&str]| spring(options).keys_beside;
        let expires = [KeyForm::prefixed("spring:session:sessions:expires:")];
        assert_eq!(beside(&[]), expires);
        assert_eq!(beside(&["indexed=on"]), expires);
        assert_eq!(beside(&["indexed=off"]), []);
    }

    #[test]
    fn what_is_no_uuid_in_base64() {
        let spring = spring(&[]);
        for (value, reason) in [
            (ID, Invalid::Base64),
            ("", Invalid::Short),
            ("NmYxYjJjM2Q", Invalid::Short),
            // With a capital, with a colon.
            ("NkYxYjJjM2QtNGU1Zi00YTZiLThjN2QtMDEyMzQ1Njc4OWFi", Invalid::Alphabet),
            ("ZXhwaXJlczo2ZjFiMmMzZC00ZTVmLTRhNmItOGM3ZC0wMTIzNDU2Nzg5YWI=", Invalid::Alphabet),
        ] {
            assert_eq!(id(&spring, value, &[]), Err(reason), "{value}");
        }
    }

    #[test]
    fn a_cookie_that_is_no_base64_is_left_out() {
        let verifier = spring(&[]).identity.verifier(None).unwrap();
        let choose = |values: &[&[u8]]| match verifier.choose(values, &carried("SESSION", None)) {
            Choice::Valid { id, .. } => Some(id.as_str().to_owned()),
            _ => None,
        };
        assert_eq!(choose(&[ID.as_bytes(), VALUE.as_bytes()]), Some(ID.to_owned()));
        assert_eq!(choose(&[b"NmYx", VALUE.as_bytes()]), None);
    }

    #[test]
    fn a_session_ends_when_it_is_unused() {
        let spring = spring(&[]);
        let end = |session| spring.life.first().unwrap().end(&session);
        let session = |max: i64| json!({"lastAccessedTime": 1_709_212_500_456_u64, "maxInactiveInterval": max});
        assert_eq!(end(session(1800)), Some(1_709_214_300_456));
        assert_eq!(end(session(0)), Some(1_709_212_500_456));
        assert_eq!(end(session(-1)), None);
    }

    #[test]
    fn the_principal_has_a_name() {
        let user = spring(&[]).user.unwrap();
        let of = |session: Value| user.with(&session, |found| text(found).map(String::from));
        let with = |principal: Value| json!({"sessionAttr:SPRING_SECURITY_CONTEXT": {"authentication": {"principal": principal}}});
        assert_eq!(of(with(json!({"username": "li", "name": "x"}))).unwrap(), "li");
        assert_eq!(of(with(json!({"username": null, "name": "li"}))).unwrap(), "li");
        assert_eq!(of(with(json!("li"))).unwrap(), "li");
        assert_eq!(of(json!({})), None);
        let mut session = with(json!("li"));
        session["sessionAttr:org.springframework.session.FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME"] = json!("wang");
        assert_eq!(of(session).unwrap(), "wang");
    }

    #[test]
    fn values_that_options_do_not_have() {
        assert_eq!(
            refused(&["spring", "tags=yes"]),
            "spring: \"tags=\" cannot be \"yes\"; known: strip, keep"
        );
        assert_eq!(
            refused(&["spring", "indexed=yes"]),
            "spring: \"indexed=\" cannot be \"yes\"; known: auto, on, off"
        );
    }
}
