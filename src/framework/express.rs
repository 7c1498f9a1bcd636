//! Express with express-session and connect-redis, and NestJS, which is Express underneath.

#![forbid(unsafe_code)]

use super::{Framework, Options, Refresh, Row, User};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::pointer::Pointer;
use crate::session::identity::{Identity, Pick};
use crate::session::key::KeyForm;
use crate::session::scheme::Scheme;

pub(super) const ROW: Row =
    Row { names: &["express", "nestjs"], options: &[("prefix", "sess:")], build };

/// A day, which connect-redis gives a session whose cookie ends with the browser.
const DAY_MS: u64 = 86_400_000;

fn build(options: &Options<'_>) -> Result<Framework, ConfigError> {
    let plain = Framework::plain(options.framework);
    Ok(Framework {
        cookies: vec!["connect.sid".to_owned()],
        // node's `cookie` assigns a name once.
        identity: Identity {
            pick: Pick::First,
            scheme: Scheme::CookieSignature { prefix: "s:" },
            ..plain.identity
        },
        key: Some(KeyForm::prefixed(options.get("prefix"))),
        format: Some(Pipeline::parse(&["json"])?),
        user: Some(User::at(Pointer::parse("/passport/user")?)),
        // express-session sets the cookie's end anew on each request, connect-redis' touch takes it over.
        refresh: Some(Refresh::Stored {
            at: Pointer::parse("/cookie/originalMaxAge")?,
            default: DAY_MS,
        }),
        ..plain
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::framework::tests::id;
    use crate::session::id::Invalid;

    #[test]
    fn nothing_is_taken_that_is_not_signed() {
        let express = Framework::parse(&["express"]).unwrap();
        assert_eq!(express.cookies, ["connect.sid"]);
        assert!(express.identity.scheme.needs_secret());
        let unsigned = "5caS6ncLjt3AtX2RQWNYQuTRD1-OOpNn";
        assert_eq!(id(&express, unsigned, &[]), Err(Invalid::Unsigned));
    }

    #[test]
    fn a_session_lives_on_as_long_as_its_cookie() {
        let refresh = Framework::parse(&["express"]).unwrap().refresh.unwrap();
        let cookie =
            |age: serde_json::Value| json!({ "cookie": { "originalMaxAge": age, "path": "/" } });
        assert_eq!(refresh.ttl(&cookie(json!(1_800_000))), Some(1_800_000));
        assert_eq!(refresh.ttl(&cookie(json!(null))), Some(86_400_000));
        assert_eq!(refresh.pointer().unwrap().as_str(), "/cookie/originalMaxAge");
    }
}
