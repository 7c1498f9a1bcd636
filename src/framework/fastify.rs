//! Fastify with @fastify/session and connect-redis.

#![forbid(unsafe_code)]

use super::{Framework, Options, Row, User};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;
use crate::session::scheme::Scheme;
use crate::stored::Life;

pub(super) const ROW: Row = Row { names: &["fastify"], options: &[("prefix", "sess:")], build };

fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let plain = Framework::plain(options.framework);
    Ok(Framework {
        cookies: vec!["sessionId".to_owned()],
        // @fastify/cookie assigns a name once.
        identity: Identity {
            pick: Pick::First,
            scheme: Scheme::CookieSignature { prefix: "" },
            ..plain.identity
        },
        key: Some(KeyForm::prefixed(options.get("prefix"))),
        format: Some(Pipeline::parse(&["json"])?),
        user: Some(User::at(Pointer::parse("/passport/user")?)),
        // Reading prolongs a session by writing it anew: past this time it is no session any more, however
        // long the key lives (`fastify-session/index.js`).
        life: vec![Life::Date { at: Pointer::parse("/cookie/expires")? }],
        ..plain
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::framework::tests::{framework, id};
    use crate::session::id::Invalid;

    #[test]
    fn nothing_is_taken_that_is_not_signed() {
        let fastify = framework("fastify", &[]);
        assert_eq!(fastify.cookies, ["sessionId"]);
        assert!(fastify.identity.scheme.needs_secret());
        let unsigned = "l2hTMDGd-kcaiBCByyP4fboILuCa0g5W";
        assert_eq!(id(&fastify, unsigned, &[]), Err(Invalid::Unsigned));
    }

    #[test]
    fn a_session_ends_with_its_cookie() {
        let fastify = framework("fastify", &[]);
        let end = |expires: serde_json::Value| {
            fastify.life.first().unwrap().end(&json!({ "cookie": { "expires": expires } }))
        };
        assert_eq!(end(json!("2026-11-21T00:33:26.999Z")), Some(1_795_221_206_999));
        assert_eq!(end(json!(null)), None);
    }
}
